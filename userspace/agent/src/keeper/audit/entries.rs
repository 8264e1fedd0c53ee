//! The maps against the book. What is compared is everything but the instant of last use, which the programs write.

use super::{Finding, Kind};
use crate::{
    clock::BootTime,
    keeper::{
        Ledger, TableError, Tables,
        tables::{Place, Slice},
    },
};
use pairgate_abi::{Handle, InEntry, OutEntry, OutKey, map};
use std::{
    collections::{BTreeSet, HashSet},
    hash::Hash,
};

/// Walks through the two maps of pairs.
#[derive(Debug, Default)]
pub struct Walks {
    incoming: Walk<Handle>,
    outgoing: Walk<OutKey>,
}

/// A walk through one map.
#[derive(Debug)]
struct Walk<K> {
    at: At,
    seen: HashSet<K>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Start,
    Place(Place),
    End,
}

impl<K> Default for Walk<K> {
    fn default() -> Self {
        Self {
            at: At::End,
            seen: HashSet::new(),
        }
    }
}

impl<K: Hash + Eq> Walk<K> {
    fn begin(&mut self) {
        self.at = At::Start;
        self.seen.clear();
    }

    fn from(&self) -> Option<Option<Place>> {
        match self.at {
            At::Start => Some(None),
            At::Place(place) => Some(Some(place)),
            At::End => None,
        }
    }

    /// True if this slice was the last one.
    fn goes_on<V>(&mut self, slice: &Slice<K, V>) -> bool {
        self.at = slice.next.map_or(At::End, At::Place);
        self.at == At::End
    }
}

impl Walks {
    /// Both maps are read from their beginnings on.
    pub fn begin(&mut self) {
        self.incoming.begin();
        self.outgoing.begin();
    }

    pub fn are_over(&self) -> bool {
        self.incoming.at == At::End && self.outgoing.at == At::End
    }
}

fn without_use_in(entry: &InEntry) -> InEntry {
    InEntry { used_ns: 0, ..*entry }
}

fn without_use_out(entry: &OutEntry) -> OutEntry {
    OutEntry { used_ns: 0, ..*entry }
}

impl<T: Tables> Ledger<T> {
    /// Compares the next slice of the maps of pairs, at most so many entries of one of them, and puts right what is
    /// not as it should be: what nobody has written goes, what was changed or removed is written again if it would
    /// still be good.
    pub fn audit_pairs(
        &mut self,
        walks: &mut Walks,
        most: usize,
        now: BootTime,
    ) -> Result<Vec<Finding>, TableError> {
        let mut found = Vec::new();
        if let Some(from) = walks.incoming.from() {
            self.audit_incoming(&mut walks.incoming, from, most, now, &mut found)?;
        } else if let Some(from) = walks.outgoing.from() {
            self.audit_outgoing(&mut walks.outgoing, from, most, now, &mut found)?;
        }
        self.settle()?;
        Ok(found)
    }

    fn audit_incoming(
        &mut self,
        walk: &mut Walk<Handle>,
        from: Option<Place>,
        most: usize,
        now: BootTime,
        found: &mut Vec<Finding>,
    ) -> Result<(), TableError> {
        let slice = self.tables.some_incoming(from, most)?;
        let mut wrong = Vec::new();
        for (handle, entry) in &slice.rows {
            match self.book.entry_in(*handle) {
                None => wrong.push((*handle, Kind::Stray)),
                Some(declared) if without_use_in(&declared) != without_use_in(entry) => {
                    wrong.push((*handle, Kind::Altered));
                }
                Some(_) => {}
            }
            walk.seen.insert(*handle);
        }
        if walk.goes_on(&slice) {
            let unseen: Vec<_> = self.book.incoming().map(|(handle, _)| handle).collect();
            for handle in unseen {
                // What was opened while the walk was under way may have been missed by it.
                if !walk.seen.contains(&handle) && self.tables.used_in(handle)?.is_none() {
                    wrong.push((handle, Kind::Missing));
                }
            }
        }
        for (handle, kind) in wrong {
            let (vni, group) = (handle.vni_number(), handle.group_number());
            let what = format!("{} network {vni} group {group}", map::PAIRS_IN);
            found.push(Finding::new(kind, what));
            self.unsettled = true;
            match self.book.declared_in(handle, now) {
                Some(declared) => self.tables.restore_in(&declared)?,
                None => {
                    self.tables.remove_in(handle)?;
                    self.book.strike_in(handle);
                }
            }
        }
        Ok(())
    }

    fn audit_outgoing(
        &mut self,
        walk: &mut Walk<OutKey>,
        from: Option<Place>,
        most: usize,
        now: BootTime,
        found: &mut Vec<Finding>,
    ) -> Result<(), TableError> {
        let slice = self.tables.some_outgoing(from, most)?;
        let mut wrong = Vec::new();
        for (key, entry) in &slice.rows {
            match self.book.out(key).map(|outgoing| outgoing.entry) {
                None => wrong.push((*key, Kind::Stray)),
                Some(declared) if without_use_out(&declared) != without_use_out(entry) => {
                    wrong.push((*key, Kind::Altered));
                }
                Some(_) => {}
            }
            walk.seen.insert(*key);
        }
        if walk.goes_on(&slice) {
            let unseen: Vec<_> = self.book.outgoing().map(|(key, _)| key).collect();
            for key in unseen {
                if !walk.seen.contains(&key) && self.tables.used_out(key)?.is_none() {
                    wrong.push((key, Kind::Missing));
                }
            }
        }
        for (key, kind) in wrong {
            let what = format!(
                "{} tap {} from {} to {}",
                map::PAIRS_OUT,
                key.tap,
                pairgate_token::address_from_bytes(key.source),
                pairgate_token::address_from_bytes(key.destination)
            );
            found.push(Finding::new(kind, what));
            self.unsettled = true;
            match self.book.declared_out(&key, now) {
                Some(declared) => self.tables.restore_out(&declared)?,
                None => {
                    self.tables.remove_out(key)?;
                    self.book.strike_out(&key);
                }
            }
        }
        Ok(())
    }

