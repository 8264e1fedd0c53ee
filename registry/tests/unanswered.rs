//! What a host has not confirmed goes on counting: in every later change that concerns it, and past a reset.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "each test binary uses a part of it")]
mod support;

use hyper::StatusCode;
use serde_json::{Value, json};
use support::*;

const VMS: &str = "/api/v1/networks/default/vms";
const PAIRS: &str = "/api/v1/networks/default/pairs";

/// Host and state of every direction.
fn states(denial: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let row = |direction: &Value| (text(&direction["host"]), text(&direction["state"]));
    denial["directions"].as_array().unwrap().iter().map(row).collect()
}

fn row(host: &str, state: &str) -> (String, String) {
    (host.to_owned(), state.to_owned())
}

impl Service {
    async fn change(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.rest(method, path, body).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    /// A laboratory whose h2 holds a lease and says nothing any more.
    async fn with_a_silent_host() -> (Self, Host, Host) {
        let service = Self::new(600, 60).await;
        let (h1, mut h2) = service.laboratory().await;
        h2.lease().await;
        (service, h1, h2)
    }
}

/// Wrong if it fails: `applied` is said while the host still delivers what an earlier denial was to end.
#[tokio::test]
async fn a_removal_counts_what_earlier_denials_left_unanswered() {
    let (mut service, _h1, _h2) = Service::with_a_silent_host().await;
    assert_eq!(service.deny(50).await["applied"], false);
    let removed = service
        .change("DELETE", &format!("{VMS}/db1?timeout_ms=50"), None)
        .await;
    assert_eq!(removed["applied"], false, "{removed}");
    assert_eq!(states(&removed), [row("h2", "unanswered")]);
    service.stop().await;
}

#[tokio::test]
async fn a_removal_counts_what_went_with_a_vm_that_is_gone() {
    let (mut service, _h1, _h2) = Service::with_a_silent_host().await;
    let web1 = service.get(&format!("{VMS}/web1")).await;
    service
        .change("DELETE", &format!("{VMS}/web1?timeout_ms=50"), None)
        .await;
    let removed = service
        .change("DELETE", &format!("{VMS}/db1?timeout_ms=50"), None)
        .await;
    assert_eq!(removed["applied"], false, "{removed}");
    assert_eq!(removed["directions"][0]["source"], web1["id"], "its name is free");
    service.stop().await;
}

#[tokio::test]
async fn other_addresses_count_what_earlier_denials_left_unanswered() {
    let (mut service, _h1, _h2) = Service::with_a_silent_host().await;
    service.deny(50).await;
    let path = format!("{VMS}/db1/addresses");
    for again in [false, true] {
        let body = json!({"addresses": ["10.77.0.99"], "timeout_ms": 50});
        let answer = service.change("PUT", &path, Some(body)).await;
        assert_eq!(answer["ended"]["applied"], false, "again: {again}, {answer}");
        assert_eq!(states(&answer["ended"]), [row("h2", "unanswered")]);
    }
    service.stop().await;
}

/// Wrong if it fails: an operator who denies everything and allows a little of it again believes the little.
#[tokio::test]
async fn a_smaller_grant_counts_what_an_earlier_denial_left_unanswered() {
    let (mut service, _h1, _h2) = Service::with_a_silent_host().await;
    service.deny(50).await;
    let body = json!({"source": "web1", "destination": "db1", "grant": ["tcp/443"], "timeout_ms": 50});
    let allowed = service.post(PAIRS, body).await;
    assert_eq!(allowed["ended"]["applied"], false, "{allowed}");
    assert_eq!(states(&allowed["ended"]), [row("h2", "unanswered")]);
    service.stop().await;
}

/// Applies everything that there is.
async fn apply_all(host: &mut Host, boot_id: &[u8]) -> Follower {
    let mut follower = host.follow(boot_id).await;
    let state = follower.next().await.unwrap().unwrap();
    follower.receipt(state.revision).await;
    host.lease().await;
    follower
}

/// Wrong if it fails: a stolen host that was reset goes on delivering, and its successor's word hides it.
#[tokio::test]
async fn the_agent_after_a_reset_does_not_speak_for_the_one_before() {
    let mut service = Service::new(600, 60).await;
    let (_h1, mut stolen) = service.laboratory().await;
    let _before = apply_all(&mut stolen, b"one").await;
    service.post("/api/v1/hosts/h2/reset", json!(null)).await;
    let mut again = service.enrol("h2").await;
    for boot_id in [b"two", b"six"] {
        service.deny(0).await;
        let _follower = apply_all(&mut again, boot_id).await;
        let denial = service.deny(700).await;
        assert_eq!(denial["applied"], false, "{denial}");
        assert!(states(&denial).contains(&row("h2", "unanswered")), "{denial}");
        let placed = service.place("db2", "h3").await;
        assert_eq!(
            placed["placement"]["state"], "waiting",
            "the one before may act for it"
        );
        service.stop().await;
        service.start().await;
        again.client = service.agents(&again.credentials);
    }
    service.stop().await;
}

#[tokio::test]
async fn once_the_lease_of_before_a_reset_is_over_the_agent_of_now_is_enough() {
    let mut service = Service::new(600, 2).await;
    let (_h1, mut before) = service.laboratory().await;
    before.lease().await;
    service.post("/api/v1/hosts/h2/reset", json!(null)).await;
    let mut again = service.enrol("h2").await;
    let mut follower = apply_all(&mut again, b"two").await;
    let (denial, ()) = tokio::join!(service.deny(5_000), async {
        let state = follower.next().await.unwrap().unwrap();
        follower.receipt(state.revision).await;
    });
    assert_eq!(denial["applied"], true, "{denial}");
    service.stop().await;
}

/// Wrong if it fails: peers take a removed host for a good one as soon as its tombstone is forgotten.
#[tokio::test]
async fn a_removed_host_is_remembered_as_long_as_its_certificate_holds() {
    let mut service = Service::new(600, 60).await;
    service
        .post("/api/v1/hosts", json!({"name": "h1", "address": "192.0.2.1"}))
        .await;
    let host = service.enrol("h1").await;
    service.change("DELETE", "/api/v1/hosts/h1", None).await;
    let store = rusqlite::Connection::open(service.state().join("registry.db")).unwrap();
    let until_unix_ms: i64 = store
        .query_row("SELECT until_unix_ms FROM dead_host", [], |row| row.get(0))
        .unwrap();
    assert!(until_unix_ms >= host.credentials.certificate().not_after * 1000);
    service.stop().await;
}
