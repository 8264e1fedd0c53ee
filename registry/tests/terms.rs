//! What all routes have in common: parts of lists, conditions, keys, limits, and how they refuse.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "each test binary uses a part of it")]
mod support;

use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, StatusCode, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use pairgate_identity::{client_config, connect};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc, time::Instant};
use support::*;
use tokio::{task::JoinSet, time::timeout};

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The refusal's status and type; a refusal in another form is a fault.
    fn refusal(&self) -> (u16, &str) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(self.body["status"], self.status.as_u16());
        for field in ["title", "detail"] {
            assert!(!self.body[field].as_str().unwrap().is_empty(), "{}", self.body);
        }
        (self.status.as_u16(), self.body["type"].as_str().unwrap())
    }
}

/// Who asks, and where.
#[derive(Clone)]
struct Client {
    address: String,
    tls: Arc<rustls::ClientConfig>,
}

impl Client {
    fn of(service: &Service) -> Self {
        Self {
            address: service.address(),
            tls: client_config(&service.credentials("operator")).unwrap(),
        }
    }

    async fn sender(&self) -> http1::SendRequest<Full<Bytes>> {
        let stream = connect(&self.address, self.tls.clone(), expect_registry())
            .await
            .unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Request<Full<Bytes>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.address)
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Full::new(Bytes::from(body))).unwrap()
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: String) -> Answer {
        let request = self.request(method, path, headers, body);
        let response = timeout(PATIENCE, self.sender().await.send_request(request))
            .await
            .unwrap()
            .unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], String::new()).await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        self.ask("POST", path, headers, body.to_string()).await
    }

    /// All parts of a list, of this length each.
    async fn parts(&self, path: &str, limit: usize) -> Vec<Vec<Value>> {
        let mut next = Some(format!("{path}?limit={limit}"));
        let mut parts = Vec::new();
        while let Some(path) = next {
            let answer = self.get(&path).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
            next = answer.header("link").map(|link| {
                let path = link
                    .strip_prefix('<')
                    .unwrap()
                    .strip_suffix(">; rel=\"next\"")
                    .unwrap();
                path.to_owned()
            });
            parts.push(answer.body.as_array().unwrap().clone());
        }
        parts
    }
}

fn network(name: &str) -> Value {
    json!({"name": name, "prefixes": ["10.0.0.0/24"]})
}

fn request_pem() -> String {
    let key = KeyPair::generate().unwrap();
    CertificateParams::default()
        .serialize_request(&key)
        .unwrap()
        .pem()
        .unwrap()
}

const NETWORKS: &str = "/api/v1/networks";

#[tokio::test]
async fn every_list_comes_in_parts_that_make_the_whole_also_while_it_changes() {
    let mut service = Service::new(600, 60).await;
    service.laboratory().await;
    let client = Client::of(&service);
    for name in ["a", "b", "c", "d"] {
        service.post(NETWORKS, network(name)).await;
        let zero = json!({"owner": "same", "signing_request": request_pem()});
        service.post("/api/v1/zero-certificates", zero.clone()).await;
        service.post("/api/v1/operators", zero).await;
    }
    service
        .post("/api/v1/networks/default/pairs", pair("web1", "db2"))
        .await;
    for path in [
        NETWORKS,
        "/api/v1/hosts",
        "/api/v1/zero-certificates",
        "/api/v1/operators",
        "/api/v1/networks/default/vms",
        "/api/v1/networks/default/pairs",
        "/api/v1/networks/default/vms/web1/pairs",
    ] {
        let whole = client.get(path).await;
        assert_eq!(whole.header("link"), None, "{path}");
        let whole = whole.body.as_array().unwrap().clone();
        assert!(whole.len() >= 3, "{path}");
        for limit in [1, 2, whole.len(), 1000] {
            let parts = client.parts(path, limit).await;
            assert_eq!(parts.len(), whole.len().div_ceil(limit), "{path} by {limit}");
            assert!(parts.iter().all(|part| part.len() <= limit));
            assert_eq!(parts.concat(), whole, "{path} by {limit}");
        }
        for query in [
            "limit=0",
            "limit=1001",
            "limit=-1",
            "limit=1e3",
            "after=%00",
            "after=",
            "limit=1&limit=2",
            "x=1",
        ] {
            let answer = client.get(&format!("{path}?{query}")).await;
            assert_eq!(answer.refusal(), (400, "invalid"), "{path}?{query}");
        }
    }
    // What comes and goes between two parts moves nothing else.
    let first = client.get(&format!("{NETWORKS}?limit=2")).await;
    let next = first.header("link").unwrap();
    let next = next[1..].split('>').next().unwrap().to_owned();
    client
        .ask("DELETE", &format!("{NETWORKS}/a"), &[], String::new())
        .await;
    service.post(NETWORKS, network("aa")).await;
    let second = client.get(&next).await;
    let names: Vec<_> = second
        .body
        .as_array()
        .unwrap()
        .iter()
        .map(|each| &each["name"])
        .collect();
    assert_eq!(names, ["c", "d"]);
    service.stop().await;
}

