//! Many operators at once who make and remove the same things.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "each test binary uses a part of it")]
mod support;

use serde_json::json;
use support::*;
use tokio::task::JoinSet;

/// Wrong if it fails: a change would rely on something that another has just removed, and end in a fault of the
/// registry, or leave something behind that no longer belongs to anything.
#[tokio::test]
async fn whoever_loses_a_race_for_a_thing_is_refused_with_a_reason_and_nothing_is_left_half_removed() {
    let mut service = Service::new(600, 60).await;
    let (mut h1, _) = service.laboratory().await;
    let (address, mut clients) = (service.address(), JoinSet::new());
    for client in 0..8u32 {
        let (address, operator) = (address.clone(), service.credentials("operator"));
        clients.spawn(async move {
            let vms = "/api/v1/networks/default/vms";
            let shared = format!("vm{}", client % 2);
            let vm = format!("{vms}/{shared}");
            for turn in 0..6u32 {
                let last = 100 + (client + turn) % 5;
                let allow = json!({"source": shared, "destination": "web1", "grant": ["tcp/443"]});
                let steps = [
                    (
                        "POST",
                        vms.to_owned(),
                        Some(json!({"name": shared, "addresses": [format!("10.77.0.{last}")]})),
                    ),
                    ("POST", format!("{vm}/placement"), Some(json!({"host": "h3"}))),
                    ("POST", "/api/v1/networks/default/pairs".to_owned(), Some(allow)),
                    (
                        "PUT",
                        format!("{vm}/addresses"),
                        Some(json!({"addresses": [format!("fd77::{last}")]})),
                    ),
                    ("DELETE", "/api/v1/hosts/h3".to_owned(), None),
                    ("DELETE", vm.clone(), None),
                    (
                        "POST",
                        "/api/v1/hosts".to_owned(),
                        Some(json!({"name": "h3", "address": "192.0.2.3"})),
                    ),
                ];
                for (method, path, body) in steps {
                    let (status, answer) = rest(&address, &operator, method, &path, body).await;
                    assert!(
                        matches!(status.as_u16(), 200 | 201 | 404 | 409),
                        "{method} {path}: {status} {answer}"
                    );
                }
            }
        });
    }
    clients.join_all().await;
    for vm in ["vm0", "vm1"] {
        service
            .rest("DELETE", &format!("/api/v1/networks/default/vms/{vm}"), None)
            .await;
    }
    let vms = service.get("/api/v1/networks/default/vms").await;
    let names: Vec<_> = vms
        .as_array()
        .unwrap()
        .iter()
        .map(|vm| vm["name"].clone())
        .collect();
    assert_eq!(names, ["db1", "db2", "web1"]);
    let pairs = service.get("/api/v1/networks/default/pairs").await;
    assert_eq!(
        pairs.as_array().unwrap().len(),
        2,
        "only those of the laboratory: {pairs}"
    );
    assert_eq!(
        service.audited("pair_allowed"),
        service.audited("pair_denied") + 2
    );
    assert_eq!(service.audited("vm_created"), service.audited("vm_removed") + 3);
    let state = h1.follow(b"one").await.next().await.unwrap().unwrap();
    assert_eq!(state.vms.len(), 1);
    let store = rusqlite::Connection::open(service.state().join("registry.db")).unwrap();
    let dangling = store
        .prepare("PRAGMA foreign_key_check")
        .unwrap()
        .exists([])
        .unwrap();
    assert!(!dangling, "nothing refers to what is gone");
    service.stop().await;
}
