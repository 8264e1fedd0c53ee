//! IPv4 and IPv6, inside and outside: whoever may talk does in both families, across hosts and on one host.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use pairgate_e2e::{DB1, DB1_6, DB2, DB2_6, PATIENCE, Rig, WEB1, WEB1_6};
use pairgate_lab::{record::Wishes, settings::Underlay};
use std::net::IpAddr;

const MEGABYTE: usize = 1 << 20;

type Guest = (&'static str, [IpAddr; 2]);

const WEB: Guest = ("web1", [IpAddr::V4(WEB1), IpAddr::V6(WEB1_6)]);
const DB: Guest = ("db1", [IpAddr::V4(DB1), IpAddr::V6(DB1_6)]);
const OTHER_DB: Guest = ("db2", [IpAddr::V4(DB2), IpAddr::V6(DB2_6)]);

/// Echoes of every size, TCP and datagrams, in both families and both directions.
fn talk(rig: &Rig, one: Guest, two: Guest) {
    for (from, to) in [(one, two), (two, one)] {
        for (source, target) in from.1.into_iter().zip(to.1) {
            rig.await_answer(from.0, target).unwrap();
            let headers = if target.is_ipv4() { 28 } else { 48 };
            for payload in [0, 1, 56, 1000, 1500 - headers] {
                let echoes = rig.ping(from.0, target, 5, payload).unwrap();
                assert!(
                    echoes.all(),
                    "{} to {target}, {payload} bytes: {echoes:?}",
                    from.0
                );
            }
            let came = rig.tcp(from.0, (to.0, target), MEGABYTE, PATIENCE).unwrap();
            assert_eq!(came.unwrap(), MEGABYTE, "TCP from {} to {target}", from.0);
            let carried = rig.datagrams((from.0, source), (to.0, target), 50, 700).unwrap();
            assert!(carried.all(), "{} to {target}: {carried:?}", from.0);
        }
    }
}

fn both_families(name: &str, underlay: Underlay) {
    let wishes = Wishes {
        underlay: Some(underlay),
        ..Wishes::default()
    };
    let rig = Rig::start(name, wishes).unwrap();
    talk(&rig, WEB, DB);
    for target in OTHER_DB.1 {
        assert_eq!(
            rig.ping("web1", target, 3, 56).unwrap().received,
            0,
            "web1 reached {target} without a pair"
        );
        assert_eq!(
            rig.ping("db1", target, 3, 56).unwrap().received,
            0,
            "db1 reached its neighbour {target} without a pair"
        );
    }
    rig.lab.json(&["pair", "allow", "db1", "db2"]).unwrap();
    talk(&rig, DB, OTHER_DB);
    rig.lab.json(&["pair", "deny", "db1", "db2"]).unwrap();
    for target in OTHER_DB.1 {
        assert_eq!(
            rig.ping("db1", target, 3, 56).unwrap().received,
            0,
            "db1 reached its neighbour {target} after the denial"
        );
    }
    talk(&rig, WEB, DB);
}

#[test]
fn guests_talk_in_both_families_over_an_ipv4_underlay() {
    both_families("families4", Underlay::V4);
}

#[test]
fn guests_talk_in_both_families_over_an_ipv6_underlay() {
    both_families("families6", Underlay::V6);
}
