//! May this host have this token now? A pure decision over what the store said.
//!
//! The checks and their order are those of the token's way: who asks, for which VM, with what proof; then who
//! is asked for, whether that is allowed, and where it is. All of them are worked out before the first one
//! answers, so that every refusal costs the same; which one it was is for the registry's own eyes.

use crate::{
    inventory::Family,
    settings::{NOT_BEFORE_BACK_SECS, Settings},
    store::{DestinationPlaced, Facts, SourceFacts},
};
use pairgate_api::grpc;
use pairgate_token::{Claims, Grants, MintProof, MintQuestion, SecretKey, Token, address_from_bytes};
use std::{hint::black_box, net::IpAddr, net::Ipv4Addr};
use uuid::Uuid;

/// A question with its proof, from the agent of one host.
#[derive(Clone, Debug)]
pub struct Ask {
    pub host: Uuid,
    pub question: MintQuestion,
    pub proof: MintProof,
    /// The opposite pair's token is wanted too.
    pub with_back: bool,
}

/// A field of a question that has another length than its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {0} has a wrong length")]
pub struct AskError(&'static str);

impl Ask {
    /// A question in its own types; wrong lengths are the asker's mistake and no secret.
    pub fn read(host: Uuid, request: &grpc::MintRequest) -> Result<Self, AskError> {
        let id = |bytes: &[u8], what| Uuid::from_slice(bytes).map_err(|_| AskError(what));
        let address = |bytes: &[u8], what| {
            let bytes: [u8; 16] = bytes.try_into().map_err(|_| AskError(what))?;
            Ok::<_, AskError>(address_from_bytes(bytes))
        };
        let nonce = request.nonce.as_slice().try_into();
        Ok(Self {
            host,
            question: MintQuestion {
                network: id(&request.network_id, "network id")?,
                source_vm: id(&request.src_vm, "source VM id")?,
                source_address: address(&request.src_addr, "source address")?,
                destination_address: address(&request.dst_addr, "destination address")?,
                nonce: nonce.map_err(|_| AskError("nonce"))?,
                unix_secs: request.unix_secs,
            },
            proof: MintProof::from_slice(&request.proof).map_err(|_| AskError("proof"))?,
            with_back: request.with_back,
        })
    }
}

/// Why there is no token. Outside there is one word for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The source VM is not of this network, or its placement is not open on the asking host.
    SourceNotHere,
    /// The source VM has other addresses.
    SourceAddress,
    /// The question was not asked within a minute of registry time.
    Stale,
    /// The proof was not made with the key of the VM's current generation.
    Proof,
    /// The nonce came before with another question.
    Nonce,
    /// Nobody in the network has the destination address.
    NoDestination,
    NotAllowed,
    /// The destination VM has no open placement.
    DestinationNotPlaced,
    /// One of the two guests or of the two hosts has an IPv4 address, the other an IPv6 address.
    Families,
    /// The facts make no token; a fault of the registry.
    Unmintable,
    /// The host, or the VM in whose name it asks, has used up its share. This one is said outside too.
    TooOften,
}

impl Reason {
    /// The word in the audit.
    pub const fn word(self) -> &'static str {
        match self {
            Self::SourceNotHere => "source_not_here",
            Self::SourceAddress => "source_address",
            Self::Stale => "stale",
            Self::Proof => "proof",
            Self::Nonce => "nonce",
            Self::NoDestination => "no_destination",
            Self::NotAllowed => "not_allowed",
            Self::DestinationNotPlaced => "destination_not_placed",
            Self::Families => "families",
            Self::Unmintable => "unmintable",
            Self::TooOften => "too_often",
        }
    }
}

/// A token, and what its holder must know to offer it.
#[derive(Clone, Debug)]
pub struct Minted {
    pub token: Token,
    /// Of the opposite pair, if it was asked for and is allowed: one trip then opens both ways. Its key is
    /// that of the asking host's own VM, so it tells that host nothing it could not forge.
    pub back: Option<Token>,
    pub destination_host: Uuid,
    pub destination_agent_port: u16,
}

