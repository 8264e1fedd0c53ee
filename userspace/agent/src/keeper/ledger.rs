//! What the owner of the maps decides and writes, without a task or a socket: time is an argument, the kernel
//! is behind [`Tables`].
//!
//! Guarantees, each in the same step as the write it belongs to:
//! - a pair is written only while the goal state, its tombstones and the lease allow it;
//! - a revision counts as applied only after every entry that it ends is out of the kernel and no program run
//!   that saw one is left; a failed removal leaves the revision unapplied;
//! - the conversations of a pair that has ended are forgotten before its receipt, and before another pair takes its
//!   place: what was allowed under an old grant brings no reply under a new one;
//! - the lease is written only once the revision that it was granted at is applied, and is never lowered
//!   except to nothing.

use super::{
    Seat, TableError, Tables,
    agenda::{Agenda, Subject},
    book::{Book, Origin, Outgoing},
    fate::Ends,
    flows::Conversations,
    life::{Life, Start},
    limits::{IDLE, LINGER, PAIRS_RESERVE},
    refusals::Refusals,
    seats::Seats,
};
use crate::{
    clock::BootTime,
    goal::{Goal, Guest},
};
use pairgate_abi::{Handle, InEntry, NextHop, OWN_ADDRESSES, OutEntry, OutKey, TapEntry, limits::PAIRS};
use pairgate_token::address_bytes;
use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use uuid::Uuid;

/// The owner's state.
#[derive(Debug)]
pub struct Ledger<T> {
    pub(super) tables: T,
    pub(super) book: Book,
    pub(super) seats: Seats,
    /// The newest goal state that was taken up; its tombstones bind from that moment.
    goal: Option<Arc<Goal>>,
    applied: Option<u64>,
    /// Removals that no receipt has spoken of yet.
    unreported: Removals,
    /// Something was removed, and the programs that may have seen it have not been waited for.
    pub(super) unsettled: bool,
    /// Revisions whose entries are gone and whose tap queues are being drained, oldest first.
    closing: VecDeque<Closing>,
    lease: BootTime,
    /// The host has lost its address: no lease until it is back.
    suspended: bool,
    /// A lease that waits for its revision.
    promised: Option<(u64, BootTime)>,
    /// Handles that were removed before their end, until no sender can still use them.
    pub(super) resting: HashMap<Handle, BootTime>,
    pub(super) agenda: Agenda,
    /// How long a pair may go unused.
    pub(super) idle: Duration,
    pub(super) conversations: Conversations,
    pub(super) refusals: Refusals,
    /// The next hops as they were written last.
    pub(super) ways: HashMap<[u8; 16], NextHop>,
}

/// What was removed: how many entries, and the taps (with their slots) that they delivered to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removals {
    pub entries: u64,
    pub taps: BTreeMap<u32, u32>,
}

#[derive(Debug)]
struct Closing {
    revision: u64,
    closed: u64,
    undrained: Option<u64>,
}

/// A revision that is in force, and what it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    pub revision: u64,
    pub closed: u64,
    pub undrained: u64,
}

/// Why a goal state was not taken up.
#[derive(Debug, thiserror::Error)]
pub enum TakeUpError {
    #[error(
        "revision {offered} is older than {newest}, which is in force here; was the registry set back to a backup?"
    )]
    Older { offered: u64, newest: u64 },
    #[error("not everything that revision {revision} ends could be removed, so it gets no receipt: {source}")]
    Table { revision: u64, source: TableError },
}

