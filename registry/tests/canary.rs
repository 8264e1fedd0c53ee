//! Known keys, tokens and proofs, and everything that comes out of a run in which they were used and misused.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "each test binary uses a part of it")]
mod support;

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use pairgate_api::grpc;
use rcgen::KeyPair;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, path::Path};
use support::{canary::Canaries, daemon::Daemon, *};

#[test]
fn a_canary_is_found_in_every_form() {
    let secret: Vec<u8> = (100..132).collect();
    let mut canaries = Canaries::default();
    canaries.plant("it", &secret);
    let before = b"before ";
    for (form, text) in [
        ("bytes", secret.clone()),
        ("hexadecimal", b"6465666768696a6b6c6d6e6f70".to_vec()),
        ("numbers", format!("{secret:?}").into_bytes()),
        (
            "escaped",
            format!("{:?}", String::from_utf8_lossy(&secret)).into_bytes(),
        ),
    ] {
        let text = [&before[..], &text].concat();
        assert!(canaries.found_in(&text).is_some(), "{form}");
    }
    for shift in 0..3 {
        let longer = [&vec![7; shift][..], &secret, b"xx"].concat();
        let text = STANDARD_NO_PAD.encode(longer);
        assert!(
            canaries.found_in(text.as_bytes()).is_some(),
            "base64 shifted by {shift}"
        );
    }
    assert_eq!(canaries.found_in(b"nothing of it"), None);
}

/// Everything that operators can read, and the refusals that they get.
async fn read_all(daemon: &Daemon, service: &Service, misuse: &[String]) -> Vec<(String, Vec<u8>)> {
    let operator = service.credentials("operator");
    let mut answers = Vec::new();
    let mut keep =
        |what: &str, answer: Value| answers.push((what.to_owned(), answer.to_string().into_bytes()));
    for path in [
        "status",
        "audit?limit=1000",
        "openapi.json",
        "networks",
        "networks/default",
        "networks/default/vms",
        "networks/default/vms/web1",
        "networks/default/pairs",
        "hosts",
        "hosts/h1",
        "operators",
        "zero-certificates",
        "nothing",
    ] {
        let path = format!("/api/v1/{path}");
        let (_, answer) = rest(&daemon.address, &operator, "GET", &path, None).await;
        assert!(!answer.is_null(), "{path}");
        keep(&path, answer);
    }
    // What an operator sends where it does not belong is not written down either.
    for text in misuse {
        for body in [
            json!({"name": text, "prefixes": ["10.0.0.0/24"]}),
            json!({"name": "n", "prefixes": [text]}),
        ] {
            let (status, answer) =
                rest(&daemon.address, &operator, "POST", "/api/v1/networks", Some(body)).await;
            assert!(status.is_client_error());
            keep("a refused body", answer);
        }
        let path = format!("/api/v1/networks/{text}");
        let (status, answer) = rest(&daemon.address, &operator, "GET", &path, None).await;
        assert!(status.is_client_error());
        keep("a refused path", answer);
    }
    answers
}

/// The files of the state directory, without those that are made to hold secrets.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name.ends_with(".key") {
            continue;
        }
        let bytes = fs::read(entry.path()).unwrap();
        if name == "reserve" {
            assert!(bytes.iter().all(|byte| *byte == 0), "it only holds room");
        } else {
            files.insert(name, bytes);
        }
    }
    files
}

