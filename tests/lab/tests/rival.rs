//! The rival of benchmarks carries what it should, with every kind of port and uplink. Needs root.

#![expect(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

use pairgate_lab::netns::Netns;
use pairgate_lab::plan::{Prefix, UPLINK};
use pairgate_lab::probe::{EchoServer, Sink, exchange, ping, pour};
use pairgate_lab::programs::Programs;
use pairgate_lab::rival::Rival;
use pairgate_lab::settings::{Ports, Underlay, Uplink, Wishes};
use pairgate_lab::{is_root, links};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const SHORT: Duration = Duration::from_secs(5);
const DB1: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 21);

fn built(prefix: &str, wishes: Wishes) {
    if !is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let state = state.path().join("rival");
    let programs = Programs::in_folder(
        std::path::Path::new(env!("CARGO_BIN_EXE_pairgate-lab"))
            .parent()
            .unwrap(),
    );
    let rival = Rival::start(Prefix::new(prefix).unwrap(), &state, wishes, &programs, None).unwrap();
    let (web, db) = (rival.netns("web1"), rival.netns("db1"));
    let echoes = web.run(|| ping(DB1, 3, 1400, SHORT)).unwrap().unwrap();
    assert!(echoes.received >= 2, "{wishes:?}: {echoes:?}");
    for at in [IpAddr::V4(DB1), "fd77::21".parse().unwrap()] {
        let server = db.run(|| EchoServer::start(at)).unwrap().unwrap();
        let same = web
            .run(|| exchange(server.address(), 1 << 20, SHORT))
            .unwrap()
            .unwrap();
        assert_eq!(same, 1 << 20, "{wishes:?}: {at}");
    }
    let sizes = poured(&rival, &web, &db);
    let napi = wishes.uplink == Some(Uplink::Napi);
    assert_eq!(
        sizes < 2_000.0,
        napi,
        "{wishes:?}: packets of {sizes:.0} bytes on the uplink; only with --uplink napi they are cut before it"
    );
    let namespace = rival.netns("h1");
    drop(rival);
    assert!(!namespace.path().exists() && !state.exists());
}

/// Mean size of what leaves by the uplink while a stream runs.
fn poured(rival: &Rival, web: &Netns, db: &Netns) -> f64 {
    let h1 = rival.netns("h1");
    let before = links::counters(&h1, UPLINK).unwrap();
    let sink = db.run(|| Sink::start(DB1.into())).unwrap().unwrap();
    let at = sink.address();
    web.run(|| pour(at, Duration::from_millis(300))).unwrap().unwrap();
    assert!(sink.finish().unwrap() > 1 << 20);
    let after = links::counters(&h1, UPLINK).unwrap();
    (after.tx_bytes - before.tx_bytes) as f64 / (after.tx_packets - before.tx_packets) as f64
}

#[test]
fn it_carries_big_packets_over_taps_and_cables() {
    built("pgtrtap-", Wishes::default());
}

#[test]
fn it_carries_big_packets_over_veth_and_ipv6() {
    built(
        "pgtrveth-",
        Wishes {
            ports: Some(Ports::Veth),
            underlay: Some(Underlay::V6),
            ..Wishes::default()
        },
    );
}

#[test]
fn it_carries_small_packets_over_uplinks_like_network_cards() {
    built(
        "pgtrnapi-",
        Wishes {
            uplink: Some(Uplink::Napi),
            ..Wishes::default()
        },
    );
}