#[tokio::test]
async fn a_change_that_relies_on_an_older_state_is_refused_and_changes_nothing() {
    let mut service = Service::new(600, 60).await;
    let (mut h1, _) = service.laboratory().await;
    let client = Client::of(&service);
    let path = "/api/v1/networks/default/vms/db2";
    let tag = async || client.get(path).await.header("etag").unwrap().to_owned();
    let seen = tag().await;
    assert_eq!(tag().await, seen, "reading changes nothing");
    let placement = format!("{path}/placement");
    let place = async |tag: &str| {
        client
            .post(&placement, &[("if-match", tag)], &json!({"host": "h2"}))
            .await
    };
    assert_eq!(place(&seen).await.status, StatusCode::OK);
    let before = client.get(path).await.body;
    assert_eq!(place(&seen).await.refusal(), (412, "changed"));
    let remove = client
        .ask("DELETE", path, &[("if-match", &seen)], String::new())
        .await;
    assert_eq!(remove.refusal(), (412, "changed"));
    let addresses = json!({"addresses": ["10.77.0.99"], "timeout_ms": 0}).to_string();
    let set = client
        .ask(
            "PUT",
            &format!("{path}/addresses"),
            &[("if-match", &seen)],
            addresses,
        )
        .await;
    assert_eq!(set.refusal(), (412, "changed"));
    assert_eq!(client.get(path).await.body, before);
    assert_eq!(place("*").await.status, StatusCode::OK);

    // Of any number that have seen the same, one changes it.
    let (seen, mut racers) = (tag().await, JoinSet::new());
    for _ in 0..8 {
        let (client, placement, seen) = (client.clone(), placement.clone(), seen.clone());
        racers.spawn(async move {
            let headers = [("if-match", seen.as_str())];
            client
                .post(&placement, &headers, &json!({"host": "h2"}))
                .await
                .status
        });
    }
    let ends = racers.join_all().await;
    assert_eq!(ends.iter().filter(|end| end.is_success()).count(), 1, "{ends:?}");

    // What a host says of itself is no part of its state.
    let host = async || {
        client
            .get("/api/v1/hosts/h1")
            .await
            .header("etag")
            .unwrap()
            .to_owned()
    };
    let before = host().await;
    let mut follower = h1.follow(b"one").await;
    follower.next().await.unwrap().unwrap();
    h1.lease().await;
    assert_eq!(host().await, before);
    let reset = async |tag: &str| {
        client
            .post("/api/v1/hosts/h1/reset", &[("if-match", tag)], &json!(null))
            .await
    };
    assert_eq!(reset(&before).await.status, StatusCode::OK);
    assert_eq!(reset(&before).await.refusal(), (412, "changed"));

    for text in ["x", "W/\"00\"", "\"", "\"00\", x", "\"'\""] {
        assert_eq!(place(text).await.refusal(), (400, "invalid"), "{text}");
    }
    for (method, path, header) in [
        ("POST", NETWORKS, "if-match"),
        ("POST", placement.as_str(), "if-unmodified-since"),
        ("POST", placement.as_str(), "if-none-match"),
        ("POST", "/api/v1/networks/default/denials", "if-match"),
    ] {
        let answer = client.ask(method, path, &[(header, "*")], "{}".to_owned()).await;
        assert_eq!(
            answer.refusal(),
            (400, "invalid"),
            "{method} {path} with {header}"
        );
    }
    let both = [("if-match", "*"), ("if-none-match", "*")];
    let answer = client.post(&placement, &both, &json!({"host": "h2"})).await;
    assert_eq!(answer.refusal(), (400, "invalid"));
    // A cache asks in this way by itself.
    let answer = client
        .ask("GET", path, &[("if-none-match", "\"00\"")], String::new())
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    service.stop().await;
}

