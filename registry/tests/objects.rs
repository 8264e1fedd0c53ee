//! What an installation is made of: addresses of both families, what pairs carry.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "each test binary uses a part of it")]
mod support;

use pairgate_api::grpc::tombstone::Dead;
use pairgate_token::{Claims, UnverifiedToken};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::*;

const NETWORKS: &str = "/api/v1/networks";
const VMS: &str = "/api/v1/networks/default/vms";
const PAIRS: &str = "/api/v1/networks/default/pairs";

/// What a token for this VM says.
fn claims(token: Vec<u8>, destination: &pairgate_api::grpc::Vm) -> Claims {
    let token = UnverifiedToken::from_bytes(token).unwrap();
    token.verify(&key(destination)).unwrap().claims().clone()
}

/// Ids and grants, by "source destination".
fn carried(pairs: &Value) -> Vec<(String, u64, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let row = |pair: &Value| {
        let between = format!("{} {}", text(&pair["source"]), text(&pair["destination"]));
        (between, pair["id"].as_u64().unwrap(), text(&pair["grant"]))
    };
    pairs.as_array().unwrap().iter().map(row).collect()
}

async fn allow(service: &Service, grant: &[&str], one_way: bool) -> Vec<(String, u64, String)> {
    let mut body = pair("web1", "db1");
    body["grant"] = json!(grant);
    body["one_way"] = json!(one_way);
    carried(&service.post(PAIRS, body).await["pairs"])
}

#[tokio::test]
async fn addresses_of_both_families_reach_the_host_and_each_has_tokens_of_its_own() {
    let mut service = Service::new(600, 60).await;
    let (mut h1, mut h2) = service.laboratory().await;
    let state1 = h1.follow(b"one").await.next().await.unwrap().unwrap();
    let state2 = h2.follow(b"two").await.next().await.unwrap().unwrap();
    let (web1, db1) = (vm(&state1, "web1").unwrap(), vm(&state2, "db1").unwrap());
    assert_eq!(addresses(web1), ["10.77.0.11/24", "fd77::11/64"]);
    for (nonce, destination) in [(1, "10.77.0.21"), (2, "fd77::21")] {
        let minted = h1
            .mint(question(web1, destination, nonce, now_unix_secs()))
            .await
            .unwrap();
        let claims = claims(minted.unwrap().token, db1);
        assert_eq!(claims.destination_address.to_string(), destination);
        assert_eq!(claims.source_host.to_string(), "192.0.2.1");
        assert_eq!(claims.pair_id, 1, "one pair of VMs, whatever their addresses");
    }
    // With an address of another VM the question is refused, also with a proof that is right for it.
    let mut stolen = vm(&state1, "web1").unwrap().clone();
    stolen.addresses = db1.addresses.clone();
    assert!(
        h1.mint(question(&stolen, "10.77.0.22", 3, now_unix_secs()))
            .await
            .unwrap()
            .is_none()
    );
    service.stop().await;
}

#[tokio::test]
async fn a_vm_gets_the_addresses_that_were_asked_for_or_one_of_each_prefix() {
    let mut service = Service::new(600, 60).await;
    for (name, prefixes) in [
        ("default", json!(["fd77::/64", "10.77.0.0/24"])),
        ("six", json!(["2001:db8:7::/48"])),
        ("four", json!(["10.77.0.0/24"])),
    ] {
        service
            .post(NETWORKS, json!({"name": name, "prefixes": prefixes}))
            .await;
    }
    assert_eq!(
        service.get("/api/v1/networks/default").await["prefixes"],
        json!(["10.77.0.0/24", "fd77::/64"])
    );
    let first = service.post(VMS, json!({"name": "first"})).await;
    let both = json!([{"address": "10.77.0.2", "prefix": 24}, {"address": "fd77::2", "prefix": 64}]);
    assert_eq!(first["addresses"], both);
    let eight: Vec<String> = (1..=8).map(|number| format!("fd77::a:{number}")).collect();
    let many = service
        .post(VMS, json!({"name": "many", "addresses": eight}))
        .await;
    assert_eq!(many["addresses"].as_array().unwrap().len(), 8);
    let only = service
        .post("/api/v1/networks/six/vms", json!({"name": "only"}))
        .await;
    assert_eq!(
        only["addresses"],
        json!([{"address": "2001:db8:7::2", "prefix": 48}])
    );
    // The same address again, in another network.
    service
        .post(
            "/api/v1/networks/four/vms",
            json!({"name": "first", "addresses": ["10.77.0.2"]}),
        )
        .await;

    let nine: Vec<String> = (1..=9).map(|number| format!("fd77::b:{number}")).collect();
    for (addresses, kind) in [
        (json!(nine), "invalid"),
        (json!(["fd77::c", "FD77:0::c"]), "invalid"),
        (json!(["10.77.0.9", "::ffff:10.77.0.9"]), "invalid"),
        (json!(["fd78::1"]), "invalid"),
        (json!(["fd77::"]), "invalid"),
        (json!(["fe80::1"]), "invalid"),
        (json!(["fd77::c", "fd77::2"]), "conflict"),
        (json!(["10.77.0.9/24"]), "invalid"),
        (json!("10.77.0.9"), "invalid"),
    ] {
        let body = json!({"name": "new", "addresses": addresses});
        assert_eq!(service.refused(VMS, body).await, kind, "{addresses}");
    }
    assert_eq!(
        service
            .refused(
                "/api/v1/networks/four/vms",
                json!({"name": "new", "addresses": ["fd77::9"]})
            )
            .await,
        "invalid"
    );
    let names: Vec<_> = service
        .get(VMS)
        .await
        .as_array()
        .unwrap()
        .iter()
        .map(|vm| vm["name"].clone())
        .collect();
    assert_eq!(names, ["first", "many"], "a refused VM leaves nothing behind");
    service.stop().await;
}

