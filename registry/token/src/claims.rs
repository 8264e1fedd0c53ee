//! What a token says.

use crate::{Grants, MAX_LIFE_SECS, Refusal, Untimely};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use uuid::Uuid;

/// Everything that a token says, in plain types. Says nothing about who said it: claims are believed only as
/// part of a [`crate::VerifiedToken`], or by whoever made them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The source may only answer what the destination began.
    pub replies_only: bool,
    /// What the pair may carry; everything if the list is empty.
    pub grants: Grants,
    /// UDP port at which the destination host receives the overlay.
    pub overlay_port: u16,
    /// Never used twice by a registry.
    pub pair_id: u64,
    /// Number of the source VM's placement.
    pub source_generation: u32,
    /// Number of the destination VM's placement; names the secret key.
    pub destination_generation: u32,
    pub network: Uuid,
    pub source_vm: Uuid,
    pub destination_vm: Uuid,
    /// Guest addresses.
    pub source_address: IpAddr,
    pub destination_address: IpAddr,
    /// Underlay addresses of the two hosts.
    pub source_host: IpAddr,
    pub destination_host: IpAddr,
    pub not_before_unix_secs: u64,
    pub expires_unix_secs: u64,
}

impl Claims {
    /// The rules that every token obeys, in the order of [`Refusal::ALL`]. Text, length, tag, magic and flags
    /// cannot be wrong here: they belong to the encoding.
    pub fn check(&self) -> Result<(), Refusal> {
        let pass = |holds: bool, refusal: Refusal| if holds { Ok(()) } else { Err(refusal) };
        pass(!self.replies_only || self.grants.is_all(), Refusal::Grants)?;
        pass(self.pair_id != 0, Refusal::Pair)?;
        pass(
            self.source_generation != 0 && self.destination_generation != 0,
            Refusal::Generations,
        )?;
        pass(self.names_two_vms(), Refusal::Vms)?;
        let (source, destination) = (
            self.source_address.to_canonical(),
            self.destination_address.to_canonical(),
        );
        pass(
            are_unicast_of_one_family(source, destination) && source != destination,
            Refusal::Addresses,
        )?;
        // Equal host addresses are two VMs on one host.
        let (source, destination) = (
            self.source_host.to_canonical(),
            self.destination_host.to_canonical(),
        );
        pass(
            are_unicast_of_one_family(source, destination) && self.overlay_port != 0,
            Refusal::Hosts,
        )?;
        // Subtracted rather than added: times near the end of the number range must not wrap.
        let life = self.expires_unix_secs.checked_sub(self.not_before_unix_secs);
        pass(
            life.is_some_and(|secs| (1..=MAX_LIFE_SECS).contains(&secs)),
            Refusal::Times,
        )
    }

    /// Whether the claims hold at this instant.
    pub fn judge(&self, unix_secs: u64) -> Result<(), Untimely> {
        if unix_secs < self.not_before_unix_secs {
            return Err(Untimely::Early);
        }
        if unix_secs >= self.expires_unix_secs {
            return Err(Untimely::Expired);
        }
        Ok(())
    }

    /// The same claims as a reader of their encoding gets them: IPv4 addresses are never IPv6 ones.
    pub(crate) fn canonical(&self) -> Self {
        Self {
            source_address: self.source_address.to_canonical(),
            destination_address: self.destination_address.to_canonical(),
            source_host: self.source_host.to_canonical(),
            destination_host: self.destination_host.to_canonical(),
            ..self.clone()
        }
    }

    fn names_two_vms(&self) -> bool {
        // Written out: a loop over an array of ids sends LLVM 22.1 (Rust 1.95) into one of its own when it optimises.
        let nil = self.network.is_nil() || self.source_vm.is_nil() || self.destination_vm.is_nil();
        !nil && self.source_vm != self.destination_vm
    }
}

fn are_unicast_of_one_family(one: IpAddr, other: IpAddr) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => is_unicast_v4(one) && is_unicast_v4(other),
        (IpAddr::V6(one), IpAddr::V6(other)) => is_unicast_v6(one) && is_unicast_v6(other),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

/// Not in 0/8, 127/8, 224/4 or 240/4.
fn is_unicast_v4(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    first != 0 && first != 127 && first < 224
}

/// Not in ff00::/8 nor in ::/96, which holds the unspecified, the loopback and the IPv4-compatible addresses.
fn is_unicast_v6(address: Ipv6Addr) -> bool {
    let [first, ..] = address.octets();
    first != 0xff && u128::from(address) >> 32 != 0
}
