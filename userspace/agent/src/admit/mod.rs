//! May this offer open a way to one of our guests?
//!
//! The decision is a pure function of the offer, what this host knows, and now; [`verify`] is the only maker of
//! a [`VerifiedPair`], and the map of incoming pairs takes nothing else. It is made outside the keeper, so that
//! a flood of offers costs only the offering side; the keeper looks again at everything that can have changed
//! in between before it writes.
//!
//! It refuses, in this order: anything before this host has applied a goal state that it asked for itself; a
//! caller that is no host, or whose certificate names no address; a token whose hosts are not that caller and
//! this host; a removed host; a VM that is not here or not of this generation; a tag that our key did not make;
//! a form that is not canonical; a time that is not now; what this agent cannot enforce yet; and everything
//! dead.

mod refusal;
pub mod serve;

pub use refusal::Refusal;

use crate::{
    clock::{BootTime, RegistryClock},
    goal::{Goal, Tombstones},
};
use pairgate_api::routes::Role;
use pairgate_token::{Claims, UnverifiedToken, VerifiedToken};
use std::net::{IpAddr, Ipv4Addr};
use uuid::Uuid;

/// Who offers, by its certificate.
#[derive(Clone, Copy, Debug)]
pub struct Offerer {
    pub role: Role,
    pub id: Uuid,
    pub address: Option<IpAddr>,
}

/// What the decision is made from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// This host's own underlay address and overlay port.
    pub address: IpAddr,
    pub overlay_port: u16,
    /// The goal state in force; none until one that this agent asked for has been applied.
    pub goal: Option<&'a Goal>,
    pub clock: &'a RegistryClock,
}

/// A pair that the registry has proven to us, offered by the very host that it names as its source.
#[derive(Clone, Debug)]
pub struct VerifiedPair {
    token: VerifiedToken,
    source_host: Uuid,
    deadline: BootTime,
}

impl VerifiedPair {
    pub fn claims(&self) -> &Claims {
        self.token.claims()
    }

    /// Offers are told apart by their tokens' bytes.
    pub fn token_bytes(&self) -> &[u8] {
        self.token.as_bytes()
    }

    /// The host that offered it.
    pub fn source_host(&self) -> Uuid {
        self.source_host
    }

    /// From this instant on the kernel refuses it.
    pub fn deadline(&self) -> BootTime {
        self.deadline
    }
}

/// Decides about one offer.
pub fn verify(
    token: &[u8],
    offerer: Offerer,
    facts: Facts<'_>,
    now: BootTime,
) -> Result<VerifiedPair, Refusal> {
    let goal = facts.goal.ok_or(Refusal::NotReady)?;
    let offerer_address = offerer.address.filter(|_| offerer.role == Role::Host);
    let offerer_address = offerer_address.ok_or(Refusal::Role)?;
    let token = UnverifiedToken::from_bytes(token).map_err(Refusal::Token)?;
    // Claims that have no readable form are left to `verify` below, which looks at the tag first: then the
    // answer does not tell a forger how far the forgery would have come.
    if let Ok(shown) = token.claims_without_proof() {
        right_hosts(&shown, offerer_address, facts)?;
    }
    let host_is_dead = goal.tombstones.hosts.contains(&offerer.id);
    refuse_if(host_is_dead, Refusal::DeadHost)?;

    let claimed = token.claimed_destination();
    let guest = goal.guests.get(&claimed.vm).ok_or(Refusal::NotHere)?;
    refuse_if(guest.network != claimed.network, Refusal::NotHere)?;
    refuse_if(guest.generation != claimed.generation, Refusal::Generation)?;
    let token = token.verify(&guest.key).map_err(Refusal::Token)?;

    // From here on the claims are the registry's word.
    let claims = token.claims();
    right_hosts(claims, offerer_address, facts)?;
    let destination = guest_address(claims.destination_address)?;
    guest_address(claims.source_address)?;
    refuse_if(destination != guest.address, Refusal::NotHere)?;
    let unix_secs = facts.clock.unix_secs(now).ok_or(Refusal::NoTime)?;
    pairgate_token::judge(&token, unix_secs).map_err(Refusal::Untimely)?;
    refuse_if(
        claims.replies_only || !claims.grants.is_all(),
        Refusal::Unsupported,
    )?;
    alive(claims, &goal.tombstones)?;

    let deadline = facts.clock.deadline(claims.expires_unix_secs);
    Ok(VerifiedPair {
        deadline: deadline.ok_or(Refusal::NoTime)?,
        token,
        source_host: offerer.id,
    })
}

/// Nothing that the token names is dead. The keeper asks the same again in the step of the write.
pub fn alive(claims: &Claims, tombstones: &Tombstones) -> Result<(), Refusal> {
    let Claims {
        source_vm,
        source_generation,
        destination_vm,
        destination_generation,
        ..
    } = *claims;
    refuse_if(tombstones.pairs.contains(&claims.pair_id), Refusal::DeadPair)?;
    refuse_if(
        tombstones.buries(source_vm, source_generation),
        Refusal::DeadGeneration,
    )?;
    refuse_if(
        tombstones.buries(destination_vm, destination_generation),
        Refusal::DeadGeneration,
    )
}

fn right_hosts(claims: &Claims, offerer: IpAddr, facts: Facts<'_>) -> Result<(), Refusal> {
    refuse_if(claims.source_host != offerer, Refusal::SourceHost)?;
    let ours = claims.destination_host == facts.address && claims.overlay_port == facts.overlay_port;
    refuse_if(!ours, Refusal::DestinationHost)?;
    // The uplink never delivers what claims to come from ourselves; such an entry must not exist.
    refuse_if(claims.source_host == claims.destination_host, Refusal::SameHost)
}

fn guest_address(address: IpAddr) -> Result<Ipv4Addr, Refusal> {
    match address {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(_) => Err(Refusal::Unsupported),
    }
}

fn refuse_if(wrong: bool, refusal: Refusal) -> Result<(), Refusal> {
    if wrong { Err(refusal) } else { Ok(()) }
}

#[cfg(test)]
pub(crate) mod tests;
