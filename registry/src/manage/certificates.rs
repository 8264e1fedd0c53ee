//! Zero certificates for enrolling hosts, and certificates of further operators.
//!
//! Guarantee: the private key is never ours: a signing request comes in, and of it only the public key is used.
//! What is revoked is refused from the moment at which the revocation is durable.

use super::{Kind, OfOwner, Page, Refusal};
use crate::{
    Registry,
    audit::Actor,
    authority::{IssueError, Issued, RequestError, RequestedKey},
    inventory::{Name, name::NameError},
    store::{OperatorCertificate, StoreError, ZeroCertificate},
};
use pairgate_api::{rest, routes::Role};
use pairgate_identity::Identity;
use rustls_pki_types::{CertificateSigningRequestDer, pem::PemObject};
use std::ops::RangeInclusive;
use uuid::Uuid;

const DAY_SECS: u64 = 86_400;
const ZERO_LIFE_SECS: u64 = DAY_SECS;
/// A zero certificate lies around in images and scripts: it must not live long.
const ZERO_LIFE_SECS_ALLOWED: RangeInclusive<u64> = 60..=30 * DAY_SECS;
const ZERO_USES: u32 = 1;
const ZERO_USES_ALLOWED: RangeInclusive<u32> = 1..=100_000;
const OPERATOR_LIFE_SECS: u64 = 90 * DAY_SECS;
const OPERATOR_LIFE_SECS_ALLOWED: RangeInclusive<u64> = 60..=365 * DAY_SECS;

/// Why no certificate was made.
#[derive(Debug, thiserror::Error)]
pub enum CreateCertificateError {
    #[error("the owner is no name: {0}")]
    Owner(#[from] NameError),
    #[error("the signing request is not PKCS #10 in PEM")]
    Pem,
    #[error("{0}")]
    Request(#[from] RequestError),
    #[error("a life of {given} seconds is outside {} to {}", .allowed.start(), .allowed.end())]
    Life {
        given: u64,
        allowed: RangeInclusive<u64>,
    },
    #[error("{given} uses are outside {} to {}", .allowed.start(), .allowed.end())]
    Uses {
        given: u32,
        allowed: RangeInclusive<u32>,
    },
    #[error("the certificate could not be made: {0}")]
    Issue(#[from] IssueError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for CreateCertificateError {
    fn kind(&self) -> Kind {
        match self {
            Self::Owner(_) | Self::Pem | Self::Request(_) | Self::Life { .. } | Self::Uses { .. } => {
                Kind::Invalid
            }
            Self::Issue(_) => Kind::Internal,
            Self::Store(error) => error.kind(),
        }
    }
}

/// Why a certificate was not revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    #[error("there is no such certificate: `pairgate zero list` and `pairgate operator list` show all")]
    Unknown,
    #[error(
        "this is the last operator certificate that is good: make another one first, or nobody could manage the installation"
    )]
    Last,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for RevokeError {
    fn kind(&self) -> Kind {
        match self {
            Self::Unknown => Kind::NotFound,
            Self::Last => Kind::Conflict,
            Self::Store(error) => error.kind(),
        }
    }
}

impl Registry {
    pub async fn create_zero(
        &self,
        actor: Actor,
        new: rest::NewZero,
    ) -> Result<rest::IssuedZero, CreateCertificateError> {
        let owner: Name = new.owner.parse()?;
        let uses = new.uses.unwrap_or(ZERO_USES);
        if !ZERO_USES_ALLOWED.contains(&uses) {
            let (given, allowed) = (uses, ZERO_USES_ALLOWED);
            return Err(CreateCertificateError::Uses { given, allowed });
        }
        let life_secs = life(new.life_secs, ZERO_LIFE_SECS, ZERO_LIFE_SECS_ALLOWED)?;
        let (id, issued) = self.issue_caller(Role::Zero, &new.signing_request, life_secs)?;
        let zero = ZeroCertificate {
            id,
            owner: owner.to_string(),
            expires_unix_ms: issued.ends_unix_secs * 1000,
            uses_left: uses,
            revoked: false,
        };
        let shown = shown_zero(&zero);
        self.store
            .change(move |change| change.insert_zero_certificate(actor, &zero))
            .await?;
        tracing::info!(zero = %id, owner = shown.owner, uses, "zero certificate made");
        Ok(rest::IssuedZero {
            zero: shown,
            certificate_pem: issued.certificate_pem,
            authority_pem: self.authority.certificate_pem().to_owned(),
        })
    }

    pub async fn list_zeros(&self, page: &Page<OfOwner>) -> Result<Vec<rest::Zero>, StoreError> {
        let (after, rows) = (page.after_owner(), page.rows());
        let (owner, id) = (after.0.to_owned(), after.1);
        let list = self
            .store
            .read(move |view| view.list_zero_certificates((&owner, id), rows));
        let zeros = list.await?;
        Ok(zeros.iter().map(shown_zero).collect())
    }

