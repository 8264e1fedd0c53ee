//! How a host record becomes an enrolled host.
//!
//! A host without a certificate comes with a zero certificate and the name of its record. Guarantee: the use
//! count, the certificate and the record's key change in one transaction, so of any number of racers exactly
//! one enrols a record; the same key gets the same certificate again. It refuses a zero certificate that is
//! unknown, revoked, used up or past its time, a name without a record, and a record that has another key.

use crate::{
    audit::{Actor, Event},
    authority::{Authority, IssueError, RequestedKey},
    inventory::{Host, Name},
    registry::Registry,
    store::{Change, Enrolled, StoreError, ZeroCertificate},
};
use pairgate_api::routes::Role;
use pairgate_identity::Identity;
use std::sync::atomic::Ordering;
use uuid::Uuid;

/// Life of a host's certificate.
pub const CERTIFICATE_LIFE_SECS: u64 = 86_400;
/// Refused enrolments that are written down each minute, in the audit and in the log.
const REFUSALS_A_MINUTE_MAX: u32 = 60;

/// Why a host was not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    #[error("the zero certificate is not good for enrolling any more: take a new one")]
    Zero(ZeroRefusal),
    #[error(
        "no host record of that name waits for this key: make one with `pairgate host create`, and enrol with the key that enrolled it before if there was one"
    )]
    Host(HostRefusal),
    #[error("the certificate could not be made: {0}")]
    Issue(#[from] IssueError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// For the log only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZeroRefusal {
    Unknown,
    Revoked,
    Expired,
    UsedUp,
}

/// For the log only: outside, a name without a record and a record with another key look the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostRefusal {
    Unknown,
    OtherKey,
}

impl EnrolError {
    /// The reason in the audit; none where nobody was refused.
    fn word(&self) -> Option<&'static str> {
        match self {
            Self::Zero(ZeroRefusal::Unknown) => Some("zero_unknown"),
            Self::Zero(ZeroRefusal::Revoked) => Some("zero_revoked"),
            Self::Zero(ZeroRefusal::Expired) => Some("zero_expired"),
            Self::Zero(ZeroRefusal::UsedUp) => Some("zero_used_up"),
            Self::Host(HostRefusal::Unknown) => Some("host_unknown"),
            Self::Host(HostRefusal::OtherKey) => Some("host_other_key"),
            Self::Issue(_) | Self::Store(_) => None,
        }
    }
}

/// The host record and its certificate.
#[derive(Clone, Debug)]
pub struct Enrolment {
    pub host: Host,
    pub certificate_pem: String,
}

impl Registry {
    /// One enrolment, in one transaction; a refusal is written down in another.
    pub async fn enrol(&self, zero: Uuid, name: Name, key: RequestedKey) -> Result<Enrolment, EnrolError> {
        let (authority, installation) = (self.authority.clone(), self.installation);
        let asked_for = name.clone();
        let result = self
            .store
            .change(move |change| decide(change, &authority, installation, zero, &name, &key))
            .await;
        match &result {
            Ok(enrolment) => {
                tracing::info!(host = %enrolment.host.id, name = %asked_for, %zero, "host enrolled");
            }
            Err(error) => {
                let because = error.word();
                // A zero certificate must not be usable to fill the disk, neither with rows nor with lines.
                if self.refused_enrolments.fetch_add(1, Ordering::Relaxed) < REFUSALS_A_MINUTE_MAX {
                    tracing::warn!(name = %asked_for, %zero, because = because.unwrap_or("failed"), "host not enrolled");
                    if let Some(because) = because {
                        self.enrolment_refused(zero, asked_for, because).await?;
                    }
                }
            }
        }
        result
    }

    async fn enrolment_refused(
        &self,
        zero: Uuid,
        name: Name,
        because: &'static str,
    ) -> Result<(), StoreError> {
        let actor = Actor::Caller {
            role: Role::Zero,
            id: zero,
        };
        self.store
            .change(move |change| {
                let host = name.as_str();
                change.audit(actor, &Event::EnrolmentRefused { host, because })
            })
            .await
    }
}

