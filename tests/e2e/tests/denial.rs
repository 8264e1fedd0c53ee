//! A denial has happened when the command returns.
use nix::sys::signal::Signal;
use pairgate_api::rest::Denial;
use pairgate_e2e::{Answer, DB1, DB2, PATIENCE, Rig, WEB1};
use pairgate_lab::record::Wishes;
use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, SystemTime},
};

/// How long a flood goes on after a denial, to show that nothing more comes.
const AFTERWARDS: Duration = Duration::from_millis(500);
const FLOOD: u32 = 20_000;

fn is_flood(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[8, 0]) && frame.get(23) == Some(&17)
}

#[test]
fn under_load_nothing_arrives_after_a_denial_has_returned() {
    let rig = Rig::start_default("deny-under-load").unwrap();
    nothing_arrives_after_a_denial(&rig, ("web1", WEB1), ("db1", DB1)).unwrap();
}

#[test]
fn nor_between_two_guests_of_one_host() {
    let rig = Rig::start_default("deny-inside").unwrap();
    rig.lab.json(&["pair", "allow", "db1", "db2"]).unwrap();
    nothing_arrives_after_a_denial(&rig, ("db1", DB1), ("db2", DB2)).unwrap();
}

fn nothing_arrives_after_a_denial(
    rig: &Rig,
    one: (&str, Ipv4Addr),
    other: (&str, Ipv4Addr),
) -> anyhow::Result<()> {
    for round in 0..5 {
        rig.await_answer(one.0, other.1)?;
        let receiver = rig.watch_guest(other.0, is_flood)?;
        let flood = rig.flood(one, other.1, FLOOD)?;
        assert!(
            receiver.wait_for(1000, PATIENCE),
            "round {round}: the flood does not arrive"
        );
        let denial: Denial = serde_json::from_value(rig.lab.json(&["pair", "deny", one.0, other.0])?)?;
        let returned = SystemTime::now();
        std::thread::sleep(AFTERWARDS);
        let sent = flood.stop()?;
        let late = receiver
            .frames()
            .iter()
            .filter(|frame| frame.at > returned)
            .count();
        // A guest that does not read is waited for a little, and its receipt says what it may still read.
        let undrained: u64 = denial
            .directions
            .iter()
            .map(|direction| direction.undrained)
            .sum();
        assert!(
            late as u64 <= undrained,
            "round {round}: {late} packets after the denial had returned with {undrained} unread, {sent} sent"
        );
        assert!(denial.applied);
        assert_eq!(denial.directions.len(), 2);
        for direction in &denial.directions {
            assert_eq!(direction.state, "applied", "{direction:?}");
            assert!(direction.applied_unix_ms.is_some());
        }
        assert_eq!(rig.ping(one.0, other.1, 2, 56)?.received, 0);
        assert_eq!(rig.ping(other.0, one.1, 2, 56)?.received, 0);
        rig.lab.json(&["pair", "allow", one.0, other.0])?;
    }
    rig.await_answer(one.0, other.1)?;
    Ok(())
}

#[test]
fn a_running_tcp_stream_ends_with_its_pair() {
    let rig = Rig::start_default("deny-stream").unwrap();
    rig.await_answer("web1", DB1).unwrap();
    let endless = 1 << 30;
    std::thread::scope(|scope| {
        let stream = scope.spawn(|| {
            rig.tcp("web1", ("db1", DB1), endless, Duration::from_secs(2))
                .unwrap()
        });
        let at_db1 = rig.watch_guest("db1", |frame| frame.get(23) == Some(&6)).unwrap();
        assert!(at_db1.wait_for(100, PATIENCE), "the stream does not run");
        rig.lab.json(&["pair", "deny", "web1", "db1"]).unwrap();
        let returned = SystemTime::now();
        assert!(stream.join().unwrap().is_err(), "the stream went on to its end");
        let late = at_db1.frames().iter().filter(|frame| frame.at > returned).count();
        assert_eq!(late, 0, "segments arrived after the denial had returned");
    });
}

