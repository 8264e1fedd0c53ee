//! Callers that hold a place and say nothing, with limits short enough to wait for.

use super::*;
use crate::{Credentials, Expect, client_config, connect, server_config};
use axum::routing::{get, post};
use pairgate_api::routes::Role;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use std::net::Ipv4Addr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const SHORT: Duration = Duration::from_millis(300);
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

struct Rig {
    address: SocketAddr,
    operator: Credentials,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

fn credentials(
    ca: &CertifiedIssuer<'static, KeyPair>,
    installation: Uuid,
    role: Role,
    address: IpAddr,
) -> Credentials {
    let identity = Identity {
        installation,
        role,
        id: Uuid::new_v4(),
    };
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![
        SanType::URI(identity.to_string().try_into().unwrap()),
        SanType::IpAddress(address),
    ];
    let certificate = params.signed_by(&key, ca).unwrap();
    Credentials::from_pem(&ca.pem(), &certificate.pem(), &key.serialize_pem()).unwrap()
}

async fn rig(limits: Limits) -> Rig {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let installation = Uuid::new_v4();
    let tls = server_config(&credentials(&ca, installation, Role::Registry, LOOPBACK)).unwrap();
    let app = Router::new()
        .route("/api/v1/quick", get(async || "quick"))
        .route("/api/v1/body", post(async |body: String| body));
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let stop = CancellationToken::new();
    let server = Server {
        acceptor: TlsAcceptor::from(tls),
        installation,
        app,
        now: Now::wall(),
        stop: stop.clone(),
        places: Arc::default(),
        complaints: Arc::default(),
        limits,
    };
    Rig {
        address: listener.local_addr().unwrap(),
        operator: credentials(&ca, installation, Role::Operator, LOOPBACK),
        stop,
        running: tokio::spawn(server.run(listener)),
    }
}

impl Rig {
    async fn connect(&self) -> tokio_rustls::client::TlsStream<TcpStream> {
        let expect = Expect {
            role: Role::Registry,
            id: None,
            installation: None,
        };
        let tls = client_config(&self.operator).unwrap();
        connect(&self.address.to_string(), tls, expect).await.unwrap()
    }

    async fn says(&self, text: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.unwrap();
        rest(&mut stream).await
    }
}

/// What still comes until the server closes; a server that does not close is a fault.
async fn rest(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut text = String::new();
    let read = timeout(PATIENCE, stream.read_to_string(&mut text)).await;
    // A cut connection is an end like any other.
    let _ = read.expect("the server closes the connection");
    text
}

const QUICK: &str = "GET /api/v1/quick HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn silent_strangers_keep_nobody_out() {
    let rig = rig(LIMITS).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(rig.address).await.unwrap());
    }
    let began = Instant::now();
    let answer = rig.says(QUICK).await;
    assert!(answer.ends_with("quick"), "{answer}");
    assert!(
        began.elapsed() < LIMITS.handshake,
        "it was not waited for the strangers"
    );
}

#[tokio::test]
async fn a_stranger_that_does_not_finish_its_handshake_is_cut_off() {
    let rig = rig(Limits {
        handshake: SHORT,
        ..LIMITS
    })
    .await;
    let mut stream = TcpStream::connect(rig.address).await.unwrap();
    // The beginning of a record, and nothing more.
    stream.write_all(&[0x16, 3, 1]).await.unwrap();
    assert_eq!(rest(&mut stream).await, "");
}

#[tokio::test]
async fn a_caller_that_asks_for_nothing_is_cut_off_and_one_that_has_asked_is_not() {
    let rig = rig(Limits {
        first_request: SHORT,
        ..LIMITS
    })
    .await;
    let mut silent = rig.connect().await;
    let mut busy = rig.connect().await;
    let request = QUICK.replace("close", "keep-alive");
    busy.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    busy.read_exact(&mut answer).await.unwrap();
    assert_eq!(rest(&mut silent).await, "");
    busy.write_all(QUICK.as_bytes()).await.unwrap();
    assert!(rest(&mut busy).await.ends_with("quick"));
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_the_request() {
    let rig = rig(Limits {
        body: SHORT,
        ..LIMITS
    })
    .await;
    let answer = rig
        .says("POST /api/v1/body HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab")
        .await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let answer = rig
        .says("POST /api/v1/body HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\nab")
        .await;
    assert!(answer.ends_with("ab"), "{answer}");
}

#[tokio::test]
async fn the_end_waits_for_no_stranger_and_no_silent_caller() {
    let rig = rig(LIMITS).await;
    let _stranger = TcpStream::connect(rig.address).await.unwrap();
    let _silent = rig.connect().await;
    rig.stop.cancel();
    timeout(Duration::from_secs(2), rig.running)
        .await
        .expect("in time")
        .unwrap();
}