#[tokio::test]
async fn a_request_under_a_key_is_carried_out_once_and_answered_the_same_ever_after() {
    let mut service = Service::new(600, 60).await;
    let mut client = Client::of(&service);
    let key = [("idempotency-key", "deploy-7")];
    let first = client.post(NETWORKS, &key, &network("n1")).await;
    assert_eq!(
        (first.status, first.header("idempotency-replayed")),
        (StatusCode::CREATED, None)
    );
    for restart in [false, true] {
        if restart {
            service.stop().await;
            service.start().await;
            client = Client::of(&service);
        }
        let again = client.post(NETWORKS, &key, &network("n1")).await;
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(
            (again.status, again.body),
            (first.status, first.body.clone()),
            "restart: {restart}"
        );
    }
    assert_eq!(service.audited("network_created"), 1);
    let other = client.post(NETWORKS, &key, &network("n2")).await;
    assert_eq!(other.refusal(), (422, "key_reused"));
    let elsewhere = client.post("/api/v1/hosts", &key, &network("n1")).await;
    assert_eq!(elsewhere.refusal(), (422, "key_reused"));
    let without = client.post(NETWORKS, &[], &network("n1")).await;
    assert_eq!(
        without.refusal(),
        (409, "exists"),
        "without a key it is another request"
    );

    // What was refused has changed nothing and may be tried again.
    let host = json!({"name": "h1", "address": "192.0.2.1"});
    let reset = async || {
        client
            .post(
                "/api/v1/hosts/h1/reset",
                &[("idempotency-key", "r")],
                &json!(null),
            )
            .await
    };
    assert_eq!(reset().await.refusal(), (404, "not_found"));
    service.post("/api/v1/hosts", host).await;
    assert_eq!(reset().await.status, StatusCode::OK);

    for bad in ["", " ", "a b", "a'b", "a\"", "../x", &"k".repeat(65)] {
        let answer = client
            .post(NETWORKS, &[("idempotency-key", bad)], &network("bad"))
            .await;
        assert_eq!(answer.refusal(), (400, "invalid"), "{bad:?}");
    }
    let twice = [("idempotency-key", "a"), ("idempotency-key", "b")];
    let answer = client.post(NETWORKS, &twice, &network("bad")).await;
    assert_eq!(answer.refusal(), (400, "invalid"));
    service.stop().await;
}

#[tokio::test]
async fn a_key_whose_answer_nobody_knows_is_never_carried_out_again() {
    let mut service = Service::new(600, 60).await;
    let client = Client::of(&service);
    let key = [("idempotency-key", "k")];
    assert!(
        client
            .post(NETWORKS, &key, &network("n1"))
            .await
            .status
            .is_success()
    );
    service.stop().await;
    // As if the service had been killed after the change and before its answer was written down.
    let store = rusqlite::Connection::open(service.state().join("registry.db")).unwrap();
    let cut = store
        .execute("UPDATE once SET status = NULL, body = NULL", [])
        .unwrap();
    assert_eq!(cut, 1);
    store.execute("DELETE FROM prefix", []).unwrap();
    store.execute("DELETE FROM network", []).unwrap();
    drop(store);
    service.start().await;
    let client = Client::of(&service);
    let answer = client.post(NETWORKS, &key, &network("n1")).await;
    assert_eq!(answer.refusal(), (409, "conflict"));
    assert!(
        answer.body["detail"]
            .as_str()
            .unwrap()
            .contains("may have happened")
    );
    assert_eq!(client.get(NETWORKS).await.body, json!([]));
    service.stop().await;
}

#[tokio::test]
async fn of_many_with_one_key_one_is_carried_out_also_if_its_sender_goes_away() {
    let mut service = Service::new(600, 60).await;
    let client = Client::of(&service);
    let mut senders = JoinSet::new();
    for number in 0..16 {
        let client = client.clone();
        senders.spawn(async move {
            let body = network("n1").to_string();
            let request = client.request("POST", NETWORKS, &[("idempotency-key", "k")], body);
            let mut sender = client.sender().await;
            let sending = sender.send_request(request);
            if number % 2 == 0 {
                // Long enough to have been sent, too short for the answer.
                let _ = timeout(std::time::Duration::from_micros(500), sending).await;
                return StatusCode::OK;
            }
            sending.await.unwrap().status()
        });
    }
    for end in senders.join_all().await {
        let known = [StatusCode::OK, StatusCode::CREATED, StatusCode::CONFLICT];
        assert!(known.contains(&end), "{end}");
    }
    // The one that is carried out may still be under way, with nobody there to wait for it.
    let begun = Instant::now();
    let last = loop {
        let key = [("idempotency-key", "k")];
        let last = client.post(NETWORKS, &key, &network("n1")).await;
        if last.status != StatusCode::CONFLICT || begun.elapsed() > PATIENCE {
            break last;
        }
    };
    assert_eq!(last.status, StatusCode::CREATED, "{}", last.body);
    assert_eq!(service.audited("network_created"), 1);
    service.stop().await;
}