#[test]
fn a_token_from_before_a_denial_opens_nothing_after_it() {
    let rig = Rig::start_default("deny-token").unwrap();
    rig.await_answer("web1", DB1).unwrap();
    let (h1, h2) = (rig.steal("h1").unwrap(), IpAddr::from([192, 0, 2, 2]));
    rig.lab.kill("agent-h1").unwrap();
    let web1 = h1.vm("web1").unwrap();
    let kept = h1.mint(&web1, DB1.into()).unwrap().unwrap();
    assert!(
        matches!(h1.offer(h2, &kept.bytes).unwrap(), Answer::Accepted { .. }),
        "the token is good before"
    );
    let unused = h1.mint(&web1, DB1.into()).unwrap().unwrap();
    rig.lab.start_again("agent-h1").unwrap();
    rig.lab.await_settled().unwrap();
    rig.lab.json(&["pair", "deny", "web1", "db1"]).unwrap();
    for token in [&kept, &unused] {
        assert_eq!(
            h1.offer(h2, &token.bytes).unwrap(),
            Answer::Refused("dead_pair".into())
        );
    }
    assert!(
        h1.mint(&web1, DB1.into()).unwrap().is_none(),
        "the registry mints for a denied pair"
    );
}

#[test]
fn a_silent_host_is_named_and_the_denial_stands_when_it_wakes() {
    let rig = Rig::start_default("deny-silent").unwrap();
    rig.await_answer("web1", DB1).unwrap();
    let agent = rig.lab.process("agent-h2").unwrap();
    agent.signal(Signal::SIGSTOP).unwrap();
    let answer = rig
        .lab
        .call(&["pair", "deny", "web1", "db1", "--timeout", "1", "-o", "json"])
        .unwrap();
    assert_eq!(answer.code, 1, "{answer:?}");
    let denial: Denial = serde_json::from_value(answer.json().unwrap()).unwrap();
    assert!(!denial.applied);
    let silent: Vec<_> = denial
        .directions
        .iter()
        .filter(|direction| direction.state == "unanswered")
        .collect();
    assert_eq!(silent.len(), 1, "{denial:?}");
    assert_eq!(
        (silent[0].host.as_deref(), silent[0].destination.as_str()),
        (Some("h2"), "db1")
    );
    assert!(silent[0].lease_ends_unix_ms.is_some());
    let words = rig
        .lab
        .call(&["pair", "deny", "web1", "db1", "--timeout", "1"])
        .unwrap();
    assert!(
        words.code == 1 && format!("{}{}", words.stdout, words.stderr).contains("h2"),
        "{words:?}"
    );
    agent.signal(Signal::SIGCONT).unwrap();
    let again = rig.lab.json(&["pair", "deny", "web1", "db1"]).unwrap();
    assert!(serde_json::from_value::<Denial>(again).unwrap().applied);
    assert_eq!(rig.ping("web1", DB1, 2, 56).unwrap().received, 0);
}

#[test]
fn a_dead_host_cannot_hold_a_denial_up_longer_than_its_lease() {
    let rig = Rig::start(
        "deny-lease",
        Wishes {
            hosts: None,
            token_life_secs: Some(60),
            lease_secs: Some(4),
            ..Wishes::default()
        },
    )
    .unwrap();
    rig.await_answer("web1", DB1).unwrap();
    rig.lab.kill("agent-h2").unwrap();
    assert!(
        rig.answers("web1", DB1).unwrap(),
        "the kernel goes on without the agent"
    );
    let denied: Denial =
        serde_json::from_value(rig.lab.json(&["pair", "deny", "web1", "db1"]).unwrap()).unwrap();
    assert!(denied.applied);
    assert!(
        denied
            .directions
            .iter()
            .any(|direction| direction.state == "lease_ended"),
        "{denied:?}"
    );
    assert_eq!(
        rig.ping("web1", DB1, 2, 56).unwrap().received,
        0,
        "the host went on beyond its lease"
    );
}
