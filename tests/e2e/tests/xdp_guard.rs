//! The guard in the uplink's driver on whole hosts: off where it costs more than it brings, on where it is asked for,
//! beside a pair that talks, under a stranger's flood, across the agent's death.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use pairgate_agent::datapath::Pins;
use pairgate_api::local::{AgentStatus, LocalGuard};
use pairgate_e2e::{DB1, PATIENCE, Rig};
use pairgate_lab::{
    links, patience,
    plan::{BRIDGE, Host, UNDERLAY_MTU, UNDERLAY_PREFIX_4, UPLINK, underlay_4},
    probe::{Hail, forge},
    process,
    record::Wishes,
    settings::XdpGuard,
    stranger::Stranger,
    tap,
};
use std::{process::Command, time::Duration};

/// `auto` waits ten seconds before it believes a flood.
const FLOODED: Duration = Duration::from_secs(60);

fn status(rig: &Rig, host: &str) -> AgentStatus {
    // Whatever its exit code says about health.
    let answer = rig.lab.call(&["--host", host, "status", "-o", "json"]).unwrap();
    serde_json::from_value(answer.json().unwrap()).unwrap()
}

fn guard(rig: &Rig, host: &str) -> LocalGuard {
    status(rig, host).xdp_guard.unwrap()
}

fn program(rig: &Rig, host: &str) -> Option<u32> {
    links::xdp_program(&rig.lab.netns(host), UPLINK).unwrap()
}

fn await_on(rig: &Rig, host: &str) {
    patience::until(PATIENCE, &format!("the guard is on at {host}"), || {
        Ok(guard(rig, host).on.then_some(()))
    })
    .unwrap();
}

#[test]
fn on_a_veth_it_is_off_by_itself_and_says_why() {
    let rig = Rig::start_default("xdp-auto").unwrap();
    patience::until(PATIENCE, "the agent has looked", || {
        let said = guard(&rig, "h1");
        let why = said.why.unwrap_or_default();
        Ok((said.setting == "auto" && !said.on && why.contains("veth")).then_some(()))
    })
    .unwrap();
    assert_eq!(
        program(&rig, "h1"),
        None,
        "its peer has lost its segmentation offload"
    );
    assert_eq!(status(&rig, "h1").findings, [], "off by itself is no fault");
}

/// Frames under a handle that nobody gave, one after the other, until dropped.
fn flood(rig: &Rig, stranger: &Stranger) -> Hail {
    let ends = forge::Ends {
        source_mac: links::mac(stranger.netns(), UPLINK).unwrap(),
        destination_mac: links::mac(&rig.lab.netns("h2"), UPLINK).unwrap(),
        source: stranger.address(),
        destination: underlay_4(2),
    };
    let frame = forge::overlay(ends, 50_000, (0x0011_2233, 7), &[0; 60]).unwrap();
    let hail = stranger.netns().run(|| Hail::start(UPLINK, frame));
    hail.unwrap().unwrap()
}

/// Gives h2 an uplink that is no veth and whose driver runs such programs by itself: a tap, with a cable to the bridge.
fn give_a_tap(rig: &Rig) {
    rig.lab.kill("agent-h2").unwrap();
    let (host, net, port) = (rig.lab.netns("h2"), rig.lab.netns("net"), "to-h2");
    links::delete(&host, UPLINK).unwrap();
    for (netns, name) in [(&host, UPLINK), (&net, port)] {
        tap::ensure(netns, name).unwrap();
        links::set_up(netns, name, None, Some(UNDERLAY_MTU)).unwrap();
    }
    links::join_bridge(&net, port, BRIDGE).unwrap();
    let own = Host { number: 2 }.address();
    links::ensure_address(&host, UPLINK, own.into(), UNDERLAY_PREFIX_4).unwrap();
    let mut command = Command::new(rig.lab.programs().path("pairgate-lab").unwrap());
    command.args([
        "cable",
        "--name",
        "uplink",
        "--tap",
        UPLINK,
        "--tap-netns",
        host.name(),
    ]);
    command.args(["--guest", port, "--guest-netns", net.name()]);
    // It ends with the laboratory, in whose namespace it is.
    let log = rig.lab.plan().state_dir.join("cable-uplink.log");
    process::start(&net, "cable-uplink", &mut command, &log).unwrap();
    patience::until(PATIENCE, "the cable is plugged in", || {
        Ok(links::has_carrier(&host, UPLINK)?.then_some(()))
    })
    .unwrap();
    rig.lab.start_again("agent-h2").unwrap();
}