fn decide(
    change: &Change<'_>,
    authority: &Authority,
    installation: Uuid,
    zero: Uuid,
    name: &Name,
    key: &RequestedKey,
) -> Result<Enrolment, EnrolError> {
    let record = change.zero_certificate(zero)?;
    let record = judge_zero(record, change.now_unix_ms).map_err(EnrolError::Zero)?;
    let host = change
        .host_by_name(name)?
        .ok_or(EnrolError::Host(HostRefusal::Unknown))?;
    if let Some(before) = change.enrolled(host.id)? {
        if !key.is(&before.public_key) {
            return Err(EnrolError::Host(HostRefusal::OtherKey));
        }
        if is_fresh(&before, change.now_unix_ms) {
            return Ok(Enrolment {
                host,
                certificate_pem: before.certificate_pem,
            });
        }
    }
    if !change.take_zero_use(zero)? {
        return Err(EnrolError::Zero(ZeroRefusal::UsedUp));
    }
    let enrolled = issue(change, authority, installation, &host, key)?;
    change.set_enrolled(host.id, &enrolled)?;
    change.audit(
        Actor::Caller {
            role: Role::Zero,
            id: zero,
        },
        &Event::HostEnrolled {
            host: host.id,
            uses_left: record.uses_left.saturating_sub(1),
            expires_unix_ms: enrolled.certificate_ends_unix_ms,
        },
    )?;
    Ok(Enrolment {
        host,
        certificate_pem: enrolled.certificate_pem,
    })
}

/// A certificate for the host's own key; id and address are the record's.
pub(crate) fn issue(
    change: &Change<'_>,
    authority: &Authority,
    installation: Uuid,
    host: &Host,
    key: &RequestedKey,
) -> Result<Enrolled, IssueError> {
    let identity = Identity {
        installation,
        role: Role::Host,
        id: host.id,
    };
    let now_unix_secs = change.now_unix_ms / 1000;
    let issued = authority.issue_host(&identity, host.address, key, now_unix_secs, CERTIFICATE_LIFE_SECS)?;
    Ok(Enrolled {
        public_key: issued.public_key,
        certificate_pem: issued.certificate_pem,
        certificate_ends_unix_ms: issued.ends_unix_secs * 1000,
    })
}

fn judge_zero(record: Option<ZeroCertificate>, now_unix_ms: u64) -> Result<ZeroCertificate, ZeroRefusal> {
    let record = record.ok_or(ZeroRefusal::Unknown)?;
    if record.revoked {
        return Err(ZeroRefusal::Revoked);
    }
    if record.expires_unix_ms <= now_unix_ms {
        return Err(ZeroRefusal::Expired);
    }
    Ok(record)
}

/// Half of its life or more is left. An older certificate would soon leave the host without one, so the same
/// key then gets a new one, which counts as a use.
pub(crate) fn is_fresh(enrolled: &Enrolled, now_unix_ms: u64) -> bool {
    enrolled.certificate_ends_unix_ms.saturating_sub(now_unix_ms) >= CERTIFICATE_LIFE_SECS * 1000 / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zero() -> ZeroCertificate {
        ZeroCertificate {
            id: Uuid::from_u128(1),
            owner: "test".to_owned(),
            expires_unix_ms: 100,
            uses_left: 1,
            revoked: false,
        }
    }

    #[test]
    fn a_zero_certificate_that_is_unknown_revoked_or_past_its_time_enrols_nobody() {
        assert_eq!(judge_zero(Some(zero()), 99), Ok(zero()));
        assert_eq!(judge_zero(None, 99), Err(ZeroRefusal::Unknown));
        assert_eq!(judge_zero(Some(zero()), 100), Err(ZeroRefusal::Expired));
        let revoked = ZeroCertificate {
            revoked: true,
            ..zero()
        };
        assert_eq!(judge_zero(Some(revoked), 99), Err(ZeroRefusal::Revoked));
    }
}
