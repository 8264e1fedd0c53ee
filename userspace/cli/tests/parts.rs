//! A list that the registry gives in parts.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "each test binary uses a part of it")]
mod listener;

use listener::{Installation, LINK, PART, said};
use pairgate_api::routes::Role;
use serde_json::{Value, json};

fn network(name: &str) -> Value {
    json!({"id": "00000000-0000-0000-0000-000000000001", "name": name, "prefixes": ["10.0.0.0/24"], "mtu": 1500})
}

#[tokio::test]
async fn a_list_in_parts_is_told_whole() {
    let installation = Installation::new();
    let part = |name: &str, next: &str| {
        let link = format!("</api/v1/networks?limit=1&after={next}>; rel=\"next\"");
        json!({PART: [network(name)], LINK: link})
    };
    let served = installation
        .serve_by_path(move |path| match path {
            "GET /api/v1/networks" => part("a", "a"),
            "GET /api/v1/networks?limit=1&after=a" => part("b", "b"),
            "GET /api/v1/networks?limit=1&after=b" => json!([network("c")]),
            other => panic!("{other}"),
        })
        .await;
    let asked = installation
        .pairgate(served.address, Role::Operator, "network list -o json")
        .await;
    let (code, told, _) = said(&asked);
    assert_eq!(code, Some(0));
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told, json!([network("a"), network("b"), network("c")]));
}

#[tokio::test]
async fn a_list_that_leads_elsewhere_or_in_a_circle_ends() {
    let installation = Installation::new();
    for link in [
        "<https://192.0.2.1/api/v1/networks>; rel=\"next\"",
        "</api/v1/networks?after=a>; rel=\"next\"",
    ] {
        let served = installation
            .serve_by_path(move |_| json!({PART: [network("a")], LINK: link}))
            .await;
        let asked = installation
            .pairgate(served.address, Role::Operator, "network list -o json")
            .await;
        assert_eq!(said(&asked).0, Some(0), "{link}");
        assert!(served.asked.lock().unwrap().len() <= 2, "{link}");
    }
}
