//! Presenting a token to the host it names, and joining the two into a pair that may be carried.

mod back;
mod silent;

pub use back::{BackError, is_mirror};

use crate::{answer, clock::BootTime, peers::Peers, request::mint::MintedToken};
use pairgate_abi::{Handle, limits::PEERS};
use pairgate_api::{
    grpc::{self, offer_response::Answer, peer_client::PeerClient},
    routes::Role,
};
use pairgate_identity::{Expect, channel};
use pairgate_token::Claims;
use rustls::ClientConfig;
use silent::Silent;
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tonic::transport::Channel;
use uuid::Uuid;

/// An offer takes milliseconds; a host that takes longer is asked again by the next packet.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// RFC 791: every link carries 68 bytes; what a peer names below that is no MTU.
const SMALLEST_MTU: u32 = 68;

/// A pair that may be carried: its token came from the registry to us, or with an offer from the very host
/// that it names as destination; and its handle came from that host.
#[derive(Clone, Debug)]
pub struct CarriedPair {
    claims: Claims,
    destination_host: Uuid,
    handle: Handle,
    mtu: u16,
    deadline: BootTime,
    minted: Option<MintedToken>,
}

impl CarriedPair {
    /// The maker for what we have asked for; [`Self::from_offer`] is the other one. A handle whose parts are reserved is refused: a kernel would lose its flag on the wire.
    fn join(minted: &MintedToken, accepted: &grpc::Accepted) -> Result<Self, OfferError> {
        let handle = Handle::new(accepted.vni, accepted.group).ok_or(OfferError::Handle)?;
        if accepted.mtu < SMALLEST_MTU {
            return Err(OfferError::Mtu(accepted.mtu));
        }
        Ok(Self {
            claims: minted.claims().clone(),
            destination_host: minted.destination_host(),
            handle,
            mtu: u16::try_from(accepted.mtu).unwrap_or(u16::MAX),
            deadline: minted.deadline(),
            minted: Some(minted.clone()),
        })
    }

    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The host that accepted it.
    pub fn destination_host(&self) -> Uuid {
        self.destination_host
    }

    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// Largest inner packet that the receiver takes.
    pub fn mtu(&self) -> u16 {
        self.mtu
    }

    pub fn deadline(&self) -> BootTime {
        self.deadline
    }

    /// The token as the registry gave it to us, for offering it again.
    pub fn minted(&self) -> Option<&MintedToken> {
        self.minted.as_ref()
    }
}

/// Why a host did not take a token.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    #[error(
        "host {host} at {at} cannot be reached or did not take the offer: {}",
        answer::text(status)
    )]
    Unreachable {
        host: Uuid,
        at: SocketAddr,
        status: Box<tonic::Status>,
    },
    #[error("host {host} at {at} did not answer within {} seconds", ANSWER_LIMIT.as_secs())]
    Slow { host: Uuid, at: SocketAddr },
    #[error(
        "host {host} at {at} has not answered of late, and is asked once in {} seconds",
        ANSWER_LIMIT.as_secs()
    )]
    Silent { host: Uuid, at: SocketAddr },
    #[error("host {host} refused the offer: {because:?}")]
    Refused { host: Uuid, because: String },
    #[error("the host's answer is empty")]
    Empty,
    #[error("the host answered with a reserved handle")]
    Handle,
    #[error("the host answered with an MTU of {0}")]
    Mtu(u32),
}

impl OfferError {
    /// The metric label.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } | Self::Slow { .. } | Self::Silent { .. } => "unreachable",
            Self::Refused { .. } => "refused",
            Self::Empty | Self::Handle | Self::Mtu(_) => "wrong",
        }
    }

    /// Every word, and that of success.
    pub const WORDS: [&'static str; 4] = ["accepted", "unreachable", "refused", "wrong"];
}

/// The connections to peer hosts.
#[derive(Debug)]
pub struct Presenter {
    tls: Arc<ClientConfig>,
    installation: Uuid,
    boot_id: Uuid,
    /// Where this host's agent listens.
    agent_port: u16,
    pub known: Arc<Peers>,
    /// One connection per peer, kept. A host that has moved or been made anew is another peer.
    peers: Mutex<HashMap<(SocketAddr, Uuid), Channel>>,
    silent: Mutex<Silent>,
}

impl Presenter {
    pub fn new(
        tls: Arc<ClientConfig>,
        installation: Uuid,
        boot_id: Uuid,
        agent_port: u16,
        known: Arc<Peers>,
    ) -> Self {
        Self {
            tls,
            installation,
            boot_id,
            agent_port,
            known,
            peers: Mutex::default(),
            silent: Mutex::default(),
        }
    }