#[tokio::test]
async fn a_host_with_an_ipv6_address_enrols_with_it_and_talks_to_its_own_family_only() {
    let mut service = Service::new(600, 60).await;
    let (mut h1, _) = service.laboratory().await;
    for (name, address) in [("s1", "2001:db8:0:1::1"), ("s2", "2001:db8:0:1:0:0:0:2")] {
        service
            .post("/api/v1/hosts", json!({"name": name, "address": address}))
            .await;
    }
    for bad in ["fe80::1", "::1", "ff02::1", "2001:db8:0:1::1%eth0", "fd77::11"] {
        let kind = service
            .refused("/api/v1/hosts", json!({"name": "s9", "address": bad}))
            .await;
        assert_eq!(
            kind,
            if bad == "fd77::11" { "conflict" } else { "invalid" },
            "{bad}"
        );
    }
    let mut s1 = service.enrol("s1").await;
    let s2 = service.enrol("s2").await;
    assert_eq!(s2.credentials.address().unwrap().to_string(), "2001:db8:0:1::2");
    service.place("db1", "s2").await;
    service.place("db2", "s1").await;
    service.post(PAIRS, pair("db2", "db1")).await;

    let state = h1.follow(b"one").await.next().await.unwrap().unwrap();
    let ask = question(vm(&state, "web1").unwrap(), "10.77.0.21", 1, now_unix_secs());
    assert!(
        h1.mint(ask).await.unwrap().is_none(),
        "from an IPv4 host to an IPv6 host"
    );
    let state = s1.follow(b"two").await.next().await.unwrap().unwrap();
    for (nonce, destination) in [(1, "10.77.0.21"), (2, "fd77::21")] {
        let ask = question(vm(&state, "db2").unwrap(), destination, nonce, now_unix_secs());
        assert!(s1.mint(ask).await.unwrap().is_some(), "{destination} over IPv6");
    }
    service.stop().await;
}

#[tokio::test]
async fn two_vms_on_one_host_get_their_tokens_both_ways() {
    let mut service = Service::new(600, 60).await;
    let (_, mut h2) = service.laboratory().await;
    service.post(PAIRS, pair("db1", "db2")).await;
    let state = h2.follow(b"two").await.next().await.unwrap().unwrap();
    let (db1, db2) = (vm(&state, "db1").unwrap(), vm(&state, "db2").unwrap());
    let mut ask = question(db1, "fd77::22", 1, now_unix_secs());
    ask.with_back = true;
    let minted = h2.mint(ask).await.unwrap().unwrap();
    assert_eq!(minted.dst_host_id, h2.id.as_bytes());
    for claims in [claims(minted.token, db2), claims(minted.back_token, db1)] {
        assert_eq!(claims.source_host.to_string(), "192.0.2.2");
        assert_eq!(claims.destination_host.to_string(), "192.0.2.2");
    }
    service.stop().await;
}

