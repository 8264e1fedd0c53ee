//! May this offer open a way to one of our guests?
//!
//! The decision is a pure function of the offer, what this host knows, and now; [`verify`] is the only maker of
//! a [`VerifiedPair`], and the map of incoming pairs takes nothing else. It is made outside the keeper, so that
//! a flood of offers costs only the offering side; the keeper looks again at everything that can have changed
//! in between before it writes.
//!
//! A token that joins two guests of this host is nobody's offer. It is judged in the same way by
//! [`verify_local`], the only maker of a [`LocalPair`], which no incoming entry can be written from: frames that
//! claim to come from ourselves are never received.
//!
//! It refuses, in this order: anything before this host has applied a goal state that it asked for itself; a
//! caller that is no host, or whose certificate names no address; a token whose hosts are not that caller and
//! this host; a removed host; a VM that is not here or not of this generation; a tag that our key did not make;
//! a form that is not canonical; a time that is not now; and everything dead.

mod refusal;
pub mod serve;

pub use refusal::Refusal;

use crate::{
    clock::{BootTime, RegistryClock},
    goal::{Goal, Tombstones},
};
use pairgate_api::routes::Role;
use pairgate_token::{Claims, UnverifiedToken, VerifiedToken};
use std::net::IpAddr;
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

/// A pair between two guests of this host that the registry has proven to us under the receiver's key.
#[derive(Clone, Debug)]
pub struct LocalPair(VerifiedPair);

impl LocalPair {
    pub fn claims(&self) -> &Claims {
        self.0.claims()
    }

    /// From this instant on the kernel refuses it.
    pub fn deadline(&self) -> BootTime {
        self.0.deadline
    }

    /// This host.
    pub fn host(&self) -> Uuid {
        self.0.source_host
    }
}

/// Decides about one offer.
pub fn verify(
    token: &[u8],
    offerer: Offerer,
    facts: Facts<'_>,
    now: BootTime,
) -> Result<VerifiedPair, Refusal> {
    judge(token, offerer, facts, now, Hosts::Two)
}

/// Decides about a token that the registry gave to this host, `own`, for two of its guests. Both must be here, of
/// the token's generations and with its addresses.
pub fn verify_local(token: &[u8], own: Uuid, facts: Facts<'_>, now: BootTime) -> Result<LocalPair, Refusal> {
    let ourselves = Offerer {
        role: Role::Host,
        id: own,
        address: Some(facts.address),
    };
    let pair = judge(token, ourselves, facts, now, Hosts::One)?;
    let claims = pair.claims();
    let goal = facts.goal.ok_or(Refusal::NotReady)?;
    let source = goal.guests.get(&claims.source_vm).ok_or(Refusal::NotHere)?;
    refuse_if(source.network != claims.network, Refusal::NotHere)?;
    refuse_if(source.generation != claims.source_generation, Refusal::Generation)?;
    refuse_if(!source.owns(claims.source_address), Refusal::NotHere)?;
    Ok(LocalPair(pair))
}

/// How many hosts a token must join.
#[derive(Clone, Copy)]
enum Hosts {
    One,
    Two,
}

fn judge(
    token: &[u8],
    offerer: Offerer,
    facts: Facts<'_>,
    now: BootTime,
    hosts: Hosts,
) -> Result<VerifiedPair, Refusal> {
    let goal = facts.goal.ok_or(Refusal::NotReady)?;
    let offerer_address = offerer.address.filter(|_| offerer.role == Role::Host);
    let offerer_address = offerer_address.ok_or(Refusal::Role)?;
    let token = UnverifiedToken::from_bytes(token).map_err(Refusal::Token)?;
    // Claims that have no readable form are left to `verify` below, which looks at the tag first: then the
    // answer does not tell a forger how far the forgery would have come.
    if let Ok(shown) = token.claims_without_proof() {
        right_hosts(&shown, offerer_address, facts, hosts)?;
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
    right_hosts(claims, offerer_address, facts, hosts)?;
    refuse_if(!guest.owns(claims.destination_address), Refusal::NotHere)?;
    let unix_secs = facts.clock.unix_secs(now).ok_or(Refusal::NoTime)?;
    pairgate_token::judge(&token, unix_secs).map_err(Refusal::Untimely)?;
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

fn right_hosts(claims: &Claims, offerer: IpAddr, facts: Facts<'_>, hosts: Hosts) -> Result<(), Refusal> {
    refuse_if(claims.source_host != offerer, Refusal::SourceHost)?;
    let ours = claims.destination_host == facts.address && claims.overlay_port == facts.overlay_port;
    refuse_if(!ours, Refusal::DestinationHost)?;
    match hosts {
        // The uplink never delivers what claims to come from ourselves; such an entry must not exist.
        Hosts::Two => refuse_if(claims.source_host == claims.destination_host, Refusal::SameHost),
        // Both are compared with our own above.
        Hosts::One => Ok(()),
    }
}

fn refuse_if(wrong: bool, refusal: Refusal) -> Result<(), Refusal> {
    if wrong { Err(refusal) } else { Ok(()) }
}

#[cfg(test)]
pub(crate) mod tests;