    /// Offers a token to the host it names, which must prove to be that host.
    ///
    /// With the pair comes whether the host has started anew since we last heard of it.
    pub async fn offer(
        &self,
        minted: &MintedToken,
        back: Option<grpc::Back>,
    ) -> Result<(CarriedPair, bool), OfferError> {
        let host = minted.destination_host();
        let at = SocketAddr::new(minted.claims().destination_host, minted.agent_port());
        let request = grpc::OfferRequest {
            token: minted.bytes().to_vec(),
            boot_id: self.boot_id.into_bytes().to_vec(),
            agent_port: u32::from(self.agent_port),
            back,
        };
        let began = BootTime::now();
        if !self.silent().may_wait(host, began) {
            return Err(OfferError::Silent { host, at });
        }
        let mut peer = PeerClient::new(self.channel(at, host));
        let answer = tokio::time::timeout(ANSWER_LIMIT, peer.offer(request)).await;
        let now = BootTime::now();
        // A connection that is refused at once is an answer too; one that nobody takes ends as an error when it is late.
        let is_answered = matches!(answer, Ok(Ok(_))) || now < began.after(ANSWER_LIMIT / 2);
        self.silent().ended(host, is_answered, now);
        let answer = answer.map_err(|_| OfferError::Slow { host, at })?;
        let answer = answer.map_err(|status| OfferError::Unreachable {
            host,
            at,
            status: Box::new(status),
        })?;
        match answer.into_inner().answer {
            Some(Answer::Accepted(accepted)) => {
                let pair = CarriedPair::join(minted, &accepted)?;
                let anew = self.known.met(host, at, &accepted.boot_id, BootTime::now());
                Ok((pair, anew))
            }
            Some(Answer::Refused(refused)) => Err(OfferError::Refused {
                host,
                because: refused.because,
            }),
            None => Err(OfferError::Empty),
        }
    }

    /// Tells a host that it sends under a handle that we do not know. Nothing depends on the answer.
    pub async fn hint(&self, host: Uuid, at: SocketAddr, handle: Handle) {
        let request = grpc::HintRequest {
            vni: handle.vni_number(),
            group: handle.group_number(),
        };
        let mut peer = PeerClient::new(self.channel(at, host));
        let answer = tokio::time::timeout(ANSWER_LIMIT, peer.hint(request)).await;
        match answer {
            Ok(Ok(_)) => tracing::debug!(%host, "told that it sends under a handle that is not known here"),
            Ok(Err(status)) => tracing::debug!(%host, why = answer::text(&status), "hint not given"),
            Err(_) => tracing::debug!(%host, "hint not answered"),
        }
    }

    /// Offers that begin from now on go by new connections, which show our newest certificate.
    pub fn reconnect(&self) {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn silent(&self) -> MutexGuard<'_, Silent> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn channel(&self, at: SocketAddr, host: Uuid) -> Channel {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = peers.get(&(at, host)) {
            return known.clone();
        }
        if peers.len() >= PEERS as usize {
            // Rare and cheap to mend: every peer in use gets a new connection with its next offer.
            peers.clear();
        }
        let expect = Expect {
            role: Role::Host,
            id: Some(host),
            installation: Some(self.installation),
        };
        let new = channel(&at.to_string(), self.tls.clone(), expect);
        peers.insert((at, host), new.clone());
        new
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What [`Presenter::offer`] makes of an answer, for tests of what comes after it.
    pub(crate) fn join(
        minted: &MintedToken,
        vni: u32,
        group: u32,
        mtu: u32,
    ) -> Result<CarriedPair, OfferError> {
        let boot_id = vec![1; 16];
        CarriedPair::join(
            minted,
            &grpc::Accepted {
                vni,
                group,
                mtu,
                boot_id,
            },
        )
    }

    /// A pair between two IPv6 addresses.
    pub(crate) fn six() -> CarriedPair {
        let six = crate::request::mint::tests::minted_six();
        join(&six, 7, 8, 1450).unwrap()
    }

    #[test]
    fn reserved_handles_and_impossible_mtus_are_refused() {
        let minted = crate::request::mint::tests::minted();
        assert!(join(&minted, 1, 1, 1450).is_ok());
        for (vni, group) in [
            (0, 1),
            (0xff_ffff, 1),
            (1 << 24, 1),
            (1, 0),
            (1, 0xffff),
            (1, 1 << 16),
        ] {
            assert!(
                matches!(join(&minted, vni, group, 1450), Err(OfferError::Handle)),
                "{vni} {group}"
            );
        }
        assert!(matches!(join(&minted, 1, 1, 67), Err(OfferError::Mtu(67))));
    }
}
