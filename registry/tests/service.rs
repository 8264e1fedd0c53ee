//! The registry as its clients see it: real TLS on loopback, real store, everything in this process.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "each test binary uses a part of it")]
mod support;

use hyper::StatusCode;
use pairgate_api::grpc;
use pairgate_token::{UnverifiedToken, judge};
use rcgen::KeyPair;
use serde_json::json;
use support::*;
use tonic::Code;

#[tokio::test]
async fn a_token_comes_to_the_source_host_and_verifies_with_the_key_of_the_destination_host() {
    let mut service = Service::new(600, 60).await;
    let (mut h1, mut h2) = service.laboratory().await;
    let state1 = h1.follow(b"one").await.next().await.unwrap().unwrap();
    let mut follower2 = h2.follow(b"two").await;
    let state2 = follower2.next().await.unwrap().unwrap();
    assert_eq!(
        state1.vms.len(),
        1,
        "a host gets the keys of its own VMs and no others"
    );
    let web1 = vm(&state1, "web1").unwrap();
    assert_eq!((web1.tap.as_str(), web1.mtu), ("tap-web1", 1500));
    assert_eq!(addresses(web1), ["10.77.0.11/24", "fd77::11/64"]);
    let (db1, _db2) = (vm(&state2, "db1").unwrap(), vm(&state2, "db2").unwrap());

    let minted = h1
        .mint(question(web1, "10.77.0.21", 1, now_unix_secs()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(minted.dst_host_id, h2.id.as_bytes());
    assert_eq!(minted.dst_agent_port, 7444);
    let token = UnverifiedToken::from_bytes(minted.token)
        .unwrap()
        .verify(&key(db1))
        .unwrap();
    judge(&token, now_unix_secs()).unwrap();
    assert_eq!(token.claims().source_host.to_string(), "192.0.2.1");
    assert_eq!(token.claims().destination_host.to_string(), "192.0.2.2");
    assert_eq!(service.audited("token_minted"), 1);

    let grant = h2.lease().await;
    assert_eq!(grant.lease_ms, 60_000);
    assert_eq!(grant.revision, state2.revision);
    let host = service.get("/api/v1/hosts/h2").await;
    assert_eq!(host["connected"], true);
    assert!(host["lease_ends_unix_ms"].as_u64().unwrap() >= grant.registry_unix_ms + 60_000);
    drop(follower2);
    service.stop().await;
}

#[tokio::test]
async fn the_same_proof_again_gets_the_same_answer_and_one_audit_row() {
    let mut service = Service::new(600, 60).await;
    let (mut h1, _) = service.laboratory().await;
    let state = h1.follow(b"one").await.next().await.unwrap().unwrap();
    let now = now_unix_secs();
    let ask = question(vm(&state, "web1").unwrap(), "10.77.0.21", 1, now);
    let (mut again, mut third) = (h1.client.clone(), h1.client.clone());
    let (first, second, third) = tokio::join!(
        h1.client.mint(ask.clone()),
        again.mint(ask.clone()),
        third.mint(ask.clone())
    );
    let token =
        |answer: Result<tonic::Response<grpc::MintResponse>, _>| match answer.unwrap().into_inner().answer {
            Some(grpc::mint_response::Answer::Minted(minted)) => minted.token,
            Some(grpc::mint_response::Answer::Refused(_)) | None => panic!("no token"),
        };
    let first = token(first);
    assert_eq!(first, token(second));
    assert_eq!(first, token(third));
    assert_eq!(first, h1.mint(ask.clone()).await.unwrap().unwrap().token);
    assert_eq!(service.audited("token_minted"), 1);
    let other = question(vm(&state, "web1").unwrap(), "10.77.0.21", 1, now - 1);
    assert!(
        h1.mint(other).await.unwrap().is_none(),
        "a used nonce with another question"
    );
    let other = question(vm(&state, "web1").unwrap(), "10.77.0.21", 2, now);
    assert!(
        h1.mint(other).await.unwrap().is_some(),
        "another nonce is another question"
    );
    assert_eq!(
        service.audited("token_minted"),
        1,
        "the pair and its generations have their row"
    );
    service.stop().await;
    assert_eq!(
        service.audited("mints_renewed"),
        1,
        "and what renews it is counted"
    );
}

#[tokio::test]
async fn what_is_not_allowed_or_not_known_is_refused_with_one_word_and_counted() {
    let mut service = Service::new(600, 60).await;
    let (mut h1, mut h2) = service.laboratory().await;
    let state = h1.follow(b"one").await.next().await.unwrap().unwrap();
    let web1 = vm(&state, "web1").unwrap().clone();
    let now = now_unix_secs();
    let good = question(&web1, "10.77.0.21", 1, now);
    let mut forged = good.clone();
    forged.proof[0] ^= 1;
    for (what, ask) in [
        ("not allowed", question(&web1, "10.77.0.22", 2, now)),
        ("nobody there", question(&web1, "10.77.0.99", 3, now)),
        ("stale", question(&web1, "10.77.0.21", 4, now - 100)),
        ("from the future", question(&web1, "10.77.0.21", 5, now + 100)),
        ("forged", forged),
    ] {
        assert!(h1.mint(ask).await.unwrap().is_none(), "{what}");
    }
    assert!(
        h2.mint(good.clone()).await.unwrap().is_none(),
        "a host that does not have the VM"
    );
    let mut malformed = good.clone();
    malformed.nonce.pop();
    assert_eq!(
        h1.mint(malformed).await.err().unwrap().code(),
        Code::InvalidArgument
    );
    assert_eq!(service.audited("token_minted"), 0);

    // The denied pair: what was minted before lives on as a token, nothing new is minted.
    let ask = question(&web1, "10.77.0.21", 9, now);
    assert!(h1.mint(ask).await.unwrap().is_some());
    service.deny(0).await;
    assert!(
        h1.mint(question(&web1, "10.77.0.21", 10, now))
            .await
            .unwrap()
            .is_none()
    );
    service.stop().await;
    assert!(service.audited("mints_refused") >= 6, "written down at the stop");
}

#[tokio::test]
async fn a_zero_certificate_enrols_a_waiting_host_and_does_nothing_else() {
    let mut service = Service::new(600, 60).await;
    service
        .post("/api/v1/hosts", json!({"name": "h1", "address": "192.0.2.1"}))
        .await;
    assert_eq!(service.get("/api/v1/hosts/h1").await["state"], "waiting");
    let key = KeyPair::generate().unwrap();
    let first = service.enrol_with("h1", &key).await.unwrap();
    let second = service.enrol_with("h1", &key).await.unwrap();
    assert_eq!(
        first.certificate_pem, second.certificate_pem,
        "the same key, the same certificate"
    );
    assert_eq!(service.audited("host_enrolled"), 1);
    assert_eq!(service.get("/api/v1/hosts/h1").await["state"], "enrolled");
    let host = Host::new(&service, &first, &key);
    assert_eq!(
        host.credentials.address().unwrap().to_string(),
        "192.0.2.1",
        "set by the registry"
    );
    assert_eq!(host.credentials.identity().id, host.id);

    let other = KeyPair::generate().unwrap();
    for name in ["h1", "h9"] {
        let refused = service.enrol_with(name, &other).await.err().unwrap();
        assert_eq!(refused.code(), Code::PermissionDenied, "{name}");
    }
    assert_eq!(service.audited("enrolment_refused"), 2);

    let zero = service.credentials("zero");
    let mut zero_agent = service.agents(&zero);
    let refused = zero_agent.renew_lease(grpc::LeaseRequest {}).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied);
    for path in ["/api/v1/hosts", "/api/v1/status"] {
        let (status, problem) = rest(&service.address(), &zero, "GET", path, None).await;
        assert_eq!(
            (status, problem["type"].as_str()),
            (StatusCode::FORBIDDEN, Some("forbidden"))
        );
    }
    let mut host_as_zero = host.client.clone();
    let request = grpc::EnrolRequest {
        host: "h1".to_owned(),
        signing_request: signing_request(&key),
    };
    let refused = host_as_zero.enrol(request).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied, "a host enrols nobody");
    service.stop().await;
}

