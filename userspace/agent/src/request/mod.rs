//! From a guest's first packet to an open pair: event → mint → offer → entry.
//!
//! Events only say that a packet found no entry; losing one costs nothing. Everything a guest can make this
//! task do is bounded per guest ([`desk`]). When the registry is gone nothing opens and nothing is queued:
//! each request fails, and the guest's next packet asks again.

pub mod desk;
pub mod mint;

use crate::{
    admit::Refusal,
    clock::{BootTime, RegistryClock},
    goal::Guest,
    keeper::{KeeperHandle, Way},
    metrics::Metrics,
    net::{Net, WayError},
    present::{OfferError, Presenter},
    uplink::Uplink,
};
use aya::maps::{MapData, RingBuf};
use desk::{Desk, Wish};
use mint::{MintError, WrongToken};
use pairgate_abi::Event;
use pairgate_api::grpc::registry_client::RegistryClient;
use pairgate_token::address_from_bytes;
use std::{
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    task::JoinSet,
    time::interval,
};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use zerocopy::FromBytes;

/// Bytes of our headers around an inner packet: IPv4, UDP, VXLAN and the inner Ethernet header.
const OVERHEAD: u32 = 20 + 8 + 8 + 14;

/// Why a wish was not fulfilled.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error("no guest is known behind this tap")]
    NoGuest,
    #[error("IPv6 is not carried yet")]
    Ipv6,
    #[error("this host's lease has ended")]
    Lease,
    #[error(transparent)]
    Mint(#[from] MintError),
    #[error(transparent)]
    Way(#[from] WayError),
    #[error(transparent)]
    Offer(#[from] OfferError),
    #[error("the pair was not opened here: {0}")]
    Carry(#[from] Refusal),
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Requester {
    pub registry: RegistryClient<Channel>,
    pub presenter: Arc<Presenter>,
    pub keeper: KeeperHandle,
    pub net: Net,
    pub clock: RegistryClock,
    pub metrics: Arc<Metrics>,
    pub uplink: Uplink,
    /// Set once two VMs of this host were seen to want a pair.
    pub same_host_seen: Arc<AtomicBool>,
}

impl Requester {
    /// Reads events until `stop`. Requests in progress are dropped then: an offer that was accepted but not
    /// yet entered here ends at its deadline.
    pub async fn run(self, events: RingBuf<MapData>, stop: CancellationToken) -> io::Result<()> {
        // SAFETY: the ring's descriptor is that of its map; the ring owns it, never exchanges it, and lives
        // in here from now on.
        let mut events = unsafe { AsyncFd::register_with_interest(events, Interest::READABLE) }?;
        let mut desk = Desk::default();
        let mut requests: JoinSet<(Wish, bool)> = JoinSet::new();
        let mut tidy = interval(desk::REFUSAL_MEMORY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(done) = requests.join_next() => {
                    if let Ok((wish, opened)) = done {
                        desk.done(wish, opened, BootTime::now());
                    }
                }
                _ = tidy.tick() => desk.tidy(BootTime::now()),
                ready = events.readable_mut() => {
                    let mut ready = ready?;
                    while let Some(item) = ready.get_inner_mut().next() {
                        let Ok(event) = Event::read_from_bytes(&item) else { continue };
                        self.consider(event, &mut desk, &mut requests);
                    }
                    ready.clear_ready();
                }
            }
        }
    }

    fn consider(&self, event: Event, desk: &mut Desk, requests: &mut JoinSet<(Wish, bool)>) {
        let wish = Wish {
            tap: event.tap,
            destination: event.destination,
        };
        let raised = BootTime::from_nanos(event.at_ns);
        if desk.take(wish, raised, BootTime::now()) {
            let requester = self.clone();
            requests.spawn(async move {
                let opened = requester.fulfil(wish).await;
                (wish, opened)
            });
        }
    }

    async fn fulfil(mut self, wish: Wish) -> bool {
        let destination = address_from_bytes(wish.destination);
        match self.open(wish.tap, destination).await {
            Ok(()) => true,
            Err(RequestError::Mint(MintError::Wrong(WrongToken::SameHost))) => {
                if !self.same_host_seen.swap(true, Ordering::Relaxed) {
                    tracing::warn!("two VMs of this host want a pair, which this agent cannot open yet");
                }
                false
            }
            // A guest can cause these at will, so they are no line of the log by default.
            Err(
                error @ (RequestError::Mint(_)
                | RequestError::NoGuest
                | RequestError::Ipv6
                | RequestError::Lease),
            ) => {
                tracing::debug!(tap = wish.tap, %destination, %error, "no pair");
                false
            }
            // The registry has allowed the pair, so an operator wants to know.
            Err(error @ (RequestError::Way(_) | RequestError::Offer(_) | RequestError::Carry(_))) => {
                tracing::warn!(tap = wish.tap, %destination, %error, "an allowed pair could not be opened");
                false
            }
        }
    }

    async fn open(&mut self, tap: u32, destination: IpAddr) -> Result<(), RequestError> {
        if destination.is_ipv6() {
            return Err(RequestError::Ipv6);
        }
        let guest = self.guest(tap)?;
        let minted = mint::mint(
            &mut self.registry,
            &self.clock,
            &guest,
            destination,
            self.uplink.address,
        )
        .await;
        self.metrics
            .minted(minted.as_ref().map_or_else(MintError::word, |_| "minted"));
        let minted = minted?;
        let IpAddr::V4(peer) = minted.claims().destination_host else {
            return Err(RequestError::Ipv6);
        };
        // Before the offer: a peer should not hold a pair that cannot be carried.
        let way = Way {
            hop: self.net.next_hop(peer, self.uplink.index).await?,
            mtu: u16::try_from(self.uplink.mtu.saturating_sub(OVERHEAD)).unwrap_or(u16::MAX),
        };
        let offered = self.presenter.offer(&minted).await;
        self.metrics
            .offered(offered.as_ref().map_or_else(OfferError::word, |_| "accepted"));
        self.keeper.carry(offered?, way).await?;
        tracing::info!(vm = ?guest.name, %destination, "pair opened");
        Ok(())
    }

    fn guest(&self, tap: u32) -> Result<Guest, RequestError> {
        let view = self.keeper.view();
        if view.lease <= BootTime::now() {
            return Err(RequestError::Lease);
        }
        view.guest_of_tap(tap).cloned().ok_or(RequestError::NoGuest)
    }
}