impl<T: Tables> Ledger<T> {
    /// Reads back what an agent before this one left in the kernel.
    pub fn read(tables: T, now: BootTime) -> Result<Self, TableError> {
        let (mut book, mut agenda) = (Book::default(), Agenda::default());
        for (handle, entry) in tables.incoming()? {
            let end = BootTime::from_nanos(entry.deadline_ns);
            let life = Life::new(Start::Found(entry.used_ns), now, end);
            book.note_in(handle, entry, None, life);
            agenda.note(life.look_at, Subject::In(handle));
        }
        for (key, entry) in tables.outgoing()? {
            let end = BootTime::from_nanos(entry.deadline_ns);
            let life = Life::new(Start::Found(entry.used_ns), now, end);
            agenda.note(life.look_at, Subject::Out(key));
            let found = Outgoing {
                entry,
                origin: None,
                token: None,
                life,
            };
            book.note_out(key, found);
        }
        let taps = tables.taps()?;
        // The agent before this one may have died between a removal and the end of the wait for it, so its
        // waits are done again, with the first goal state.
        let unreported = Removals {
            entries: 0,
            taps: taps.iter().map(|(tap, entry)| (*tap, entry.slot)).collect(),
        };
        let mut ledger = Self {
            ways: tables.next_hops()?.into_iter().collect(),
            seats: Seats::read(taps),
            lease: tables.lease()?,
            tables,
            book,
            goal: None,
            applied: None,
            unreported,
            unsettled: true,
            closing: VecDeque::new(),
            suspended: false,
            promised: None,
            resting: HashMap::new(),
            agenda,
            idle: IDLE,
            conversations: Conversations::default(),
            refusals: Refusals::default(),
        };
        ledger.forget_uncovered()?;
        ledger.forgive_unknown()?;
        Ok(ledger)
    }

    /// Pairs that go unused for so long are removed from here on.
    pub fn set_idle(&mut self, idle: Duration) {
        self.idle = idle;
    }

    pub fn book(&self) -> &Book {
        &self.book
    }

    pub fn seats(&self) -> &Seats {
        &self.seats
    }

    pub fn goal(&self) -> Option<&Arc<Goal>> {
        self.goal.as_ref()
    }

    /// The goal state, once one has been applied since the start.
    pub fn goal_in_force(&self) -> Option<&Arc<Goal>> {
        self.goal.as_ref().filter(|_| self.applied.is_some())
    }

    pub fn applied(&self) -> Option<u64> {
        self.applied
    }

    pub fn lease(&self) -> BootTime {
        self.lease
    }

    /// Takes up a goal state: its tombstones bind from the first line on, and every entry that it ends is out
    /// of the kernel when this returns. Taken up again with the same revision, it removes what is left.
    ///
    /// What follows is the caller's: taps, then [`Self::removals`] and [`Self::drained`].
    pub fn take_up(&mut self, goal: Arc<Goal>, now: BootTime) -> Result<(), TakeUpError> {
        let newest = self.goal.as_ref().map_or(0, |goal| goal.revision);
        let offered = goal.revision;
        if offered < newest {
            return Err(TakeUpError::Older { offered, newest });
        }
        self.goal = Some(goal.clone());
        let unusable = |source| TakeUpError::Table {
            revision: offered,
            source,
        };
        self.close_ended(&goal, now).map_err(unusable)?;
        if offered > newest {
            // Something has changed, and any of our guests may have been meant.
            self.forgive_all().map_err(unusable)?;
        }
        Ok(())
    }

    fn close_ended(&mut self, goal: &Goal, now: BootTime) -> Result<(), TableError> {
        let ended: Vec<_> = self
            .book
            .incoming()
            .filter(|(_, incoming)| {
                Ends::of_incoming(&incoming.entry, peer(incoming.origin.as_ref())).are_over(goal)
            })
            .map(|(handle, incoming)| (handle, incoming.entry))
            .collect();
        let mut ended_out: Vec<_> = self
            .book
            .outgoing()
            .filter(|(key, outgoing)| {
                Ends::of_outgoing(key, &outgoing.entry, peer(outgoing.origin.as_ref())).are_over(goal)
            })
            .map(|(key, outgoing)| (key, outgoing.entry))
            .collect();
        ended_out.extend(self.opposites(&ended, &ended_out));
        self.conversations.end_dormant(goal);
        self.remove(&ended, &ended_out, now)
    }

