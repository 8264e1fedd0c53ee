//! A flow's datagrams arrive in the order in which they were sent, although big packets and small ones take
//! different ways through the receiving host.

use pairgate_e2e::{DB1, DB1_6, PATIENCE, Rig, WEB1, WEB1_6};
use pairgate_lab::{
    ethtool,
    plan::UPLINK,
    probe::{Burst, Catcher, send_numbered},
    record::Wishes,
    settings::Uplink,
};
use std::{net::IpAddr, time::Duration};

/// A few seconds of traffic.
const ROUNDS: usize = 1_500;

/// Alone, in a packet of many, alone twice, in a packet of a few, and so on; pauses around the 10 ms for which a
/// flow keeps to the way of its big packets would be too rare to matter, so there are none inside a round.
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
    (0..ROUNDS).flat_map(move |_| shape.map(|(count, size)| Burst { count, size }))
}

/// Returns how many of the datagrams came late, of how many that came.
fn late(rig: &Rig, from: IpAddr, to: IpAddr) -> (u64, u64) {
    let catcher = rig.lab.netns("db1").run(|| Catcher::start(to)).unwrap().unwrap();
    let at = catcher.address();
    let pause = Duration::from_micros(50);
    let sent = rig
        .lab
        .netns("web1")
        .run(|| send_numbered(from, at, bursts(), pause))
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
    // What was big must not have been turned away, or the ways were never mixed.
    assert!(rig.tcp("web1", ("db1", DB1), 1 << 20, PATIENCE).unwrap().is_ok());
}

#[test]
fn nothing_comes_late_on_uplinks_that_cut_and_gather() {
    let wishes = Wishes {
        uplink: Some(Uplink::Napi),
        ..Wishes::default()
    };
    let rig = Rig::start("order-napi", wishes).unwrap();
    nothing_comes_late(&rig, "datagrams cut at the uplink");
    // Datagrams are gathered too, as a router's card does: what arrives is big now and small then.
    for host in ["h1", "h2"] {
        let netns = rig.lab.netns(host);
        ethtool::set_features(&netns, UPLINK, &[("rx-udp-gro-forwarding", true)]).unwrap();
    }
    nothing_comes_late(&rig, "datagrams cut and gathered at the uplink");
}

#[test]
fn nothing_comes_late_where_big_packets_cross_whole() {
    let rig = Rig::start_default("order-plain").unwrap();
    nothing_comes_late(&rig, "big packets whole");
}
