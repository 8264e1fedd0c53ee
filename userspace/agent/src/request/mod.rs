//! From a guest's first packet to an open pair: event → mint → offer → entry.
//!
//! Events only say that a packet found no entry; losing one costs nothing. A first packet that the program could
//! hold comes along and waits in [`crate::hold`], for a second at most. Everything a guest can make this task do is
//! bounded per guest ([`desk`]). When the registry is gone nothing opens: each request fails, and the guest's next
//! packet asks again.

pub mod desk;
pub mod mint;

use crate::{
    admit::{self, Facts, Offerer, Refusal},
    clock::{BootTime, RegistryClock},
    goal::Guest,
    hold::{HeldFrame, Hold},
    keeper::{Admitted, Errand, KeeperHandle, Memory, Way},
    metrics::Metrics,
    net::{Net, WayError},
    present::{OfferError, Presenter, is_mirror},
    registry_link::RegistryLink,
    ring,
    uplink::Uplink,
};
use aya::maps::{MapData, RingBuf};
use desk::{Desk, Outcome, Taken, Wish};
use mint::{MintError, MintedToken, OwnHost, Question};
use pairgate_abi::{DropReason, EVENT_UNKNOWN_HANDLE, Event, Held};
use pairgate_api::{
    grpc::{self, registry_client::RegistryClient},
    routes::Role,
};
use pairgate_token::address_from_bytes;
use std::{fmt, io, net::IpAddr, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use zerocopy::FromBytes;

/// How exactly the time of held packets is kept, and how soon a first goal state is noticed.
const PATIENCE_STEP: Duration = Duration::from_millis(50);

/// Hints to peers at a time.
const HINTS: usize = 16;

/// Why a wish was not fulfilled.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error("no guest is known behind this tap")]
    NoGuest,
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

impl RequestError {
    /// Whether asking again makes no sense until something changes at the registry. What a peer only cannot do yet
    /// is not final.
    fn is_final(&self) -> bool {
        match self {
            Self::Mint(MintError::Refused(_)) => true,
            Self::Offer(OfferError::Refused { because, .. }) => !NOT_YET.contains(&because.as_str()),
            Self::NoGuest | Self::Lease | Self::Mint(_) | Self::Way(_) | Self::Offer(_) | Self::Carry(_) => {
                false
            }
        }
    }
}

/// Words of a peer that is about to catch up.
const NOT_YET: [&str; 8] = [
    "not_ready",
    "lease",
    "no_time",
    "early",
    "not_here",
    "generation",
    "internal",
    "full",
];

/// See the module.
#[derive(Clone, Debug)]
pub struct Requester {
    pub registry: RegistryClient<RegistryLink>,
    pub presenter: Arc<Presenter>,
    pub keeper: KeeperHandle,
    pub net: Net,
    pub clock: RegistryClock,
    pub metrics: Arc<Metrics>,
    pub uplink: Uplink,
    pub overlay_port: u16,
    pub host_id: Uuid,
    pub hold: Arc<Hold>,
}

/// What the kernel tells us by.
pub struct Rings {
    pub events: RingBuf<MapData>,
    pub held: RingBuf<MapData>,
}

impl fmt::Debug for Rings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rings").finish_non_exhaustive()
    }
}

/// Whatever is under way.
#[derive(Default)]
struct Work {
    desk: Desk,
    requests: JoinSet<(Wish, Outcome)>,
    errands: JoinSet<Wish>,
    hints: JoinSet<()>,
}