    /// The ways back of pairs that have ended, where they have not. What such an entry says of noting conversations, or
    /// all of it if it came with an offer, rests on the pair that is over: the next packet asks anew.
    fn opposites(
        &self,
        incoming: &[(Handle, InEntry)],
        outgoing: &[(OutKey, OutEntry)],
    ) -> Vec<(OutKey, OutEntry)> {
        let from_others = incoming.iter().map(|(_, entry)| {
            let key = OutKey {
                tap: entry.tap,
                source: entry.dst_addr,
                destination: entry.src_addr,
            };
            (key, (entry.dst_generation, entry.src_generation))
        });
        let local = outgoing.iter().filter(|(_, entry)| entry.local_tap != 0);
        let from_next_door = local.map(|(key, entry)| {
            let key = OutKey {
                tap: entry.local_tap,
                source: key.destination,
                destination: key.source,
            };
            (key, (entry.dst_generation, entry.src_generation))
        });
        let back: HashMap<_, _> = from_others.chain(from_next_door).collect();
        let listed: HashSet<OutKey> = outgoing.iter().map(|(key, _)| *key).collect();
        let found = back.into_iter().filter_map(|(key, generations)| {
            let entry = self.book.out(&key)?.entry;
            let is_back = (entry.src_generation, entry.dst_generation) == generations;
            (is_back && !listed.contains(&key)).then_some((key, entry))
        });
        found.collect()
    }

    /// Removes the entries of pairs that have ended, waits until no program acts on them, and forgets what was said
    /// under them. What is removed is remembered for the next receipt, and waited for, even if a later removal
    /// fails and the rest has to be tried again.
    pub(super) fn remove(
        &mut self,
        incoming: &[(Handle, InEntry)],
        outgoing: &[(OutKey, OutEntry)],
        now: BootTime,
    ) -> Result<(), TableError> {
        for (handle, entry) in incoming {
            self.take_in(*handle, entry, now)?;
            self.end_conversations_in(entry);
            self.unreported.entries += 1;
            self.unreported.taps.insert(entry.tap, entry.slot);
        }
        for (key, entry) in outgoing {
            self.take_out(*key)?;
            self.end_conversations_out(key, entry);
            self.unreported.entries += 1;
            if entry.local_tap != 0 {
                self.unreported.taps.insert(entry.local_tap, entry.local_slot);
            }
        }
        self.settle()?;
        self.forget_ended()
    }

    /// Takes one entry out of kernel and book; [`Self::settle`] must follow. A handle that somebody may still
    /// use rests until its end.
    pub(super) fn take_in(
        &mut self,
        handle: Handle,
        entry: &InEntry,
        now: BootTime,
    ) -> Result<(), TableError> {
        self.unsettled = true;
        self.tables.remove_in(handle)?;
        self.book.strike_in(handle);
        let end = BootTime::from_nanos(entry.deadline_ns);
        if end > now && self.resting.len() < PAIRS as usize {
            self.resting.insert(handle, end);
        }
        Ok(())
    }

    pub(super) fn take_out(&mut self, key: OutKey) -> Result<(), TableError> {
        self.unsettled = true;
        self.tables.remove_out(key)?;
        self.book.strike_out(&key);
        Ok(())
    }

    pub(super) fn settle(&mut self) -> Result<(), TableError> {
        if self.unsettled {
            self.tables.quiesce()?;
            self.unsettled = false;
        }
        Ok(())
    }

    /// Hands over what was removed and starts waiting for [`Self::drained`] of the newest revision.
    pub fn removals(&mut self) -> Option<(u64, Removals)> {
        let revision = self.goal.as_ref()?.revision;
        let removals = std::mem::take(&mut self.unreported);
        self.closing.push_back(Closing {
            revision,
            closed: removals.entries,
            undrained: None,
        });
        Some((revision, removals))
    }

