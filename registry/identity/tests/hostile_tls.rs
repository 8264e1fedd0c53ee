//! Whoever speaks another TLS, or HTTP/2 to do harm: it is cut off, and nobody else waits for it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

use axum::{Router, routing::get};
use pairgate_api::routes::Role;
use pairgate_identity::{Credentials, Expect, Identity, client_config, connect, serve, server_config};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Far more than an answer on loopback takes, and less than the server's own patience with silence.
const SOON: Duration = Duration::from_secs(4);

type Ca = CertifiedIssuer<'static, KeyPair>;

/// A registry that answers operators, and one of them.
struct Served {
    address: SocketAddr,
    installation: Uuid,
    ca: Ca,
    operator: Credentials,
    _stop: CancellationToken,
}

fn certificate(ca: &Ca, identity: &Identity, addresses: &[IpAddr]) -> (rcgen::Certificate, KeyPair) {
    let (key, mut params) = (KeyPair::generate().unwrap(), CertificateParams::default());
    let name = SanType::URI(identity.to_string().try_into().unwrap());
    params.subject_alt_names.push(name);
    params
        .subject_alt_names
        .extend(addresses.iter().copied().map(SanType::IpAddress));
    (params.signed_by(&key, ca).unwrap(), key)
}

fn credentials(ca: &Ca, identity: &Identity, addresses: &[IpAddr]) -> Credentials {
    let (certificate, key) = certificate(ca, identity, addresses);
    Credentials::from_pem(&ca.pem(), &certificate.pem(), &key.serialize_pem()).unwrap()
}

async fn served() -> Served {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let installation = Uuid::new_v4();
    let who = |role| Identity {
        installation,
        role,
        id: Uuid::new_v4(),
    };
    let server = credentials(&ca, &who(Role::Registry), &[LOOPBACK]);
    let operator = credentials(&ca, &who(Role::Operator), &[]);
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let app = Router::new().route("/api/v1/status", get(|| async { "well" }));
    tokio::spawn(serve(
        listener,
        server_config(&server).unwrap(),
        installation,
        app,
        stop.clone(),
    ));
    Served {
        address,
        installation,
        ca,
        operator,
        _stop: stop,
    }
}

impl Served {
    /// The operator's connection, by which nothing was said yet.
    async fn connection(&self) -> impl AsyncRead + AsyncWrite + Unpin + use<> {
        let expect = Expect {
            role: Role::Registry,
            id: None,
            installation: None,
        };
        let tls = client_config(&self.operator).unwrap();
        connect(&self.address.to_string(), tls, expect).await.unwrap()
    }

