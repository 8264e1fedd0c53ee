//! The built program and whoever listens at the registry's address: refusals, silence, certificates that are not the
//! right ones. What it tells the operator, and how it ends.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[expect(dead_code, reason = "each test binary uses a part of it")]
mod listener;

use listener::*;
use pairgate_api::routes::Role;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_without_every_receipt_ends_with_1_and_says_who_is_silent_until_when() {
    let installation = Installation::new();
    let served = installation
        .serve(Role::Registry, 200, json!(denial(false)))
        .await;
    for form in ["table", "json"] {
        let line = format!("pair deny web1 db1 --timeout 2 -o {form}");
        let (code, receipts, complaint) =
            said(&installation.pairgate(served.address, Role::Operator, &line).await);
        assert_eq!(code, Some(1));
        assert!(
            receipts.contains("applied") && receipts.contains("unanswered"),
            "{receipts}"
        );
        assert!(complaint.contains("the denial stands"), "{complaint}");
        assert!(
            complaint.contains("h1 has not answered, its lease ends at 2026-11-11T15:11:32.000Z"),
            "{complaint}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_ends_with_1_and_says_why_and_a_broken_registry_ends_with_3() {
    let installation = Installation::new();
    for (status, expected) in [(404, 1), (409, 1), (400, 1), (500, 3), (503, 3)] {
        let problem =
            json!({"type": "x", "status": status, "title": "no VM web9", "detail": "make it first"});
        let served = installation.serve(Role::Registry, status, problem).await;
        let (code, printed, complaint) = said(
            &installation
                .pairgate(served.address, Role::Operator, "vm show web9")
                .await,
        );
        assert_eq!((code, printed.as_str()), (Some(expected), ""), "{complaint}");
        assert!(complaint.contains("cannot show VM web9"), "{complaint}");
        assert!(complaint.contains("no VM web9: make it first"), "{complaint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_role_is_told_so() {
    let installation = Installation::new();
    let served = installation.serve(Role::Registry, 200, json!([])).await;
    let (code, _, complaint) = said(
        &installation
            .pairgate(served.address, Role::Zero, "host list")
            .await,
    );
    assert_eq!(code, Some(1));
    assert!(complaint.contains("operator certificate"), "{complaint}");
    assert!(served.asked.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_listens_at_the_registrys_address_is_not_believed() {
    let installation = Installation::new();
    let served = installation.serve(Role::Host, 200, json!([])).await;
    let (code, _, complaint) = said(
        &installation
            .pairgate(served.address, Role::Operator, "host list")
            .await,
    );
    assert_eq!(code, Some(3));
    assert!(
        complaint.contains("not the registry that was expected"),
        "{complaint}"
    );
    assert!(served.asked.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_of_another_installation_and_an_operator_of_another_get_no_further() {
    let (ours, other) = (Installation::new(), Installation::new());
    let served = other.serve(Role::Registry, 200, json!([])).await;
    let (code, _, complaint) = said(&ours.pairgate(served.address, Role::Operator, "host list").await);
    assert_eq!(code, Some(3));
    assert!(complaint.contains("no secure connection to"), "{complaint}");
    assert!(served.asked.lock().unwrap().is_empty());
    // We know the registry, but it does not know who signed our certificate: it says so after the handshake.
    let ours = Installation::with_id(other.id);
    std::fs::copy(other.path("ca.pem"), ours.path("ca.pem")).unwrap();
    let (code, _, complaint) = said(&ours.pairgate(served.address, Role::Operator, "host list").await);
    assert_eq!(code, Some(3));
    assert!(
        complaint.contains("--cert is an operator certificate of this installation"),
        "{complaint}"
    );
    assert!(served.asked.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_cannot_be_reached_is_a_could_not_tell_with_address_and_next_step() {
    let installation = Installation::new();
    // Bound and not listening: refuses, and nobody else gets the port meanwhile.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind((LOOPBACK, 0).into()).unwrap();
    let address = held.local_addr().unwrap();
    let (code, printed, complaint) = said(
        &installation
            .pairgate(address, Role::Operator, "pair deny a b")
            .await,
    );
    assert_eq!((code, printed.as_str()), (Some(3), ""));
    assert!(complaint.contains(&address.to_string()), "{complaint}");
    assert!(
        complaint.contains("refused") && complaint.contains("next: nothing was changed"),
        "{complaint}"
    );
}
