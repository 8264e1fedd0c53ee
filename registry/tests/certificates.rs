//! Certificates that operators make and take back, over real TLS.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "each test binary uses a part of it")]
mod support;

use hyper::StatusCode;
use pairgate_api::grpc;
use pairgate_identity::Credentials;
use pairgate_registry::rescue::{RescueError, make_operator};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use support::*;
use tonic::Code;

const OPERATORS: &str = "/api/v1/operators";
const ZEROS: &str = "/api/v1/zero-certificates";

fn request_pem(key: &KeyPair) -> String {
    CertificateParams::default()
        .serialize_request(key)
        .unwrap()
        .pem()
        .unwrap()
}

async fn made(service: &Service, path: &str, mut body: Value) -> (Value, Credentials) {
    let key = KeyPair::generate().unwrap();
    body["signing_request"] = request_pem(&key).into();
    let made = service.post(path, body).await;
    let text = |field: &str| made[field].as_str().unwrap().to_owned();
    let credentials = Credentials::from_pem(
        &text("authority_pem"),
        &text("certificate_pem"),
        &key.serialize_pem(),
    )
    .unwrap();
    (made, credentials)
}

async fn asks(service: &Service, credentials: &Credentials) -> StatusCode {
    rest(&service.address(), credentials, "GET", "/api/v1/status", None)
        .await
        .0
}

#[tokio::test]
async fn a_further_operator_may_do_everything_until_it_is_revoked_and_is_then_refused_at_once() {
    let mut service = Service::new(600, 60).await;
    let (operator, alice) = made(&service, OPERATORS, json!({"owner": "alice"})).await;
    assert_eq!(asks(&service, &alice).await, StatusCode::OK);
    let id = operator["operator"]["id"].as_str().unwrap();
    let listed = service.get(OPERATORS).await;
    let owners: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|each| each["owner"].as_str().unwrap())
        .collect();
    assert_eq!(owners, ["alice", "init"]);

    let revoked = service
        .post(&format!("{OPERATORS}/{id}/revocation"), json!(null))
        .await;
    assert_eq!(revoked["revoked"], true);
    let (status, problem) = rest(&service.address(), &alice, "GET", "/api/v1/status", None).await;
    assert_eq!(
        (status, problem["type"].as_str()),
        (StatusCode::FORBIDDEN, Some("forbidden"))
    );
    assert_eq!(service.audited("operator_revoked"), 1);
    service
        .post(&format!("{OPERATORS}/{id}/revocation"), json!(null))
        .await;
    assert_eq!(service.audited("operator_revoked"), 1, "once is enough");

    service.stop().await;
    service.start().await;
    assert_eq!(
        asks(&service, &alice).await,
        StatusCode::FORBIDDEN,
        "also after a restart"
    );
    service.stop().await;
}

