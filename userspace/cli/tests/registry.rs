//! The built program against the other end of a real TLS connection: what every verb asks for, and what it makes of
//! the answer. The real registry is met in the end-to-end tests.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod listener;

use listener::*;
use pairgate_api::rest::{Denial, Network, Pair};
use pairgate_api::routes::Role;
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_asks_for_what_it_says() {
    let installation = Installation::new();
    let vm = json!({"id": Uuid::new_v4(), "name": "web1", "network": "n1",
        "addresses": [{"address": "10.77.0.11", "prefix": 24}, {"address": "fd77::11", "prefix": 64}],
        "mac": "02:00:00:00:00:01", "mtu": 1500, "placement": null});
    let network = json!(Network {
        id: Uuid::new_v4(),
        name: "n1".into(),
        prefixes: vec![],
        gateway: None,
        dns: vec![],
        domain: None,
        mtu: 1500
    });
    let host = json!({"id": Uuid::new_v4(), "name": "h1", "address": "192.0.2.1", "agent_port": 1,
        "overlay_port": 2, "state": "waiting", "connected": false, "applied_revision": null, "lease_ends_unix_ms": null});
    let pair = json!(Pair {
        id: u64::MAX,
        source: "a".into(),
        destination: "b".into(),
        grant: "all".into(),
        since_unix_ms: 0
    });
    let nothing = json!(Denial {
        applied: true,
        revision: 9,
        directions: vec![],
        told: vec![]
    });
    let allowed = json!({"pairs": [pair], "ended": nothing});
    let readdressed = json!({"vm": vm, "ended": denial(true)});
    let zero = json!({"id": Uuid::new_v4(), "owner": "rack1", "expires_unix_ms": 5, "uses_left": 1, "revoked": false});
    let operator = json!({"id": Uuid::new_v4(), "owner": "alice", "expires_unix_ms": 5, "revoked": false});
    let removed_host = json!({"id": Uuid::new_v4(), "name": "h1", "revision": 9, "lease_ends_unix_ms": 5});
    let cases = [
        (
            "network create n1 --prefix 10.77.0.0/24",
            &network,
            "POST /api/v1/networks",
            json!({"name": "n1", "prefixes": ["10.77.0.0/24"]}),
        ),
        (
            "network list",
            &json!([network]),
            "GET /api/v1/networks",
            Value::Null,
        ),
        (
            "network show n1",
            &network,
            "GET /api/v1/networks/n1",
            Value::Null,
        ),
        (
            "host create h1 --address 192.0.2.1 --agent-port 7",
            &host,
            "POST /api/v1/hosts",
            json!({"name": "h1", "address": "192.0.2.1", "agent_port": 7}),
        ),
        ("host list", &json!([host]), "GET /api/v1/hosts", Value::Null),
        ("host show h1", &host, "GET /api/v1/hosts/h1", Value::Null),
        (
            "vm create web1 --network n1",
            &vm,
            "POST /api/v1/networks/n1/vms",
            json!({"name": "web1"}),
        ),
        (
            "vm create web1 --address fd77:0::11 --address 10.77.0.11",
            &vm,
            "POST /api/v1/networks/default/vms",
            json!({"name": "web1", "addresses": ["fd77::11", "10.77.0.11"]}),
        ),
        (
            "vm list --network n1",
            &json!([vm]),
            "GET /api/v1/networks/n1/vms",
            Value::Null,
        ),
        (
            "vm show web1",
            &vm,
            "GET /api/v1/networks/default/vms/web1",
            Value::Null,
        ),
        (
            "vm place web1 h1",
            &vm,
            "POST /api/v1/networks/default/vms/web1/placement",
            json!({"host": "h1"}),
        ),
        (
            "pair allow a b",
            &allowed,
            "POST /api/v1/networks/default/pairs",
            json!({"source": "a", "destination": "b", "timeout_ms": 10000}),
        ),
        (
            "pair allow a b udp/53 tcp/443 --one-way",
            &allowed,
            "POST /api/v1/networks/default/pairs",
            json!({"source": "a", "destination": "b", "grant": ["udp/53", "tcp/443"], "one_way": true, "timeout_ms": 10000}),
        ),
        (
            "vm set-addresses web1 10.77.0.12 fd77::12 --timeout 3",
            &readdressed,
            "PUT /api/v1/networks/default/vms/web1/addresses",
            json!({"addresses": ["10.77.0.12", "fd77::12"], "timeout_ms": 3000}),
        ),
        (
            "vm delete web1 --timeout 3",
            &json!(denial(true)),
            "DELETE /api/v1/networks/default/vms/web1?timeout_ms=3000",
            Value::Null,
        ),
        (
            "vm delete web1 --timeout 0",
            &nothing,
            "DELETE /api/v1/networks/default/vms/web1?timeout_ms=0",
            Value::Null,
        ),
        (
            "host delete h1",
            &removed_host,
            "DELETE /api/v1/hosts/h1",
            Value::Null,
        ),
        (
            "network delete n1",
            &network,
            "DELETE /api/v1/networks/n1",
            Value::Null,
        ),
        (
            "pair list",
            &json!([pair]),
            "GET /api/v1/networks/default/pairs",
            Value::Null,
        ),
        (
            "network set n1 --dns 192.0.2.53 --no-domain --mtu 1400",
            &network,
            "PATCH /api/v1/networks/n1",
            json!({"dns": ["192.0.2.53"], "domain": "", "mtu": 1400}),
        ),
        ("host reset h1", &host, "POST /api/v1/hosts/h1/reset", Value::Null),
        (
            "zero list",
            &json!([zero]),
            "GET /api/v1/zero-certificates",
            Value::Null,
        ),
        (
            "zero revoke 00000000-0000-4000-8000-000000000000",
            &zero,
            "POST /api/v1/zero-certificates/00000000-0000-4000-8000-000000000000/revocation",
            Value::Null,
        ),
        (
            "operator list",
            &json!([operator]),
            "GET /api/v1/operators",
            Value::Null,
        ),
        (
            "operator revoke 00000000-0000-4000-8000-000000000000",
            &operator,
            "POST /api/v1/operators/00000000-0000-4000-8000-000000000000/revocation",
            Value::Null,
        ),
        (
            "pair deny a b --timeout 3",
            &json!(denial(true)),
            "POST /api/v1/networks/default/denials",
            json!({"source": "a", "destination": "b", "timeout_ms": 3000}),
        ),
    ];
    for (line, answer, path, body) in cases {
        let served = installation.serve(Role::Registry, 200, answer.clone()).await;
        let (code, table, complaint) =
            said(&installation.pairgate(served.address, Role::Operator, line).await);
        assert_eq!((code, complaint.as_str()), (Some(0), ""), "{line}");
        assert!(
            table.ends_with('\n') && !table.starts_with('{'),
            "{line}: {table}"
        );
        let json = installation
            .pairgate(served.address, Role::Operator, &format!("{line} -o json"))
            .await;
        assert_eq!(
            &serde_json::from_slice::<Value>(&json.stdout).unwrap(),
            answer,
            "{line}"
        );
        let asked = served.asked.lock().unwrap();
        assert_eq!(
            asked.as_slice(),
            [(path.to_owned(), body.clone()), (path.to_owned(), body)],
            "{line}"
        );
        assert!(
            is_documented(path),
            "{line} asks for {path}, which docs/openapi.json does not have"
        );
    }
}

