//! What goes on, what ends and what comes back when a part is gone.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use pairgate_agent::datapath::Pins;
use pairgate_api::local::AgentStatus;
use pairgate_e2e::{DB1, DB2, PATIENCE, Rig, WEB1};
use pairgate_lab::{patience, record::Wishes};
use std::time::{Duration, Instant};

#[test]
fn without_the_registry_what_is_open_lives_and_nothing_new_opens() {
    let rig = Rig::start_default("registry-gone").unwrap();
    rig.await_answer("web1", DB1).unwrap();
    rig.lab.json(&["pair", "allow", "web1", "db2"]).unwrap();
    rig.lab.kill("registry").unwrap();
    assert!(
        rig.ping("web1", DB1, 20, 56).unwrap().all(),
        "the open pair fell with the registry"
    );
    assert_eq!(
        rig.ping("web1", DB2, 10, 56).unwrap().received,
        0,
        "a pair opened without the registry"
    );
    let gone = rig.lab.call(&["status"]).unwrap();
    assert_eq!(gone.code, 3, "the CLI cannot tell: {gone:?}");
    rig.lab.start_again("registry").unwrap();
    rig.await_answer("web1", DB2).unwrap();
    assert!(rig.ping("web1", DB1, 5, 56).unwrap().all());
    rig.lab.await_settled().unwrap();
}

/// Both agents dead: how long after its opening a pair is still answered.
fn life_without_agents(name: &str, token_life_secs: u64, lease_secs: u64) -> (Rig, Duration) {
    let wishes = Wishes {
        hosts: None,
        token_life_secs: Some(token_life_secs),
        lease_secs: Some(lease_secs),
        ..Wishes::default()
    };
    let rig = Rig::start(name, wishes).unwrap();
    rig.await_answer("web1", DB1).unwrap();
    let open = Instant::now();
    rig.lab.kill("agent-h1").unwrap();
    rig.lab.kill("agent-h2").unwrap();
    assert!(rig.answers("web1", DB1).unwrap(), "the pair died with its agents");
    patience::until(2 * PATIENCE, "the pair ends", || {
        Ok((!rig.answers("web1", DB1)?).then_some(()))
    })
    .unwrap();
    (rig, open.elapsed())
}

/// The instants of death are compared with a measured start, so a little more than the set life is allowed:
/// the lost echo that tells the end, and this machine's pace.
const SLACK: Duration = Duration::from_secs(1);

#[test]
fn without_agents_a_pair_lives_to_its_tokens_end_and_comes_back_with_them() {
    let (rig, lived) = life_without_agents("agents-gone-token", 6, 3600);
    assert!(
        lived <= Duration::from_secs(6) + SLACK,
        "lived {lived:?} with a token of 6 s"
    );
    rig.lab.start_again("agent-h1").unwrap();
    rig.lab.start_again("agent-h2").unwrap();
    rig.await_answer("web1", DB1).unwrap();
}

#[test]
fn without_agents_a_pair_lives_to_the_end_of_the_host_lease() {
    // Half of it may be over when the agents die: what is left must be longer than it takes to find them dead and ask.
    let (rig, lived) = life_without_agents("agents-gone-lease", 3600, 10);
    assert!(
        lived <= Duration::from_secs(10) + SLACK,
        "lived {lived:?} with a lease of 10 s"
    );
    rig.lab.start_again("agent-h1").unwrap();
    rig.lab.start_again("agent-h2").unwrap();
    rig.await_answer("web1", DB1).unwrap();
}

#[test]
fn an_agent_that_is_killed_and_started_again_loses_no_packet() {
    let rig = Rig::start_default("agent-restart").unwrap();
    rig.await_answer("web1", DB1).unwrap();
    rig.await_answer("db1", WEB1).unwrap();
    std::thread::scope(|scope| {
        let echoes = scope.spawn(|| rig.ping("web1", DB1, 3000, 56).unwrap());
        for agent in ["agent-h1", "agent-h2"] {
            rig.lab.kill(agent).unwrap();
            rig.lab.start_again(agent).unwrap();
        }
        rig.lab.await_settled().unwrap();
        let echoes = echoes.join().unwrap();
        assert!(
            echoes.all(),
            "lost {} of {} echoes",
            echoes.sent - echoes.received,
            echoes.sent
        );
    });
}

#[test]
fn with_only_one_direction_in_the_maps_only_that_direction_passes() {
    let rig = Rig::start_default("one-way-map").unwrap();
    rig.await_answer("web1", DB1).unwrap();
    // No agent that could open the other direction again.
    rig.lab.kill("agent-h1").unwrap();
    rig.lab.kill("agent-h2").unwrap();
    let pins = Pins::under(&rig.lab.plan().pin_dir("h2"));
    let mut out = pins.pairs_out().unwrap();
    let keys: Vec<_> = out.keys().collect::<Result<_, _>>().unwrap();
    assert!(!keys.is_empty(), "db1 had no way back to begin with");
    for key in keys {
        out.remove(&key).unwrap();
    }
    let at_db1 = rig.watch_guest("db1", |frame| frame.get(23) == Some(&1)).unwrap();
    let at_web1 = rig
        .watch_guest("web1", |frame| frame.get(23) == Some(&1))
        .unwrap();
    assert_eq!(rig.ping("web1", DB1, 5, 56).unwrap().received, 0);
    assert!(
        at_db1.wait_for(5, PATIENCE),
        "the direction that is in the maps does not pass"
    );
    assert_eq!(at_web1.count(), 0, "the direction that is not in the maps passes");
}

#[test]
fn an_expired_pair_opens_again_with_the_next_packet() {
    let rig = Rig::start(
        "expired-reopens",
        Wishes {
            hosts: None,
            token_life_secs: Some(2),
            lease_secs: None,
            ..Wishes::default()
        },
    )
    .unwrap();
    rig.await_answer("web1", DB1).unwrap();
    // A pair that is used would be renewed, so its guests are silent until it has ended.
    patience::until(PATIENCE, "every pair has ended", || {
        let status: AgentStatus = serde_json::from_value(rig.lab.json(&["--host", "h1", "status"])?)?;
        Ok(status.pairs.iter().all(|pair| pair.left_ms == 0).then_some(()))
    })
    .unwrap();
    assert!(
        rig.answers("web1", DB1).unwrap(),
        "the first packet after a pair's end is held while the pair opens again"
    );
}
