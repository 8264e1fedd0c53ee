//! Reading what our own CA wrote into a peer's certificate. The chain has been verified by rustls before
//! any of this is believed.

use crate::identity::{Identity, IdentityError, SCHEME};
use std::net::IpAddr;
use x509_parser::{extensions::GeneralName, prelude::*};

/// The facts of a verified certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    pub identity: Identity,
    /// The holder's only address, if it has exactly one.
    pub address: Option<IpAddr>,
    /// Subject public key info, DER.
    pub public_key: Vec<u8>,
    pub serial: Vec<u8>,
    /// Unix seconds.
    pub not_before: i64,
    /// Unix seconds; from here on the certificate is worth nothing.
    pub not_after: i64,
}

/// Why a certificate names no one.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("the peer sent no certificate")]
    None,
    #[error("the certificate cannot be read: {0}")]
    Parse(String),
    #[error("the certificate carries {0} pairgate identities instead of one")]
    Identities(usize),
    #[error("the certificate's identity is not valid: {0}")]
    Identity(#[from] IdentityError),
}

impl PeerCertificate {
    /// Reads an end-entity certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let parse = |why: &dyn std::fmt::Display| CertificateError::Parse(why.to_string());
        let (_, certificate) = X509Certificate::from_der(der).map_err(|e| parse(&e))?;
        let names = certificate.subject_alternative_name().map_err(|e| parse(&e))?;
        let names = names.map_or(&[][..], |extension| &extension.value.general_names);
        let uris: Vec<_> = names
            .iter()
            .filter_map(uri)
            .filter(|uri| uri.starts_with(SCHEME))
            .collect();
        let [uri] = uris[..] else {
            return Err(CertificateError::Identities(uris.len()));
        };
        let addresses: Vec<_> = names.iter().filter_map(address).collect();
        Ok(Self {
            identity: uri.parse()?,
            address: if let [only] = addresses[..] {
                Some(only)
            } else {
                None
            },
            public_key: certificate.public_key().raw.to_vec(),
            serial: certificate.raw_serial().to_vec(),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
        })
    }
}

fn uri<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    if let GeneralName::URI(uri) = name {
        Some(uri)
    } else {
        None
    }
}

fn address(name: &GeneralName<'_>) -> Option<IpAddr> {
    let GeneralName::IPAddress(bytes) = name else {
        return None;
    };
    if let Ok(four) = <[u8; 4]>::try_from(*bytes) {
        return Some(IpAddr::from(four));
    }
    <[u8; 16]>::try_from(*bytes).ok().map(IpAddr::from)
}
