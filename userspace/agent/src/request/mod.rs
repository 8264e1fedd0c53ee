//! From a guest's first packet to an open pair: event → mint → offer → entry.
//!
//! Events only say that a packet found no entry; losing one costs nothing. Everything a guest can make this
//! task do is bounded per guest ([`desk`]). When the registry is gone nothing opens and nothing is queued:
//! each request fails, and the guest's next packet asks again.

pub mod desk;
pub mod mint;

use crate::{
    admit::{self, Facts, Offerer, Refusal},
    clock::{BootTime, RegistryClock},
    goal::Guest,
    keeper::{Admitted, Errand, KeeperHandle, Way},
    metrics::Metrics,
    net::{Net, WayError},
    present::{OfferError, Presenter, is_mirror},
    uplink::Uplink,
};
use aya::maps::{MapData, RingBuf};
use desk::{Desk, Wish};
use mint::{MintError, MintedToken, WrongToken};
use pairgate_abi::{EVENT_UNKNOWN_HANDLE, Event};
use pairgate_api::{
    grpc::{self, registry_client::RegistryClient},
    routes::Role,
};
use pairgate_token::address_from_bytes;
use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::mpsc,
    task::JoinSet,
    time::interval,
};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use zerocopy::FromBytes;

/// Bytes of our headers around an inner packet: IPv4, UDP, VXLAN and the inner Ethernet header.
const OVERHEAD: u32 = 20 + 8 + 8 + 14;

/// Hints to peers at a time.
const HINTS: usize = 16;

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
    pub overlay_port: u16,
    /// Set once two VMs of this host were seen to want a pair.
    pub same_host_seen: Arc<AtomicBool>,
}