#[tokio::test]
async fn whatever_is_sent_is_refused_as_a_problem_and_never_as_a_fault() {
    let mut service = Service::new(600, 60).await;
    service.laboratory().await;
    let client = Client::of(&service);
    let deep = "[".repeat(30_000);
    let deep_object = r#"{"name":"#.repeat(6_000);
    let long_name = format!(
        r#"{{"name": "{}", "prefixes": ["10.0.0.0/24"]}}"#,
        "a".repeat(60_000)
    );
    let bodies = [
        "",
        "null",
        "[]",
        "{",
        "\0",
        &deep,
        &deep_object,
        &long_name,
        r#"{"name": "n", "name": "m", "prefixes": []}"#,
        r#"{"name": "n", "prefixes": ["10.0.0.0/24"], "id": 1}"#,
        r#"{"name": "n'); DROP TABLE network; --", "prefixes": ["10.0.0.0/24"]}"#,
        r#"{"name": "n\u0000", "prefixes": ["10.0.0.0/24"]}"#,
        r#"{"name": "ｎ", "prefixes": ["10.0.0.0/24"]}"#,
        r#"{"name": "\ud800", "prefixes": ["10.0.0.0/24"]}"#,
        r#"{"name": "n\r\nset-cookie: x", "prefixes": ["10.0.0.0/24"]}"#,
        r#"{"name": 1e999, "prefixes": 18446744073709551616}"#,
    ];
    for body in bodies {
        for path in [
            NETWORKS,
            "/api/v1/hosts",
            "/api/v1/networks/default/vms",
            "/api/v1/networks/default/pairs",
        ] {
            let answer = client
                .ask("POST", path, &[("idempotency-key", "k")], body.to_owned())
                .await;
            let shown: String = body.chars().take(60).collect();
            assert_eq!(answer.refusal(), (400, "invalid"), "{path} {shown}");
        }
    }
    for key in [&[][..], &[("idempotency-key", "k")]] {
        let answer = client.ask("POST", NETWORKS, key, " ".repeat(65 * 1024)).await;
        assert_eq!(answer.refusal(), (413, "invalid"));
    }
    let answer = client
        .ask(
            "POST",
            "/api/v1/networks/default/denials",
            &[],
            r#"{"source":"web1","destination":"db1","timeout_ms":-1}"#.to_owned(),
        )
        .await;
    assert_eq!(answer.refusal(), (400, "invalid"));
    let long = "a".repeat(10_000);
    for segment in [
        "..",
        "%2e%2e",
        "%00",
        "%ff%fe",
        "a%2fb",
        "'%20OR%201=1",
        "%F0%9F%92%A3",
        "web1%0d%0a",
        "*",
        &long,
    ] {
        for path in [
            "/api/v1/networks/{}",
            "/api/v1/hosts/{}",
            "/api/v1/networks/default/vms/{}",
            "/api/v1/networks/{}/pairs",
        ] {
            let path = path.replace("{}", segment);
            let answer = client.get(&path).await;
            let (status, _) = answer.refusal();
            assert!((400..500).contains(&status), "{path}: {status}");
        }
    }
    for id in [
        "1",
        "00000000-0000-0000-0000-00000000000g",
        "9".repeat(5_000).as_str(),
    ] {
        let answer = client
            .post(&format!("/api/v1/operators/{id}/revocation"), &[], &json!(null))
            .await;
        assert_eq!(answer.refusal().0, 400, "{id}");
    }
    let names: BTreeSet<_> = client
        .get(NETWORKS)
        .await
        .body
        .as_array()
        .unwrap()
        .iter()
        .map(|each| each["name"].to_string())
        .collect();
    assert_eq!(
        names,
        BTreeSet::from(["\"default\"".to_owned()]),
        "nothing of all that was made"
    );
    service.stop().await;
}
