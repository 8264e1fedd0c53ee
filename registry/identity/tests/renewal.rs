//! A certificate that is replaced while connections are made with it, and servers with a clock of their own.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use axum::{Extension, Router, routing::get};
use pairgate_api::routes::Role;
use pairgate_identity::{
    Caller, CredentialError, Credentials, Expect, Identity, Now, client_config, connect, serve_by,
    server_config_by,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType, SerialNumber};
use rustls_pki_types::CertificateDer;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Within the life of every certificate here.
const NOW: u64 = 1_800_000_000;

struct Bench {
    ca: CertifiedIssuer<'static, KeyPair>,
    installation: Uuid,
}

impl Bench {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        Self {
            ca: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap(),
            installation: Uuid::new_v4(),
        }
    }

    fn who(&self, role: Role) -> Identity {
        Identity {
            installation: self.installation,
            role,
            id: Uuid::new_v4(),
        }
    }

    fn certificate(&self, of: &Identity, key: &KeyPair, serial: u8, address: IpAddr) -> String {
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from_slice(&[serial]));
        params.subject_alt_names = vec![
            SanType::URI(of.to_string().try_into().unwrap()),
            SanType::IpAddress(address),
        ];
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        params.signed_by(key, &self.ca).unwrap().pem()
    }

    fn credentials(&self, of: &Identity, key: &KeyPair, serial: u8) -> Credentials {
        let certificate = self.certificate(of, key, serial, LOOPBACK);
        Credentials::from_pem(&self.ca.pem(), &certificate, &key.serialize_pem()).unwrap()
    }

    /// Answers with the serial number that the caller has shown.
    async fn serving(&self, credentials: &Credentials, now: Now) -> (SocketAddr, CancellationToken) {
        let app = Router::new().route(
            "/api/v1/status",
            get(|Extension(caller): Extension<Caller>| async move { format!("serial {:?}", caller.serial) }),
        );
        let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let tls = server_config_by(credentials, &now).unwrap();
        tokio::spawn(serve_by(listener, tls, self.installation, app, now, stop.clone()));
        (address, stop)
    }
}

/// The serial number that the server has shown, and its answer.
async fn ask(address: SocketAddr, tls: Arc<rustls::ClientConfig>) -> Result<(Vec<u8>, String), String> {
    let expect = Expect {
        role: Role::Registry,
        id: None,
        installation: None,
    };
    let mut stream = connect(&address.to_string(), tls, expect)
        .await
        .map_err(|error| error.to_string())?;
    let shown: &CertificateDer<'_> = &stream.get_ref().1.peer_certificates().unwrap()[0];
    let serial = pairgate_identity::PeerCertificate::from_der(shown)
        .unwrap()
        .serial;
    let request = "GET /api/v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut answer = String::new();
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(|error| error.to_string())?;
    stream
        .read_to_string(&mut answer)
        .await
        .map_err(|error| error.to_string())?;
    if answer.is_empty() {
        return Err("closed".to_owned());
    }
    Ok((serial, answer))
}

#[tokio::test]
async fn both_sides_show_the_new_certificate_without_making_anything_anew() {
    let bench = Bench::new();
    let (registry, operator) = (bench.who(Role::Registry), bench.who(Role::Operator));
    let (registry_key, operator_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let server = bench.credentials(&registry, &registry_key, 1);
    let client = bench.credentials(&operator, &operator_key, 2);
    let (address, stop) = bench.serving(&server, Now::wall()).await;
    let tls = client_config(&client).unwrap();
    let (shown, answer) = ask(address, tls.clone()).await.unwrap();
    assert!(
        shown == [1] && answer.ends_with("serial [2]"),
        "{shown:?} {answer}"
    );

    server
        .renew(&bench.certificate(&registry, &registry_key, 3, LOOPBACK))
        .unwrap();
    client
        .renew(&bench.certificate(&operator, &operator_key, 4, LOOPBACK))
        .unwrap();
    assert_eq!(client.certificate().serial, [4]);
    let (shown, answer) = ask(address, tls).await.unwrap();
    assert!(
        shown == [3] && answer.ends_with("serial [4]"),
        "{shown:?} {answer}"
    );
    stop.cancel();
}

#[test]
fn a_certificate_of_somebody_else_is_not_taken_and_the_one_before_stays() {
    let bench = Bench::new();
    let (own, other) = (bench.who(Role::Host), bench.who(Role::Host));
    let (key, other_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let credentials = bench.credentials(&own, &key, 1);
    let elsewhere = IpAddr::from([127, 0, 0, 2]);
    for foreign in [
        bench.certificate(&other, &key, 2, LOOPBACK),
        bench.certificate(&own, &key, 2, elsewhere),
    ] {
        let refused = credentials.renew(&foreign).unwrap_err();
        assert!(matches!(refused, CredentialError::Other { .. }), "{refused}");
    }
    let other_keys = bench.certificate(&own, &other_key, 2, LOOPBACK);
    assert!(matches!(
        credentials.renew(&other_keys).unwrap_err(),
        CredentialError::Tls(_)
    ));
    for text in ["", "-----BEGIN CERTIFICATE-----\n", "nonsense"] {
        assert!(credentials.renew(text).is_err(), "{text:?}");
    }
    assert_eq!(credentials.certificate().serial, [1]);
}

#[tokio::test]
async fn a_server_judges_certificates_by_its_own_clock_and_ends_connections_by_it() {
    let bench = Bench::new();
    let (registry, operator) = (bench.who(Role::Registry), bench.who(Role::Operator));
    let server = bench.credentials(&registry, &KeyPair::generate().unwrap(), 1);
    let client = bench.credentials(&operator, &KeyPair::generate().unwrap(), 2);
    let hand = Arc::new(AtomicU64::new(NOW));
    let clock = hand.clone();
    let now = Now::new(move || clock.load(Ordering::Relaxed));
    let (address, stop) = bench.serving(&server, now).await;
    let tls = client_config(&client).unwrap();
    ask(address, tls.clone()).await.unwrap();
    for beyond in [1_500_000_000, 2_300_000_000] {
        hand.store(beyond, Ordering::Relaxed);
        assert!(ask(address, tls.clone()).await.is_err(), "{beyond}");
    }
    stop.cancel();
}