#[tokio::test]
async fn of_many_racers_for_one_host_record_exactly_one_enrols() {
    let mut service = Service::new(600, 60).await;
    service
        .post("/api/v1/hosts", json!({"name": "h1", "address": "192.0.2.1"}))
        .await;
    let keys: Vec<_> = (0..8).map(|_| KeyPair::generate().unwrap()).collect();
    let mut winners = 0;
    let tries = keys.iter().map(|key| service.enrol_with("h1", key));
    for result in futures_join(tries).await {
        winners += usize::from(result.is_ok());
    }
    assert_eq!(winners, 1);
    service.stop().await;
}

#[tokio::test]
async fn requests_that_are_wrong_are_refused_with_a_reason() {
    let mut service = Service::new(600, 60).await;
    service.laboratory().await;
    let networks = "/api/v1/networks";
    let vms = "/api/v1/networks/default/vms";
    let hosts = "/api/v1/hosts";
    let denials = "/api/v1/networks/default/denials";
    for (path, body, kind) in [
        (
            networks,
            json!({"name": "default", "prefixes": ["10.0.0.0/24"]}),
            "exists",
        ),
        (
            networks,
            json!({"name": "Default", "prefixes": ["10.0.0.0/24"]}),
            "invalid",
        ),
        (
            networks,
            json!({"name": "two", "prefixes": ["10.0.0.0/24", "10.1.0.0/24"]}),
            "invalid",
        ),
        (networks, json!({"name": "none", "prefixes": []}), "invalid"),
        (
            networks,
            json!({"name": "more", "prefixes": ["10.0.0.0/24"], "vlan": 9}),
            "invalid",
        ),
        (hosts, json!({"name": "h1", "address": "192.0.2.9"}), "exists"),
        (hosts, json!({"name": "h9", "address": "192.0.2.1"}), "conflict"),
        (hosts, json!({"name": "h9", "address": "10.77.0.11"}), "conflict"),
        (hosts, json!({"name": "h9", "address": "127.0.0.1"}), "invalid"),
        (
            hosts,
            json!({"name": "h9", "address": "192.0.2.9", "agent_port": 0}),
            "invalid",
        ),
        (
            hosts,
            json!({"name": "h9", "address": "192.0.2.9", "agent_port": 65536}),
            "invalid",
        ),
        (vms, json!({"name": "web1"}), "exists"),
        (
            vms,
            json!({"name": "new", "addresses": ["10.77.0.11"]}),
            "conflict",
        ),
        (
            vms,
            json!({"name": "new", "addresses": ["10.78.0.11"]}),
            "invalid",
        ),
        (
            vms,
            json!({"name": "new", "addresses": ["10.77.0.255"]}),
            "invalid",
        ),
        (vms, json!({"name": "new", "mac": "00:1b:21:00:00:01"}), "invalid"),
        (vms, json!({"name": "new", "mac": "02:50:47:00:00:01"}), "invalid"),
        (vms, json!({"name": "'; DROP TABLE vm; --"}), "invalid"),
        ("/api/v1/networks/other/vms", json!({"name": "new"}), "not_found"),
        (
            "/api/v1/networks/default/vms/web1/placement",
            json!({"host": "h9"}),
            "not_found",
        ),
        ("/api/v1/networks/default/pairs", pair("web1", "web1"), "invalid"),
        (
            "/api/v1/networks/default/pairs",
            pair("web1", "nobody"),
            "not_found",
        ),
        (
            denials,
            json!({"source": "web1", "destination": "db1", "timeout_ms": 300_001}),
            "invalid",
        ),
        (
            denials,
            json!({"source": "web1", "destination": "db1", "timeout_ms": -1}),
            "invalid",
        ),
        (
            denials,
            json!({"source": "web1", "destination": "nobody", "timeout_ms": 0}),
            "not_found",
        ),
    ] {
        assert_eq!(service.refused(path, body.clone()).await, kind, "{path} {body}");
    }
    let operator = service.credentials("operator");
    for body in [
        "",
        "{",
        "[]",
        "{\"name\":\"a\",\"name\":\"b\",\"prefixes\":[]}",
        "{\"name\":\"a\"} x",
    ] {
        let (status, problem) = send(&service.address(), &operator, "POST", networks, body.to_owned())
            .await
            .unwrap();
        assert_eq!(
            (status, &problem["type"]),
            (StatusCode::BAD_REQUEST, &json!("invalid")),
            "{body:?}"
        );
    }
    let deep = format!("{{\"name\":{}", "[".repeat(50_000));
    let (status, _) = send(&service.address(), &operator, "POST", networks, deep)
        .await
        .unwrap();
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let long = format!("{{\"name\":\"{}\"}}", "a".repeat(70_000));
    let (status, _) = send(&service.address(), &operator, "POST", networks, long)
        .await
        .unwrap();
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let (status, problem) = service.rest("GET", "/api/v1/networks/%ff", None).await;
    assert_eq!(
        (status, &problem["type"]),
        (StatusCode::BAD_REQUEST, &json!("invalid"))
    );
    for nothing in ["/api/v1/", "/api/v1/nothing"] {
        let (status, problem) = service.rest("GET", nothing, None).await;
        assert_eq!(
            (status, &problem["type"]),
            (StatusCode::NOT_FOUND, &json!("not_found")),
            "{nothing}"
        );
    }
    let (status, _) = service
        .rest("GET", "/api/v1/networks/..%2f..%2fca.key", None)
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    service.stop().await;
}

