//! The installation's own CA: who gets a certificate, and what it says.
//!
//! Guarantee: a leaf says only what is passed to [`Authority::issue`]. Of a signing request nothing is used
//! but the public key, after the request has proven that its sender holds the private one; a name, address or
//! usage that it asks for is not even read.

use pairgate_identity::{CertificateError, Identity, PeerCertificate};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls_pki_types::{CertificateDer, DnsName, pem::PemObject};
use std::{fmt, net::IpAddr, str::FromStr, time::Duration};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509CertificationRequest};

const DAY_SECS: u64 = 86_400;
/// Of the CA itself; it is replaced together with the installation.
const AUTHORITY_LIFE_SECS: u64 = 3650 * DAY_SECS;
/// A holder's clock may be this much behind ours.
const NOT_BEFORE_BACK_SECS: u64 = 300;
/// A request with one key and no extensions has 200 bytes.
const REQUEST_LEN_MAX: usize = 4096;
const SERIAL_LEN: usize = 16;

/// Why no certificate was made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    #[error("the CA's certificate or key cannot be used: {0}")]
    Authority(#[source] rcgen::Error),
    #[error("the certificate could not be signed: {0}")]
    Sign(#[source] rcgen::Error),
    #[error("the certificate that was made cannot be read back: {0}")]
    ReadBack(#[from] pairgate_identity::CertificateError),
    #[error("no random numbers from the kernel: {0}")]
    Random(#[from] rand::rand_core::OsError),
}

/// Why a signing request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("the signing request is larger than {REQUEST_LEN_MAX} bytes")]
    Length,
    #[error("the signing request is not PKCS #10 in DER")]
    Form,
    #[error("the signing request is not signed with its own key")]
    Signature,
    #[error("the key is not Ed25519 or ECDSA P-256")]
    Algorithm,
}

/// The public key of a signing request whose sender holds the private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedKey(SubjectPublicKeyInfo);

impl RequestedKey {
    pub fn from_signing_request(der: &[u8]) -> Result<Self, RequestError> {
        if der.len() > REQUEST_LEN_MAX {
            return Err(RequestError::Length);
        }
        let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| RequestError::Form)?;
        if !rest.is_empty() {
            return Err(RequestError::Form);
        }
        request.verify_signature().map_err(|_| RequestError::Signature)?;
        let key = SubjectPublicKeyInfo::from_der(request.certification_request_info.subject_pki.raw)
            .map_err(|_| RequestError::Algorithm)?;
        let known = [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P256_SHA256];
        if known.contains(&key.algorithm()) {
            Ok(Self(key))
        } else {
            Err(RequestError::Algorithm)
        }
    }

    /// Whether this is the key of a certificate, given as subject public key info.
    pub fn is(&self, public_key: &[u8]) -> bool {
        self.0.subject_public_key_info() == public_key
    }
}

/// A name that a server is reached by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerAddress {
    Ip(IpAddr),
    Name(DnsName<'static>),
}

/// Not an address and not a DNS name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an IP address nor a DNS name")]
pub struct ServerAddressError(String);

impl FromStr for ServerAddress {
    type Err = ServerAddressError;

    fn from_str(text: &str) -> Result<Self, ServerAddressError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Ip(address));
        }
        DnsName::try_from(text.to_owned())
            .map(Self::Name)
            .map_err(|_| ServerAddressError(text.to_owned()))
    }
}

/// What a leaf says, besides the identity of its holder.
#[derive(Clone, Debug)]
pub enum Kind {
    /// The service itself.
    Registry(Vec<ServerAddress>),
    /// An operator or a zero certificate: calls, and is never called.
    Caller,
    /// An agent: calls the registry and its peers, and is called by its peers.
    Host(IpAddr),
}

/// A leaf that was made.
#[derive(Clone, Debug)]
pub struct Issued {
    pub certificate_pem: String,
    /// Subject public key info, DER, as the certificate carries it.
    pub public_key: Vec<u8>,
    pub ends_unix_secs: u64,
}