    /// An operator whose certificate comes with the CA's own so many times behind it.
    async fn connection_with_links(
        &self,
        links: usize,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + use<>> {
        let (leaf, key) = certificate(&self.ca, &self.new_operator(), &[]);
        let mut chain = vec![leaf.der().clone()];
        chain.resize(1 + links, self.ca.der().to_vec().into());
        self.connection_with_chain(chain, &key).await
    }

    fn new_operator(&self) -> Identity {
        Identity {
            installation: self.installation,
            role: Role::Operator,
            id: Uuid::new_v4(),
        }
    }

    async fn connection_with_chain(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: &KeyPair,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + use<>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.ca.der().to_vec().into()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::from(LOOPBACK);
        tokio_rustls::TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }

    /// An honest request still gets its answer.
    async fn assert_alive(&self) {
        let mut stream = self.connection().await;
        let request = b"GET /api/v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        timeout(SOON, stream.read_to_string(&mut answer))
            .await
            .unwrap()
            .unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

/// Everything that comes until the other side ends it.
async fn to_the_end(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is an end too.
    let _reset = timeout(SOON, stream.read_to_end(&mut bytes))
        .await
        .expect("it is not cut off");
    bytes
}

/// A handshake record around a first message that offers this version and nothing newer: two cipher suites, a curve and a
/// signature that such a client has.
fn hello(version: [u8; 2]) -> Vec<u8> {
    let extensions = [0, 13, 0, 4, 0, 2, 4, 3, 0, 10, 0, 4, 0, 2, 0, 0x1d];
    let body = [
        &version[..],
        &[7; 32],
        &[0],
        &[0, 4, 0xc0, 0x2b, 0xc0, 0x2f],
        &[1, 0],
        &[0, extensions.len() as u8],
        &extensions,
    ]
    .concat();
    let length = body.len() as u16;
    let message = [&[1, 0][..], &length.to_be_bytes(), &body].concat();
    [&[22, 3, 1][..], &(length + 4).to_be_bytes(), &message].concat()
}

/// Wrong if it fails: somebody on the way makes both sides speak an older TLS, and what that has let in.
#[tokio::test]
async fn whoever_offers_nothing_newer_than_tls_1_2_is_told_so_and_cut_off() {
    let served = served().await;
    for version in [[3, 1], [3, 2], [3, 3]] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(&hello(version)).await.unwrap();
        let answer = to_the_end(&mut stream).await;
        // An alert: fatal, protocol version (RFC 8446, section 6).
        assert_eq!(answer.first(), Some(&21), "{version:?}: {answer:02x?}");
        assert_eq!(answer[5..], [2, 70], "{version:?}: {answer:02x?}");
    }
    served.assert_alive().await;
}

/// Wrong if it fails: a stranger makes the server keep what it announces.
#[tokio::test]
async fn first_messages_that_are_none_or_too_long_end_the_connection() {
    let served = served().await;
    let long = [&[22, 3, 1, 0x40, 0][..], &[1, 0x10, 0, 0], &[0; 0x4000 - 4]].concat();
    let too_long_record = [&[22, 3, 1, 0xff, 0xff][..], &[1; 600]].concat();
    for (what, bytes) in [
        ("a message of 1 MiB", long),
        ("a record of 65535 bytes", too_long_record),
        ("HTTP", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
        ("application data at once", vec![23, 3, 3, 0, 1, 0]),
        ("zeros", vec![0; 64]),
    ] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let answer = to_the_end(&mut stream).await;
        assert!(
            answer.len() <= 7,
            "{what}: more than an alert comes back: {answer:02x?}"
        );
    }
    served.assert_alive().await;
}

/// Wrong if it fails: a certificate's chain can be made as long as its sender likes.
#[tokio::test]
async fn a_chain_of_a_mebibyte_is_not_read_to_its_end() {
    let served = served().await;
    let most = (1 << 20) / served.ca.der().len();
    for (links, is_answered) in [(0, true), (most, false)] {
        let mut answer = Vec::new();
        // TLS 1.3 lets a client speak before it knows what became of its certificate.
        if let Ok(mut stream) = served.connection_with_links(links).await {
            let request = b"GET /api/v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            let _refused = stream.write_all(request).await;
            answer = to_the_end(&mut stream).await;
        }
        assert_eq!(answer.starts_with(b"HTTP/1.1 200"), is_answered, "{links} links");
        assert!(is_answered || answer.is_empty(), "{links} links: {answer:02x?}");
    }
    served.assert_alive().await;
}

/// Wrong if it fails: a way to the CA is looked for in a circle, or found where there is none.
#[tokio::test]
async fn authorities_that_vouch_for_each_other_lead_nowhere() {
    let served = served().await;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = || CertifiedIssuer::self_signed(params.clone(), KeyPair::generate().unwrap()).unwrap();
    let (one, other) = (authority(), authority());
    let vouched = |of: &Ca, by: &Ca| params.signed_by(of.key(), by).unwrap().der().clone();
    let (leaf, key) = certificate(&one, &served.new_operator(), &[]);
    let mut chain = vec![leaf.der().clone()];
    // They all have one name, so that every one could be the next of every other.
    for _ in 0..20 {
        chain.extend([vouched(&one, &other), vouched(&other, &one)]);
    }
    let mut answer = Vec::new();
    if let Ok(mut stream) = served.connection_with_chain(chain, &key).await {
        let _refused = stream
            .write_all(b"GET /api/v1/status HTTP/1.1\r\nhost: x\r\n\r\n")
            .await;
        answer = to_the_end(&mut stream).await;
    }
    assert_eq!(answer, b"", "a request was answered");
    served.assert_alive().await;
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GO_AWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_OF_STREAM: u8 = 1;
const END_OF_HEADERS: u8 = 4;

/// The first bytes of a client, and a request's headers: `GET https://x/api/v1/status`, the path written out.
fn preface() -> Vec<u8> {
    [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        &frame(SETTINGS, 0, 0, &[]),
    ]
    .concat()
}

fn request() -> Vec<u8> {
    let path = b"/api/v1/status";
    [&[0x82, 0x87, 0x41, 1, b'x', 0x44, path.len() as u8][..], path].concat()
}

/// True if a frame of this kind is among the bytes.
fn has(bytes: &[u8], kind: u8) -> bool {
    let mut rest = bytes;
    while rest.len() >= 9 {
        if rest[3] == kind {
            return true;
        }
        let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
        rest = rest.get(9 + length..).unwrap_or_default();
    }
    false
}

/// Wrong if it fails: one certificate's requests that are taken back at once cost the server whatever it likes.
#[tokio::test]
async fn requests_that_are_taken_back_at_once_end_the_connection() {
    let served = served().await;
    let (mut reads, mut writes) = tokio::io::split(served.connection().await);
    let reader = tokio::spawn(async move { to_the_end(&mut reads).await });
    writes.write_all(&preface()).await.unwrap();
    for at in 0..20_000_u32 {
        let stream = at * 2 + 1;
        let opened = frame(HEADERS, END_OF_STREAM | END_OF_HEADERS, stream, &request());
        let both = [opened, frame(RESET, 0, stream, &[0, 0, 0, 8])].concat();
        if writes.write_all(&both).await.is_err() {
            break;
        }
    }
    let _ended = writes.flush().await;
    assert!(
        has(&reader.await.unwrap(), GO_AWAY),
        "20 000 requests were taken back, and it goes on"
    );
    served.assert_alive().await;
}

/// Wrong if it fails: headers without an end fill the server's memory.
#[tokio::test]
async fn headers_without_an_end_end_the_connection() {
    const MOST: usize = 4096;
    let served = served().await;
    let (mut reads, mut writes) = tokio::io::split(served.connection().await);
    let reader = tokio::spawn(async move { to_the_end(&mut reads).await });
    writes.write_all(&preface()).await.unwrap();
    writes
        .write_all(&frame(HEADERS, END_OF_STREAM, 1, &request()))
        .await
        .unwrap();
    // A header field of 16 000 bytes that nobody indexes: 0x00, name, value.
    let field = [&[0, 1, b'a', 0x7f, 0x81, 0x7c][..], &[b'v'; 16_000]].concat();
    let mut sent = 0;
    while sent < MOST && writes.write_all(&frame(CONTINUATION, 0, 1, &field)).await.is_ok() {
        sent += 1;
    }
    assert!(sent < MOST, "64 MiB of headers were taken");
    let _rest = reader.await.unwrap();
    served.assert_alive().await;
}
