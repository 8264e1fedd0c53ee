//! The next certificate: of hosts, and of the registry itself.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "each test binary uses a part of it")]
mod support;

use pairgate_api::grpc;
use pairgate_identity::{Credentials, client_config, connect};
use pairgate_registry::authority::Authority;
use rcgen::KeyPair;
use serde_json::json;
use std::{fs, os::unix::fs::PermissionsExt};
use support::*;
use tonic::{Code, Status};

const HOUR_MS: u64 = 3_600_000;

async fn renew(service: &Service, with: &Credentials, key: &KeyPair) -> Result<String, Status> {
    let request = grpc::RenewRequest {
        signing_request: signing_request(key),
    };
    let answer = service.agents(with).renew_certificate(request).await?;
    Ok(answer.into_inner().certificate_pem)
}

/// As if this much of the life of h1's certificate were left.
async fn let_it_age(service: &mut Service, left_ms: u64) {
    service.stop().await;
    let store = rusqlite::Connection::open(service.state().join("registry.db")).unwrap();
    let ends_unix_ms = i64::try_from(now_unix_secs() * 1000 + left_ms).unwrap();
    let sql = "UPDATE host SET certificate_ends_unix_ms = ?1 WHERE name = 'h1'";
    assert_eq!(store.execute(sql, [ends_unix_ms]).unwrap(), 1);
    drop(store);
    service.start().await;
}

async fn enrolled(service: &Service) -> (String, KeyPair, Credentials) {
    service
        .post("/api/v1/hosts", json!({"name": "h1", "address": "192.0.2.1"}))
        .await;
    let key = KeyPair::generate().unwrap();
    let enrolled = service.enrol_with("h1", &key).await.unwrap();
    let host = Host::new(service, &enrolled, &key);
    (enrolled.certificate_pem, key, host.credentials)
}

#[tokio::test]
async fn a_host_gets_its_next_certificate_in_the_second_half_of_the_life_of_the_one_it_has() {
    let mut service = Service::new(600, 60).await;
    let (first, key, credentials) = enrolled(&service).await;
    for _ in 0..3 {
        let again = renew(&service, &credentials, &key).await.unwrap();
        assert_eq!(again, first, "a young one is not renewed");
    }
    assert_eq!(service.audited("host_renewed"), 0);

    let_it_age(&mut service, 12 * HOUR_MS - 1).await;
    let second = renew(&service, &credentials, &key).await.unwrap();
    assert_ne!(second, first);
    assert_eq!(renew(&service, &credentials, &key).await.unwrap(), second);
    assert_eq!(service.audited("host_renewed"), 1, "asking again writes nothing");
    let before = credentials.certificate();
    credentials.renew(&second).unwrap();
    let after = credentials.certificate();
    assert_eq!((after.identity, after.address), (before.identity, before.address));
    assert_eq!(after.public_key, before.public_key);
    assert!(after.serial != before.serial && after.not_after >= before.not_after);
    let lease = service
        .agents(&credentials)
        .renew_lease(grpc::LeaseRequest {})
        .await;
    assert!(lease.is_ok());
    service.stop().await;
}

#[tokio::test]
async fn nobody_gets_a_certificate_for_another_key_or_for_a_record_that_is_not_theirs_any_more() {
    let mut service = Service::new(600, 60).await;
    let (_, key, credentials) = enrolled(&service).await;
    let_it_age(&mut service, HOUR_MS).await;
    let code = |answer: Result<String, Status>| answer.unwrap_err().code();
    let other = KeyPair::generate().unwrap();
    assert_eq!(
        code(renew(&service, &credentials, &other).await),
        Code::InvalidArgument
    );
    for name in ["operator", "zero"] {
        let stranger = service.credentials(name);
        assert_eq!(
            code(renew(&service, &stranger, &key).await),
            Code::PermissionDenied,
            "{name}"
        );
    }
    let request = grpc::RenewRequest {
        signing_request: vec![0x30; 20],
    };
    let refused = service.agents(&credentials).renew_certificate(request).await;
    assert_eq!(refused.err().unwrap().code(), Code::InvalidArgument);

    service.post("/api/v1/hosts/h1/reset", json!(null)).await;
    assert_eq!(
        code(renew(&service, &credentials, &key).await),
        Code::PermissionDenied,
        "a reset ends what the certificate is good for"
    );
    service.enrol_with("h1", &other).await.unwrap();
    assert_eq!(
        code(renew(&service, &credentials, &key).await),
        Code::PermissionDenied,
        "the record has another key"
    );
    assert_eq!(service.audited("host_renewed"), 0);
    service.stop().await;
}

#[tokio::test]
async fn the_registry_renews_its_own_certificate_before_it_runs_out() {
    let mut service = Service::new(600, 60).await;
    service.stop().await;
    let file = |name: &str| service.state().join(name);
    let text = |name: &str| fs::read_to_string(file(name)).unwrap();
    let authority = Authority::from_pem(&text("ca.pem"), &text("ca.key")).unwrap();
    let (before, key) = (service.credentials("registry"), text("registry.key"));
    let old = authority
        .issue_registry(before.identity(), &text("registry.pem"), now_unix_secs(), 3600)
        .unwrap();
    fs::write(file("registry.pem"), &old.certificate_pem).unwrap();

    service.start().await;
    let shown = shown(&service).await;
    let left = shown.not_after - i64::try_from(now_unix_secs()).unwrap();
    assert!(left > 364 * 86_400, "{left}");
    let kept = service.credentials("registry").certificate();
    assert_eq!(kept, shown, "it is in the file as well");
    assert_eq!(shown.identity, *before.identity());
    assert_eq!(
        fs::read_to_string(service.state().join("registry.key")).unwrap(),
        key
    );
    let mode = fs::metadata(service.state().join("registry.pem"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    assert_eq!(service.audited("registry_certificate_renewed"), 1);
    service.stop().await;
    service.start().await;
    assert_eq!(
        service.audited("registry_certificate_renewed"),
        1,
        "once is enough"
    );
    service.stop().await;
}

/// The certificate that the service shows; connecting to it proves name and chain.
async fn shown(service: &Service) -> pairgate_identity::PeerCertificate {
    let tls = client_config(&service.credentials("operator")).unwrap();
    let stream = connect(&service.address(), tls, expect_registry()).await.unwrap();
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    pairgate_identity::PeerCertificate::from_der(&chain[0]).unwrap()
}
