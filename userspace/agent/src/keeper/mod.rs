//! The one task that owns the maps.
//!
//! It takes commands one after the other, so that what a goal state ends and what an offer opens can never
//! cross: whatever is opened has been looked at under the newest tombstones, and whatever a receipt speaks of
//! happened before it. It alone makes receipts.
//!
//! When it stops, everything it wrote stays: the kernel goes on under the deadlines and the lease that are in
//! the maps. A later keeper reads them back.

mod agenda;
mod audit;
mod book;
mod deliver;
mod doors;
mod drain;
pub mod entries;
mod fate;
mod flows;
mod guard;
mod guarding;
mod handle;
mod ledger;
mod life;
pub mod limits;
mod look;
mod open;
mod refusals;
mod seats;
mod shut;
mod tables;
mod view;
mod ways;

pub use audit::{Board, Finding, Kind};
pub use book::Declared;
pub use doors::{DoorError, Doors};
pub use drain::undrained;
use handle::Command;
pub use handle::{KeeperHandle, Stopping};
pub use ledger::{Applied, Ledger, TakeUpError};
pub use open::{Admitted, OpenError, Way};
pub use refusals::Memory;
pub use seats::Seat;
pub use shut::{ShutError, shut};
pub use tables::{Place, Slice, TableError, Tables};
pub use view::{GuestView, PairCounts, PairRow, View};

use crate::{
    admit::Refusal,
    adopt::Adoption,
    clock::{BootTime, RegistryClock},
    datapath::{Loaded, maps::Maps},
    goal::Goal,
    hold::{Hold, Sender},
    net::Net,
    request::mint::MintedToken,
    totals::Totals,
    xdp_guard::Choice,
};
use arc_swap::ArcSwap;
use audit::Auditor;
use guarding::Guarding;
use pairgate_abi::OutKey;
use pairgate_api::grpc;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, mpsc},
    task::{JoinSet, block_in_place},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What the keeper wants done at other hosts.
#[derive(Clone, Debug)]
pub enum Errand {
    /// A pair in use needs a new token.
    Renew(OutKey),
    /// A peer may have forgotten this pair: its live token is to be offered again.
    Offer(OutKey, Box<MintedToken>),
}

