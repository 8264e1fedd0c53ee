use crate::{Identity, PeerCertificate, certificate::CertificateError};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{
    fmt, fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Our own certificate, its private key and the CA that we believe.
pub struct Credentials {
    authority: CertificateDer<'static>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    facts: PeerCertificate,
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
}

/// Shows who, never the key.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("identity", &self.facts.identity)
            .finish_non_exhaustive()
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
        let pem = |what| {
            move |why: rustls_pki_types::pem::Error| CredentialError::Pem {
                what,
                why: why.to_string(),
            }
        };
        let authority =
            CertificateDer::from_pem_slice(authority.as_bytes()).map_err(pem("CA certificate"))?;
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(pem("certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(pem("private key"))?;
        let facts = PeerCertificate::from_der(chain.first().ok_or(CertificateError::None)?)?;
        Ok(Self {
            authority,
            chain,
            key,
            facts,
        })
    }

    /// Who we are.
    pub fn identity(&self) -> &Identity {
        &self.facts.identity
    }

    /// The address that our certificate binds us to, if it is exactly one.
    pub fn address(&self) -> Option<IpAddr> {
        self.facts.address
    }

    /// All facts of our own certificate.
    pub fn certificate(&self) -> &PeerCertificate {
        &self.facts
    }

    fn roots(&self) -> Result<RootCertStore, CredentialError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone())?;
        Ok(roots)
    }
}

/// The one place that names the cryptography provider.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// TLS 1.3 towards callers that must show a certificate of our CA.
pub fn server_config(credentials: &Credentials) -> Result<Arc<ServerConfig>, CredentialError> {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(credentials.roots()?), provider()).build()?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(credentials.chain.clone(), credentials.key.clone_key())?;
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
        .with_client_auth_cert(credentials.chain.clone(), credentials.key.clone_key())?;
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}