#[tokio::test]
async fn a_changed_grant_ends_the_old_ids_and_the_same_grant_keeps_them() {
    let mut service = Service::new(600, 60).await;
    let (mut h1, _) = service.laboratory().await;
    let mut one = h1.follow(b"one").await;
    let before = one.next().await.unwrap().unwrap();
    assert_eq!(
        allow(&service, &[], false)
            .await
            .iter()
            .map(|row| row.1)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!(
        allow(&service, &["all"], false).await[0].1,
        1,
        "another word for the same"
    );

    let narrowed = allow(&service, &["udp/53", "tcp/443", "tcp/444"], false).await;
    assert_eq!(
        narrowed[0],
        ("web1 db1".to_owned(), 3, "tcp/443-444,udp/53".to_owned())
    );
    assert_eq!(
        narrowed[1],
        ("db1 web1".to_owned(), 4, "tcp/443-444,udp/53".to_owned())
    );
    let state = one.until(before.revision + 1).await;
    let dead = |id| {
        state
            .tombstones
            .iter()
            .any(|dead| dead.dead == Some(Dead::PairId(id)))
    };
    assert!(
        dead(1) && dead(2) && !dead(3),
        "the hosts are told that the old ids are dead"
    );
    assert_eq!(
        allow(&service, &["tcp/444", "udp/53", "tcp/443"], false).await,
        narrowed,
        "in any order"
    );

    // One way: only the direction whose kind changes begins anew.
    let one_way = allow(&service, &["tcp/443-444", "udp/53"], true).await;
    assert_eq!(one_way[0], narrowed[0]);
    assert_eq!(one_way[1], ("db1 web1".to_owned(), 5, "replies".to_owned()));
    let listed = carried(&service.get(PAIRS).await);
    assert_eq!(listed, one_way);
    // The other way round, everything is another thing.
    let mut turned = pair("db1", "web1");
    turned["one_way"] = json!(true);
    let turned = carried(&service.post(PAIRS, turned).await["pairs"]);
    assert_eq!(turned[0], ("db1 web1".to_owned(), 6, "all".to_owned()));
    assert_eq!(turned[1], ("web1 db1".to_owned(), 7, "replies".to_owned()));
    assert_eq!(service.audited("pair_denied"), 5);
    assert_eq!(service.audited("pair_allowed"), 7);

    let denial = service.deny(0).await;
    assert_eq!(
        denial["directions"].as_array().unwrap().len(),
        2,
        "a denial ends both ways always"
    );
    assert_eq!(service.get(PAIRS).await, json!([]));
    service.stop().await;
}

#[tokio::test]
async fn a_new_pair_is_a_new_revision_and_the_hosts_of_its_vms_are_heard_of_for_a_moment() {
    let mut service = Service::new(600, 60).await;
    let (mut h1, mut h2) = service.laboratory().await;
    let (mut one, mut two) = (h1.follow(b"one").await, h2.follow(b"two").await);
    let before = one.next().await.unwrap().unwrap().revision;
    let new = |timeout_ms: u64| json!({"source": "web1", "destination": "db2", "timeout_ms": timeout_ms});
    let deny = json!({"source": "web1", "destination": "db2", "timeout_ms": 0});
    let denials = "/api/v1/networks/default/denials";

    let begun = Instant::now();
    service.post(PAIRS, new(0)).await;
    assert_eq!(
        one.until(before + 1).await.revision,
        before + 1,
        "agents forget by it what they were refused"
    );
    service.post(PAIRS, new(10_000)).await;
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "nothing to wait for, or nothing that is new"
    );
    service.post(denials, deny.clone()).await;

    // Nobody answers: it is told after a second, and not as a failure.
    let begun = Instant::now();
    let allowed = service.post(PAIRS, new(10_000)).await;
    assert_eq!(allowed["ended"]["applied"], true);
    let waited = begun.elapsed();
    assert!(
        (Duration::from_millis(900)..Duration::from_secs(5)).contains(&waited),
        "{waited:?}"
    );
    service.post(denials, deny).await;

    let begun = Instant::now();
    tokio::join!(service.post(PAIRS, new(10_000)), async {
        let revision = before + 5;
        for follower in [&mut one, &mut two] {
            let state = follower.until(revision).await;
            follower.receipt(state.revision).await;
        }
    });
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "both have heard, so it does not wait on"
    );
    service.stop().await;
}

#[tokio::test]
async fn tokens_say_what_their_direction_carries() {
    let mut service = Service::new(600, 60).await;
    let (mut h1, mut h2) = service.laboratory().await;
    let state1 = h1.follow(b"one").await.next().await.unwrap().unwrap();
    let state2 = h2.follow(b"two").await.next().await.unwrap().unwrap();
    let (web1, db1) = (vm(&state1, "web1").unwrap(), vm(&state2, "db1").unwrap());
    allow(&service, &["icmp", "tcp/443", "udp/1000-2000"], true).await;
    let mut ask = question(web1, "10.77.0.21", 1, now_unix_secs());
    ask.with_back = true;
    let minted = h1.mint(ask).await.unwrap().unwrap();
    let there = claims(minted.token, db1);
    assert!(!there.replies_only);
    assert_eq!(there.grants.to_string(), "icmp,tcp/443,udp/1000-2000");
    assert_eq!(there.grants.entries().len(), 4, "icmp is protocol 1 and 58");
    let back = claims(minted.back_token, web1);
    assert!(back.replies_only && back.grants.is_all());
    // The other host asks for itself, and gets no more than replies.
    let minted = h2
        .mint(question(db1, "10.77.0.11", 1, now_unix_secs()))
        .await
        .unwrap();
    assert!(claims(minted.unwrap().token, web1).replies_only);
    service.stop().await;
}