#[tokio::test]
async fn no_secret_is_in_an_audit_row_or_an_operators_answer() {
    let mut service = Service::new(600, 60).await;
    let (mut h1, _) = service.laboratory().await;
    let state = h1.follow(b"one").await.next().await.unwrap().unwrap();
    let web1 = vm(&state, "web1").unwrap();
    h1.mint(question(web1, "10.77.0.21", 1, now_unix_secs()))
        .await
        .unwrap()
        .unwrap();
    let hex: String = web1.secret_key.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = web1
        .secret_key
        .iter()
        .map(u8::to_string)
        .collect::<Vec<_>>()
        .join(",");
    let mut texts = vec![service.get("/api/v1/status").await.to_string()];
    texts.push(service.get("/api/v1/networks/default/vms").await.to_string());
    let store = rusqlite::Connection::open(service.state().join("registry.db")).unwrap();
    let mut rows = store
        .prepare("SELECT actor || event || detail FROM audit")
        .unwrap();
    texts.extend(
        rows.query_map([], |row| row.get::<_, String>(0))
            .unwrap()
            .map(Result::unwrap),
    );
    for text in &texts {
        assert!(!text.contains(&hex) && !text.contains(&list), "{text}");
    }
    service.stop().await;
}
/// All at once, in this task.
async fn futures_join<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut pinned: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut all_done = true;
        for (future, output) in &mut pinned {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(done) => *output = Some(done),
                    std::task::Poll::Pending => all_done = false,
                }
            }
        }
        if all_done {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    pinned.into_iter().filter_map(|(_, output)| output).collect()
}

#[tokio::test]
async fn the_api_describes_itself_as_the_committed_document_does() {
    let mut service = Service::new(600, 60).await;
    let committed = include_str!("../../docs/openapi.json");
    let committed: serde_json::Value = serde_json::from_str(committed).unwrap();
    assert_eq!(service.get("/api/v1/openapi.json").await, committed);
    service.stop().await;
}
