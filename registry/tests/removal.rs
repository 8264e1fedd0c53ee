//! What ends with a change: another grant, other addresses, and the removal of VMs, hosts and networks.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "each test binary uses a part of it")]
mod support;

use hyper::StatusCode;
use pairgate_api::grpc::{self, tombstone::Dead};
use serde_json::{Value, json};
use support::*;
use tonic::Code;
use uuid::Uuid;

const VMS: &str = "/api/v1/networks/default/vms";
const PAIRS: &str = "/api/v1/networks/default/pairs";

/// The tombstones, in words: the messages themselves cannot be printed.
fn dead(state: &grpc::GoalState) -> Vec<String> {
    let id = |bytes: &[u8]| Uuid::from_slice(bytes).unwrap();
    let word = |dead: &Dead| match dead {
        Dead::PairId(pair) => format!("pair {pair}"),
        Dead::VmFloor(floor) => format!("vm {} below {}", id(&floor.vm_id), floor.generation),
        Dead::HostId(host) => format!("host {}", id(host)),
    };
    let tombstones = state.tombstones.iter();
    tombstones
        .filter_map(|tombstone| tombstone.dead.as_ref().map(word))
        .collect()
}

fn floor(vm: &Value, generation: u32) -> String {
    format!("vm {} below {generation}", vm["id"].as_str().unwrap())
}

fn states(denial: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let row = |direction: &Value| (text(&direction["host"]), text(&direction["state"]));
    denial["directions"].as_array().unwrap().iter().map(row).collect()
}

fn row(host: &str, state: &str) -> (String, String) {
    (host.to_owned(), state.to_owned())
}