/// The CA's certificate and key.
pub struct Authority {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// Never shows the key.
impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// A new CA and its key in PEM.
    pub fn make(now_unix_secs: u64) -> Result<(Self, String), IssueError> {
        let key = KeyPair::generate().map_err(IssueError::Sign)?;
        let key_pem = key.serialize_pem();
        let mut params = params("pairgate authority", now_unix_secs, AUTHORITY_LIFE_SECS)?;
        // It signs leaves only; there is no CA below it.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate_pem = params.self_signed(&key).map_err(IssueError::Sign)?.pem();
        let authority = Self {
            certificate_pem,
            issuer: Issuer::new(params, key),
        };
        Ok((authority, key_pem))
    }

    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, IssueError> {
        let key = KeyPair::from_pem(key).map_err(IssueError::Authority)?;
        Ok(Self {
            certificate_pem: certificate.to_owned(),
            issuer: Issuer::from_ca_cert_pem(certificate, key).map_err(IssueError::Authority)?,
        })
    }

    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// A leaf for the host's own key.
    pub fn issue_host(
        &self,
        identity: &Identity,
        address: IpAddr,
        key: &RequestedKey,
        now_unix_secs: u64,
        life_secs: u64,
    ) -> Result<Issued, IssueError> {
        self.issue(identity, &Kind::Host(address), &key.0, now_unix_secs, life_secs)
    }

    /// The registry's next leaf: for the key, names and addresses of the one that it has.
    pub fn issue_registry(
        &self,
        identity: &Identity,
        before_pem: &str,
        now_unix_secs: u64,
        life_secs: u64,
    ) -> Result<Issued, IssueError> {
        let der = CertificateDer::from_pem_slice(before_pem.as_bytes())
            .map_err(|error| CertificateError::Parse(error.to_string()))?;
        let facts = PeerCertificate::from_der(&der)?;
        let key = SubjectPublicKeyInfo::from_der(&facts.public_key).map_err(IssueError::Sign)?;
        let kind = Kind::Registry(server_addresses(&der)?);
        self.issue(identity, &kind, &key, now_unix_secs, life_secs)
    }

    /// A leaf for an operator's or an installer's own key.
    pub fn issue_caller(
        &self,
        identity: &Identity,
        key: &RequestedKey,
        now_unix_secs: u64,
        life_secs: u64,
    ) -> Result<Issued, IssueError> {
        self.issue(identity, &Kind::Caller, &key.0, now_unix_secs, life_secs)
    }

    pub fn issue(
        &self,
        identity: &Identity,
        kind: &Kind,
        key: &impl PublicKeyData,
        now_unix_secs: u64,
        life_secs: u64,
    ) -> Result<Issued, IssueError> {
        let common_name = format!("pairgate {}", identity.role.word());
        let mut params = params(&common_name, now_unix_secs, life_secs)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let uri = identity.to_string().try_into().map_err(IssueError::Sign)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        let (server, client) = (
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        );
        params.extended_key_usages = match kind {
            Kind::Registry(addresses) => {
                for address in addresses {
                    params.subject_alt_names.push(alt_name(address)?);
                }
                vec![server]
            }
            Kind::Caller => vec![client],
            Kind::Host(address) => {
                params.subject_alt_names.push(SanType::IpAddress(*address));
                vec![server, client]
            }
        };
        let certificate = params.signed_by(key, &self.issuer).map_err(IssueError::Sign)?;
        // Reading it back with the eyes of a peer proves that it says what was meant.
        let facts = PeerCertificate::from_der(certificate.der())?;
        Ok(Issued {
            certificate_pem: certificate.pem(),
            public_key: facts.public_key,
            ends_unix_secs: now_unix_secs.saturating_add(life_secs),
        })
    }
}

/// By what a server's certificate says that it is reached.
fn server_addresses(der: &[u8]) -> Result<Vec<ServerAddress>, CertificateError> {
    let unread = |error: &dyn fmt::Display| CertificateError::Parse(error.to_string());
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| unread(&error))?;
    let names = certificate
        .subject_alternative_name()
        .map_err(|error| unread(&error))?;
    let mut addresses = Vec::new();
    for name in names.map_or(&[][..], |extension| &extension.value.general_names) {
        if let GeneralName::DNSName(name) = name {
            addresses.push(name.parse().map_err(|error| unread(&error))?);
        } else if let GeneralName::IPAddress(bytes) = name {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            addresses.push(ServerAddress::Ip(address.map_err(|error| unread(&error))?));
        }
    }
    Ok(addresses)
}

fn alt_name(address: &ServerAddress) -> Result<SanType, IssueError> {
    Ok(match address {
        ServerAddress::Ip(address) => SanType::IpAddress(*address),
        ServerAddress::Name(name) => {
            SanType::DnsName(name.as_ref().to_owned().try_into().map_err(IssueError::Sign)?)
        }
    })
}

