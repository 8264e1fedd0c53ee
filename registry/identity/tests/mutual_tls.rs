//! Real connections on loopback: who gets as far as a request, and who does not.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use axum::{Extension, Router, routing::get};
use pairgate_api::routes::Role;
use pairgate_identity::{
    Caller, ConnectError, Credentials, Expect, Identity, client_config, connect, serve, server_config,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, identities: &[Identity], addresses: &[IpAddr], believes: &Self) -> Credentials {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        for identity in identities {
            params
                .subject_alt_names
                .push(SanType::URI(identity.to_string().try_into().unwrap()));
        }
        params
            .subject_alt_names
            .extend(addresses.iter().copied().map(SanType::IpAddress));
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Credentials::from_pem(&believes.0.pem(), &certificate.pem(), &key.serialize_pem()).unwrap()
    }
}

fn who(installation: Uuid, role: Role) -> Identity {
    Identity {
        installation,
        role,
        id: Uuid::new_v4(),
    }
}

async fn serving(credentials: &Credentials, installation: Uuid) -> (SocketAddr, CancellationToken) {
    let app = Router::new().route(
        "/api/v1/status",
        get(|Extension(caller): Extension<Caller>| async move { caller.identity.to_string() }),
    );
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(serve(
        listener,
        server_config(credentials).unwrap(),
        installation,
        app,
        stop.clone(),
    ));
    (address, stop)
}

/// The answer to one request, or none if the server would not speak.
async fn ask(
    address: SocketAddr,
    credentials: &Credentials,
    expect: Expect,
    path: &str,
) -> Result<String, String> {
    let tls = client_config(credentials).unwrap();
    let mut stream = connect(&address.to_string(), tls, expect)
        .await
        .map_err(|e| e.to_string())?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(|e| e.to_string())?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .map_err(|e| e.to_string())?;
    if answer.is_empty() {
        Err("closed".into())
    } else {
        Ok(answer)
    }
}

fn expect(role: Role) -> Expect {
    Expect {
        role,
        id: None,
        installation: None,
    }
}

#[tokio::test]
async fn an_operator_is_known_by_its_certificate_and_kept_to_its_routes() {
    let (ca, installation) = (Authority::new(), Uuid::new_v4());
    let server = ca.issue(&[who(installation, Role::Registry)], &[LOOPBACK], &ca);
    let (address, _stop) = serving(&server, installation).await;
    let operator = ca.issue(&[who(installation, Role::Operator)], &[], &ca);
    let answer = ask(address, &operator, expect(Role::Registry), "/api/v1/status")
        .await
        .unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains(&operator.identity().to_string()),
        "{answer}"
    );

    let host = ca.issue(&[who(installation, Role::Host)], &[LOOPBACK], &ca);
    let answer = ask(address, &host, expect(Role::Registry), "/api/v1/status")
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

#[tokio::test]
async fn strangers_get_no_answer() {
    let (ca, installation) = (Authority::new(), Uuid::new_v4());
    let server = ca.issue(&[who(installation, Role::Registry)], &[LOOPBACK], &ca);
    let (address, _stop) = serving(&server, installation).await;
    let operator = who(installation, Role::Operator);
    for (what, client) in [
        ("another CA", Authority::new().issue(&[operator], &[], &ca)),
        (
            "another installation",
            ca.issue(&[who(Uuid::new_v4(), Role::Operator)], &[], &ca),
        ),
    ] {
        let answer = ask(address, &client, expect(Role::Registry), "/api/v1/status").await;
        assert!(answer.is_err(), "{what}: {answer:?}");
    }
}

#[tokio::test]
async fn a_certificate_with_two_identities_is_nobody() {
    let (ca, installation) = (Authority::new(), Uuid::new_v4());
    let pair = [who(installation, Role::Operator), who(installation, Role::Host)];
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    for identity in pair {
        params
            .subject_alt_names
            .push(SanType::URI(identity.to_string().try_into().unwrap()));
    }
    let certificate = params.signed_by(&key, &ca.0).unwrap();
    let refused = Credentials::from_pem(&ca.0.pem(), &certificate.pem(), &key.serialize_pem());
    assert!(refused.unwrap_err().to_string().contains("2 pairgate identities"));
}

#[tokio::test]
async fn a_client_sends_nothing_to_the_wrong_server() {
    let (ca, installation) = (Authority::new(), Uuid::new_v4());
    let operator = ca.issue(&[who(installation, Role::Operator)], &[], &ca);
    let right = Expect {
        role: Role::Host,
        id: Some(Uuid::new_v4()),
        installation: Some(installation),
    };
    let stranger = ca.issue(&[who(installation, Role::Host)], &[LOOPBACK], &ca);
    let elsewhere = ca.issue(
        &[who(installation, Role::Host)],
        &["192.0.2.1".parse().unwrap()],
        &ca,
    );
    let other_ca = Authority::new();
    let fake = other_ca.issue(&[who(installation, Role::Host)], &[LOOPBACK], &ca);
    for (what, server) in [
        ("another host", stranger),
        ("another address", elsewhere),
        ("another CA", fake),
    ] {
        let (address, _stop) = serving(&server, installation).await;
        let tls = client_config(&operator).unwrap();
        let refused = connect(&address.to_string(), tls, right).await;
        assert!(
            matches!(
                refused,
                Err(ConnectError::Stranger { .. } | ConnectError::Tls { .. })
            ),
            "{what}: {:?}",
            refused.err()
        );
    }
}

#[tokio::test]
async fn a_peer_that_never_finishes_its_handshake_holds_up_nobody() {
    let (ca, installation) = (Authority::new(), Uuid::new_v4());
    let server = ca.issue(&[who(installation, Role::Registry)], &[LOOPBACK], &ca);
    let (address, _stop) = serving(&server, installation).await;
    let mut silent = Vec::new();
    for _ in 0..32 {
        silent.push(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    let operator = ca.issue(&[who(installation, Role::Operator)], &[], &ca);
    let answer = ask(address, &operator, expect(Role::Registry), "/api/v1/status")
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