    /// The queues of a revision are empty, or their time is up. Returns the revisions that are in force now:
    /// an earlier one that still drains holds later ones back, because a receipt speaks for everything up to
    /// its revision.
    pub fn drained(&mut self, revision: u64, undrained: u64) -> Result<Vec<Applied>, TableError> {
        let open = |closing: &&mut Closing| closing.revision == revision && closing.undrained.is_none();
        if let Some(closing) = self.closing.iter_mut().find(open) {
            closing.undrained = Some(undrained);
        }
        let mut applied = Vec::new();
        while let Some(Closing {
            revision,
            closed,
            undrained: Some(undrained),
        }) = self.closing.front()
        {
            applied.push(Applied {
                revision: *revision,
                closed: *closed,
                undrained: *undrained,
            });
            self.applied = Some(*revision);
            self.closing.pop_front();
        }
        self.keep_promise()?;
        Ok(applied)
    }

    /// Takes a lease that counts from when it was asked for. It is written at once if its revision is in
    /// force, and otherwise as soon as it is.
    pub fn grant(&mut self, asked: BootTime, length: Duration, revision: u64) -> Result<(), TableError> {
        if self.suspended {
            return Ok(());
        }
        self.promised = Some((revision, asked.after(length)));
        self.keep_promise()
    }

    fn keep_promise(&mut self) -> Result<(), TableError> {
        let Some((revision, end)) = self.promised else {
            return Ok(());
        };
        if self.applied.is_none_or(|applied| applied < revision) {
            return Ok(());
        }
        if end > self.lease {
            self.tables.set_lease(end)?;
            self.lease = end;
        }
        self.promised = None;
        Ok(())
    }

    /// Ends the lease, and takes none until [`Self::resume`]: from here on the kernel refuses every pair of
    /// this host.
    pub fn end_lease(&mut self) -> Result<(), TableError> {
        self.suspended = true;
        self.promised = None;
        self.tables.set_lease(BootTime::ZERO)?;
        self.lease = BootTime::ZERO;
        Ok(())
    }

    /// From here on leases are taken again.
    pub fn resume(&mut self) {
        self.suspended = false;
    }

    /// Gives a guest's tap its row, before anything is attached to it. None if the host is full.
    pub fn seat(&mut self, guest: &Guest, tap: u32) -> Result<Option<Seat>, TableError> {
        let known = self.seats.entry(tap);
        let Some(slot) = known.map(|entry| entry.slot).or_else(|| self.seats.free_slot()) else {
            return Ok(None);
        };
        if known.is_none() {
            self.tables.clear_slot(slot)?;
            self.tables.new_flows(slot)?;
        } else if self.seats.of_vm(guest.id).is_none() {
            self.tables.keep_flows(slot)?;
        }
        let entry = row(guest, slot);
        if known != Some(entry) {
            self.tables.put_tap(tap, entry)?;
        }
        self.seats.note(tap, entry, guest.id);
        Ok(self.seats.of_vm(guest.id))
    }

    /// Takes everything of a tap out of the kernel: its pairs first, then its row. Only then may the tap go.
    pub fn vacate(&mut self, tap: u32, now: BootTime) -> Result<(), TableError> {
        let incoming: Vec<_> = self
            .book
            .incoming()
            .filter(|(_, incoming)| incoming.entry.tap == tap)
            .map(|(handle, incoming)| (handle, incoming.entry))
            .collect();
        let outgoing: Vec<_> = self
            .book
            .outgoing()
            .filter(|(key, outgoing)| key.tap == tap || outgoing.entry.local_tap == tap)
            .map(|(key, outgoing)| (key, outgoing.entry))
            .collect();
        self.remove(&incoming, &outgoing, now)?;
        self.forgive_tap(tap)?;
        self.unsettled = true;
        self.tables.remove_tap(tap)?;
        let slot = self.seats.entry(tap).map(|entry| entry.slot);
        self.seats.strike(tap);
        self.settle()?;
        match slot {
            Some(slot) => self.tables.drop_flows(slot),
            None => Ok(()),
        }
    }

