//! The life of a pair after its opening: renewed while it is in use, removed when it is not, both ends of it.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use pairgate_agent::datapath::Pins;
use pairgate_api::local::{AgentStatus, LocalPair};
use pairgate_e2e::{DB1, DB2, PATIENCE, Rig, WEB1};
use pairgate_lab::{patience, record::Wishes};
use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

/// The number that a flood's datagram carries, if the frame is one.
fn number(frame: &[u8]) -> Option<u64> {
    let is_flood = frame.get(12..14) == Some(&[8, 0])
        && frame.get(23) == Some(&17)
        && frame.get(36..38) == Some(&[0, 9]);
    let bytes = frame.get(42..50).filter(|_| is_flood)?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

fn pairs(rig: &Rig, host: &str, way: &str) -> Vec<LocalPair> {
    let status = rig.lab.json(&["--host", host, "status"]).unwrap();
    let status: AgentStatus = serde_json::from_value(status).unwrap();
    status
        .pairs
        .into_iter()
        .filter(|pair| pair.way == way && pair.left_ms > 0)
        .collect()
}

fn wishes(token_life_secs: u64) -> Wishes {
    Wishes {
        token_life_secs: Some(token_life_secs),
        ..Wishes::default()
    }
}

#[test]
fn a_steady_stream_over_several_token_lives_loses_no_packet() {
    const LIFE: u64 = 4;
    let rig = Rig::start("life-steady", wishes(LIFE)).unwrap();
    rig.await_answer("web1", DB1).unwrap();
    rig.await_answer("db1", WEB1).unwrap();
    let at_db1 = rig.watch_guest("db1", |frame| number(frame).is_some()).unwrap();
    // Somebody listens: the ICMP errors of a closed port would make the sender's next call fail.
    let _sink = rig.listen(("db1", DB1.into())).unwrap();
    let flood = rig.flood(("web1", WEB1), DB1, 1000).unwrap();
    let started = Instant::now();
    let mut tokens = HashSet::new();
    patience::until(Duration::from_secs(5 * LIFE), "four token lives pass", || {
        let claims = pairs(&rig, "h1", "out")
            .into_iter()
            .filter_map(|pair| pair.claims);
        tokens.extend(claims.map(|claims| claims.expires));
        Ok((started.elapsed() > Duration::from_secs(4 * LIFE)).then_some(()))
    })
    .unwrap();
    let sent = flood.stop().unwrap();
    at_db1.wait_for(sent as usize, Duration::from_secs(1));
    let frames = at_db1.frames();
    let arrived: HashSet<u64> = frames.iter().filter_map(|frame| number(&frame.bytes)).collect();
    let lost: Vec<u64> = (0..sent).filter(|number| !arrived.contains(number)).collect();
    assert!(sent > 10_000, "the stream was no stream: {sent} datagrams");
    assert!(lost.is_empty(), "{} of {sent} were lost: {lost:?}", lost.len());
    // 4 lives, renewed at 40 to 60 % of each: between 6 and 10 tokens after the first.
    assert!(
        (6..=12).contains(&tokens.len()),
        "tokens that ended at {tokens:?}"
    );
    let metrics = rig.metrics("h1").unwrap();
    assert!(
        metrics.contains("pairgate_renewals_total{result=\"failed\"} 0"),
        "{metrics}"
    );
}

#[test]
fn a_registry_that_is_away_for_a_moment_costs_a_pair_in_use_nothing() {
    let rig = Rig::start("life-away", wishes(8)).unwrap();
    rig.await_answer("web1", DB1).unwrap();
    rig.await_answer("db1", WEB1).unwrap();
    std::thread::scope(|scope| {
        // Echoes one after the other for longer than a token's life.
        let echoes = scope.spawn(|| {
            let until = Instant::now() + Duration::from_secs(14);
            let (mut sent, mut received) = (0, 0);
            while Instant::now() < until {
                let some = rig.ping("web1", DB1, 10, 56).unwrap();
                (sent, received) = (sent + some.sent, received + some.received);
                std::thread::sleep(Duration::from_millis(50));
            }
            (sent, received)
        });
        // Away over the instants at which the first renewals are due.
        std::thread::sleep(Duration::from_millis(2500));
        rig.lab.kill("registry").unwrap();
        std::thread::sleep(Duration::from_millis(3000));
        let failed = rig.metrics("h1").unwrap();
        assert!(
            !failed.contains("pairgate_renewals_total{result=\"failed\"} 0"),
            "no renewal was tried"
        );
        rig.lab.start_again("registry").unwrap();
        let (sent, received) = echoes.join().unwrap();
        assert_eq!(sent, received, "lost echoes");
    });
}

#[test]
fn a_pair_that_nobody_uses_is_removed_on_both_sides_and_opens_again() {
    let unused = Wishes {
        idle_secs: Some(2),
        ..Wishes::default()
    };
    let rig = Rig::start("life-idle", unused).unwrap();
    rig.await_answer("web1", DB1).unwrap();
    rig.await_answer("db1", WEB1).unwrap();
    // In use for longer than it may be unused: it stays.
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        assert!(rig.answers("web1", DB1).unwrap(), "a pair in use was removed");
        std::thread::sleep(Duration::from_millis(200));
    }
    for way in ["out", "in"] {
        for host in ["h1", "h2"] {
            patience::until(PATIENCE, &format!("{host} holds nothing {way}"), || {
                Ok(pairs(&rig, host, way).is_empty().then_some(()))
            })
            .unwrap();
        }
    }
    rig.await_answer("web1", DB1).unwrap();
}