impl Requester {
    /// Reads events until `stop`. Requests in progress are dropped then: an offer that was accepted but not
    /// yet entered here ends at its deadline.
    pub async fn run(
        self,
        events: RingBuf<MapData>,
        mut errands: mpsc::Receiver<Errand>,
        stop: CancellationToken,
    ) -> io::Result<()> {
        // SAFETY: the ring's descriptor is that of its map; the ring owns it, never exchanges it, and lives
        // in here from now on.
        let mut events = unsafe { AsyncFd::register_with_interest(events, Interest::READABLE) }?;
        let mut desk = Desk::default();
        let mut requests: JoinSet<(Wish, bool)> = JoinSet::new();
        let mut running: JoinSet<Wish> = JoinSet::new();
        let mut hints: JoinSet<()> = JoinSet::new();
        let mut tidy = interval(desk::REFUSAL_MEMORY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(done) = requests.join_next() => {
                    if let Ok((wish, opened)) = done {
                        desk.done(wish, opened, BootTime::now());
                    }
                }
                Some(done) = running.join_next() => {
                    if let Ok(wish) = done {
                        desk.ran(wish);
                    }
                }
                // Those that wait in the queue keep their places there.
                Some(errand) = errands.recv(), if desk.has_errand_free() => {
                    self.set_out(errand, &mut desk, &mut running);
                }
                _ = tidy.tick() => desk.tidy(BootTime::now()),
                ready = events.readable_mut() => {
                    let mut ready = ready?;
                    while let Some(item) = ready.get_inner_mut().next() {
                        let Ok(event) = Event::read_from_bytes(&item) else { continue };
                        if event.kind == EVENT_UNKNOWN_HANDLE {
                            self.hint(&event, &mut hints);
                        } else {
                            self.consider(event, &mut desk, &mut requests);
                        }
                    }
                    ready.clear_ready();
                }
            }
        }
    }

    /// A frame from a known peer had a handle that we do not know: the peer is told, as often as is useful.
    fn hint(&self, event: &Event, hints: &mut JoinSet<()>) {
        let now = BootTime::now();
        while hints.try_join_next().is_some() {}
        let at = address_from_bytes(event.source);
        if hints.len() < HINTS
            && let Some((host, at)) = self.presenter.known.to_hint(at, now)
        {
            let (presenter, handle) = (self.presenter.clone(), event.handle);
            hints.spawn(async move { presenter.hint(host, at, handle).await });
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

    /// A pair that has become something else meanwhile needs nothing: the keeper looks again.
    fn set_out(&self, errand: Errand, desk: &mut Desk, running: &mut JoinSet<Wish>) {
        let (pair, token) = match errand {
            Errand::Renew(pair) => (pair, None),
            Errand::Offer(pair, token) => (pair, Some(token)),
        };
        let wish = Wish {
            tap: pair.tap,
            destination: pair.destination,
        };
        if desk.send(wish) {
            let requester = self.clone();
            running.spawn(async move {
                match token {
                    Some(token) => requester.offer_again(wish, &token).await,
                    None => requester.renew(wish).await,
                }
                wish
            });
        }
    }

    /// Asks for a new token for a pair that is open. Whatever comes of it, the pair that is open stays as it
    /// is until the new one takes its place.
    async fn renew(mut self, wish: Wish) {
        let destination = address_from_bytes(wish.destination);
        // Each direction is renewed for its own use.
        let renewed = self.open(wish.tap, destination, false).await;
        self.metrics
            .renewed(renewed.as_ref().map_or("failed", |()| "renewed"));
        match renewed {
            Ok(()) => tracing::debug!(tap = wish.tap, %destination, "pair renewed"),
            Err(error) => {
                tracing::warn!(tap = wish.tap, %destination, %error, "an open pair was not renewed, will be tried again");
            }
        }
    }

    async fn fulfil(mut self, wish: Wish) -> bool {
        let destination = address_from_bytes(wish.destination);
        match self.open(wish.tap, destination, true).await {
            Ok(()) => {
                tracing::info!(tap = wish.tap, %destination, "pair opened");
                true
            }
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

    async fn open(&mut self, tap: u32, destination: IpAddr, with_back: bool) -> Result<(), RequestError> {
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
            with_back,
        )
        .await;
        self.metrics
            .minted(minted.as_ref().map_or_else(MintError::word, |_| "minted"));
        let (minted, back) = minted?;
        let back = if back.is_empty() {
            None
        } else {
            self.accept_back(&minted, &back).await
        };
        self.present(&minted, back).await
    }

    /// Offers a live token again. It opens what it opened before, for as long as it did before.
    async fn offer_again(self, wish: Wish, token: &MintedToken) {
        match self.present(token, None).await {
            Ok(()) => tracing::info!(tap = wish.tap, "a live token was offered again"),
            Err(error) => tracing::warn!(tap = wish.tap, %error, "a live token was not taken again"),
        }
    }

    /// From a token to an entry.
    async fn present(&self, minted: &MintedToken, back: Option<grpc::Back>) -> Result<(), RequestError> {
        let IpAddr::V4(peer) = minted.claims().destination_host else {
            return Err(RequestError::Ipv6);
        };
        // Before the offer: a peer should not hold a pair that cannot be carried.
        let way = way_to(&self.net, &self.uplink, peer).await?;
        let offered = self.presenter.offer(minted, back).await;
        self.metrics
            .offered(offered.as_ref().map_or_else(OfferError::word, |_| "accepted"));
        let (pair, started_anew) = offered?;
        self.keeper.carry(pair, way).await?;
        if started_anew {
            // A keeper that has stopped offers nothing.
            let _ = self.keeper.again(IpAddr::V4(peer), None).await;
        }
        Ok(())
    }

    /// Accepts the way back before it is offered, as if its sender had shown the token: tag, time, placement and
    /// tombstones are looked at as for any other. Without it the other end asks for itself.
    async fn accept_back(&self, minted: &MintedToken, token: &[u8]) -> Option<grpc::Back> {
        let accepted = self.try_accept_back(minted, token).await;
        match accepted {
            Ok(accepted) => Some(grpc::Back {
                token: token.to_vec(),
                vni: accepted.handle.vni_number(),
                group: accepted.handle.group_number(),
                mtu: u32::from(accepted.mtu),
            }),
            Err(why) => {
                tracing::warn!(%why, "the registry's token for the way back is not good here");
                None
            }
        }
    }

    async fn try_accept_back(&self, minted: &MintedToken, token: &[u8]) -> Result<Admitted, Refusal> {
        let view = self.keeper.view();
        let facts = Facts {
            address: self.uplink.address,
            overlay_port: self.overlay_port,
            goal: view.goal.as_deref(),
            clock: &self.clock,
        };
        // The registry names the host that will send; that host proves itself when it is offered this.
        let sender = Offerer {
            role: Role::Host,
            id: minted.destination_host(),
            address: Some(minted.claims().destination_host),
        };
        let pair = admit::verify(token, sender, facts, BootTime::now())?;
        if !is_mirror(minted.claims(), pair.claims()) {
            return Err(Refusal::NotHere);
        }
        self.keeper.admit(pair).await
    }

    fn guest(&self, tap: u32) -> Result<Guest, RequestError> {
        let view = self.keeper.view();
        if view.lease <= BootTime::now() {
            return Err(RequestError::Lease);
        }
        view.guest_of_tap(tap).cloned().ok_or(RequestError::NoGuest)
    }
}

/// The way to a peer host by the uplink.
pub(crate) async fn way_to(net: &Net, uplink: &Uplink, peer: Ipv4Addr) -> Result<Way, WayError> {
    Ok(Way {
        hop: net.next_hop(peer, uplink.index).await?,
        mtu: u16::try_from(uplink.mtu.saturating_sub(OVERHEAD)).unwrap_or(u16::MAX),
    })
}