    /// What is revoked already stays so.
    pub async fn revoke_zero(&self, actor: Actor, id: Uuid) -> Result<rest::Zero, RevokeError> {
        let zero = self
            .store
            .change_essential(move |change| {
                change.revoke_zero_certificate(actor, id)?;
                change.zero_certificate(id)?.ok_or(RevokeError::Unknown)
            })
            .await?;
        tracing::info!(zero = %id, "zero certificate revoked");
        Ok(shown_zero(&zero))
    }

    pub async fn create_operator(
        &self,
        actor: Actor,
        new: rest::NewOperator,
    ) -> Result<rest::IssuedOperator, CreateCertificateError> {
        let owner: Name = new.owner.parse()?;
        let life_secs = life(new.life_secs, OPERATOR_LIFE_SECS, OPERATOR_LIFE_SECS_ALLOWED)?;
        let (id, issued) = self.issue_caller(Role::Operator, &new.signing_request, life_secs)?;
        let operator = OperatorCertificate {
            id,
            owner: owner.to_string(),
            expires_unix_ms: issued.ends_unix_secs * 1000,
            revoked: false,
        };
        let shown = shown_operator(&operator);
        self.store
            .change(move |change| change.insert_operator(actor, &operator))
            .await?;
        tracing::info!(operator = %id, owner = shown.owner, "operator certificate made");
        Ok(rest::IssuedOperator {
            operator: shown,
            certificate_pem: issued.certificate_pem,
            authority_pem: self.authority.certificate_pem().to_owned(),
        })
    }

    pub async fn list_operators(&self, page: &Page<OfOwner>) -> Result<Vec<rest::Operator>, StoreError> {
        let (after, rows) = (page.after_owner(), page.rows());
        let (owner, id) = (after.0.to_owned(), after.1);
        let list = self
            .store
            .read(move |view| view.list_operators((&owner, id), rows));
        let operators = list.await?;
        Ok(operators.iter().map(shown_operator).collect())
    }

    /// What is revoked already stays so. Whoever revokes its own certificate is refused from the next request on.
    pub async fn revoke_operator(&self, actor: Actor, id: Uuid) -> Result<rest::Operator, RevokeError> {
        let operator = self
            .store
            .change_essential(move |change| {
                let operators = change.operators()?;
                let is_good = |operator: &&OperatorCertificate| operator.is_good(change.now_unix_ms);
                if !operators.iter().filter(is_good).any(|good| good.id != id) {
                    return Err(RevokeError::Last);
                }
                change.revoke_operator(actor, id)?;
                change.operator(id)?.ok_or(RevokeError::Unknown)
            })
            .await?;
        tracing::info!(operator = %id, "operator certificate revoked");
        Ok(shown_operator(&operator))
    }

    /// Asked at every request. One that is not in the store was revoked with the store that knew it.
    pub(crate) async fn is_good_operator(&self, id: Uuid) -> Result<bool, StoreError> {
        self.store
            .read(move |view| {
                let operator = view.operator(id)?;
                Ok(operator.is_some_and(|operator| operator.is_good(view.now_unix_ms)))
            })
            .await
    }

    fn issue_caller(
        &self,
        role: Role,
        signing_request_pem: &str,
        life_secs: u64,
    ) -> Result<(Uuid, Issued), CreateCertificateError> {
        let request = CertificateSigningRequestDer::from_pem_slice(signing_request_pem.as_bytes())
            .map_err(|_| CreateCertificateError::Pem)?;
        let key = RequestedKey::from_signing_request(&request)?;
        let identity = Identity {
            installation: self.installation,
            role,
            id: Uuid::new_v4(),
        };
        let now_unix_secs = self.clock.now_unix_ms() / 1000;
        let issued = self
            .authority
            .issue_caller(&identity, &key, now_unix_secs, life_secs)?;
        Ok((identity.id, issued))
    }
}

fn life(given: Option<u64>, usual: u64, allowed: RangeInclusive<u64>) -> Result<u64, CreateCertificateError> {
    let given = given.unwrap_or(usual);
    if allowed.contains(&given) {
        return Ok(given);
    }
    Err(CreateCertificateError::Life { given, allowed })
}

fn shown_zero(zero: &ZeroCertificate) -> rest::Zero {
    rest::Zero {
        id: zero.id,
        owner: zero.owner.clone(),
        expires_unix_ms: zero.expires_unix_ms,
        uses_left: zero.uses_left,
        revoked: zero.revoked,
    }
}

fn shown_operator(operator: &OperatorCertificate) -> rest::Operator {
    rest::Operator {
        id: operator.id,
        owner: operator.owner.clone(),
        expires_unix_ms: operator.expires_unix_ms,
        revoked: operator.revoked,
    }
}