/// Wrong if false: nobody who has not asked for the guard ever gets it, or everybody does.
#[test]
fn by_itself_it_comes_on_in_a_flood_and_not_before() {
    let rig = Rig::start_default("xdp-flood").unwrap();
    give_a_tap(&rig);
    rig.await_answer("web1", DB1).unwrap();
    patience::until(PATIENCE, "the agent has looked", || {
        let said = guard(&rig, "h2");
        let why = said.why.unwrap_or_default();
        Ok((said.setting == "auto" && !said.on && why.contains("no flood")).then_some(()))
    })
    .unwrap();
    let stranger = Stranger::join(rig.lab.plan(), 241).unwrap();
    let hail = flood(&rig, &stranger);
    patience::until(FLOODED, "the guard is on by itself", || {
        Ok(guard(&rig, "h2").on.then_some(()))
    })
    .unwrap();
    rig.await_dropped("h2", "xdp_uplink", "handle", 10_000).unwrap();
    drop(hail);
    rig.await_answer("web1", DB1).unwrap();
    // Long after the flood, so that nobody can put it on and off at will; nor by an agent that starts anew.
    let first = program(&rig, "h2").unwrap();
    rig.lab.kill("agent-h2").unwrap();
    rig.lab.start_again("agent-h2").unwrap();
    patience::until(PATIENCE, "the next agent's program has taken its place", || {
        let now = program(&rig, "h2");
        assert!(now.is_some(), "the guard went off between two agents");
        Ok((now != Some(first) && guard(&rig, "h2").on).then_some(()))
    })
    .unwrap();
    assert_eq!(status(&rig, "h2").findings, [], "by itself it is no fault either");
    assert!(program(&rig, "h1").is_none());
}

#[test]
fn a_strangers_flood_dies_in_the_driver_and_the_guard_outlives_its_agent() {
    let wishes = Wishes {
        xdp_guard: Some(XdpGuard::On),
        ..Wishes::default()
    };
    let rig = Rig::start("xdp-on", wishes).unwrap();
    rig.await_answer("web1", DB1).unwrap();
    await_on(&rig, "h2");
    assert!(rig.metrics("h2").unwrap().contains("\npairgate_xdp_guard 1\n"));
    let before = rig.dropped("h2", "from_uplink", "handle").unwrap();
    let stranger = Stranger::join(rig.lab.plan(), 241).unwrap();
    let hail = flood(&rig, &stranger);
    rig.await_dropped("h2", "xdp_uplink", "handle", 100_000).unwrap();
    // A pair goes on talking.
    let sent = 4_000_000;
    let back = rig.tcp("web1", ("db1", DB1), sent, PATIENCE).unwrap().unwrap();
    assert_eq!(back, sent);
    let told = rig.dropped("h2", "from_uplink", "handle").unwrap() - before;
    assert!(told > 0, "the agent is told of no unknown handle any more");
    assert!(
        told < rig.dropped("h2", "xdp_uplink", "handle").unwrap() / 10,
        "most of it went past the guard: {told}"
    );

    // With another address it would take nothing for this host's any more.
    let mut own = Pins::under(&rig.lab.plan().pin_dir("h2")).uplink_mac().unwrap();
    let written = own.get(&0, 0).unwrap();
    own.set(0, [2, 0, 0, 0, 0, 9, 0, 0], 0).unwrap();
    patience::until(PATIENCE, "the guard's address is as it was", || {
        Ok((own.get(&0, 0)? == written).then_some(()))
    })
    .unwrap();
    patience::until(PATIENCE, "the auditor has counted it", || {
        Ok(status(&rig, "h2").found.get("altered").copied())
    })
    .unwrap();

    let first = program(&rig, "h2").unwrap();
    rig.lab.kill("agent-h2").unwrap();
    assert_eq!(program(&rig, "h2"), Some(first), "it ended with its agent");
    rig.lab.start_again("agent-h2").unwrap();
    patience::until(PATIENCE, "the next agent's program has taken its place", || {
        Ok((program(&rig, "h2").unwrap_or(first) != first && guard(&rig, "h2").on).then_some(()))
    })
    .unwrap();
    drop(hail);
    rig.await_answer("web1", DB1).unwrap();
    let status = status(&rig, "h2");
    assert_eq!(
        status.findings,
        [],
        "the auditor takes its own guard for somebody else's"
    );
    assert_eq!(status.found.get("foreign"), None);
}