fn params(common_name: &str, now_unix_secs: u64, life_secs: u64) -> Result<CertificateParams, IssueError> {
    let instant = |unix_secs| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(unix_secs);
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    params.not_before = instant(now_unix_secs.saturating_sub(NOT_BEFORE_BACK_SECS));
    params.not_after = instant(now_unix_secs.saturating_add(life_secs));
    // Without this the serial would be made from the key, and two certificates of one key would share it.
    let mut serial = crate::random::bytes::<SERIAL_LEN>()?;
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pairgate_api::routes::Role;
    use rcgen::CertificateSigningRequest;
    use uuid::Uuid;

    const NOW: u64 = 1_790_000_000;

    fn request(key: &KeyPair) -> CertificateSigningRequest {
        let mut params = CertificateParams::new(vec!["203.0.113.9".to_owned()]).unwrap();
        params
            .subject_alt_names
            .push(SanType::URI("pairgate://x/operator/y".try_into().unwrap()));
        params.serialize_request(key).unwrap()
    }

    #[test]
    fn the_registry_and_not_the_request_sets_identity_and_address() {
        let (authority, key_pem) = Authority::make(NOW).unwrap();
        let authority = Authority::from_pem(authority.certificate_pem(), &key_pem).unwrap();
        let key = KeyPair::generate().unwrap();
        let requested = RequestedKey::from_signing_request(request(&key).der()).unwrap();
        let identity = Identity {
            installation: Uuid::new_v4(),
            role: Role::Host,
            id: Uuid::new_v4(),
        };
        let issued = authority
            .issue_host(&identity, [192, 0, 2, 1].into(), &requested, NOW, DAY_SECS)
            .unwrap();
        assert!(requested.is(&issued.public_key));
        let (_, pem) = x509_parser::pem::parse_x509_pem(issued.certificate_pem.as_bytes()).unwrap();
        let facts = PeerCertificate::from_der(&pem.contents).unwrap();
        assert_eq!(facts.identity, identity);
        assert_eq!(facts.address, Some("192.0.2.1".parse().unwrap()));
        assert_eq!(facts.not_after, (NOW + DAY_SECS) as i64);
    }

    #[test]
    fn the_registrys_next_certificate_has_the_key_and_the_addresses_of_the_one_before() {
        let (authority, _) = Authority::make(NOW).unwrap();
        let identity = Identity {
            installation: Uuid::new_v4(),
            role: Role::Registry,
            id: Uuid::new_v4(),
        };
        let addresses: Vec<ServerAddress> = ["192.0.2.254", "2001:db8::254", "registry.example"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        let key = KeyPair::generate().unwrap();
        let kind = Kind::Registry(addresses.clone());
        let first = authority.issue(&identity, &kind, &key, NOW, DAY_SECS).unwrap();
        let next = authority
            .issue_registry(&identity, &first.certificate_pem, NOW + 100, DAY_SECS)
            .unwrap();
        assert_eq!(next.public_key, first.public_key);
        let der = CertificateDer::from_pem_slice(next.certificate_pem.as_bytes()).unwrap();
        assert_eq!(server_addresses(&der).unwrap(), addresses);
        let facts = PeerCertificate::from_der(&der).unwrap();
        assert_eq!(
            (facts.identity, facts.not_after),
            (identity, (NOW + 100 + DAY_SECS) as i64)
        );
        assert!(
            authority
                .issue_registry(&identity, "nonsense", NOW, DAY_SECS)
                .is_err()
        );
    }

    #[test]
    fn a_request_that_does_not_prove_its_key_is_refused() {
        let key = KeyPair::generate().unwrap();
        let good = request(&key).der().to_vec();
        let mut forged = good.clone();
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(
            RequestedKey::from_signing_request(&forged),
            Err(RequestError::Signature)
        );
        let mut longer = good.clone();
        longer.push(0);
        assert_eq!(
            RequestedKey::from_signing_request(&longer),
            Err(RequestError::Form)
        );
        assert_eq!(
            RequestedKey::from_signing_request(&good[..20]),
            Err(RequestError::Form)
        );
        assert_eq!(
            RequestedKey::from_signing_request(&[0x30; 5000]),
            Err(RequestError::Length)
        );
        let strong = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        assert_eq!(
            RequestedKey::from_signing_request(request(&strong).der()),
            Err(RequestError::Algorithm)
        );
        let edwards = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        assert!(RequestedKey::from_signing_request(request(&edwards).der()).is_ok());
    }
}