impl Service {
    async fn delete(&self, path: &str) -> Value {
        let (status, answer) = self.rest("DELETE", path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    /// The refusal's status and detail.
    async fn not_deleted(&self, path: &str) -> (u16, String) {
        let (status, answer) = self.rest("DELETE", path, None).await;
        assert!(!status.is_success(), "{path}: {answer}");
        (status.as_u16(), answer["detail"].as_str().unwrap().to_owned())
    }

    async fn readdress(&self, vm: &str, body: Value) -> (StatusCode, Value) {
        self.rest("PUT", &format!("{VMS}/{vm}/addresses"), Some(body))
            .await
    }
}

#[tokio::test]
async fn a_narrowed_grant_is_waited_for_like_a_denial() {
    let mut service = Service::new(600, 60).await;
    let (mut h1, mut h2) = service.laboratory().await;
    let (mut one, mut two) = (h1.follow(b"one").await, h2.follow(b"two").await);
    h1.lease().await;
    h2.lease().await;
    let narrow = |grant: &str, timeout_ms: u64| json!({"source": "web1", "destination": "db1", "grant": [grant], "timeout_ms": timeout_ms});
    let allowed = service.post(PAIRS, narrow("tcp/443", 50)).await;
    assert_eq!(allowed["ended"]["applied"], false);
    assert_eq!(
        states(&allowed["ended"]),
        [row("h2", "unanswered"), row("h1", "unanswered")]
    );
    assert_eq!(allowed["ended"]["told"], json!(["h1", "h2"]));
    let again = service.post(PAIRS, narrow("tcp/443", 50)).await;
    assert_eq!(again["pairs"], allowed["pairs"]);
    assert_eq!(
        states(&again["ended"]),
        [row("h2", "unanswered"), row("h1", "unanswered")],
        "asked again, it waits for the same receipts"
    );

    let (allowed, ()) = tokio::join!(service.post(PAIRS, narrow("udp/53", 5_000)), async {
        let first = one.next().await.unwrap().unwrap();
        let state = one.until(first.revision + 2).await;
        assert!(dead(&state).contains(&"pair 3".to_owned()), "{:?}", dead(&state));
        one.receipt(state.revision).await;
        let state = two.until(state.revision).await;
        two.receipt(state.revision).await;
    });
    assert_eq!(allowed["ended"]["applied"], true, "{allowed}");
    assert_eq!(allowed["pairs"][0]["grant"], "udp/53");
    let same = service.post(PAIRS, narrow("udp/53", 5_000)).await;
    assert_eq!(
        (&same["ended"]["applied"], &same["ended"]["directions"]),
        (&json!(true), &json!([]))
    );
    assert_eq!(service.refused(PAIRS, narrow("udp/54", 300_001)).await, "invalid");
    service.stop().await;
}

#[tokio::test]
async fn other_addresses_begin_everything_anew_and_the_same_ones_nothing() {
    let mut service = Service::new(600, 60).await;
    let (mut h1, mut h2) = service.laboratory().await;
    let (mut one, mut two) = (h1.follow(b"one").await, h2.follow(b"two").await);
    h1.lease().await;
    h2.lease().await;
    let web1 = vm(&one.next().await.unwrap().unwrap(), "web1").unwrap().clone();
    let before = vm(&two.next().await.unwrap().unwrap(), "db1").unwrap().clone();

    let same = json!({"addresses": ["fd77::21", "10.77.0.21"], "timeout_ms": 5_000});
    let (_, answer) = service.readdress("db1", same).await;
    assert_eq!(answer["vm"]["placement"]["generation"], 1);
    assert_eq!(
        (&answer["ended"]["applied"], &answer["ended"]["directions"]),
        (&json!(true), &json!([]))
    );

    let other = json!({"addresses": ["10.77.0.99", "fd77::99", "fd77::21"]});
    let (status, answer) = service.readdress("db1", other).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(
        (
            answer["vm"]["placement"]["generation"].as_u64(),
            &answer["vm"]["placement"]["state"]
        ),
        (Some(2), &json!("open"))
    );
    assert_eq!(
        states(&answer["ended"]),
        [row("h2", "unanswered"), row("h1", "unanswered")]
    );
    let again = json!({"addresses": ["10.77.0.99", "fd77::99", "fd77::21"]});
    let (_, again) = service.readdress("db1", again).await;
    assert_eq!(again, answer, "asked again, it waits for the same receipts");
    let revision = answer["ended"]["revision"].as_u64().unwrap();
    let state2 = two.until(revision).await;
    let db1 = vm(&state2, "db1").unwrap();
    assert_eq!(addresses(db1), ["10.77.0.99/24", "fd77::21/64", "fd77::99/64"]);
    assert_ne!(
        db1.secret_key, before.secret_key,
        "a new generation has a new key"
    );
    let told = dead(&one.until(revision).await);
    for gone in ["pair 1".to_owned(), "pair 2".to_owned(), floor(&answer["vm"], 2)] {
        assert!(told.contains(&gone), "{gone} in {told:?}");
    }
    let pairs = service.get(PAIRS).await;
    assert_eq!(
        (&pairs[0]["id"], &pairs[1]["id"]),
        (&json!(3), &json!(4)),
        "new ids for the same pair"
    );
    let now = now_unix_secs();
    assert!(
        h1.mint(question(&web1, "10.77.0.21", 1, now))
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        h1.mint(question(&web1, "10.77.0.99", 2, now))
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        h2.mint(question(&before, "10.77.0.11", 1, now))
            .await
            .unwrap()
            .is_none(),
        "the old key and address"
    );
    assert_eq!(service.audited("vm_readdressed"), 1);

    // The address that it left is free; its own new one is nobody else's.
    service
        .post(VMS, json!({"name": "heir", "addresses": ["10.77.0.21"]}))
        .await;
    for (body, status, kind) in [
        (json!({"addresses": []}), 400, "invalid"),
        (json!({"addresses": ["10.77.0.11"]}), 409, "conflict"),
        (json!({"addresses": ["192.0.2.1"]}), 400, "invalid"),
        (json!({"addresses": ["10.77.0.98", "10.77.0.98"]}), 400, "invalid"),
        (
            json!({"addresses": ["10.77.0.98"], "timeout_ms": 300_001}),
            400,
            "invalid",
        ),
        (json!({"addresses": "10.77.0.98"}), 400, "invalid"),
    ] {
        let (told, problem) = service.readdress("db1", body.clone()).await;
        assert_eq!(
            (told.as_u16(), &problem["type"]),
            (status, &json!(kind)),
            "{body}"
        );
    }
    let kept = service.get(&format!("{VMS}/db1")).await;
    assert_eq!(
        kept["addresses"], answer["vm"]["addresses"],
        "a refused change leaves everything"
    );
    assert_eq!(
        service
            .readdress("nobody", json!({"addresses": ["10.77.0.98"]}))
            .await
            .0,
        StatusCode::NOT_FOUND
    );
    service.stop().await;
}

#[tokio::test]
async fn a_vm_that_waits_for_its_host_before_goes_on_waiting_with_its_new_addresses() {
    let mut service = Service::new(600, 60).await;
    let (_, mut h2) = service.laboratory().await;
    let mut two = h2.follow(b"two").await;
    h2.lease().await;
    let first = two.next().await.unwrap().unwrap();
    assert_eq!(service.place("db1", "h3").await["placement"]["state"], "waiting");
    let (_, answer) = service
        .readdress("db1", json!({"addresses": ["10.77.0.99"]}))
        .await;
    assert_eq!(
        answer["vm"]["placement"]["state"], "waiting",
        "h2 may still act for it"
    );
    assert_eq!(
        states(&answer["ended"]),
        [row("h2", "unanswered"), row("h1", "lease_ended")]
    );
    let state = two.until(first.revision + 2).await;
    two.receipt(state.revision).await;
    let opened = service.open(&format!("{VMS}/db1")).await;
    assert_eq!(opened["placement"]["host"], "h3");
    service.stop().await;
}

impl Service {
    /// The VM once its placement is open.
    async fn open(&self, path: &str) -> Value {
        let begun = std::time::Instant::now();
        loop {
            let vm = self.get(path).await;
            if vm["placement"]["state"] == "open" {
                return vm;
            }
            assert!(begun.elapsed() < PATIENCE, "{vm}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_removed_vm_takes_its_pairs_with_it_and_the_receipts_are_waited_for() {
    let mut service = Service::new(600, 60).await;
    let (mut h1, mut h2) = service.laboratory().await;
    let (mut one, mut two) = (h1.follow(b"one").await, h2.follow(b"two").await);
    h1.lease().await;
    h2.lease().await;
    service.post(PAIRS, pair("db1", "db2")).await;
    let shown = service.get(&format!("{VMS}/db1")).await;
    let before = service.get("/api/v1/status").await["revision"].as_u64().unwrap();
    let (removed, ()) = tokio::join!(
        async { service.delete(&format!("{VMS}/db1?timeout_ms=5000")).await },
        async {
            let state = one.until(before + 1).await;
            one.receipt(state.revision).await;
            let state = two.until(state.revision).await;
            assert!(vm(&state, "db1").is_none() && vm(&state, "db2").is_some());
            let told = dead(&state);
            let pairs = (1..=4).map(|id| format!("pair {id}"));
            for gone in pairs.chain([floor(&shown, 2)]) {
                assert!(told.contains(&gone), "{gone} in {told:?}");
            }
            two.receipt(state.revision).await;
        }
    );
    assert_eq!(removed["applied"], true, "{removed}");
    assert_eq!(
        states(&removed),
        [
            row("h2", "applied"),
            row("h1", "applied"),
            row("h2", "applied"),
            row("h2", "applied")
        ]
    );
    assert_eq!(service.get(PAIRS).await, json!([]));
    assert_eq!(service.not_deleted(&format!("{VMS}/db1")).await.0, 404);
    // Name, addresses and tap are free at once, for another VM with another id.
    let heir = service
        .post(
            VMS,
            json!({"name": "db1", "addresses": ["10.77.0.21", "fd77::21"]}),
        )
        .await;
    assert_ne!(heir["id"], shown["id"]);
    assert_eq!(service.place("db1", "h2").await["placement"]["generation"], 1);
    let state = two.until(removed["revision"].as_u64().unwrap() + 1).await;
    assert!(dead(&state).contains(&floor(&shown, 2)), "the old one stays dead");
    service.stop().await;
    service.start().await;
    let state = service.again(&mut h2).await;
    assert!(dead(&state).contains(&floor(&shown, 2)), "also after a restart");
    service.stop().await;
}

impl Service {
    /// The first goal state of a host after a restart of the service.
    async fn again(&self, host: &mut Host) -> grpc::GoalState {
        host.client = self.agents(&host.credentials);
        host.follow(b"again").await.next().await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn a_removal_that_nobody_answers_stands_and_says_until_when_who_may_act() {
    let mut service = Service::new(600, 60).await;
    let (_, mut h2) = service.laboratory().await;
    let granted = h2.lease().await;
    let lone = service.post(VMS, json!({"name": "lone"})).await;
    let removed = service.delete(&format!("{VMS}/lone")).await;
    assert_eq!(
        (&removed["applied"], &removed["directions"]),
        (&json!(true), &json!([])),
        "{lone}"
    );
    let removed = service.delete(&format!("{VMS}/db1?timeout_ms=50")).await;
    assert_eq!(removed["applied"], false);
    assert_eq!(
        states(&removed),
        [row("h2", "unanswered"), row("h1", "lease_ended")]
    );
    let ends = removed["directions"][0]["lease_ends_unix_ms"].as_u64().unwrap();
    assert!(ends >= granted.registry_unix_ms + 60_000);
    let (status, _) = service.rest("GET", &format!("{VMS}/db1/pairs"), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "the removal stands");
    for query in ["timeout_ms=300001", "timeout_ms=-1", "timeout_ms=x", "wait=1"] {
        assert_eq!(
            service.not_deleted(&format!("{VMS}/db2?{query}")).await.0,
            400,
            "{query}"
        );
    }
    service.get(&format!("{VMS}/db2")).await;
    service.stop().await;
}

#[tokio::test]
async fn a_host_goes_only_when_nothing_is_placed_on_it_and_is_refused_from_then_on() {
    let mut service = Service::new(600, 60).await;
    let (mut h1, mut h2) = service.laboratory().await;
    let (mut one, mut two) = (h1.follow(b"one").await, h2.follow(b"two").await);
    h1.lease().await;
    let granted = h2.lease().await;
    let (status, why) = service.not_deleted("/api/v1/hosts/h2").await;
    assert_eq!(status, 409);
    assert!(
        why.contains("db1 of network default, db2 of network default"),
        "{why}"
    );
    service.place("db1", "h1").await;
    service.place("db2", "h3").await;
    let (status, why) = service.not_deleted("/api/v1/hosts/h2").await;
    assert_eq!(status, 409, "it may still act for both");
    assert!(
        why.contains("may still run on it (db1 of network default, db2"),
        "{why}"
    );
    let revision = service.get("/api/v1/status").await["revision"].as_u64().unwrap();
    let state = two.until(revision).await;
    two.receipt(state.revision).await;
    for vm in ["db1", "db2"] {
        service.open(&format!("{VMS}/{vm}")).await;
    }

    let removed = service.delete("/api/v1/hosts/h2").await;
    assert_eq!(removed["id"], h2.id.to_string());
    assert!(removed["lease_ends_unix_ms"].as_u64().unwrap() >= granted.registry_unix_ms + 60_000);
    assert_eq!(
        two.ended_because().await,
        Code::PermissionDenied,
        "its stream ends"
    );
    let refused = h2.client.renew_lease(grpc::LeaseRequest {}).await;
    assert_eq!(
        refused.err().unwrap().code(),
        Code::PermissionDenied,
        "its certificate is worth nothing"
    );
    let state = one.until(removed["revision"].as_u64().unwrap()).await;
    let id = format!("host {}", h2.id);
    assert!(dead(&state).contains(&id), "the others are told to refuse it");
    assert_eq!(service.not_deleted("/api/v1/hosts/h2").await.0, 404);

    // Name and address are free for another record; the old key enrols it no more than any other would.
    let heir = service
        .post("/api/v1/hosts", json!({"name": "h2", "address": "192.0.2.2"}))
        .await;
    assert_ne!(heir["id"], removed["id"]);
    let refused = h2.client.renew_lease(grpc::LeaseRequest {}).await;
    assert_eq!(refused.err().unwrap().code(), Code::PermissionDenied);
    service.stop().await;
    service.start().await;
    assert!(
        dead(&service.again(&mut h1).await).contains(&id),
        "also after a restart"
    );
    // A record whose host never came goes without more ado.
    service.delete("/api/v1/hosts/h2").await;
    service.stop().await;
}

#[tokio::test]
async fn a_network_goes_when_it_has_no_vms() {
    let mut service = Service::new(600, 60).await;
    service.laboratory().await;
    let (status, why) = service.not_deleted("/api/v1/networks/default").await;
    assert_eq!(status, 409);
    assert!(why.contains("it has 3 VMs"), "{why}");
    for vm in ["web1", "db1", "db2"] {
        service.delete(&format!("{VMS}/{vm}")).await;
    }
    let removed = service.delete("/api/v1/networks/default").await;
    assert_eq!(removed["prefixes"], json!(["10.77.0.0/24", "fd77::/64"]));
    assert_eq!(service.get("/api/v1/networks").await, json!([]));
    assert_eq!(service.not_deleted("/api/v1/networks/default").await.0, 404);
    service
        .post(
            "/api/v1/networks",
            json!({"name": "default", "prefixes": ["10.0.0.0/8"]}),
        )
        .await;
    for event in ["vm_removed", "network_removed"] {
        assert!(service.audited(event) > 0, "{event}");
    }
    service.stop().await;
}

#[tokio::test]
async fn the_pairs_of_one_vm_are_those_from_and_to_it() {
    let mut service = Service::new(600, 60).await;
    service.laboratory().await;
    service.post(PAIRS, pair("db1", "db2")).await;
    let ids = |pairs: &Value| {
        pairs
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| pair["id"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&service.get(&format!("{VMS}/web1/pairs")).await), [1, 2]);
    assert_eq!(ids(&service.get(&format!("{VMS}/db1/pairs")).await), [1, 2, 3, 4]);
    let (status, _) = service.rest("GET", &format!("{VMS}/nobody/pairs"), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    service.stop().await;
}
