//! What is written down about every change, enrolment and mint, in the same transaction as the thing itself.
//!
//! Guarantee: nothing here can hold a key, a token or a proof; the fields are ids, names that passed
//! [`crate::inventory::Name`] or [`Facts`], addresses, numbers and fixed words.

use crate::inventory::{Facts, Mac};
use pairgate_api::routes::Role;
use pairgate_identity::Identity;
use serde::{Serialize, Serializer};
use std::{fmt, net::IpAddr};
use uuid::Uuid;

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    Caller {
        role: Role,
        id: Uuid,
    },
    /// The service itself, for what follows from time or receipts.
    Registry,
}

impl From<&Identity> for Actor {
    fn from(identity: &Identity) -> Self {
        Self::Caller {
            role: identity.role,
            id: identity.id,
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caller { role, id } => write!(f, "{}:{id}", role.word()),
            Self::Registry => f.write_str("registry"),
        }
    }
}

/// What was done. The variant's name in snake case is the event's word and is never renamed.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    InstallationMade {
        installation: Uuid,
    },
    ZeroCertificateMade {
        zero: Uuid,
        owner: &'a str,
        uses: u32,
        expires_unix_ms: u64,
    },
    ZeroCertificateRevoked {
        zero: Uuid,
    },
    OperatorMade {
        operator: Uuid,
        owner: &'a str,
        expires_unix_ms: u64,
    },
    OperatorRevoked {
        operator: Uuid,
    },
    ServiceStarted {
        token_life_secs: u64,
        lease_secs: u64,
    },
    NetworkCreated {
        network: Uuid,
        name: &'a str,
        prefixes: Vec<String>,
        #[serde(flatten)]
        facts: &'a Facts,
    },
    NetworkConfigured {
        network: Uuid,
        #[serde(flatten)]
        facts: &'a Facts,
    },
    NetworkRemoved {
        network: Uuid,
        name: &'a str,
    },
    HostCreated {
        host: Uuid,
        name: &'a str,
        address: IpAddr,
    },
    HostEnrolled {
        host: Uuid,
        uses_left: u32,
        expires_unix_ms: u64,
    },
    HostRenewed {
        host: Uuid,
        expires_unix_ms: u64,
    },
    RegistryCertificateRenewed {
        expires_unix_ms: u64,
    },
    HostReset {
        host: Uuid,
    },
    HostRemoved {
        host: Uuid,
        name: &'a str,
    },
    EnrolmentRefused {
        host: &'a str,
        because: &'a str,
    },
    VmCreated {
        vm: Uuid,
        network: Uuid,
        name: &'a str,
        addresses: Vec<IpAddr>,
        #[serde(serialize_with = "as_text")]
        mac: Mac,
    },
    VmReaddressed {
        vm: Uuid,
        addresses: Vec<IpAddr>,
    },
    VmRemoved {
        vm: Uuid,
        name: &'a str,
    },
    VmPlaced {
        vm: Uuid,
        host: Uuid,
        generation: u32,
        tap: &'a str,
        waits_for: Vec<Uuid>,
    },
    PlacementOpened {
        vm: Uuid,
        host: Uuid,
        generation: u32,
    },
    PairAllowed {
        pair: u64,
        source: Uuid,
        destination: Uuid,
        carries: String,
    },
    PairDenied {
        pair: u64,
        source: Uuid,
        destination: Uuid,
    },
    TombstonesForgotten {
        pairs: u64,
        generations: u64,
        hosts: u64,
    },
    TokenMinted {
        pair: u64,
        host: Uuid,
        source_generation: u32,
        destination_generation: u32,
        expires_unix_secs: u64,
    },
    /// Tokens for pairs and generations that have their row, since the last such row.
    MintsRenewed {
        host: Uuid,
        /// None where a host renewed more different things than are counted one by one.
        source: Option<Uuid>,
        destination: Option<IpAddr>,
        times: u64,
    },
    MintsRefused {
        host: Uuid,
        /// None where a host asked for more different things than are counted one by one.
        source: Option<Uuid>,
        destination: Option<IpAddr>,
        because: &'a str,
        times: u64,
    },
}

fn as_text<T: fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
