//! Conversations: what a guest has opened on a pair that carries grants, so that replies may come.
//!
//! They live in a table of the kernel for each guest, written by the programs. A conversation belongs to a pair and
//! ends with it, before the receipt: under a later grant nothing is a reply to what an earlier one allowed. It
//! outlives the pair's entries while the pair itself lives, because a conversation may be silent for longer than
//! an unused entry is kept; for that the pairs without entries are remembered here. What an agent finds at its
//! start and cannot ascribe to an entry is forgotten.

use super::{Ledger, TableError, Tables, fate::Ends, ledger::peer};
use crate::{clock::BootTime, goal::Goal};
use pairgate_abi::{CARRIES_ALL, FlowKey, Handle, InEntry, OutEntry, OutKey, limits::PAIRS};
use std::collections::{HashMap, HashSet};

/// Everything that a guest says to one address from one of its own: its slot, that own address, the peer's.
type Talk = (u32, [u8; 16], [u8; 16]);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Conversations {
    /// Of living pairs that have no entry now.
    dormant: HashMap<(u64, Talk), Ends>,
    /// To be forgotten, once no program can add to them.
    ended: HashSet<Talk>,
}

impl Conversations {
    /// Marks what this goal state ends.
    pub(super) fn end_dormant(&mut self, goal: &Goal) {
        let ended = &mut self.ended;
        self.dormant.retain(|(_, talk), ends| {
            let over = ends.are_over(goal);
            if over {
                ended.insert(*talk);
            }
            !over
        });
    }

    fn rest(&mut self, pair: u64, talk: Talk, ends: Ends) {
        if self.dormant.len() < PAIRS as usize {
            self.dormant.insert((pair, talk), ends);
        } else {
            // What cannot be remembered must not be left behind.
            self.ended.insert(talk);
        }
    }
}

impl<T: Tables> Ledger<T> {
    /// The pair of this entry is over.
    pub(super) fn end_conversations_in(&mut self, entry: &InEntry) {
        self.conversations.ended.extend(talk_in(entry));
    }

    pub(super) fn end_conversations_out(&mut self, key: &OutKey, entry: &OutEntry) {
        let talks = self.talks_out(key, entry);
        self.conversations.ended.extend(talks);
    }

    /// Takes out an entry whose pair lives on; [`Self::settle`] and [`Self::forget_ended`] must follow.
    pub(super) fn rest_in(
        &mut self,
        handle: Handle,
        entry: &InEntry,
        now: BootTime,
    ) -> Result<(), TableError> {
        let origin = self.book.origin_in(handle).cloned();
        self.take_in(handle, entry, now)?;
        if let Some(talk) = talk_in(entry) {
            let ends = Ends::of_incoming(entry, peer(origin.as_ref()));
            self.conversations.rest(entry.pair_id, talk, ends);
        }
        Ok(())
    }

    pub(super) fn rest_out(&mut self, key: OutKey) -> Result<(), TableError> {
        let known = self.book.out(&key);
        let known = known.map(|outgoing| (outgoing.entry, peer(outgoing.origin.as_ref())));
        self.take_out(key)?;
        if let Some((entry, peer)) = known {
            let ends = Ends::of_outgoing(&key, &entry, peer);
            for talk in self.talks_out(&key, &entry) {
                self.conversations.rest(entry.pair_id, talk, ends);
            }
        }
        Ok(())
    }

    /// Forgets the conversations of pairs that are over. To be called when no program is left that saw an entry of
    /// theirs. What fails is tried again with the next call.
    pub(super) fn forget_ended(&mut self) -> Result<(), TableError> {
        if self.conversations.ended.is_empty() {
            return Ok(());
        }
        let slots: HashSet<u32> = self.conversations.ended.iter().map(|(slot, ..)| *slot).collect();
        for slot in slots {
            let Some(flows) = self.tables.flows(slot)? else {
                // A guest that floods its own table loses it, and nobody waits for it.
                self.tables.new_flows(slot)?;
                continue;
            };
            for flow in flows {
                if self.conversations.ended.contains(&(slot, flow.own, flow.peer)) {
                    self.tables.remove_flow(slot, flow)?;
                }
            }
        }
        self.conversations.ended.clear();
        Ok(())
    }

    /// Forgets what belongs to no entry.
    pub(super) fn forget_uncovered(&mut self) -> Result<(), TableError> {
        let incoming = self.book.incoming().filter_map(|(_, row)| talk_in(&row.entry));
        let outgoing = self
            .book
            .outgoing()
            .flat_map(|(key, row)| self.talks_out(&key, &row.entry));
        let covered: HashSet<Talk> = incoming.chain(outgoing).collect();
        let mut strays = Vec::new();
        for tap in self.seats.taps() {
            let Some(slot) = self.seats.entry(tap).map(|row| row.slot) else {
                continue;
            };
            let Some(flows) = self.tables.flows(slot)? else {
                self.tables.new_flows(slot)?;
                continue;
            };
            let uncovered = |flow: &FlowKey| !covered.contains(&(slot, flow.own, flow.peer));
            strays.extend(flows.into_iter().filter(uncovered).map(|flow| (slot, flow)));
        }
        if strays.is_empty() {
            return Ok(());
        }
        // The agent before this one may have died right after it removed the entry that a program still acts on.
        self.settle()?;
        strays
            .into_iter()
            .try_for_each(|(slot, flow)| self.tables.remove_flow(slot, flow))
    }

    /// Between two guests of ours both have a table.
    fn talks_out(&self, key: &OutKey, entry: &OutEntry) -> Vec<Talk> {
        if entry.carries.kind == CARRIES_ALL {
            return Vec::new();
        }
        let own = self.seats.entry(key.tap);
        let own = own.map(|row| (row.slot, key.source, key.destination));
        let other = (entry.local_tap != 0).then_some((entry.local_slot, key.destination, key.source));
        own.into_iter().chain(other).collect()
    }
}

fn talk_in(entry: &InEntry) -> Option<Talk> {
    (entry.carries.kind != CARRIES_ALL).then_some((entry.slot, entry.dst_addr, entry.src_addr))
}
