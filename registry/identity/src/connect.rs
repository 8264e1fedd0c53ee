use crate::{PeerCertificate, certificate::CertificateError};
use hyper_util::rt::TokioIo;
use pairgate_api::routes::Role;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::{io, sync::Arc, time::Duration};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

/// Name lookup, TCP and TLS together. A peer in the same underlay answers within milliseconds; what takes
/// longer is gone, and a caller that waits longer only holds up its next try.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How soon a silent peer is asked, and how long its answer may take: bounds how long a host that lost its
/// power counts as connected.
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_LIMIT: Duration = Duration::from_secs(5);

/// What the server's certificate must say, besides carrying the name or address we dialled.
#[derive(Clone, Copy, Debug)]
pub struct Expect {
    pub role: Role,
    pub id: Option<Uuid>,
    pub installation: Option<Uuid>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("{0:?} is not HOST:PORT")]
    Target(String),
    #[error("cannot reach {target}: {source}")]
    Tcp { target: String, source: io::Error },
    #[error("no secure connection to {target}: {source}")]
    Tls { target: String, source: io::Error },
    #[error("no answer from {target} within {} seconds", CONNECT_LIMIT.as_secs())]
    Timeout { target: String },
    #[error("{target} answered with an unusable certificate: {source}")]
    Certificate {
        target: String,
        source: CertificateError,
    },
    #[error("{target} is {found}, not the {expected} that was expected there")]
    Stranger {
        target: String,
        found: String,
        expected: String,
    },
}

/// A connection for HTTP/1.1 to a server that is proven to be the one expected.
pub async fn connect(
    target: &str,
    tls: Arc<ClientConfig>,
    expect: Expect,
) -> Result<TlsStream<TcpStream>, ConnectError> {
    timeout(CONNECT_LIMIT, open(target, &tls, expect, b"http/1.1"))
        .await
        .unwrap_or_else(|_| {
            Err(ConnectError::Timeout {
                target: target.to_owned(),
            })
        })
}

/// A channel for gRPC that connects when first used and again whenever the connection is lost; every new
/// connection proves the server again.
pub fn channel(target: &str, tls: Arc<ClientConfig>, expect: Expect) -> Channel {
    let target = target.to_owned();
    let connector = tower::service_fn(move |_| {
        let (target, tls) = (target.clone(), tls.clone());
        async move {
            let stream = timeout(CONNECT_LIMIT, open(&target, &tls, expect, b"h2"))
                .await
                .unwrap_or(Err(ConnectError::Timeout { target }))?;
            Ok::<_, ConnectError>(TokioIo::new(stream))
        }
    });
    // The URI only fills the :authority header: the connector alone decides where to connect.
    Endpoint::from_static("http://pairgate")
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_LIMIT)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(connector)
}

async fn open(
    target: &str,
    tls: &ClientConfig,
    expect: Expect,
    protocol: &[u8],
) -> Result<TlsStream<TcpStream>, ConnectError> {
    let name = server_name(target)?;
    let mut tls = tls.clone();
    tls.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(target)
        .await
        .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
        .map_err(|source| ConnectError::Tcp {
            target: target.to_owned(),
            source,
        })?;
    let stream = TlsConnector::from(Arc::new(tls))
        .connect(name, stream)
        .await
        .map_err(|source| ConnectError::Tls {
            target: target.to_owned(),
            source,
        })?;
    check(target, &stream, expect)?;
    Ok(stream)
}

/// The host part of `host:port` or `[v6]:port`.
fn server_name(target: &str) -> Result<ServerName<'static>, ConnectError> {
    let bad = || ConnectError::Target(target.to_owned());
    let (host, port) = target.rsplit_once(':').ok_or_else(bad)?;
    port.parse::<u16>().map_err(|_| bad())?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    ServerName::try_from(host.to_owned()).map_err(|_| bad())
}

fn check(target: &str, stream: &TlsStream<TcpStream>, expect: Expect) -> Result<(), ConnectError> {
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let facts = certificate
        .ok_or(CertificateError::None)
        .and_then(|certificate| PeerCertificate::from_der(certificate))
        .map_err(|source| ConnectError::Certificate {
            target: target.to_owned(),
            source,
        })?;
    let found = facts.identity;
    let as_expected = found.role == expect.role
        && expect.id.is_none_or(|id| id == found.id)
        && expect
            .installation
            .is_none_or(|installation| installation == found.installation);
    if as_expected {
        return Ok(());
    }
    let id = expect.id.map_or_else(String::new, |id| format!(" {id}"));
    Err(ConnectError::Stranger {
        target: target.to_owned(),
        found: found.to_string(),
        expected: format!("{}{id}", expect.role.word()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_name_or_address_with_a_port() {
        for good in ["192.0.2.254:7443", "[2001:db8::1]:7443", "registry.example:7443"] {
            assert!(server_name(good).is_ok(), "{good}");
        }
        for bad in [
            "192.0.2.254",
            "192.0.2.254:",
            "192.0.2.254:99999",
            ":7443",
            "a b:1",
        ] {
            assert!(server_name(bad).is_err(), "{bad}");
        }
    }
}