pub fn mint(ask: &Ask, facts: &Facts, settings: Settings, now_unix_secs: u64) -> Result<Minted, Reason> {
    let decoy_key = SecretKey::from_bytes([0; 32]);
    let source = facts.source.as_ref();
    let destination = facts.destination.as_ref().and_then(|found| found.placed.as_ref());

    let here = source.is_some_and(|source| source.host == ask.host && source.open);
    let address = source.is_some_and(|source| source.has_address);
    let fresh = ask.question.is_fresh(now_unix_secs);
    let source_key = source.map_or(&decoy_key, |source| &source.secret_key);
    let proven = ask.proof.verify(source_key, &ask.question).is_ok();
    let token = claims(ask, facts, settings, now_unix_secs)
        .unwrap_or_else(|| decoy_claims(settings, now_unix_secs))
        .mint(destination.map_or(&decoy_key, |placed| &placed.secret_key));
    let token = black_box(token);
    let one_family = is_one_family(ask, facts);
    let back = back_claims(ask, facts, settings, now_unix_secs);
    let is_back = ask.with_back && back.is_some();
    let back = back
        .unwrap_or_else(|| decoy_claims(settings, now_unix_secs))
        .mint(source_key);
    let back = black_box(back).ok().filter(|_| is_back);

    let require = |holds: bool, reason: Reason| if holds { Ok(()) } else { Err(reason) };
    require(here, Reason::SourceNotHere)?;
    require(address, Reason::SourceAddress)?;
    require(fresh, Reason::Stale)?;
    require(proven, Reason::Proof)?;
    require(facts.destination.is_some(), Reason::NoDestination)?;
    require(facts.pair.is_some(), Reason::NotAllowed)?;
    let placed = destination
        .filter(|placed| placed.open)
        .ok_or(Reason::DestinationNotPlaced)?;
    require(one_family, Reason::Families)?;
    Ok(Minted {
        token: token.map_err(|_| Reason::Unmintable)?,
        back,
        destination_host: placed.host,
        destination_agent_port: placed.agent_port,
    })
}

fn claims(ask: &Ask, facts: &Facts, settings: Settings, now_unix_secs: u64) -> Option<Claims> {
    let source: &SourceFacts = facts.source.as_ref()?;
    let destination = facts.destination.as_ref()?;
    let placed: &DestinationPlaced = destination.placed.as_ref()?;
    let pair = facts.pair.as_ref()?;
    Some(Claims {
        replies_only: pair.carries.replies_only(),
        grants: pair.carries.grants(),
        overlay_port: placed.overlay_port,
        pair_id: pair.id,
        source_generation: source.generation,
        destination_generation: placed.generation,
        network: ask.question.network,
        source_vm: ask.question.source_vm,
        destination_vm: destination.vm,
        source_address: ask.question.source_address,
        destination_address: ask.question.destination_address,
        source_host: source.host_address,
        destination_host: placed.host_address,
        not_before_unix_secs: now_unix_secs.saturating_sub(NOT_BEFORE_BACK_SECS),
        expires_unix_secs: now_unix_secs.saturating_add(settings.token_life_secs()),
    })
}

/// The same question asked from the other end.
fn back_claims(ask: &Ask, facts: &Facts, settings: Settings, now_unix_secs: u64) -> Option<Claims> {
    let there = claims(ask, facts, settings, now_unix_secs)?;
    let back = facts.back.as_ref()?;
    Some(Claims {
        replies_only: back.carries.replies_only(),
        grants: back.carries.grants(),
        overlay_port: facts.source.as_ref()?.overlay_port,
        pair_id: back.id,
        source_generation: there.destination_generation,
        destination_generation: there.source_generation,
        source_vm: there.destination_vm,
        destination_vm: there.source_vm,
        source_address: there.destination_address,
        destination_address: there.source_address,
        source_host: there.destination_host,
        destination_host: there.source_host,
        ..there
    })
}

/// A token has guests of one family and hosts of one family; the two may differ. Two VMs on one host are fine.
fn is_one_family(ask: &Ask, facts: &Facts) -> bool {
    let same = |one, other| Family::of(one) == Family::of(other);
    let guests = same(ask.question.source_address, ask.question.destination_address);
    let placed = facts.destination.as_ref().and_then(|found| found.placed.as_ref());
    let hosts = facts.source.as_ref().zip(placed);
    guests && hosts.is_none_or(|(source, placed)| same(source.host_address, placed.host_address))
}

/// What is minted, and thrown away, where there is nothing to mint.
fn decoy_claims(settings: Settings, now_unix_secs: u64) -> Claims {
    let address = |last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
    Claims {
        replies_only: false,
        grants: Grants::all(),
        overlay_port: 1,
        pair_id: 1,
        source_generation: 1,
        destination_generation: 1,
        network: Uuid::max(),
        source_vm: Uuid::max(),
        destination_vm: Uuid::from_u128(1),
        source_address: address(1),
        destination_address: address(2),
        source_host: address(3),
        destination_host: address(4),
        not_before_unix_secs: now_unix_secs.saturating_sub(NOT_BEFORE_BACK_SECS),
        expires_unix_secs: now_unix_secs.saturating_add(settings.token_life_secs()),
    }
}

#[cfg(test)]
mod tests;