impl Requester {
    /// Reads events and held packets until `stop`. Requests in progress are dropped then: an offer that was accepted
    /// but not yet entered here ends at its deadline.
    pub async fn run(
        self,
        rings: Rings,
        mut errands: mpsc::Receiver<Errand>,
        stop: CancellationToken,
    ) -> io::Result<()> {
        // Before a goal state is in force no guest is known, and every answer would be no.
        while self.keeper.view().goal.is_none() {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = sleep(PATIENCE_STEP) => {}
            }
        }
        let (mut events, mut held) = (ring::readable(rings.events)?, ring::readable(rings.held)?);
        let mut work = Work::default();
        let mut tidy = interval(desk::REFUSAL_MEMORY);
        let mut patience = interval(PATIENCE_STEP);
        patience.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(done) = work.requests.join_next() => {
                    if let Ok((wish, outcome)) = done {
                        self.finish(wish, outcome, &mut work).await;
                    }
                }
                Some(done) = work.errands.join_next() => {
                    if let Ok(wish) = done {
                        work.desk.ran(wish);
                        self.attend(wish, BootTime::now(), &mut work).await;
                    }
                }
                // Those that wait in the queue keep their places there.
                Some(errand) = errands.recv(), if work.desk.has_errand_free() => {
                    self.set_out(errand, &mut work);
                }
                _ = tidy.tick() => work.desk.tidy(BootTime::now()),
                _ = patience.tick(), if !self.hold.is_empty() => self.hold.give_up(BootTime::now()),
                ready = held.readable_mut() => {
                    let mut ready = ready?;
                    while let Some(item) = ready.get_inner_mut().next() {
                        let frame = self.keep(&item);
                        drop(item);
                        if let Some((wish, raised)) = frame {
                            self.attend(wish, raised, &mut work).await;
                        }
                    }
                    ready.clear_ready();
                }
                ready = events.readable_mut() => {
                    let mut ready = ready?;
                    while let Some(item) = ready.get_inner_mut().next() {
                        let Ok(event) = Event::read_from_bytes(&item) else { continue };
                        if event.kind == EVENT_UNKNOWN_HANDLE {
                            self.hint(&event, &mut work.hints);
                        } else {
                            self.consider(event, &mut work);
                        }
                    }
                    ready.clear_ready();
                }
            }
        }
    }

    /// Takes a first packet over from the kernel.
    fn keep(&self, item: &[u8]) -> Option<(Wish, BootTime)> {
        let record = Held::ref_from_bytes(item).ok()?;
        let Some(frame) = HeldFrame::read(record) else {
            tracing::error!(tap = record.tap, "a held packet is not what its record says");
            self.hold.unreadable(record.slot);
            return None;
        };
        if frame.is_old(BootTime::now()) {
            // It lay in the ring while no agent ran.
            self.hold.end(frame, Err(DropReason::NoPair));
            return None;
        }
        let noted = (frame.key, frame.raised);
        self.hold.keep(frame);
        Some(noted)
    }

    /// Something may be held for this wish: it is asked for, waits, or goes on by what is known already.
    async fn attend(&self, wish: Wish, raised: BootTime, work: &mut Work) {
        if !self.hold.holds(&wish) {
            return;
        }
        match work.desk.take(wish, raised, BootTime::now()) {
            Taken::Start => self.ask(wish, work),
            Taken::Busy => work.desk.wait(wish),
            // The packet was on its way to us while its pair was opened. A keeper that has stopped sends nothing.
            Taken::Stale(Outcome::Opened) => {
                let _ = self.keeper.deliver(wish).await;
            }
            Taken::Stale(Outcome::Refused) => self.hold.drop_all(&wish, DropReason::Denied),
            // It is answered with the request, or given up after its time.
            Taken::UnderWay | Taken::Silent | Taken::Stale(Outcome::Failed | Outcome::Overtaken) => {}
        }
    }

    async fn finish(&self, wish: Wish, outcome: Outcome, work: &mut Work) {
        let now = BootTime::now();
        work.desk.done(wish, outcome, now);
        match outcome {
            Outcome::Opened => {
                if self.hold.holds(&wish) {
                    let _ = self.keeper.deliver(wish).await;
                }
            }
            Outcome::Refused => self.hold.drop_all(&wish, DropReason::Denied),
            Outcome::Overtaken => self.attend(wish, now, work).await,
            Outcome::Failed => {}
        }
        while let Some(next) = work.desk.next(|wish| self.hold.holds(wish)) {
            self.ask(next, work);
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

    /// A packet that could not be held has found no entry.
    fn consider(&self, event: Event, work: &mut Work) {
        let wish = Wish {
            tap: event.tap,
            source: event.source,
            destination: event.destination,
        };
        let raised = BootTime::from_nanos(event.at_ns);
        if work.desk.take(wish, raised, BootTime::now()) == Taken::Start {
            self.ask(wish, work);
        }
    }

    fn ask(&self, wish: Wish, work: &mut Work) {
        let requester = self.clone();
        work.requests
            .spawn(async move { (wish, requester.fulfil(wish).await) });
    }

    /// A pair that has become something else meanwhile needs nothing: the keeper looks again.
    fn set_out(&self, errand: Errand, work: &mut Work) {
        let (wish, token) = match errand {
            Errand::Renew(pair) => (pair, None),
            Errand::Offer(pair, token) => (pair, Some(token)),
        };
        if work.desk.send(wish) {
            let requester = self.clone();
            work.errands.spawn(async move {
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
        let renewed = self.open(wish, false).await;
        self.metrics
            .renewed(renewed.as_ref().map_or("failed", |()| "renewed"));
        match renewed {
            Ok(()) => tracing::debug!(tap = wish.tap, %destination, "pair renewed"),
            Err(error) => {
                tracing::warn!(tap = wish.tap, %destination, %error, "an open pair was not renewed, will be tried again");
            }
        }
    }

    async fn fulfil(mut self, wish: Wish) -> Outcome {
        let destination = address_from_bytes(wish.destination);
        // Before the question: what changes from now on may change the answer.
        let revision = self.keeper.view().goal.as_ref().map(|goal| goal.revision);
        let result = self.open(wish, true).await;
        let outcome = match &result {
            Ok(()) => Outcome::Opened,
            Err(error) if error.is_final() => match self.keeper.refuse(wish, revision).await {
                Memory::Kept => Outcome::Refused,
                Memory::Changed => Outcome::Overtaken,
                Memory::Full => Outcome::Failed,
            },
            Err(_) => Outcome::Failed,
        };
        match result {
            Ok(()) => tracing::info!(tap = wish.tap, %destination, "pair opened"),
            // A guest can cause these at will, so they are no line of the log by default.
            Err(error @ (RequestError::Mint(_) | RequestError::NoGuest | RequestError::Lease)) => {
                tracing::debug!(tap = wish.tap, %destination, %error, "no pair");
            }
            // The registry has allowed the pair, so an operator wants to know.
            Err(error @ (RequestError::Way(_) | RequestError::Offer(_) | RequestError::Carry(_))) => {
                tracing::warn!(tap = wish.tap, %destination, %error, "an allowed pair could not be opened");
            }
        }
        outcome
    }

    async fn open(&mut self, wish: Wish, with_back: bool) -> Result<(), RequestError> {
        let guest = self.guest(wish)?;
        let question = Question {
            guest: &guest,
            source: address_from_bytes(wish.source),
            destination: address_from_bytes(wish.destination),
            with_back,
        };
        let ours = OwnHost {
            id: self.host_id,
            address: self.uplink.address,
        };
        let minted = mint::mint(&mut self.registry, &self.clock, question, ours).await;
        self.metrics
            .minted(minted.as_ref().map_or_else(MintError::word, |_| "minted"));
        let (minted, back) = minted?;
        if minted.is_local() {
            return self.join(&minted, &back).await;
        }
        let back = if back.is_empty() {
            None
        } else {
            self.accept_back(&minted, &back).await
        };
        self.present(&minted, back).await
    }

    /// Opens a pair between two guests of this host, and the opposite one if its token came too. Nobody is offered
    /// anything: the keys of both are here.
    async fn join(&self, minted: &MintedToken, back: &[u8]) -> Result<(), RequestError> {
        let view = self.keeper.view();
        let facts = Facts {
            address: self.uplink.address,
            overlay_port: self.overlay_port,
            goal: view.goal.as_deref(),
            clock: &self.clock,
        };
        let there = admit::verify_local(minted.bytes(), self.host_id, facts, BootTime::now())?;
        let back = if back.is_empty() {
            None
        } else {
            let back = admit::verify_local(back, self.host_id, facts, BootTime::now());
            let back = back.and_then(|back| match is_mirror(there.claims(), back.claims()) {
                true => Ok(back),
                false => Err(Refusal::NotHere),
            });
            back.inspect_err(
                |why| tracing::warn!(%why, "the registry's token for the way back is not good here"),
            )
            .ok()
        };
        Ok(self.keeper.join(there, back).await?)
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
        let peer = minted.claims().destination_host;
        // Before the offer: a peer should not hold a pair that cannot be carried.
        let way = way_to(&self.net, &self.uplink, peer).await?;
        let offered = self.presenter.offer(minted, back).await;
        self.metrics
            .offered(offered.as_ref().map_or_else(OfferError::word, |_| "accepted"));
        let (pair, started_anew) = offered?;
        self.keeper.carry(pair, way).await?;
        if started_anew {
            // A keeper that has stopped offers nothing.
            let _ = self.keeper.again(peer, None).await;
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

    fn guest(&self, wish: Wish) -> Result<Guest, RequestError> {
        let view = self.keeper.view();
        if view.lease <= BootTime::now() {
            return Err(RequestError::Lease);
        }
        let guest = view.guest_of_tap(wish.tap).cloned();
        // The program has seen an older row of the tap.
        guest
            .filter(|guest| guest.owns(address_from_bytes(wish.source)))
            .ok_or(RequestError::NoGuest)
    }
}

/// The way to a peer host by the uplink.
pub(crate) async fn way_to(net: &Net, uplink: &Uplink, peer: IpAddr) -> Result<Way, WayError> {
    Ok(Way {
        hop: net.next_hop(peer, uplink.index).await?,
        mtu: uplink.largest_inner(),
    })
}
