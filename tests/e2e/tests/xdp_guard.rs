//! The guard in the uplink's driver on whole hosts: off where it costs more than it brings, on where it is asked for,
//! beside a pair that talks, under a stranger's flood, across the agent's death.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use pairgate_api::local::{AgentStatus, LocalGuard};
use pairgate_e2e::{DB1, PATIENCE, Rig};
use pairgate_lab::{
    links, patience,
    plan::{UPLINK, underlay_4},
    probe::{Hail, forge},
    record::Wishes,
    settings::XdpGuard,
    stranger::Stranger,
};

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
    let ends = forge::Ends {
        source_mac: links::mac(stranger.netns(), UPLINK).unwrap(),
        destination_mac: links::mac(&rig.lab.netns("h2"), UPLINK).unwrap(),
        source: stranger.address(),
        destination: underlay_4(2),
    };
    let frame = forge::overlay(ends, 50_000, (0x0011_2233, 7), &[0; 60]).unwrap();
    let hail = stranger
        .netns()
        .run(|| Hail::start(UPLINK, frame))
        .unwrap()
        .unwrap();
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