    /// Removes entries whose taps have no row: what a start in the middle of a removal may have left.
    pub fn remove_strays(&mut self, now: BootTime) -> Result<(), TableError> {
        let taps: HashSet<u32> = self.seats.taps().into_iter().collect();
        let incoming: Vec<_> = self
            .book
            .incoming()
            .filter(|(_, incoming)| !taps.contains(&incoming.entry.tap))
            .map(|(handle, incoming)| (handle, incoming.entry))
            .collect();
        let outgoing: Vec<_> = self
            .book
            .outgoing()
            .filter(|(key, outgoing)| {
                let local = outgoing.entry.local_tap;
                !taps.contains(&key.tap) || (local != 0 && !taps.contains(&local))
            })
            .map(|(key, outgoing)| (key, outgoing.entry))
            .collect();
        self.remove(&incoming, &outgoing, now)
    }

    /// Removes what expired more than [`LINGER`] ago, or at once if the maps are nearly full; then the ways
    /// to hosts that no pair uses.
    pub fn sweep(&mut self, now: BootTime) -> Result<(), TableError> {
        let full = |entries: usize| entries + PAIRS_RESERVE >= PAIRS as usize;
        let linger = if full(self.book.incoming_len()) || full(self.book.outgoing_len()) {
            Duration::ZERO
        } else {
            LINGER
        };
        let over = |deadline_ns| BootTime::from_nanos(deadline_ns).after(linger) <= now;
        let incoming: Vec<_> = self
            .book
            .incoming()
            .filter(|(_, incoming)| over(incoming.entry.deadline_ns))
            .map(|(handle, incoming)| (handle, incoming.entry))
            .collect();
        let outgoing: Vec<_> = self
            .book
            .outgoing()
            .filter(|(_, outgoing)| over(outgoing.entry.deadline_ns))
            .map(|(key, _)| key)
            .collect();
        for (handle, entry) in &incoming {
            self.rest_in(*handle, entry, now)?;
        }
        for key in &outgoing {
            self.rest_out(*key)?;
        }
        self.resting.retain(|_, end| *end > now);
        self.remove_unused_ways()?;
        self.settle()?;
        self.forget_ended()?;
        self.forgive_past(now)
    }

    fn remove_unused_ways(&mut self) -> Result<(), TableError> {
        let used: HashSet<[u8; 16]> = self
            .book
            .outgoing()
            .map(|(_, outgoing)| outgoing.entry.dst_host)
            .collect();
        let unused: Vec<_> = self
            .ways
            .keys()
            .filter(|host| !used.contains(*host))
            .copied()
            .collect();
        for host in unused {
            self.unsettled = true;
            self.tables.remove_next_hop(host)?;
            self.ways.remove(&host);
        }
        Ok(())
    }
}

pub(super) fn peer(origin: Option<&Origin>) -> Option<Uuid> {
    origin.map(|origin| origin.host)
}

/// What the programs are told of a guest. A goal state names no more addresses than there are places.
fn row(guest: &Guest, slot: u32) -> TapEntry {
    let mut row = TapEntry {
        mac: guest.mac,
        count: 0,
        reserved: 0,
        slot,
        prefixes: [0; OWN_ADDRESSES],
        addresses: [[0; 16]; OWN_ADDRESSES],
    };
    let places = row.prefixes.iter_mut().zip(&mut row.addresses);
    for ((prefix, address), own) in places.zip(&guest.addresses) {
        // Bits of the 16-byte form.
        *prefix = own.prefix + if own.address.is_ipv4() { 96 } else { 0 };
        *address = address_bytes(own.address);
        row.count += 1;
    }
    row
}

#[cfg(test)]
mod tests;