#[tokio::test]
async fn the_last_good_operator_cannot_be_revoked_and_an_unknown_one_is_not_found() {
    let mut service = Service::new(600, 60).await;
    let first = service.get(OPERATORS).await[0]["id"].as_str().unwrap().to_owned();
    let revocation = format!("{OPERATORS}/{first}/revocation");
    assert_eq!(service.refused(&revocation, json!(null)).await, "conflict");
    let unknown = format!("{OPERATORS}/00000000-0000-4000-8000-000000000000/revocation");
    assert_eq!(service.refused(&unknown, json!(null)).await, "not_found");
    let (_, bob) = made(&service, OPERATORS, json!({"owner": "bob", "life_secs": 60})).await;
    service.post(&revocation, json!(null)).await;
    assert_eq!(
        asks(&service, &service.credentials("operator")).await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(asks(&service, &bob).await, StatusCode::OK);
    service.stop().await;
}

#[tokio::test]
async fn a_zero_certificate_enrols_as_often_as_it_says_and_not_once_it_is_revoked() {
    let mut service = Service::new(600, 60).await;
    for (name, address) in [("h1", "192.0.2.1"), ("h2", "192.0.2.2"), ("h3", "192.0.2.3")] {
        service
            .post("/api/v1/hosts", json!({"name": name, "address": address}))
            .await;
    }
    let enrol = async |zero: &Credentials, name: &str| {
        let request = grpc::EnrolRequest {
            host: name.to_owned(),
            signing_request: signing_request(&KeyPair::generate().unwrap()),
        };
        service
            .agents(zero)
            .enrol(request)
            .await
            .map(|_| ())
            .map_err(|status| status.code())
    };
    let (_, once) = made(&service, ZEROS, json!({"owner": "image"})).await;
    enrol(&once, "h1").await.unwrap();
    assert_eq!(enrol(&once, "h2").await.unwrap_err(), Code::PermissionDenied);
    let (zero, many) = made(
        &service,
        ZEROS,
        json!({"owner": "rack", "uses": 2, "life_secs": 600}),
    )
    .await;
    enrol(&many, "h2").await.unwrap();
    let id = zero["zero"]["id"].as_str().unwrap();
    service
        .post(&format!("{ZEROS}/{id}/revocation"), json!(null))
        .await;
    assert_eq!(enrol(&many, "h3").await.unwrap_err(), Code::PermissionDenied);
    assert_eq!(
        asks(&service, &many).await,
        StatusCode::FORBIDDEN,
        "it was never an operator"
    );
    let listed = service.get(ZEROS).await;
    let rack = listed
        .as_array()
        .unwrap()
        .iter()
        .find(|each| each["owner"] == "rack")
        .unwrap();
    assert_eq!((&rack["uses_left"], &rack["revoked"]), (&json!(1), &json!(true)));
    service.stop().await;
}

#[tokio::test]
async fn a_request_for_a_certificate_that_cannot_be_right_is_refused() {
    let mut service = Service::new(600, 60).await;
    let request = request_pem(&KeyPair::generate().unwrap());
    for body in [
        json!({"owner": "a/b", "signing_request": request}),
        json!({"owner": "a", "signing_request": "not a request"}),
        json!({"owner": "a", "signing_request": request, "life_secs": 59}),
        json!({"owner": "a", "signing_request": request, "life_secs": 31_536_001}),
        json!({"owner": "a", "signing_request": request, "role": "registry"}),
    ] {
        assert_eq!(
            service.refused(OPERATORS, body.clone()).await,
            "invalid",
            "{body}"
        );
    }
    for (uses, life_secs) in [(0, 60), (100_001, 60), (1, 2_592_001)] {
        let body = json!({"owner": "a", "signing_request": request, "uses": uses, "life_secs": life_secs});
        assert_eq!(service.refused(ZEROS, body.clone()).await, "invalid", "{body}");
    }
    service.stop().await;
}

#[tokio::test]
async fn a_reset_host_is_cut_off_and_its_record_takes_another_key() {
    let mut service = Service::new(600, 60).await;
    let (_h1, mut h2) = service.laboratory().await;
    let mut follower = h2.follow(b"one").await;
    let state = follower.next().await.unwrap().unwrap();
    follower.receipt(state.revision).await;
    h2.lease().await;
    let reset = service.post("/api/v1/hosts/h2/reset", json!(null)).await;
    assert_eq!(reset["state"], "waiting");
    assert_eq!(follower.ended_because().await, Code::PermissionDenied);
    let refused = h2.client.renew_lease(grpc::LeaseRequest {}).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(service.audited("host_reset"), 1);

    service.stop().await;
    service.start().await;
    let denial = service.deny(0).await;
    assert_eq!(
        denial["applied"], false,
        "the agent of before may hold its lease still: {denial}"
    );

    let mut again = service.enrol("h2").await;
    assert_eq!(again.id, h2.id, "the record is the same");
    again.lease().await;
    service.stop().await;
}

#[tokio::test]
async fn a_store_from_before_operators_were_written_down_takes_over_the_first_one() {
    let mut service = Service::new(600, 60).await;
    service.stop().await;
    let store = rusqlite::Connection::open(service.state().join("registry.db")).unwrap();
    store.execute("DELETE FROM operator", []).unwrap();
    drop(store);
    service.start().await;
    let operator = service.credentials("operator");
    assert_eq!(asks(&service, &operator).await, StatusCode::OK);
    service.stop().await;
}

#[tokio::test]
async fn when_no_operator_is_left_the_registrys_own_machine_makes_one_beside_no_running_service() {
    let mut service = Service::new(600, 60).await;
    let owner = "rescue".parse().unwrap();
    let refused = make_operator(&service.state(), None, &owner).unwrap_err();
    assert!(matches!(refused, RescueError::InUse(_)), "{refused}");
    service.stop().await;
    let store = rusqlite::Connection::open(service.state().join("registry.db")).unwrap();
    store
        .execute("UPDATE operator SET expires_unix_ms = 1", [])
        .unwrap();
    drop(store);

    make_operator(&service.state(), None, &owner).unwrap();
    let refused = make_operator(&service.state(), None, &owner).unwrap_err();
    assert!(matches!(refused, RescueError::Exists(_)), "{refused}");
    let mode = |name: &str| {
        std::fs::metadata(service.state().join(name))
            .unwrap()
            .permissions()
    };
    assert_eq!(mode("operator-rescue.key").mode() & 0o777, 0o600);
    service.start().await;
    assert_eq!(
        asks(&service, &service.credentials("operator")).await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        asks(&service, &service.credentials("operator-rescue")).await,
        StatusCode::OK
    );
    assert_eq!(service.audited("operator_made"), 2);
    service.stop().await;
}