#[tokio::test]
async fn grants_that_say_nothing_sound_change_nothing() {
    let mut service = Service::new(600, 60).await;
    service.laboratory().await;
    let apart: Vec<String> = (0..17).map(|port| format!("tcp/{}", port * 2)).collect();
    let long = "x".repeat(10_000);
    for grant in [
        json!(["tcp/70000"]),
        json!(["tcp/2-1"]),
        json!(["icmp/8"]),
        json!(["all", "tcp/1"]),
        json!(["replies"]),
        json!(["tcp/443,udp/53"]),
        json!([""]),
        json!([long]),
        json!(["\u{1b}[2J\u{202e}"]),
        json!(apart),
        json!(["tcp/443", 5]),
        json!("tcp/443"),
        json!(null),
        json!(vec!["tcp/1"; 2_000]),
    ] {
        let mut body = pair("web1", "db1");
        body["grant"] = grant.clone();
        let (status, problem) = service.rest("POST", PAIRS, Some(body)).await;
        assert_eq!(status.as_u16(), 400, "{grant}");
        assert_eq!(problem["type"], "invalid", "{grant}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.len() < 600 && !detail.contains('\u{1b}'), "{detail}");
    }
    let kept = carried(&service.get(PAIRS).await);
    assert_eq!(kept[0], ("web1 db1".to_owned(), 1, "all".to_owned()));
    service.stop().await;
}

#[tokio::test]
async fn two_networks_with_the_same_addresses_on_the_same_hosts_know_nothing_of_each_other() {
    let mut service = Service::new(600, 60).await;
    let (mut h1, mut h2) = service.laboratory().await;
    service
        .post(
            NETWORKS,
            json!({"name": "blue", "prefixes": ["10.77.0.0/24", "fd77::/64"]}),
        )
        .await;
    for (name, host, number) in [("web1", "h1", 11), ("db1", "h2", 21)] {
        let addresses = [format!("10.77.0.{number}"), format!("fd77::{number}")];
        let vms = "/api/v1/networks/blue/vms";
        service
            .post(vms, json!({"name": name, "addresses": addresses}))
            .await;
        service
            .post(&format!("{vms}/{name}/placement"), json!({"host": host}))
            .await;
    }
    let state1 = h1.follow(b"one").await.next().await.unwrap().unwrap();
    let state2 = h2.follow(b"two").await.next().await.unwrap().unwrap();
    let of = |state: &pairgate_api::grpc::GoalState, network: &str, name: &str| {
        let mut vms = state.vms.iter();
        vms.find(|vm| vm.network == network && vm.name == name)
            .unwrap()
            .clone()
    };
    let (blue, other) = (of(&state1, "blue", "web1"), of(&state1, "default", "web1"));
    assert_ne!(blue.tap, other.tap, "two taps on one host");
    let now = now_unix_secs();
    let refused = h1.mint(question(&blue, "10.77.0.21", 1, now)).await.unwrap();
    assert!(refused.is_none(), "only the other network's pair is allowed");
    let minted = h1
        .mint(question(&other, "fd77::21", 2, now))
        .await
        .unwrap()
        .unwrap();
    claims(minted.token, &of(&state2, "default", "db1"));

    service
        .post("/api/v1/networks/blue/pairs", pair("web1", "db1"))
        .await;
    service.deny(0).await;
    let minted = h1
        .mint(question(&blue, "10.77.0.21", 3, now))
        .await
        .unwrap()
        .unwrap();
    let claims = claims(minted.token, &of(&state2, "blue", "db1"));
    assert_eq!(claims.network.as_bytes(), blue.network_id.as_slice());
    assert!(
        h1.mint(question(&other, "10.77.0.21", 4, now))
            .await
            .unwrap()
            .is_none()
    );
    // A VM of one network that names the other is nobody there.
    let mut stray = blue.clone();
    stray.network_id = other.network_id.clone();
    assert!(
        h1.mint(question(&stray, "10.77.0.21", 5, now))
            .await
            .unwrap()
            .is_none()
    );
    service.stop().await;
}
