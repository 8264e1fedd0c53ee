//! Who may talk does, across hosts and with packets of every size; who may not gets nothing.

use pairgate_e2e::{DB1, DB1_6, DB2, PATIENCE, Rig, WEB1};
use pairgate_lab::{links, patience, plan::UPLINK};
use std::{net::IpAddr, time::Duration};

/// The largest echo that fits a guest's interface: 1500 bytes less IPv4 and ICMP headers.
const LARGEST_ECHO: usize = 1500 - 20 - 8;
const MEGABYTE: usize = 1 << 20;

#[test]
fn allowed_guests_talk_both_ways_and_others_get_nothing() {
    let rig = Rig::start_default("talk").unwrap();
    rig.await_answer("web1", DB1).unwrap();
    for (from, to) in [("web1", DB1), ("db1", WEB1)] {
        for payload in [0, 1, 56, 1000, LARGEST_ECHO] {
            let echoes = rig.ping(from, to, 10, payload).unwrap();
            assert!(echoes.all(), "{from} to {to}, {payload} bytes: {echoes:?}");
        }
    }
    assert_eq!(
        rig.tcp("web1", ("db1", DB1), MEGABYTE, PATIENCE)
            .unwrap()
            .unwrap(),
        MEGABYTE
    );
    assert_eq!(
        rig.tcp("db1", ("web1", WEB1), MEGABYTE, PATIENCE)
            .unwrap()
            .unwrap(),
        MEGABYTE
    );

    let at_db2 = rig
        .watch_guest("db2", |frame| frame.get(12..14) == Some(&[8, 0]))
        .unwrap();
    let before =
        rig.dropped("h1", "from_tap", "no_pair").unwrap() + rig.dropped("h1", "from_tap", "denied").unwrap();
    assert_eq!(
        rig.ping("web1", DB2, 5, 56).unwrap().received,
        0,
        "web1 reached db2 without a pair"
    );
    assert_eq!(
        rig.ping("db2", WEB1, 5, 56).unwrap().received,
        0,
        "db2 reached web1 without a pair"
    );
    assert_eq!(
        rig.ping("db2", DB1, 5, 56).unwrap().received,
        0,
        "db2 reached its neighbour without a pair"
    );
    let refused = rig
        .tcp("web1", ("db2", DB2), 1, Duration::from_millis(500))
        .unwrap();
    assert!(refused.is_err(), "TCP from web1 reached db2 without a pair");
    let after =
        rig.dropped("h1", "from_tap", "no_pair").unwrap() + rig.dropped("h1", "from_tap", "denied").unwrap();
    assert!(
        after >= before + 5,
        "five echoes died on h1, but its counters went from {before} to {after}"
    );
    assert_eq!(
        at_db2.count(),
        0,
        "something reached db2: {:02x?}",
        at_db2.frames().first()
    );
    assert!(
        rig.ping("web1", DB1, 3, 56).unwrap().all(),
        "the allowed pair suffered"
    );
}

#[test]
fn a_pair_that_is_allowed_later_opens_by_itself() {
    let rig = Rig::start_default("later").unwrap();
    assert_eq!(rig.ping("web1", DB2, 3, 56).unwrap().received, 0);
    rig.lab.json(&["pair", "allow", "web1", "db2"]).unwrap();
    rig.await_answer("web1", DB2).unwrap();
    rig.await_answer("db2", WEB1).unwrap();
    rig.lab.json(&["pair", "deny", "web1", "db2"]).unwrap();
    assert_eq!(rig.ping("web1", DB2, 3, 56).unwrap().received, 0);
    assert_eq!(rig.ping("db2", WEB1, 3, 56).unwrap().received, 0);
}

/// Wrong if it fails: on an uplink that carries less than the guests send, their connections hang.
#[test]
fn a_stream_finds_out_that_the_uplink_carries_less() {
    let rig = Rig::start_default("narrow").unwrap();
    let peers = [IpAddr::V4(DB1), IpAddr::V6(DB1_6)];
    for peer in peers {
        rig.await_answer("web1", peer).unwrap();
    }
    for host in ["h1", "h2"] {
        links::set_up(&rig.lab.netns(host), UPLINK, None, Some(1400)).unwrap();
    }
    patience::until(PATIENCE, "the agent knows of the uplink's new MTU", || {
        let before = rig.dropped("h1", "from_tap", "too_big")?;
        rig.ping("web1", DB1, 1, LARGEST_ECHO)?;
        Ok((rig.dropped("h1", "from_tap", "too_big")? > before).then_some(()))
    })
    .unwrap();
    for peer in peers {
        let came = rig.tcp("web1", ("db1", peer), MEGABYTE, PATIENCE).unwrap();
        assert_eq!(came.unwrap(), MEGABYTE, "TCP to {peer}");
    }
}
