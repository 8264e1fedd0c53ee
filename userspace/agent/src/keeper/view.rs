//! What the keeper shows to the other tasks.

use super::{Seat, book::Book};
use crate::{
    clock::BootTime,
    goal::{Goal, Guest},
};
use pairgate_token::Claims;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use uuid::Uuid;

/// A state of the keeper, replaced as a whole.
#[derive(Debug)]
pub struct View {
    /// The goal state in force; none before the first.
    pub goal: Option<Arc<Goal>>,
    pub applied: Option<u64>,
    pub lease: BootTime,
    /// By VM.
    pub guests: HashMap<Uuid, GuestView>,
    pub counts: Arc<PairCounts>,
    by_tap: HashMap<u32, Uuid>,
}

/// A guest and its tap.
#[derive(Clone, Debug)]
pub struct GuestView {
    pub seat: Option<Seat>,
    pub state: String,
}

/// How many pairs the kernel holds, expired ones that still linger included.
#[derive(Debug, Default)]
pub struct PairCounts {
    incoming: AtomicUsize,
    outgoing: AtomicUsize,
}

/// One kernel entry, for showing.
#[derive(Clone, Debug)]
pub struct PairRow {
    pub pair_id: u64,
    pub incoming: bool,
    pub source: Uuid,
    pub destination: Uuid,
    pub peer_host: IpAddr,
    pub deadline: BootTime,
    /// What its token said, if this agent opened it.
    pub claims: Option<Claims>,
}

impl Default for View {
    fn default() -> Self {
        Self::new(None, None, BootTime::ZERO, HashMap::new(), Arc::default())
    }
}

impl View {
    pub(super) fn new(
        goal: Option<Arc<Goal>>,
        applied: Option<u64>,
        lease: BootTime,
        guests: HashMap<Uuid, GuestView>,
        counts: Arc<PairCounts>,
    ) -> Self {
        let taps = guests
            .iter()
            .filter_map(|(vm, guest)| Some((guest.seat?.tap, *vm)));
        Self {
            by_tap: taps.collect(),
            goal,
            applied,
            lease,
            guests,
            counts,
        }
    }

    /// The guest behind a tap.
    pub fn guest_of_tap(&self, tap: u32) -> Option<&Guest> {
        self.goal.as_ref()?.guests.get(self.by_tap.get(&tap)?)
    }
}

impl PairCounts {
    pub(super) fn set(&self, book: &Book) {
        self.incoming.store(book.incoming_len(), Ordering::Relaxed);
        self.outgoing.store(book.outgoing_len(), Ordering::Relaxed);
    }

    pub fn incoming(&self) -> usize {
        self.incoming.load(Ordering::Relaxed)
    }

    pub fn outgoing(&self) -> usize {
        self.outgoing.load(Ordering::Relaxed)
    }
}

pub(super) fn rows(book: &Book) -> Vec<PairRow> {
    let incoming = book.incoming().map(|(_, row)| PairRow {
        pair_id: row.entry.pair_id,
        incoming: true,
        source: Uuid::from_bytes(row.entry.src_vm),
        destination: Uuid::from_bytes(row.entry.dst_vm),
        peer_host: pairgate_token::address_from_bytes(row.entry.src_host),
        deadline: BootTime::from_nanos(row.entry.deadline_ns),
        claims: row.origin.as_ref().map(|origin| origin.claims.clone()),
    });
    let outgoing = book.outgoing().map(|(_, row)| PairRow {
        pair_id: row.entry.pair_id,
        incoming: false,
        source: Uuid::from_bytes(row.entry.src_vm),
        destination: Uuid::from_bytes(row.entry.dst_vm),
        peer_host: pairgate_token::address_from_bytes(row.entry.dst_host),
        deadline: BootTime::from_nanos(row.entry.deadline_ns),
        claims: row.origin.as_ref().map(|origin| origin.claims.clone()),
    });
    incoming.chain(outgoing).collect()
}
