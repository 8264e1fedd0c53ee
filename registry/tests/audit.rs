//! The audit as operators read it, over real TLS.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "each test binary uses a part of it")]
mod support;

use hyper::StatusCode;
use pairgate_api::audit::{Chain, Page};
use support::*;

async fn page(service: &Service, query: &str) -> Page {
    let path = format!("/api/v1/audit?{query}");
    serde_json::from_value(service.get(&path).await).unwrap()
}

#[tokio::test]
async fn a_whole_record_is_read_in_pages_and_is_sound_also_after_a_restart() {
    let mut service = Service::new(600, 60).await;
    service.laboratory().await;
    service.stop().await;
    service.start().await;
    let mut chain = Chain::default();
    loop {
        let page = page(&service, &format!("after={}&limit=7", chain.number())).await;
        assert!(page.rows.len() <= 7);
        if page.rows.is_empty() {
            chain.end(&page.head).unwrap();
            break;
        }
        page.rows.iter().for_each(|row| chain.take(row).unwrap());
    }
    assert!(chain.number() > 14, "more than two pages");
    let newest = page(&service, &format!("after={}", chain.number() - 1)).await;
    assert_eq!(newest.rows[0].event, "service_started");
    let none = page(&service, &format!("since_unix_ms={}", u64::MAX)).await;
    assert!(none.rows.is_empty());
    service.stop().await;
}

#[tokio::test]
async fn a_query_that_was_not_understood_is_refused_and_not_ignored() {
    let mut service = Service::new(600, 60).await;
    for query in ["after=-1", "limit=many", "before=3", "after=1&after=2"] {
        let path = format!("/api/v1/audit?{query}");
        let (status, problem) = service.rest("GET", &path, None).await;
        let kind = problem["type"].as_str();
        assert_eq!(
            (status, kind),
            (StatusCode::BAD_REQUEST, Some("invalid")),
            "{query}"
        );
    }
    service.stop().await;
}
