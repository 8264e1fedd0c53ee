//! What the other tasks ask of the keeper, and how.

use super::{Admitted, Board, PairRow, View, Way, refusals::Memory};
use crate::{
    admit::{LocalPair, Refusal, VerifiedPair},
    clock::BootTime,
    goal::Goal,
    present::CarriedPair,
    xdp_guard::Shown,
};
use arc_swap::ArcSwap;
use pairgate_abi::{Handle, NextHop, OutKey};
use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// What the other tasks may ask of the keeper.
pub(super) enum Command {
    Goal(Goal),
    Grant {
        asked: BootTime,
        length: Duration,
        revision: u64,
    },
    Uplink(bool),
    Admit {
        pair: Box<VerifiedPair>,
        answer: oneshot::Sender<Result<Admitted, Refusal>>,
    },
    Carry {
        pair: Box<CarriedPair>,
        way: Way,
        answer: oneshot::Sender<Result<(), Refusal>>,
    },
    Join {
        there: Box<LocalPair>,
        back: Option<Box<LocalPair>>,
        answer: oneshot::Sender<Result<(), Refusal>>,
    },
    Refuse {
        pair: OutKey,
        revision: Option<u64>,
        answer: oneshot::Sender<Memory>,
    },
    Deliver(OutKey),
    Again {
        peer: IpAddr,
        handle: Option<Handle>,
    },
    Hosts(oneshot::Sender<HashSet<[u8; 16]>>),
    Lead {
        ways: HashMap<[u8; 16], Option<NextHop>>,
        mtu: u16,
    },
    List(oneshot::Sender<Vec<PairRow>>),
    Alive(oneshot::Sender<()>),
}

/// The way to the keeper for every other task.
#[derive(Clone, Debug)]
pub struct KeeperHandle {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) board: Arc<Board>,
    pub(super) view: Arc<ArcSwap<View>>,
    pub(super) guard: Arc<ArcSwap<Shown>>,
}

/// The keeper has stopped, because the agent stops.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the agent is stopping")]
pub struct Stopping;

impl KeeperHandle {
    /// What was in force a moment ago; the keeper decides by what is in force now.
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    pub async fn goal(&self, goal: Goal) -> Result<(), Stopping> {
        self.send(Command::Goal(goal)).await
    }

    /// A lease that the registry granted at `revision` to a question sent at `asked`.
    pub async fn grant(&self, asked: BootTime, length: Duration, revision: u64) -> Result<(), Stopping> {
        self.send(Command::Grant {
            asked,
            length,
            revision,
        })
        .await
    }

    /// Whether the uplink carries this host's address. Without it the lease ends at once and stays ended.
    pub async fn uplink(&self, has_address: bool) -> Result<(), Stopping> {
        self.send(Command::Uplink(has_address)).await
    }

    pub async fn admit(&self, pair: VerifiedPair) -> Result<Admitted, Refusal> {
        let (answer, result) = oneshot::channel();
        let pair = Box::new(pair);
        let sent = self.send(Command::Admit { pair, answer }).await;
        sent.map_err(|Stopping| Refusal::NotReady)?;
        result.await.unwrap_or(Err(Refusal::NotReady))
    }

    pub async fn carry(&self, pair: CarriedPair, way: Way) -> Result<(), Refusal> {
        let (answer, result) = oneshot::channel();
        let pair = Box::new(pair);
        let sent = self.send(Command::Carry { pair, way, answer }).await;
        sent.map_err(|Stopping| Refusal::NotReady)?;
        result.await.unwrap_or(Err(Refusal::NotReady))
    }

    /// Opens a pair between two guests of this host, and the opposite one with it.
    pub async fn join(&self, there: LocalPair, back: Option<LocalPair>) -> Result<(), Refusal> {
        let (answer, result) = oneshot::channel();
        let (there, back) = (Box::new(there), back.map(Box::new));
        let sent = self.send(Command::Join { there, back, answer }).await;
        sent.map_err(|Stopping| Refusal::NotReady)?;
        result.await.unwrap_or(Err(Refusal::NotReady))
    }

    /// The registry has refused this pair while `revision` was the newest that we knew.
    pub async fn refuse(&self, pair: OutKey, revision: Option<u64>) -> Memory {
        let (answer, result) = oneshot::channel();
        let command = Command::Refuse {
            pair,
            revision,
            answer,
        };
        match self.send(command).await {
            Ok(()) => result.await.unwrap_or(Memory::Full),
            Err(Stopping) => Memory::Full,
        }
    }

    /// Packets of this pair were held although it is open: they are sent on.
    pub async fn deliver(&self, pair: OutKey) -> Result<(), Stopping> {
        self.send(Command::Deliver(pair)).await
    }

    /// This peer may have forgotten what it accepted: one handle, or everything.
    pub async fn again(&self, peer: IpAddr, handle: Option<Handle>) -> Result<(), Stopping> {
        self.send(Command::Again { peer, handle }).await
    }

    /// Hosts to which pairs lead over the uplink, as their addresses stand in the maps.
    pub async fn hosts(&self) -> Result<HashSet<[u8; 16]>, Stopping> {
        let (answer, result) = oneshot::channel();
        self.send(Command::Hosts(answer)).await?;
        result.await.map_err(|_| Stopping)
    }

    /// How these hosts are reached now, and the largest inner packet that fits the uplink.
    pub async fn lead(&self, ways: HashMap<[u8; 16], Option<NextHop>>, mtu: u16) -> Result<(), Stopping> {
        self.send(Command::Lead { ways, mtu }).await
    }

    /// What the auditor has seen.
    pub fn guard(&self) -> Arc<Shown> {
        self.guard.load_full()
    }

    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Every kernel entry of a pair.
    pub async fn list(&self) -> Result<Vec<PairRow>, Stopping> {
        let (answer, result) = oneshot::channel();
        self.send(Command::List(answer)).await?;
        result.await.map_err(|_| Stopping)
    }

    /// Answered when the keeper has come to it, after everything that was asked of it before.
    pub async fn alive(&self) -> Result<(), Stopping> {
        let (answer, result) = oneshot::channel();
        self.send(Command::Alive(answer)).await?;
        result.await.map_err(|_| Stopping)
    }

    async fn send(&self, command: Command) -> Result<(), Stopping> {
        self.commands.send(command).await.map_err(|_| Stopping)
    }
}
