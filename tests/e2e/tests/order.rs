//! A flow's datagrams arrive in the order in which they were sent, although big packets and small ones take
//! different ways through the receiving host.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use pairgate_e2e::{DB1, DB1_6, Rig, WEB1, WEB1_6};
use pairgate_lab::{
    probe::{Burst, Catcher, Pace, send_numbered},
    record::Wishes,
    settings::{Ports, Uplink},
};
use std::{net::IpAddr, time::Duration};

/// A few seconds of traffic.
const ROUNDS: usize = 1_000;
/// Of a round.
const BURSTS: usize = 8;

/// One alone, a packet of many, alone twice, in a packet of a few, and so on, without a pause: a small one is on the
/// heels of a big one, and would overtake it if it took the shorter way.
fn bursts() -> impl Iterator<Item = Burst> {
    let shape = [
        (1, 100),
        (20, 1_000),
        (1, 60),
        (1, 1_400),
        (3, 1_400),
        (1, 8),
        (40, 300),
        (1, 8),
    ];
    assert_eq!(shape.len(), BURSTS);
    (0..ROUNDS).flat_map(move |_| shape.map(|(count, size)| Burst { count, size }))
}

/// Returns how many of the datagrams came late, of how many that came.
fn late(rig: &Rig, from: IpAddr, to: IpAddr) -> (u64, u64) {
    let catcher = rig.lab.netns("db1").run(|| Catcher::start(to)).unwrap().unwrap();
    let at = catcher.address();
    let pace = Pace {
        together: BURSTS,
        rest: Duration::from_millis(3),
        alone: true,
    };
    let sent = rig
        .lab
        .netns("web1")
        .run(|| send_numbered(from, at, bursts(), pace))
        .unwrap()
        .unwrap();
    let caught = catcher.wait_for(sent, Duration::from_secs(3));
    assert_eq!(caught.damaged, 0, "{caught:?}");
    assert!(
        caught.datagrams > sent * 9 / 10,
        "of {sent} datagrams only {} came: too few to say anything about order",
        caught.datagrams
    );
    (caught.late, caught.datagrams)
}

fn nothing_comes_late(rig: &Rig, what: &str) {
    for (from, to) in [
        (IpAddr::from(WEB1), IpAddr::from(DB1)),
        (WEB1_6.into(), DB1_6.into()),
    ] {
        rig.await_answer("web1", to).unwrap();
        let (late, came) = late(rig, from, to);
        assert_eq!(late, 0, "{what}, to {to}: datagrams out of order, of {came}");
    }
    both_ways_were_used(rig);
}

/// Both ways through h2 must have been used, or there was nothing to mix.
fn both_ways_were_used(rig: &Rig) {
    for direction in ["from_uplink", "from_vxlan"] {
        let passed = rig.passed("h2", direction).unwrap();
        assert!(passed > 1_000, "only {passed} packets went the way {direction}");
    }
}

#[test]
fn nothing_comes_late_on_uplinks_that_cut_and_gather() {
    let wishes = Wishes {
        uplink: Some(Uplink::Napi),
        // A cable would give every packet time to get through before the next one comes.
        ports: Some(Ports::Veth),
        ..Wishes::default()
    };
    let rig = Rig::start("order-napi", wishes).unwrap();
    nothing_comes_late(&rig, "uplinks that gather");
}

#[test]
fn nothing_comes_late_where_big_packets_cross_whole() {
    let rig = Rig::start_default("order-plain").unwrap();
    nothing_comes_late(&rig, "big packets whole");
}
