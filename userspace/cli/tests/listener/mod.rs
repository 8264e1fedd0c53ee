//! The other end of a real TLS connection, which says what the test wants, and an operator's files on disk.

use axum::{Json, Router, extract::Request, routing::any};
use pairgate_api::rest::{Denial, DeniedDirection};
use pairgate_api::routes::Role;
use pairgate_identity::{Credentials, Identity, serve, server_config};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Output;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

pub(crate) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// An answer with these two fields is a part of a list, with a link to the next part.
pub(crate) const PART: &str = "part";
pub(crate) const LINK: &str = "link";

/// An installation's CA, with an operator's files on disk.
pub(crate) struct Installation {
    pub(crate) id: Uuid,
    authority: CertifiedIssuer<'static, KeyPair>,
    files: TempDir,
}

/// What was asked: method and path, and the body.
pub(crate) type Asked = Arc<Mutex<Vec<(String, Value)>>>;

pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) asked: Asked,
    _stop: DropGuard,
}

impl Installation {
    pub(crate) fn new() -> Self {
        Self::with_id(Uuid::new_v4())
    }

    pub(crate) fn with_id(id: Uuid) -> Self {
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

    pub(crate) fn path(&self, file: &str) -> String {
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
    pub(crate) async fn serve(&self, role: Role, status: u16, answer: Value) -> Served {
        self.serve_with(role, status, move |_| answer.clone()).await
    }

    /// Answers as the registry, with what belongs to each path.
    pub(crate) async fn serve_by_path(
        &self,
        answer: impl Fn(&str) -> Value + Clone + Send + Sync + 'static,
    ) -> Served {
        self.serve_with(Role::Registry, 200, answer).await
    }

    async fn serve_with(
        &self,
        role: Role,
        status: u16,
        answer: impl Fn(&str) -> Value + Clone + Send + Sync + 'static,
    ) -> Served {
        let (certificate, key) = self.issue(role);
        let credentials = Credentials::from_pem(&self.authority.pem(), &certificate, &key).unwrap();
        let asked = Asked::default();
        let log = asked.clone();
        let reply = move |request: Request| async move {
            let path = format!("{} {}", request.method(), request.uri().path_and_query().unwrap());
            let body = axum::body::to_bytes(request.into_body(), 1 << 16).await.unwrap();
            let mut told = answer(&path);
            let mut headers = http::HeaderMap::new();
            if let Some(link) = told[LINK].as_str() {
                headers.insert(http::header::LINK, link.parse().unwrap());
                told = told[PART].take();
            }
            log.lock()
                .unwrap()
                .push((path, serde_json::from_slice(&body).unwrap_or(Value::Null)));
            (http::StatusCode::from_u16(status).unwrap(), headers, Json(told))
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

    pub(crate) async fn pairgate(&self, registry: SocketAddr, role: Role, line: &str) -> Output {
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

pub(crate) fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

pub(crate) fn denial(applied: bool) -> Denial {
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