    /// Pins the tables of conversations whose pins somebody has removed; returns their slots.
    pub fn pin_flows_again(&mut self) -> Result<Vec<u32>, TableError> {
        self.tables.pin_flows_again()
    }

    /// Compares the small maps, whole: taps, ways, the lease, the tables of conversations, the refusals and the budgets.
    /// Returns what was put right; what is let be stands.
    pub fn audit_rows(
        &mut self,
        now: BootTime,
        standing: &mut BTreeSet<Finding>,
    ) -> Result<Vec<Finding>, TableError> {
        let mut found = Vec::new();
        self.audit_lease(&mut found, standing)?;
        self.audit_taps(&mut found)?;
        self.audit_ways(&mut found)?;
        self.audit_tables_of_flows(&mut found)?;
        self.audit_refusals(&mut found)?;
        self.audit_budgets(now, &mut found)?;
        self.settle()?;
        Ok(found)
    }

    fn audit_lease(
        &mut self,
        found: &mut Vec<Finding>,
        standing: &mut BTreeSet<Finding>,
    ) -> Result<(), TableError> {
        let (lease, declared) = (self.tables.lease()?, self.lease());
        if lease > declared {
            let what = format!("{} ended later than granted", map::LEASE);
            found.push(Finding::new(Kind::Altered, what));
            self.tables.set_lease(declared)?;
        } else if lease < declared {
            // Who has ended it early may have had a reason: nothing is opened here.
            let what = format!(
                "{} ends earlier than granted, and this host's pairs with it, until the registry's next answer",
                map::LEASE
            );
            standing.insert(Finding::new(Kind::Altered, what));
        }
        Ok(())
    }

    fn audit_taps(&mut self, found: &mut Vec<Finding>) -> Result<(), TableError> {
        let mut missing: HashSet<u32> = self.seats.taps().into_iter().collect();
        let mut wrong = Vec::new();
        for (tap, entry) in self.tables.taps()? {
            missing.remove(&tap);
            match self.seats.entry(tap) {
                None => wrong.push((tap, Kind::Stray)),
                Some(declared) if declared != entry => wrong.push((tap, Kind::Altered)),
                Some(_) => {}
            }
        }
        wrong.extend(missing.into_iter().map(|tap| (tap, Kind::Missing)));
        for (tap, kind) in wrong {
            found.push(Finding::new(kind, format!("{} tap {tap}", map::TAPS)));
            self.unsettled = true;
            match self.seats.entry(tap) {
                Some(declared) => self.tables.put_tap(tap, declared)?,
                None => self.tables.remove_tap(tap)?,
            }
        }
        Ok(())
    }

    fn audit_ways(&mut self, found: &mut Vec<Finding>) -> Result<(), TableError> {
        let mut missing: HashSet<[u8; 16]> = self.ways.keys().copied().collect();
        let mut wrong = Vec::new();
        for (host, hop) in self.tables.next_hops()? {
            missing.remove(&host);
            match self.ways.get(&host) {
                None => wrong.push((host, Kind::Stray)),
                Some(declared) if *declared != hop => wrong.push((host, Kind::Altered)),
                Some(_) => {}
            }
        }
        wrong.extend(missing.into_iter().map(|host| (host, Kind::Missing)));
        for (host, kind) in wrong {
            let named = pairgate_token::address_from_bytes(host);
            found.push(Finding::new(kind, format!("{} host {named}", map::NEXT_HOPS)));
            self.unsettled = true;
            match self.ways.get(&host) {
                Some(declared) => self.tables.set_next_hop(host, *declared)?,
                None => self.tables.remove_next_hop(host)?,
            }
        }
        Ok(())
    }

    fn audit_tables_of_flows(&mut self, found: &mut Vec<Finding>) -> Result<(), TableError> {
        let mut missing: HashSet<u32> = self.seats.slots().collect();
        let mut strays = Vec::new();
        for slot in self.tables.flow_slots()? {
            if !missing.remove(&slot) {
                strays.push(slot);
            }
        }
        for slot in strays {
            found.push(Finding::new(Kind::Stray, format!("{} slot {slot}", map::FLOWS)));
            self.settle()?;
            self.tables.drop_flows(slot)?;
        }
        for slot in missing {
            found.push(Finding::new(Kind::Missing, format!("{} slot {slot}", map::FLOWS)));
            self.tables.put_back_flows(slot)?;
        }
        Ok(())
    }

    /// A refusal authorises nothing; one that nobody has written would deny without end.
    fn audit_refusals(&mut self, found: &mut Vec<Finding>) -> Result<(), TableError> {
        for key in self.tables.refusals()? {
            if !self.is_refused(&key) {
                found.push(Finding::new(
                    Kind::Stray,
                    format!("{} tap {}", map::REFUSED, key.tap),
                ));
                self.tables.remove_refusal(key)?;
            }
        }
        Ok(())
    }
}
