//! When a denial is applied and a moved VM opens: receipts, leases, restarts.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "each test binary uses a part of it")]
mod support;

use pairgate_api::grpc::{self, tombstone::Dead};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::*;
use tonic::Code;

fn dead_pairs(state: &grpc::GoalState) -> Vec<u64> {
    let pair = |dead: &Dead| match dead {
        Dead::PairId(id) => Some(*id),
        Dead::VmFloor(_) | Dead::HostId(_) => None,
    };
    state
        .tombstones
        .iter()
        .filter_map(|tombstone| pair(tombstone.dead.as_ref()?))
        .collect()
}

fn floor(state: &grpc::GoalState, vm_id: &Value) -> Option<u32> {
    let id: uuid::Uuid = vm_id.as_str().unwrap().parse().unwrap();
    state
        .tombstones
        .iter()
        .find_map(|tombstone| match tombstone.dead.as_ref()? {
            Dead::VmFloor(floor) if floor.vm_id == id.as_bytes() => Some(floor.generation),
            Dead::VmFloor(_) | Dead::PairId(_) | Dead::HostId(_) => None,
        })
}

#[tokio::test]
async fn a_denial_is_applied_when_the_hosts_of_both_directions_have_given_their_receipts() {
    let mut service = Service::new(600, 60).await;
    let (mut h1, mut h2) = service.laboratory().await;
    let (mut one, mut two) = (h1.follow(b"one").await, h2.follow(b"two").await);
    h1.lease().await;
    h2.lease().await;
    let (denial, ()) = tokio::join!(service.deny(5_000), async {
        let state = one.next().await.unwrap().unwrap();
        let state = one.until(state.revision + 1).await;
        assert_eq!(dead_pairs(&state), [1, 2]);
        one.receipt(state.revision).await;
        let state = two.until(state.revision).await;
        // Neither an older nor a made-up revision counts.
        two.receipt(state.revision - 1).await;
        two.receipt(state.revision + 100).await;
        two.receipt(state.revision).await;
    });
    assert_eq!(denial["applied"], true, "{denial}");
    for direction in denial["directions"].as_array().unwrap() {
        assert_eq!(direction["state"], "applied", "{denial}");
        assert_eq!(
            (&direction["undrained"], &direction["applied_unix_ms"]),
            (&json!(3), &json!(1000))
        );
    }
    assert_eq!(denial["told"], json!(["h1", "h2"]));
    let again = service.deny(0).await;
    assert_eq!(again["applied"], true, "asked again, the same receipts count");
    assert_eq!(again["revision"], denial["revision"]);
    assert_eq!(
        again["directions"][0]["pair_id"],
        denial["directions"][0]["pair_id"]
    );

    let pairs = service
        .post("/api/v1/networks/default/pairs", pair("db1", "web1"))
        .await;
    let ids: Vec<_> = pairs["pairs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| pair["id"].as_u64().unwrap())
        .collect();
    assert!(
        ids.iter().all(|id| *id > 2),
        "a denied id is dead for ever: {ids:?}"
    );
    service.stop().await;
}

#[tokio::test]
async fn a_denial_that_nobody_answers_says_who_and_until_when_and_ends_with_the_lease() {
    let mut service = Service::new(600, 2).await;
    let (mut h1, mut h2) = service.laboratory().await;
    h1.lease().await;
    let granted = h2.lease().await;
    let denial = service.deny(200).await;
    assert_eq!(denial["applied"], false);
    let toward_db1 = &denial["directions"][0];
    assert_eq!(
        (&toward_db1["host"], &toward_db1["state"]),
        (&json!("h2"), &json!("unanswered"))
    );
    let ends = toward_db1["lease_ends_unix_ms"].as_u64().unwrap();
    assert!((granted.registry_unix_ms + 2_000..=granted.registry_unix_ms + 2_010).contains(&ends));
    let began = Instant::now();
    let denial = service.deny(9_000).await;
    assert_eq!(denial["applied"], true, "{denial}");
    assert_eq!(denial["directions"][0]["state"], "lease_ended");
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "it waits for the lease and no longer"
    );
    service.stop().await;
}

