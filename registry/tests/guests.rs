//! What guests of a network are told: from the operator's request to the goal state of their hosts.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "each test binary uses a part of it")]
mod support;

use pairgate_api::grpc::Vm;
use serde_json::json;
use std::net::{IpAddr, Ipv6Addr};
use support::*;

const DEFAULT: &str = "/api/v1/networks/default";
const VMS: &str = "/api/v1/networks/default/vms";

/// Gateway, DNS servers, domain and MTU, as a host is told them.
fn told(vm: &Vm) -> (String, Vec<String>, String, u32) {
    let text = |bytes: &[u8]| match <[u8; 16]>::try_from(bytes) {
        Ok(bytes) => IpAddr::from(Ipv6Addr::from(bytes)).to_canonical().to_string(),
        Err(_) => "none".to_owned(),
    };
    let configuration = vm.configuration.as_ref().unwrap();
    let dns = configuration.dns.iter().map(|server| text(server)).collect();
    let gateway = text(&configuration.gateway);
    (gateway, dns, configuration.domain.clone(), vm.mtu)
}

#[tokio::test]
async fn what_guests_are_to_be_told_reaches_their_hosts_and_survives_a_restart() {
    let mut service = Service::new(600, 60).await;
    let (mut h1, _h2) = service.laboratory().await;
    let mut goals = h1.follow(b"one").await;
    let before = goals.next().await.unwrap().unwrap();
    let nothing = ("10.77.0.1".to_owned(), vec![], String::new(), 1500);
    assert_eq!(told(vm(&before, "web1").unwrap()), nothing);

    let wishes = json!({"gateway": "10.77.0.254", "dns": ["192.0.2.53", "2001:db8::53"],
        "domain": "Corp.example", "mtu": 1400});
    let (status, shown) = service.rest("PATCH", DEFAULT, Some(wishes.clone())).await;
    assert_eq!(status.as_u16(), 200, "{shown}");
    let after = goals.next().await.unwrap().unwrap();
    let dns: Vec<_> = ["192.0.2.53", "2001:db8::53"].map(str::to_owned).into();
    let all = (
        "10.77.0.254".to_owned(),
        dns.clone(),
        "corp.example".to_owned(),
        1400,
    );
    assert_eq!(told(vm(&after, "web1").unwrap()), all);
    assert!(after.revision > before.revision);
    assert_eq!(service.get(DEFAULT).await, shown);
    assert_eq!(service.get("/api/v1/networks").await[0], shown);
    assert_eq!(shown["dns"], json!(dns));
    assert_eq!(service.get(&format!("{VMS}/web1")).await["mtu"], 1400);

    // The same again is no change; one thing alone leaves the others.
    let (_, again) = service.rest("PATCH", DEFAULT, Some(wishes)).await;
    assert_eq!(again, shown);
    assert_eq!(service.audited("network_configured"), 1);
    let (status, _) = service
        .rest("PATCH", DEFAULT, Some(json!({"dns": [], "domain": ""})))
        .await;
    assert_eq!(status.as_u16(), 200);
    let last = goals.next().await.unwrap().unwrap();
    let gateway = ("10.77.0.254".to_owned(), vec![], String::new(), 1400);
    assert_eq!(told(vm(&last, "web1").unwrap()), gateway);
    service.stop().await;
    service.start().await;
    let shown = service.get(DEFAULT).await;
    assert_eq!(
        (&shown["gateway"], &shown["mtu"]),
        (&json!("10.77.0.254"), &json!(1400))
    );
    service.stop().await;
}

#[tokio::test]
async fn the_gateway_and_vms_never_have_the_same_address() {
    let mut service = Service::new(600, 60).await;
    service.laboratory().await;
    for (name, address) in [("by-hand", "10.77.0.1"), ("six", "::ffff:10.77.0.1")] {
        let body = json!({"name": name, "addresses": [address]});
        assert_eq!(service.refused(VMS, body).await, "conflict", "{address}");
    }
    let (status, problem) = service
        .rest("PATCH", DEFAULT, Some(json!({"gateway": "10.77.0.11"})))
        .await;
    assert_eq!((status.as_u16(), &problem["type"]), (409, &json!("conflict")));
    // The first that would be chosen is the gateway now, and the first address is free for a VM.
    let gateway = json!({"gateway": "10.77.0.2"});
    assert_eq!(
        service.rest("PATCH", DEFAULT, Some(gateway)).await.0.as_u16(),
        200
    );
    let chosen = service.post(VMS, json!({"name": "chosen"})).await;
    assert_eq!(chosen["addresses"][0]["address"], "10.77.0.3");
    service
        .post(VMS, json!({"name": "first", "addresses": ["10.77.0.1"]}))
        .await;
    let moved = format!("{VMS}/chosen/addresses");
    let (status, _) = service
        .rest("PUT", &moved, Some(json!({"addresses": ["10.77.0.2"]})))
        .await;
    assert_eq!(status.as_u16(), 409);
    service.stop().await;
}

#[tokio::test]
async fn what_no_guest_can_be_told_is_refused_and_changes_nothing() {
    let mut service = Service::new(600, 60).await;
    service.laboratory().await;
    let before = service.get(DEFAULT).await;
    for bad in [
        json!({"gateway": "10.78.0.1"}),
        json!({"gateway": "10.77.0.255"}),
        json!({"gateway": "fd77::1"}),
        json!({"dns": ["127.0.0.53"]}),
        json!({"dns": ["192.0.2.1", "192.0.2.1"]}),
        json!({"dns": ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"]}),
        json!({"domain": "a..b"}),
        json!({"domain": "a\nnameserver 6.6.6.6"}),
        json!({"mtu": 1279}),
        json!({"mtu": 9001}),
        json!({"dns": ["192.0.2.53"], "mtu": 1}),
        json!({"prefixes": ["10.0.0.0/8"]}),
    ] {
        let (status, problem) = service.rest("PATCH", DEFAULT, Some(bad.clone())).await;
        assert_eq!(status.as_u16(), 400, "{bad}");
        assert_eq!(problem["type"], "invalid", "{bad}");
        let mut new = bad.clone();
        new["name"] = json!("new");
        if new["prefixes"].is_null() {
            new["prefixes"] = json!(["10.77.0.0/24"]);
            assert_eq!(service.refused("/api/v1/networks", new).await, "invalid", "{bad}");
        }
    }
    assert_eq!(service.get(DEFAULT).await, before);
    assert_eq!(service.audited("network_configured"), 0);
    service.stop().await;
}