/// Whether somebody with the API's description alone could have asked the same.
fn is_documented(asked: &str) -> bool {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let document: Value = serde_json::from_str(&std::fs::read_to_string(document).unwrap()).unwrap();
    let (method, path) = asked.split_once(' ').unwrap();
    let path = path.split('?').next().unwrap().strip_prefix("/api/v1").unwrap();
    let matches = |template: &str| {
        let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
        let same = |(here, there): (&&str, &&str)| here == there || here.starts_with('{');
        template.len() == path.len() && template.iter().zip(&path).all(same)
    };
    document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .any(|(template, methods)| matches(template) && methods.get(method.to_lowercase()).is_some())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_answers_by_its_exit_code_what_the_registry_lists() {
    let installation = Installation::new();
    let direction = |source: &str, destination: &str, grant: &str| json!({"id": 1, "source": source, "destination": destination, "grant": grant, "since_unix_ms": 0});
    let pairs = json!([
        direction("web1", "db1", "tcp/443,udp/53"),
        direction("db1", "web1", "replies")
    ]);
    let vm = json!({"id": Uuid::new_v4(), "name": "db1", "network": "default", "addresses": [],
        "mac": "02:00:00:00:00:01", "mtu": 1500, "placement": null});
    let served = installation.serve_by_path(move |path| {
        if path.ends_with("/pairs") {
            pairs.clone()
        } else {
            vm.clone()
        }
    });
    let served = served.await;
    for (line, code, words) in [
        (
            "pair check web1 db1",
            0,
            "yes: web1 -> db1 carries tcp/443, udp/53",
        ),
        ("pair check web1 db1 udp/53", 0, "yes"),
        (
            "pair check web1 db1 udp/53 icmp",
            1,
            "no: web1 -> db1 carries tcp/443, udp/53",
        ),
        ("pair check web1 db1 all", 1, "no"),
        ("pair check db1 web1", 1, "no: db1 -> web1 carries replies only"),
        ("pair check web1 db2", 1, "no: web1 -> db2 carries nothing"),
        ("pair check web1 db1 tcp/443 -o json", 0, "\"allowed\":true"),
    ] {
        let (told, printed, complaint) =
            said(&installation.pairgate(served.address, Role::Operator, line).await);
        assert_eq!((told, complaint.as_str()), (Some(code), ""), "{line}");
        assert!(printed.contains(words), "{line}: {printed}");
    }
    let asked = served.asked.lock().unwrap().clone();
    assert!(asked.iter().all(|(path, _)| is_documented(path)), "{asked:?}");
    // A VM that nobody knows is no answer, neither yes nor no.
    let nobody =
        json!({"type": "not_found", "status": 404, "title": "the VM was not shown", "detail": "no such VM"});
    let served = installation.serve(Role::Registry, 404, nobody).await;
    let (told, ..) = said(
        &installation
            .pairgate(served.address, Role::Operator, "pair check web1 nobody")
            .await,
    );
    assert_eq!(told, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_ends_pairs_without_every_receipt_ends_with_1_and_stands() {
    let installation = Installation::new();
    let unconfirmed = denial(false);
    let pairs = json!({"pairs": [], "ended": unconfirmed});
    let vm = json!({"id": Uuid::new_v4(), "name": "web1", "network": "default", "addresses": [],
        "mac": "02:00:00:00:00:01", "mtu": 1500, "placement": null});
    let readdressed = json!({"vm": vm, "ended": unconfirmed});
    for (line, answer, words) in [
        ("pair allow web1 db1 tcp/443", pairs, "the new grant stands"),
        ("vm delete web1", json!(unconfirmed), "the removal stands"),
        (
            "vm set-addresses web1 10.77.0.12",
            readdressed,
            "the change stands",
        ),
    ] {
        let served = installation.serve(Role::Registry, 200, answer).await;
        let (code, printed, complaint) =
            said(&installation.pairgate(served.address, Role::Operator, line).await);
        assert_eq!(code, Some(1), "{line}");
        assert!(printed.contains("unanswered"), "{line}: {printed}");
        assert!(
            complaint.contains(words) && complaint.contains("h1 has not answered"),
            "{line}: {complaint}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_waits_for_what_an_earlier_denial_of_a_new_pair_has_left() {
    let installation = Installation::new();
    let network = json!({"id": Uuid::new_v4(), "name": "default", "prefixes": ["10.77.0.0/24"], "mtu": 1500});
    let vm = |name: &str| {
        json!({"id": Uuid::new_v4(), "name": name, "network": "default", "addresses": [],
            "mac": "02:00:00:00:00:01", "mtu": 1500, "placement": null})
    };
    let vms = json!([vm("web1"), vm("db1")]);
    let allowing = Arc::new(AtomicUsize::new(0));
    let served = installation.serve_by_path(move |path| match path {
        "GET /api/v1/networks" => json!([network]),
        "GET /api/v1/networks/default/vms" => vms.clone(),
        "POST /api/v1/networks/default/pairs" => {
            let is_second = allowing.fetch_add(1, Ordering::Relaxed) > 0;
            json!({"pairs": [], "ended": denial(is_second)})
        }
        _ => json!([]),
    });
    let served = served.await;
    let file = installation.path("site.toml");
    std::fs::write(&file, "[[pair]]\nbetween = [\"web1\", \"db1\"]\n").unwrap();
    let line = format!("apply --file {file} --timeout 7");
    let (code, _, complaint) = said(&installation.pairgate(served.address, Role::Operator, &line).await);
    assert_eq!(code, Some(0), "{complaint}");
    let asked = served.asked.lock().unwrap().clone();
    let allowed = asked.iter().filter(|(path, _)| path.starts_with("POST"));
    let waits: Vec<_> = allowed.map(|(_, body)| body["timeout_ms"].as_u64()).collect();
    assert_eq!(
        waits,
        [None, Some(7_000)],
        "first not at all, then for what is left"
    );
}