#[tokio::test]
async fn no_key_token_or_proof_is_in_any_log_answer_audit_row_or_file() {
    let mut service = Service::new(600, 60).await;
    let (h1, h2) = service.laboratory().await;
    service.stop().await;
    let daemon = Daemon::start(&service.state(), "RUST_LOG=trace").await;
    let (mut h1, mut h2) = (daemon.met_by(h1), daemon.met_by(h2));
    let mut canaries = Canaries::default();
    let mut misuse = Vec::new();

    // Two rounds, so that keys of a generation that has ended are looked for as well.
    for round in 0..2u8 {
        for host in [&mut h1, &mut h2] {
            let mut follower = host.follow(b"one").await;
            let state = follower.next().await.unwrap().unwrap();
            follower.receipt(state.revision).await;
            host.lease().await;
            for vm in &state.vms {
                canaries.plant("a VM's key", &vm.secret_key);
            }
            let Some(web1) = vm(&state, "web1") else { continue };
            let ask = question(web1, "10.77.0.21", 10 + round, now_unix_secs());
            canaries.plant("a proof", &ask.proof);
            let minted = host.mint(ask.clone()).await.unwrap().unwrap();
            canaries.plant("a token's tag", &minted.token[minted.token.len() - 32..]);
            misuse.push(STANDARD_NO_PAD.encode(&minted.token).replace(['+', '/'], "-"));

            // Misuse: forged, replayed under another question, and secrets in the wrong places.
            let mut forged = ask.clone();
            forged.nonce[1] ^= 1;
            forged.proof[0] ^= 1;
            assert!(host.mint(forged).await.unwrap().is_none());
            let mut misplaced = ask.clone();
            misplaced.nonce = minted.token[minted.token.len() - 16..].to_vec();
            misplaced.src_vm = web1.secret_key[..16].to_vec();
            assert!(host.mint(misplaced).await.unwrap().is_none());
            let mut long = ask;
            long.proof = minted.token;
            assert!(host.mint(long).await.is_err());
            let request = grpc::RenewRequest {
                signing_request: web1.secret_key.clone(),
            };
            assert!(host.client.renew_certificate(request).await.is_err());
        }
        let operator = service.credentials("operator");
        let path = "/api/v1/networks/default/vms/web1/placement";
        let (status, _) = rest(
            &daemon.address,
            &operator,
            "POST",
            path,
            Some(json!({"host": "h1"})),
        )
        .await;
        assert!(status.is_success());
    }
    let wrong_key = KeyPair::generate().unwrap();
    assert!(service_refuses(&daemon, &service, &wrong_key).await);
    for name in ["ca", "registry", "operator", "zero"] {
        let pem = fs::read_to_string(service.state().join(format!("{name}.key"))).unwrap();
        let line = pem.lines().nth(1).unwrap();
        canaries.plant_text(&format!("{name}.key"), &line[line.len() - 24..]);
    }
    let master = fs::read_to_string(service.state().join("master.key")).unwrap();
    let master = STANDARD_NO_PAD
        .decode(master.trim().split_once(':').unwrap().1)
        .unwrap();
    canaries.plant("the master key", &master);

    let answers = read_all(&daemon, &service, &misuse).await;
    for (what, answer) in &answers {
        assert_eq!(canaries.found_in(answer), None, "in the answer to {what}");
    }
    // As they are while the service runs, the log of changes included, and as it leaves them.
    for (name, bytes) in files(&service.state()) {
        assert_eq!(canaries.found_in(&bytes), None, "in the file {name}");
    }
    daemon.terminate();
    let log = daemon.log().await;
    assert!(log.contains("receipt") && log.contains("TRACE"), "it talks");
    assert_eq!(canaries.found_in(log.as_bytes()), None, "in the log");
    let kept = files(&service.state());
    assert!(kept.contains_key("registry.db"));
    for (name, bytes) in kept {
        assert_eq!(canaries.found_in(&bytes), None, "in the file {name}, at the end");
    }
}

async fn service_refuses(daemon: &Daemon, service: &Service, key: &KeyPair) -> bool {
    let request = grpc::EnrolRequest {
        host: "h1".to_owned(),
        signing_request: signing_request(key),
    };
    let tls = pairgate_identity::client_config(&service.credentials("zero")).unwrap();
    let channel = pairgate_identity::channel(&daemon.address, tls, expect_registry());
    let mut zero = grpc::registry_client::RegistryClient::new(channel);
    zero.enrol(request).await.is_err()
}
