//! Our own side of every handshake.
//!
//! All configurations that were made from one [`Credentials`] show the same certificate, and after
//! [`Credentials::renew`] the new one, from the next handshake on: a daemon that renews its certificate makes
//! nothing anew and closes no connection.

use crate::{Identity, Now, PeerCertificate, certificate::CertificateError};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SignatureScheme,
    client::{ResolvesClientCert, Resumption},
    crypto::{CryptoProvider, ring},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{
    fmt, fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

/// Our own certificate, its private key and the CA that we believe.
pub struct Credentials {
    authority: CertificateDer<'static>,
    /// Never changes with the certificate.
    identity: Identity,
    address: Option<IpAddr>,
    shown: Arc<Shown>,
}

/// The certificate of the moment.
struct Shown(RwLock<Current>);

struct Current {
    facts: PeerCertificate,
    key: Arc<CertifiedKey>,
}

/// Why credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the {what} is not valid PEM: {why}")]
    Pem { what: &'static str, why: String },
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("the certificate, its key and the CA do not fit together: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the CA certificate cannot be used to verify clients: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    #[error("the new certificate is that of {found}, not of {own}: it was not taken")]
    Other { found: String, own: String },
}

/// Shows who, never the key.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shown")
            .field(&self.current().facts.identity)
            .finish()
    }
}

impl Shown {
    /// Nothing panics while it holds the lock, so a poisoned one holds sound values.
    fn current(&self) -> RwLockReadGuard<'_, Current> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current().key.clone())
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current().key.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl Credentials {
    /// Reads three PEM files.
    pub fn load(authority: &Path, certificate: &Path, key: &Path) -> Result<Self, CredentialError> {
        let read = |path: &Path| {
            fs::read_to_string(path).map_err(|source| CredentialError::Read {
                path: path.to_owned(),
                source,
            })
        };
        Self::from_pem(&read(authority)?, &read(certificate)?, &read(key)?)
    }

    /// Reads three PEM texts.
    pub fn from_pem(authority: &str, certificate: &str, key: &str) -> Result<Self, CredentialError> {
        let authority =
            CertificateDer::from_pem_slice(authority.as_bytes()).map_err(not_pem("CA certificate"))?;
        let chain = chain(certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(not_pem("private key"))?;
        let facts = PeerCertificate::from_der(chain.first().ok_or(CertificateError::None)?)?;
        let key = CertifiedKey::from_der(chain, key, &provider())?;
        Ok(Self {
            authority,
            identity: facts.identity,
            address: facts.address,
            shown: Arc::new(Shown(RwLock::new(Current {
                facts,
                key: Arc::new(key),
            }))),
        })
    }

    /// Shows this certificate from the next handshake on, in every configuration made from these credentials.
    /// Refuses one of another holder, address or key, and then goes on with the one before.
    pub fn renew(&self, certificate: &str) -> Result<(), CredentialError> {
        let chain = chain(certificate)?;
        let facts = PeerCertificate::from_der(chain.first().ok_or(CertificateError::None)?)?;
        if facts.identity != self.identity || facts.address != self.address {
            return Err(CredentialError::Other {
                found: holder(&facts.identity, facts.address),
                own: holder(&self.identity, self.address),
            });
        }
        let key = CertifiedKey::new(chain, self.shown.current().key.key.clone());
        key.keys_match()?;
        let mut current = self.shown.0.write().unwrap_or_else(PoisonError::into_inner);
        *current = Current {
            facts,
            key: Arc::new(key),
        };
        Ok(())
    }

    /// Who we are.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The address that our certificate binds us to, if it is exactly one.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// All facts of the certificate that is shown now.
    pub fn certificate(&self) -> PeerCertificate {
        self.shown.current().facts.clone()
    }

    fn roots(&self) -> Result<RootCertStore, CredentialError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone())?;
        Ok(roots)
    }
}

fn not_pem(what: &'static str) -> impl Fn(rustls_pki_types::pem::Error) -> CredentialError {
    move |why| CredentialError::Pem {
        what,
        why: why.to_string(),
    }
}

fn chain(certificate: &str) -> Result<Vec<CertificateDer<'static>>, CredentialError> {
    CertificateDer::pem_slice_iter(certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(not_pem("certificate"))
}

fn holder(identity: &Identity, address: Option<IpAddr>) -> String {
    address.map_or_else(
        || identity.to_string(),
        |address| format!("{identity} at {address}"),
    )
}

/// The one place that names the cryptography provider.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// TLS 1.3 towards callers that must show a certificate of our CA.
pub fn server_config(credentials: &Credentials) -> Result<Arc<ServerConfig>, CredentialError> {
    server_config_by(credentials, &Now::wall())
}

/// The same, where callers' certificates begin and end by a clock of our own.
pub fn server_config_by(credentials: &Credentials, now: &Now) -> Result<Arc<ServerConfig>, CredentialError> {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(credentials.roots()?), provider()).build()?;
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(now.clone()))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(credentials.shown.clone());
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// TLS 1.3 towards a server of our CA, showing our own certificate.
pub fn client_config(credentials: &Credentials) -> Result<Arc<ClientConfig>, CredentialError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(credentials.roots()?)
        .with_client_cert_resolver(credentials.shown.clone());
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}