#[tokio::test]
async fn after_a_restart_every_enrolled_host_may_still_hold_a_lease() {
    let mut service = Service::new(600, 60).await;
    let (_h1, mut h2) = service.laboratory().await;
    service.stop().await;
    service.start().await;
    h2.client = service.agents(&h2.credentials);
    let denial = service.deny(100).await;
    assert_eq!(
        denial["applied"], false,
        "no lease was granted since the start, but before it there may be"
    );
    let pairs = service.get("/api/v1/networks/default/pairs").await;
    assert_eq!(pairs, json!([]), "the denial stands all the same");
    let mut two = h2.follow(b"two").await;
    let state = two.next().await.unwrap().unwrap();
    assert_eq!(dead_pairs(&state), [1, 2], "tombstones outlive the service");
    service.stop().await;
}

#[tokio::test]
async fn a_moved_vm_opens_only_when_its_host_before_is_fenced() {
    let mut service = Service::new(600, 60).await;
    let (mut h1, mut h2) = service.laboratory().await;
    let mut h3 = service.enrol("h3").await;
    let (mut one, mut two, mut three) = (
        h1.follow(b"1").await,
        h2.follow(b"2").await,
        h3.follow(b"3").await,
    );
    let web1 = vm(&one.next().await.unwrap().unwrap(), "web1").unwrap().clone();
    h2.lease().await;
    let before = vm(&two.next().await.unwrap().unwrap(), "db1")
        .unwrap()
        .secret_key
        .clone();

    let moved = service.place("db1", "h3").await;
    assert_eq!(moved["placement"]["state"], "waiting");
    assert_eq!(moved["placement"]["generation"], 2);
    let status = service.get("/api/v1/status").await;
    let revision = status["revision"].as_u64().unwrap();
    let state3 = three.until(revision).await;
    assert!(
        vm(&state3, "db1").is_none(),
        "no key before the host before is fenced"
    );
    assert_eq!(floor(&state3, &moved["id"]), Some(2));
    let ask = question(&web1, "10.77.0.21", 1, now_unix_secs());
    assert!(
        h1.mint(ask).await.unwrap().is_none(),
        "a waiting VM is not placed"
    );

    // A second move while waiting must still wait for h2; then back to h3.
    service.place("db1", "h1").await;
    let moved = service.place("db1", "h3").await;
    assert_eq!(
        moved["placement"]["state"], "waiting",
        "the first host's fence is not lost"
    );
    let denied = service.deny(100).await;
    assert_eq!(
        denied["directions"][0]["host"], "h2",
        "who can still deliver: {denied}"
    );
    assert_eq!(denied["applied"], false);

    let state2 = two.until(revision).await;
    assert!(vm(&state2, "db1").is_none() && vm(&state2, "db2").is_some());
    two.receipt(state2.revision).await;
    let state3 = loop {
        let state = three.until(revision + 1).await;
        if vm(&state, "db1").is_some() {
            break state;
        }
    };
    let db1 = vm(&state3, "db1").unwrap();
    assert_eq!(db1.generation, 4, "every placement burns a number");
    assert_ne!(db1.secret_key, before, "and begins with a new key");
    let shown = service.get("/api/v1/networks/default/vms/db1").await;
    assert_eq!(shown["placement"]["state"], "open");
    service.stop().await;
}

#[tokio::test]
async fn a_placement_on_the_same_host_begins_at_once_with_a_new_key() {
    let mut service = Service::new(600, 60).await;
    let (_, mut h2) = service.laboratory().await;
    let mut two = h2.follow(b"2").await;
    h2.lease().await;
    let before = two.next().await.unwrap().unwrap();
    let placed = service.place("db1", "h2").await;
    assert_eq!(placed["placement"]["state"], "open");
    assert_eq!(
        placed["placement"]["tap"], "tap-db1",
        "its own tap is not taken by another"
    );
    let after = two.until(before.revision + 1).await;
    assert_eq!(vm(&after, "db1").unwrap().generation, 2);
    assert_ne!(
        vm(&after, "db1").unwrap().secret_key,
        vm(&before, "db1").unwrap().secret_key
    );
    assert_eq!(floor(&after, &placed["id"]), Some(2));
    service.stop().await;
}