/// The pair's token on h1, by its end, and how many tokens h1 was given.
fn token(rig: &Rig) -> (Vec<u64>, String) {
    let claims = pairs(rig, "h1", "out").into_iter().filter_map(|pair| pair.claims);
    let metrics = rig.metrics("h1").unwrap();
    let minted = metrics
        .lines()
        .find(|line| line.contains("mints_total{result=\"minted\"}"));
    (
        claims
            .filter(|claims| claims.dst_addr == DB1)
            .map(|claims| claims.expires)
            .collect(),
        minted.unwrap().to_owned(),
    )
}

fn forget(rig: &Rig, host: &str) {
    let mut entries = Pins::under(&rig.lab.plan().pin_dir(host)).pairs_in().unwrap();
    let handles: Vec<_> = entries.keys().collect::<Result<_, _>>().unwrap();
    assert!(!handles.is_empty(), "{host} had nothing to forget");
    for handle in handles {
        entries.remove(&handle).unwrap();
    }
}

#[test]
fn a_receiver_that_has_forgotten_a_handle_says_so_and_is_shown_the_live_token_again() {
    let rig = Rig::start_default("life-hint").unwrap();
    rig.await_answer("web1", DB1).unwrap();
    rig.await_answer("db1", WEB1).unwrap();
    let before = token(&rig);
    forget(&rig, "h2");
    assert!(!rig.answers("web1", DB1).unwrap(), "the handle was not forgotten");
    rig.await_answer("web1", DB1).unwrap();
    assert_eq!(token(&rig), before, "the same token, and no new one");
    assert!(rig.dropped("h2", "from_uplink", "handle").unwrap() > 0);
}

#[test]
fn a_peer_that_comes_back_without_its_pairs_is_offered_all_live_tokens_at_its_first_word() {
    let rig = Rig::start_default("life-boot").unwrap();
    rig.await_answer("web1", DB1).unwrap();
    let (before, _) = token(&rig);
    rig.lab.kill("agent-h2").unwrap();
    forget(&rig, "h2");
    rig.lab.start_again("agent-h2").unwrap();
    rig.lab.await_settled().unwrap();
    rig.lab.json(&["pair", "allow", "web1", "db2"]).unwrap();
    // Its first word since: the answer to an offer for another guest of its.
    rig.await_answer("web1", DB2).unwrap();
    rig.await_answer("web1", DB1).unwrap();
    assert_eq!(token(&rig).0, before, "a deadline moved by an offer");
}

#[test]
fn one_trip_opens_both_ways_and_the_reply_needs_none() {
    let rig = Rig::start_default("life-both").unwrap();
    rig.await_answer("web1", DB1).unwrap();
    let minted = |host| {
        let metrics = rig.metrics(host).unwrap();
        let line = metrics
            .lines()
            .find(|line| line.contains("mints_total{result=\"minted\"}"));
        line.unwrap().ends_with(" 1")
    };
    assert!(minted("h1"), "one question opened the pair");
    assert!(!minted("h2"), "the reply needed a question of its own");
    for (host, way) in [("h1", "out"), ("h1", "in"), ("h2", "out"), ("h2", "in")] {
        assert_eq!(pairs(&rig, host, way).len(), 1, "{host} {way}");
    }
    // And each direction is a pair of its own: what is denied ends both, at both ends.
    rig.lab.json(&["pair", "deny", "web1", "db1"]).unwrap();
    assert!(!rig.answers("web1", DB1).unwrap());
    for host in ["h1", "h2"] {
        patience::until(PATIENCE, &format!("{host} holds nothing"), || {
            let left = pairs(&rig, host, "out").len() + pairs(&rig, host, "in").len();
            Ok((left == 0).then_some(()))
        })
        .unwrap();
    }
}