/// See the module.
#[derive(Debug)]
pub struct Keeper {
    ledger: Ledger<Maps>,
    loaded: Loaded,
    doors: Doors,
    net: Net,
    adoption: Adoption,
    taps_news: Arc<Notify>,
    totals: Arc<Totals>,
    clock: RegistryClock,
    receipts: mpsc::Sender<grpc::Receipt>,
    errands: mpsc::Sender<Errand>,
    view: Arc<ArcSwap<View>>,
    counts: Arc<PairCounts>,
    hold: Arc<Hold>,
    sender: Sender,
    /// What became of each guest's tap.
    guests: HashMap<Uuid, GuestState>,
    /// For each tap, packets that passed its guard and will never be read nor counted as dropped.
    lost: HashMap<u32, i64>,
    drains: JoinSet<(u64, u64)>,
    /// What has to be done again because it failed.
    again: Again,
    /// The revision that the log spoke of last.
    shown: Option<u64>,
    swept: Instant,
    auditor: Auditor,
    audited: Instant,
    guarding: Guarding,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum GuestState {
    /// Both programs hold the tap and it is up, with the MTU that it was given.
    Guarded {
        tap: u32,
        mtu: u16,
    },
    /// Other hands are to make the tap, and have not yet.
    Absent,
    Failed {
        why: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Again {
    Nothing,
    Taps,
    Everything,
}

/// What a keeper needs from the others.
#[derive(Debug)]
pub struct Parts {
    pub maps: Maps,
    pub loaded: Loaded,
    pub doors: Doors,
    pub net: Net,
    pub totals: Arc<Totals>,
    pub clock: RegistryClock,
    pub receipts: mpsc::Sender<grpc::Receipt>,
    pub errands: mpsc::Sender<Errand>,
    /// First packets, and the way out for them.
    pub hold: Arc<Hold>,
    pub sender: Sender,
    /// Taps made by other hands, and the news that one may be there.
    pub adoption: Adoption,
    pub taps_news: Arc<Notify>,
    /// How long a pair may go unused.
    pub idle: Duration,
    /// Whether there is to be a guard in the uplink's driver.
    pub xdp_guard: Choice,
}

impl Keeper {
    /// Reads back what is in the kernel and starts the task. It ends when `stop` is cancelled or every handle
    /// is gone.
    pub fn start(parts: Parts, stop: CancellationToken) -> Result<KeeperHandle, TableError> {
        let (commands, queue) = mpsc::channel(limits::COMMANDS);
        let view = Arc::new(ArcSwap::from_pointee(View::default()));
        let counts = view.load().counts.clone();
        let mut ledger = Ledger::read(parts.maps, BootTime::now())?;
        ledger.set_idle(parts.idle);
        let keeper = Self {
            ledger,
            loaded: parts.loaded,
            doors: parts.doors,
            net: parts.net,
            adoption: parts.adoption,
            taps_news: parts.taps_news,
            totals: parts.totals,
            clock: parts.clock,
            receipts: parts.receipts,
            errands: parts.errands,
            hold: parts.hold,
            sender: parts.sender,
            view: view.clone(),
            counts,
            guests: HashMap::new(),
            lost: HashMap::new(),
            drains: JoinSet::new(),
            again: Again::Nothing,
            shown: None,
            swept: Instant::now(),
            auditor: Auditor::default(),
            audited: Instant::now(),
            guarding: Guarding::new(parts.xdp_guard),
        };
        let guard = keeper.guarding.shown.clone();
        let board = keeper.auditor.board.clone();
        keeper.publish();
        tokio::spawn(keeper.run(queue, stop));
        Ok(KeeperHandle {
            commands,
            view,
            board,
            guard,
        })
    }

    async fn run(mut self, mut queue: mpsc::Receiver<Command>, stop: CancellationToken) {
        let news = self.taps_news.clone();
        let mut tick = interval(limits::TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = interval(limits::LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(done) = self.drains.join_next() => {
                    if let Ok((revision, undrained)) = done {
                        self.drained(revision, undrained);
                    }
                }
                command = queue.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => return,
                },
                () = news.notified() => self.shut_new_taps().await,
                _ = tick.tick() => self.tick().await,
                _ = look.tick() => self.look(),
            }
            self.counts.set(self.ledger.book());
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Goal(goal) => self.take_up(Arc::new(goal)).await,
            Command::Grant {
                asked,
                length,
                revision,
            } => {
                let done = self.ledger.grant(asked, length, revision);
                self.report(done);
            }
            Command::Uplink(true) => self.ledger.resume(),
            Command::Uplink(false) => {
                let done = self.ledger.end_lease();
                self.report(done);
            }
            Command::Admit { pair, answer } => {
                let result = block_in_place(|| self.ledger.admit(&pair, BootTime::now()));
                // A caller that is gone will offer again and get the same handle.
                let _ = answer.send(result.map_err(|error| refusal(&error)));
            }
            Command::Carry { pair, way, answer } => {
                let result = block_in_place(|| self.carry(&pair, way));
                let _ = answer.send(result.map_err(|error| refusal(&error)));
            }
            Command::Join { there, back, answer } => {
                let result = block_in_place(|| self.join(&there, back.as_deref()));
                let _ = answer.send(result.map_err(|error| refusal(&error)));
            }
            Command::Refuse {
                pair,
                revision,
                answer,
            } => {
                let done = self.ledger.refuse(pair, revision, BootTime::now());
                let _ = answer.send(done.unwrap_or_else(|error| {
                    tracing::error!(%error, "a refusal could not be remembered");
                    Memory::Full
                }));
            }
            Command::Deliver(pair) => block_in_place(|| self.deliver_open(pair)),
            Command::Again { peer, handle } => {
                for errand in self.ledger.again(peer, handle, BootTime::now()) {
                    // What finds no room is renewed in its time.
                    let _ = self.errands.try_send(errand);
                }
            }
            Command::Alive(answer) => {
                let _ = answer.send(());
            }
            Command::Hosts(answer) => {
                let _ = answer.send(self.ledger.hosts());
            }
            Command::Lead { ways, mtu } => {
                if let Err(error) = block_in_place(|| self.ledger.lead(&ways, mtu)) {
                    tracing::error!(%error, "the ways to other hosts could not be written");
                }
            }
            Command::List(answer) => {
                let _ = answer.send(view::rows(self.ledger.book()));
            }
        }
    }

    async fn take_up(&mut self, goal: Arc<Goal>) {
        for out in &goal.left_out {
            tracing::error!(vm = ?out.name, why = %out.why, "a VM of this host cannot be served");
        }
        let revision = goal.revision;
        match block_in_place(|| self.ledger.take_up(goal.clone(), BootTime::now())) {
            Ok(()) => {}
            Err(error @ TakeUpError::Older { .. }) => {
                tracing::error!(%error, "goal state refused");
                return;
            }
            Err(error @ TakeUpError::Table { .. }) => {
                tracing::error!(%error, "will be tried again");
                self.again = Again::Everything;
                return;
            }
        }
        self.again = Again::Nothing;
        if let Err(error) = self.arrange_taps(&goal).await {
            // Entries of a tap that should be gone may be left: no receipt.
            tracing::error!(%error, revision, "the taps could not be brought in line, will be tried again");
            self.again = Again::Everything;
            return;
        }
        let Some((revision, removals)) = self.ledger.removals() else {
            return;
        };
        let targets = removals
            .taps
            .iter()
            .filter_map(|(tap, slot)| Some((*tap, self.queued_so_far(*tap, *slot)?)))
            .collect();
        let net = self.net.clone();
        self.drains
            .spawn(async move { (revision, drain::drain(&net, targets).await) });
        self.publish();
    }

    /// How many packets the tap will have handed on once everything queued by now has been read.
    fn queued_so_far(&self, tap: u32, slot: u32) -> Option<i64> {
        let passed = self.totals.to_tap(slot)?;
        Some(passed - self.lost.get(&tap).copied().unwrap_or(0))
    }

    fn drained(&mut self, revision: u64, undrained: u64) {
        let applied = match self.ledger.drained(revision, undrained) {
            Ok(applied) => applied,
            Err(error) => {
                tracing::error!(%error, "the lease could not be written");
                return;
            }
        };
        let applied_unix_ms = self.clock.unix_ms(BootTime::now()).unwrap_or(0);
        for Applied {
            revision,
            closed,
            undrained,
        } in applied
        {
            if self.shown == Some(revision) && closed == 0 {
                tracing::debug!(revision, "goal state compared, nothing to do");
            } else {
                tracing::info!(revision, closed, undrained, "goal state in force");
            }
            self.shown = Some(revision);
            let receipt = grpc::Receipt {
                revision,
                applied_unix_ms,
                undrained,
                closed,
            };
            // With nobody following, the next connection brings a whole state and its own receipt.
            let _ = self.receipts.try_send(receipt);
        }
        self.publish();
    }

    async fn tick(&mut self) {
        if self.swept.elapsed() >= limits::SWEEP_EVERY {
            self.swept = Instant::now();
            let done = block_in_place(|| self.ledger.sweep(BootTime::now()));
            self.report(done);
        }
        if self.audited.elapsed() >= limits::AUDIT_EVERY {
            self.audited = Instant::now();
            self.watch_programs();
            self.shut_new_taps().await;
            self.watch_doors().await;
            self.audit_places().await;
            if self.auditor.walks.are_over() {
                self.auditor.walks.begin();
            }
        }
        self.watch_taps().await;
        let Some(goal) = self.ledger.goal().cloned() else {
            return;
        };
        match self.again {
            Again::Nothing => {}
            Again::Everything => self.take_up(goal).await,
            Again::Taps => {
                self.again = Again::Nothing;
                if let Err(error) = self.arrange_taps(&goal).await {
                    tracing::error!(%error, "the taps could not be brought in line, will be tried again");
                    self.again = Again::Taps;
                }
                self.publish();
            }
        }
    }

    fn look(&mut self) {
        match block_in_place(|| self.ledger.look(BootTime::now())) {
            // What finds no room is due again after its pause.
            Ok(due) => due.into_iter().for_each(|pair| {
                let _ = self.errands.try_send(Errand::Renew(pair));
            }),
            Err(error) => tracing::error!(%error, "entries could not be looked at"),
        }
        block_in_place(|| self.audit_pairs());
    }

    fn report(&self, done: Result<(), TableError>) {
        if let Err(error) = done {
            tracing::error!(%error, "a change of the maps failed");
        }
        self.publish();
    }

    fn publish(&self) {
        let guests = self.guests.iter().map(|(vm, state)| {
            let view = GuestView {
                seat: self.ledger.seats().of_vm(*vm),
                state: match state {
                    GuestState::Guarded { .. } => "guarded".to_owned(),
                    GuestState::Absent => "absent".to_owned(),
                    GuestState::Failed { why } => format!("failed: {why}"),
                },
            };
            (*vm, view)
        });
        self.view.store(Arc::new(View::new(
            self.ledger.goal_in_force().cloned(),
            self.ledger.applied(),
            self.ledger.lease(),
            guests.collect(),
            self.counts.clone(),
        )));
        self.counts.set(self.ledger.book());
    }
}

fn refusal(error: &OpenError) -> Refusal {
    if let OpenError::Table(error) = error {
        tracing::error!(%error, "a pair could not be opened");
    }
    error.refusal()
}