#[tokio::test]
async fn a_newer_stream_of_a_host_ends_the_older_one() {
    let mut service = Service::new(600, 60).await;
    let (mut h1, _) = service.laboratory().await;
    let mut older = h1.follow(b"one").await;
    older.next().await.unwrap();
    let mut newer = h1.follow(b"one").await;
    newer.next().await.unwrap();
    assert_eq!(older.ended_because().await, Code::Aborted);
    assert_eq!(service.get("/api/v1/hosts/h1").await["connected"], true);
    service.stop().await;
    assert_ne!(newer.ended_because().await, Code::Aborted);
}

#[tokio::test]
async fn a_denial_of_what_was_never_allowed_or_never_placed_is_applied_at_once() {
    let mut service = Service::new(600, 60).await;
    service.laboratory().await;
    let vms = "/api/v1/networks/default/vms";
    let lone = service.post(vms, json!({"name": "lone"})).await;
    assert_eq!(
        lone["addresses"],
        json!([{"address": "10.77.0.2", "prefix": 24}, {"address": "fd77::2", "prefix": 64}]),
        "of each prefix the lowest address that is free, the first left out"
    );
    let denials = "/api/v1/networks/default/denials";
    let never = json!({"source": "web1", "destination": "db2", "timeout_ms": 1000});
    let denial = service.post(denials, never).await;
    assert_eq!(
        (&denial["applied"], &denial["directions"]),
        (&json!(true), &json!([]))
    );
    service
        .post("/api/v1/networks/default/pairs", pair("lone", "web1"))
        .await;
    let denial = service
        .post(
            denials,
            json!({"source": "lone", "destination": "web1", "timeout_ms": 0}),
        )
        .await;
    assert_eq!(denial["directions"][1]["state"], "not_placed", "{denial}");
    service.stop().await;
}

#[tokio::test]
async fn a_vm_moves_at_once_from_a_host_that_never_had_a_lease() {
    let mut service = Service::new(600, 60).await;
    let (_, mut h2) = service.laboratory().await;
    let moved = service.place("db1", "h3").await;
    assert_eq!(moved["placement"]["state"], "open");
    h2.lease().await;
    let moved = service.place("db2", "h3").await;
    assert_eq!(moved["placement"]["state"], "waiting", "now it may hold one");
    service.stop().await;
}

#[tokio::test]
async fn a_host_that_renews_its_lease_and_applies_nothing_puts_nothing_off() {
    let mut service = Service::new(600, 2).await;
    let (mut h1, mut h2) = service.laboratory().await;
    h1.lease().await;
    h2.lease().await;
    let began = Instant::now();
    let renewing = async {
        loop {
            h1.lease().await;
            h2.lease().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let denial = tokio::select! {
        denial = service.deny(9_000) => denial,
        () = renewing => unreachable!("it renews without end"),
    };
    assert_eq!(denial["applied"], true, "{denial}");
    assert_eq!(denial["directions"][0]["state"], "lease_ended");
    assert!(
        (Duration::from_millis(1_500)..Duration::from_secs(5)).contains(&began.elapsed()),
        "it waits for the leases from before the denial, and for no others: {:?}",
        began.elapsed()
    );
    // The same for a move: the new host opens although the old one renews.
    let moved = service.place("db1", "h3").await;
    assert_eq!(moved["placement"]["state"], "waiting");
    let began = Instant::now();
    while service.get("/api/v1/networks/default/vms/db1").await["placement"]["state"] == "waiting" {
        h2.lease().await;
        assert!(began.elapsed() < PATIENCE, "it must open");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    service.stop().await;
}
