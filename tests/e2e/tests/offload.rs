//! Big packets and unfinished checksums cross Pairgate as they cross a network card: whatever a guest leaves to
//! others, every byte arrives as it was sent.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use anyhow::Result;
use pairgate_e2e::{DB1, DB1_6, PATIENCE, Rig, WEB1, WEB1_6};
use pairgate_lab::{
    ethtool, links,
    plan::{GUEST_INTERFACE, UPLINK},
    probe::{Burst, Catcher, Pace, send_numbered},
    record::Wishes,
    settings::{Underlay, Uplink},
};
use std::{net::IpAddr, time::Duration};

/// Carried each way round by each kind of guest.
const BYTES: usize = 4 << 20;
/// What a guest may do itself or leave to others, by the kernel's names.
const CUTTING: [&str; 3] = [
    "tx-tcp-segmentation",
    "tx-tcp6-segmentation",
    "tx-udp-segmentation",
];
const CHECKSUMS: &str = "tx-checksum-ip-generic";

/// What a guest leaves to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    /// Cutting and checksums.
    Everything,
    Checksums,
    Nothing,
}

const KINDS: [Leaves; 3] = [Leaves::Everything, Leaves::Checksums, Leaves::Nothing];
const ADDRESSES: [(IpAddr, IpAddr); 2] = [
    (IpAddr::V4(WEB1), IpAddr::V4(DB1)),
    (IpAddr::V6(WEB1_6), IpAddr::V6(DB1_6)),
];

fn set(rig: &Rig, leaves: Leaves) {
    for guest in ["web1", "db1"] {
        let netns = rig.lab.netns(guest);
        let cutting = CUTTING.map(|name| (name, leaves == Leaves::Everything));
        // Without checksums there is no cutting, so the order matters.
        ethtool::set_features(&netns, GUEST_INTERFACE, &cutting).unwrap();
        ethtool::set_features(&netns, GUEST_INTERFACE, &[(CHECKSUMS, leaves != Leaves::Nothing)]).unwrap();
        ethtool::set_features(&netns, GUEST_INTERFACE, &cutting).unwrap();
    }
}

/// Datagrams of every size that fits, alone and as packets of many.
fn bursts(leaves: Leaves) -> Vec<Burst> {
    let many = if leaves == Leaves::Everything { 40 } else { 1 };
    let sizes = [8, 9, 63, 64, 65, 300, 511, 1000, 1201, 1400];
    let burst = |size| [Burst { count: many, size }, Burst { count: 1, size }];
    (0..20).flat_map(|_| sizes.into_iter().flat_map(burst)).collect()
}

/// Sends numbered datagrams from one guest to another; none may be lost or damaged.
fn datagrams(rig: &Rig, leaves: Leaves, (from, to): (IpAddr, IpAddr), names: (&str, &str)) -> Result<()> {
    let catcher = rig.lab.netns(names.1).run(|| Catcher::start(to))??;
    let at = catcher.address();
    let pace = Pace::each(Duration::from_micros(300));
    let sent = rig
        .lab
        .netns(names.0)
        .run(|| send_numbered(from, at, bursts(leaves), pace))??;
    let caught = catcher.wait_for(sent, PATIENCE);
    assert_eq!(
        (caught.datagrams, caught.damaged),
        (sent, 0),
        "{leaves:?}, {from} to {to}: datagrams arrived and damaged, of {sent}: {caught:?}\n{}",
        drops(rig)
    );
    Ok(())
}

fn drops(rig: &Rig) -> String {
    let said = |host| {
        let drops = rig.lab.call(&["drops", "--host", host]);
        drops.map_or_else(|error| error.to_string(), |answer| answer.stdout)
    };
    format!("h1:\n{}h2:\n{}", said("h1"), said("h2"))
}

fn every_byte_arrives(name: &str, wishes: Wishes) {
    let rig = Rig::start(name, wishes).unwrap();
    for (_, to) in ADDRESSES {
        rig.await_answer("web1", to).unwrap();
    }
    for leaves in KINDS {
        set(&rig, leaves);
        carry(&rig, leaves);
    }
}

/// TCP and datagrams, in both families and both directions.
fn carry(rig: &Rig, leaves: Leaves) {
    for (web, db) in ADDRESSES {
        for (names, to) in [(("web1", "db1"), db), (("db1", "web1"), web)] {
            let same = rig.tcp(names.0, (names.1, to), BYTES, PATIENCE).unwrap();
            assert!(
                matches!(same, Ok(BYTES)),
                "{leaves:?}, TCP to {to}: of {BYTES} bytes came back as they went: {same:?}\n{}",
                drops(rig)
            );
        }
        datagrams(rig, leaves, (web, db), ("web1", "db1")).unwrap();
        datagrams(rig, leaves, (db, web), ("db1", "web1")).unwrap();
    }
}

#[test]
fn every_byte_arrives_over_an_ipv4_underlay() {
    every_byte_arrives("offload4", Wishes::default());
}

#[test]
fn every_byte_arrives_over_an_ipv6_underlay() {
    let wishes = Wishes {
        underlay: Some(Underlay::V6),
        ..Wishes::default()
    };
    every_byte_arrives("offload6", wishes);
}

#[test]
fn every_byte_arrives_over_uplinks_that_cut_and_gather() {
    let wishes = Wishes {
        uplink: Some(Uplink::Napi),
        ..Wishes::default()
    };
    every_byte_arrives("offload-napi", wishes);
}

#[test]
fn big_packets_cross_the_underlay_whole_and_come_in_by_the_vxlan_device() {
    let rig = Rig::start_default("offload-whole").unwrap();
    rig.await_answer("web1", DB1).unwrap();
    let h1 = rig.lab.netns("h1");
    let (before, came) = (
        links::counters(&h1, UPLINK).unwrap(),
        rig.passed("h2", "from_vxlan").unwrap(),
    );
    rig.tcp("web1", ("db1", DB1), BYTES, PATIENCE).unwrap().unwrap();
    let (after, come) = (
        links::counters(&h1, UPLINK).unwrap(),
        rig.passed("h2", "from_vxlan").unwrap(),
    );
    let mean = (after.tx_bytes - before.tx_bytes) / (after.tx_packets - before.tx_packets);
    assert!(
        mean > 3_000,
        "packets of {mean} bytes on the uplink: what a guest sends big is cut before it must be"
    );
    let big = BYTES as u64 / 65_536;
    assert!(
        come - came >= big,
        "of {BYTES} bytes at least {big} packets should have come big, but {} did",
        come - came
    );
}

#[test]
fn what_comes_big_is_finished_for_guests_that_take_nothing_unfinished() {
    let rig = Rig::start_default("offload-finished").unwrap();
    for (_, to) in ADDRESSES {
        rig.await_answer("web1", to).unwrap();
    }
    let (tap, off) = ("tap-db1", CUTTING.map(|name| (name, false)));
    let h2 = rig.lab.netns("h2");
    ethtool::set_features(&h2, tap, &off).unwrap();
    carry(&rig, Leaves::Everything);
    ethtool::set_features(&h2, tap, &[(CHECKSUMS, false)]).unwrap();
    carry(&rig, Leaves::Everything);
}

#[test]
fn guests_without_any_offload_are_served_too() {
    let wishes = Wishes {
        offload: Some(false),
        ..Wishes::default()
    };
    let rig = Rig::start("offload-none", wishes).unwrap();
    for (_, to) in ADDRESSES {
        rig.await_answer("web1", to).unwrap();
    }
    carry(&rig, Leaves::Nothing);
}
