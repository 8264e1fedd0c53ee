//! The built program against the other end of a real TLS connection. What listens there says what the test
//! wants, silence and refusals included; the real registry is met in the end-to-end tests.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use axum::{Json, Router, extract::Request, routing::any};
use pairgate_api::rest::{Denial, DeniedDirection, Network, Pair};
use pairgate_api::routes::Role;
use pairgate_identity::{Credentials, Identity, serve, server_config};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Output;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// An installation's CA, with an operator's files on disk.
struct Installation {
    id: Uuid,
    authority: CertifiedIssuer<'static, KeyPair>,
    files: TempDir,
}

/// What was asked: method and path, and the body.
type Asked = Arc<Mutex<Vec<(String, Value)>>>;

struct Served {
    address: SocketAddr,
    asked: Asked,
    _stop: DropGuard,
}

impl Installation {
    fn new() -> Self {
        Self::with_id(Uuid::new_v4())
    }

    fn with_id(id: Uuid) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let installation = Self {
            id,
            authority,
            files: tempfile::tempdir().unwrap(),
        };
        std::fs::write(installation.path("ca.pem"), installation.authority.pem()).unwrap();
        for role in Role::ALL {
            let (certificate, key) = installation.issue(role);
            std::fs::write(installation.path(&format!("{}.pem", role.word())), certificate).unwrap();
            std::fs::write(installation.path(&format!("{}.key", role.word())), key).unwrap();
        }
        installation
    }

    fn path(&self, file: &str) -> String {
        self.files.path().join(file).to_str().unwrap().to_owned()
    }

    fn issue(&self, role: Role) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let identity = Identity {
            installation: self.id,
            role,
            id: Uuid::new_v4(),
        };
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![
            SanType::URI(identity.to_string().try_into().unwrap()),
            SanType::IpAddress(LOOPBACK),
        ];
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// Answers every request with this, on a certificate of this role.
    async fn serve(&self, role: Role, status: u16, answer: Value) -> Served {
        let (certificate, key) = self.issue(role);
        let credentials = Credentials::from_pem(&self.authority.pem(), &certificate, &key).unwrap();
        let asked = Asked::default();
        let log = asked.clone();
        let reply = move |request: Request| async move {
            let path = format!("{} {}", request.method(), request.uri().path());
            let body = axum::body::to_bytes(request.into_body(), 1 << 16).await.unwrap();
            log.lock()
                .unwrap()
                .push((path, serde_json::from_slice(&body).unwrap_or(Value::Null)));
            (http::StatusCode::from_u16(status).unwrap(), Json(answer))
        };
        let listener = tokio::net::TcpListener::bind((LOOPBACK, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let app = Router::new().fallback(any(reply));
        tokio::spawn(serve(
            listener,
            server_config(&credentials).unwrap(),
            self.id,
            app,
            stop.clone(),
        ));
        Served {
            address,
            asked,
            _stop: stop.drop_guard(),
        }
    }

    async fn pairgate(&self, registry: SocketAddr, role: Role, line: &str) -> Output {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_pairgate"));
        command.args(line.split_whitespace());
        command.arg("--registry").arg(registry.to_string());
        command.arg("--authority").arg(self.path("ca.pem"));
        command
            .arg("--cert")
            .arg(self.path(&format!("{}.pem", role.word())));
        command
            .arg("--key")
            .arg(self.path(&format!("{}.key", role.word())));
        command.output().await.unwrap()
    }
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn denial(applied: bool) -> Denial {
    let direction = |source: &str, destination: &str, host: &str, answered: bool| DeniedDirection {
        pair_id: u64::MAX,
        source: source.into(),
        destination: destination.into(),
        host: Some(host.into()),
        state: if answered { "applied" } else { "unanswered" }.into(),
        applied_unix_ms: answered.then_some(1_794_406_292_123),
        undrained: 0,
        lease_ends_unix_ms: (!answered).then_some(1_794_409_892_000),
    };
    let directions = vec![
        direction("web1", "db1", "h2", true),
        direction("db1", "web1", "h1", applied),
    ];
    Denial {
        applied,
        revision: 9,
        directions,
        told: vec!["h1".into(), "h2".into()],
    }
}

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
            &json!([pair]),
            "POST /api/v1/networks/default/pairs",
            json!({"source": "a", "destination": "b"}),
        ),
        (
            "pair allow a b udp/53 tcp/443 --one-way",
            &json!([pair]),
            "POST /api/v1/networks/default/pairs",
            json!({"source": "a", "destination": "b", "grant": ["udp/53", "tcp/443"], "one_way": true}),
        ),
        (
            "pair list",
            &json!([pair]),
            "GET /api/v1/networks/default/pairs",
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
    }
}

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
