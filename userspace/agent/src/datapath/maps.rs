//! The owner's side of the maps: the one implementation of [`Tables`] that reaches the kernel, and the readers
//! of the counters.
//!
//! **Removing and replacing.** The kernel may give the memory of a removed or replaced entry to the next
//! insert while a program still reads it, and that program would then act half on one pair and half on
//! another. So this type remembers which maps have given memory back, and waits for all running programs
//! before it inserts into one of them.

use super::{Loaded, OpenError, Pod, batch::Batches, flows::Flows, quiesce};
use crate::{
    admit::{LocalPair, VerifiedPair},
    clock::BootTime,
    keeper::{Declared, Place, Seat, Slice, TableError, Tables, entries, entries::Terms},
    present::CarriedPair,
};
use aya::maps::{Array, HashMap, MapData, MapError, PerCpuArray, PerCpuValues};
use pairgate_abi::{
    Budget, Count, Direction, DropReason, FlowKey, Handle, InEntry, NextHop, OutEntry, OutKey, TapEntry,
    count_index, drop_index, limits::SLOTS, map,
};
use std::{
    collections::HashSet,
    fmt::{self, Display},
};

/// Every map that authorises, in the hands of its owner.
pub struct Maps {
    taps: HashMap<MapData, u32, Pod<TapEntry>>,
    pairs_in: HashMap<MapData, Pod<Handle>, Pod<InEntry>>,
    pairs_out: HashMap<MapData, Pod<OutKey>, Pod<OutEntry>>,
    next_hops: HashMap<MapData, [u8; 16], Pod<NextHop>>,
    lease: Array<MapData, u64>,
    budgets: Array<MapData, Pod<Budget>>,
    released: Array<MapData, u64>,
    refused: HashMap<MapData, Pod<OutKey>, u64>,
    flows: Flows,
    batches: Batches,
    drops: PerCpuArray<MapData, u64>,
    passed: PerCpuArray<MapData, Pod<Count>>,
    /// Maps that have given back memory which a running program may still read.
    unsettled: HashSet<&'static str>,
}

impl fmt::Debug for Maps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maps")
            .field("unsettled", &self.unsettled)
            .finish_non_exhaustive()
    }
}

impl Maps {
    pub fn open(loaded: &Loaded) -> Result<Self, OpenError> {
        Ok(Self {
            taps: loaded.taps()?,
            pairs_in: loaded.pairs_in()?,
            pairs_out: loaded.pairs_out()?,
            next_hops: loaded.next_hops()?,
            lease: loaded.lease()?,
            budgets: loaded.budgets()?,
            released: loaded.released()?,
            refused: loaded.refused()?,
            batches: Batches::open(loaded.pins())?,
            flows: Flows::open(loaded.flows()?, loaded.pins())?,
            drops: loaded.drops()?,
            passed: loaded.passed()?,
            // An agent before this one may have died right after a removal.
            unsettled: HashSet::from([map::TAPS, map::PAIRS_IN, map::PAIRS_OUT, map::NEXT_HOPS]),
        })
    }

    fn put_out(&mut self, key: OutKey, entry: OutEntry) -> Result<(OutKey, OutEntry), TableError> {
        self.settle(map::PAIRS_OUT)?;
        // The pair's entry from an older token.
        if self.pairs_out.get(&Pod(key), 0).is_ok() {
            self.unsettled.insert(map::PAIRS_OUT);
        }
        let written = self.pairs_out.insert(Pod(key), Pod(entry), 0);
        written.map_err(failed("write", map::PAIRS_OUT))?;
        Ok((key, entry))
    }

    /// Before an insert: no program may still read memory that the insert could be given.
    fn settle(&mut self, map: &'static str) -> Result<(), TableError> {
        if self.unsettled.contains(map) {
            self.quiesce()
        } else {
            Ok(())
        }
    }
}

pub(super) fn failed(verb: &'static str, map: &'static str) -> impl Fn(MapError) -> TableError {
    move |error| TableError {
        verb,
        map,
        why: with_cause(&error),
    }
}

/// aya says which call failed and keeps why in the cause.
fn with_cause(error: &dyn std::error::Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

/// An entry that is not there is as good as removed.
pub(super) fn removed(result: Result<(), MapError>, map: &'static str) -> Result<(), TableError> {
    match result {
        Err(MapError::KeyNotFound | MapError::ElementNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(failed("remove", map)),
    }
}

pub(super) fn found<V>(result: Result<V, MapError>, map: &'static str) -> Result<Option<V>, TableError> {
    match result {
        Err(MapError::KeyNotFound | MapError::ElementNotFound) => Ok(None),
        other => other.map(Some).map_err(failed("read", map)),
    }
}

impl Tables for Maps {
    fn taps(&self) -> Result<Vec<(u32, TapEntry)>, TableError> {
        let rows = self.taps.iter().map(|row| row.map(|(tap, entry)| (tap, entry.0)));
        rows.collect::<Result<_, _>>().map_err(failed("read", map::TAPS))
    }

    fn incoming(&self) -> Result<Vec<(Handle, InEntry)>, TableError> {
        let rows = self
            .pairs_in
            .iter()
            .map(|row| row.map(|(handle, entry)| (handle.0, entry.0)));
        rows.collect::<Result<_, _>>()
            .map_err(failed("read", map::PAIRS_IN))
    }

    fn outgoing(&self) -> Result<Vec<(OutKey, OutEntry)>, TableError> {
        let rows = self
            .pairs_out
            .iter()
            .map(|row| row.map(|(key, entry)| (key.0, entry.0)));
        rows.collect::<Result<_, _>>()
            .map_err(failed("read", map::PAIRS_OUT))
    }

    fn some_incoming(&self, from: Option<Place>, most: usize) -> Result<Slice<Handle, InEntry>, TableError> {
        self.batches.incoming(from, most)
    }

    fn some_outgoing(&self, from: Option<Place>, most: usize) -> Result<Slice<OutKey, OutEntry>, TableError> {
        self.batches.outgoing(from, most)
    }

    fn next_hops(&self) -> Result<Vec<([u8; 16], NextHop)>, TableError> {
        let rows = self
            .next_hops
            .iter()
            .map(|row| row.map(|(host, hop)| (host, hop.0)));
        rows.collect::<Result<_, _>>()
            .map_err(failed("read", map::NEXT_HOPS))
    }

    fn lease(&self) -> Result<BootTime, TableError> {
        let end = self.lease.get(&0, 0).map_err(failed("read", map::LEASE))?;
        Ok(BootTime::from_nanos(end))
    }

    fn used_in(&self, handle: Handle) -> Result<Option<u64>, TableError> {
        let found = found(self.pairs_in.get(&Pod(handle), 0), map::PAIRS_IN)?;
        Ok(found.map(|entry| entry.0.used_ns))
    }

    fn used_out(&self, key: OutKey) -> Result<Option<u64>, TableError> {
        let found = found(self.pairs_out.get(&Pod(key), 0), map::PAIRS_OUT)?;
        Ok(found.map(|entry| entry.0.used_ns))
    }

    fn put_tap(&mut self, tap: u32, entry: TapEntry) -> Result<(), TableError> {
        self.settle(map::TAPS)?;
        if self.taps.get(&tap, 0).is_ok() {
            self.unsettled.insert(map::TAPS);
        }
        self.taps
            .insert(tap, Pod(entry), 0)
            .map_err(failed("write", map::TAPS))
    }

    fn open_in(
        &mut self,
        handle: Handle,
        pair: &VerifiedPair,
        seat: Seat,
        mtu: u16,
    ) -> Result<InEntry, TableError> {
        const NEW_ONLY: u64 = update_flag::NO_EXIST;
        self.settle(map::PAIRS_IN)?;
        let entry = entries::incoming(pair, seat, mtu);
        let written = self.pairs_in.insert(Pod(handle), Pod(entry), NEW_ONLY);
        written.map_err(failed("write", map::PAIRS_IN))?;
        Ok(entry)
    }

    fn open_out(
        &mut self,
        pair: &CarriedPair,
        seat: Seat,
        hop: NextHop,
        terms: Terms,
    ) -> Result<(OutKey, OutEntry), TableError> {
        let key = entries::out_key(pair.claims(), seat.tap);
        let entry = entries::outgoing(pair, terms);
        // The way before the pair, so that its first packet finds one.
        self.set_next_hop(entry.dst_host, hop)?;
        self.put_out(key, entry)
    }

    fn open_local(
        &mut self,
        pair: &LocalPair,
        from: Seat,
        to: Seat,
        terms: Terms,
    ) -> Result<(OutKey, OutEntry), TableError> {
        let key = entries::out_key(pair.claims(), from.tap);
        self.put_out(key, entries::local(pair, to, terms))
    }

    fn set_next_hop(&mut self, host: [u8; 16], hop: NextHop) -> Result<(), TableError> {
        let known = self.next_hops.get(&host, 0).ok();
        if known == Some(Pod(hop)) {
            return Ok(());
        }
        self.settle(map::NEXT_HOPS)?;
        if known.is_some() {
            self.unsettled.insert(map::NEXT_HOPS);
        }
        let written = self.next_hops.insert(host, Pod(hop), 0);
        written.map_err(failed("write", map::NEXT_HOPS))
    }

    fn narrow_out(&mut self, key: OutKey, mut entry: OutEntry, mtu: u16) -> Result<OutEntry, TableError> {
        // Where it has ended meanwhile it must not come back.
        let Some(used) = self.used_out(key)? else {
            return Ok(entry);
        };
        entry.mtu = entry.mtu.min(mtu);
        entry.used_ns = used;
        self.put_out(key, entry).map(|(_, entry)| entry)
    }

    fn shorten_in(
        &mut self,
        handle: Handle,
        mut entry: InEntry,
        end: BootTime,
    ) -> Result<InEntry, TableError> {
        const KNOWN_ONLY: u64 = update_flag::EXIST;
        self.settle(map::PAIRS_IN)?;
        entry.deadline_ns = entry.deadline_ns.min(end.nanos());
        self.unsettled.insert(map::PAIRS_IN);
        let written = self.pairs_in.insert(Pod(handle), Pod(entry), KNOWN_ONLY);
        written.map_err(failed("write", map::PAIRS_IN))?;
        Ok(entry)
    }

    fn restore_in(&mut self, declared: &Declared<Handle, InEntry>) -> Result<(), TableError> {
        self.settle(map::PAIRS_IN)?;
        self.unsettled.insert(map::PAIRS_IN);
        let written = self
            .pairs_in
            .insert(Pod(declared.key()), Pod(declared.entry()), 0);
        written.map_err(failed("write", map::PAIRS_IN))
    }

    fn restore_out(&mut self, declared: &Declared<OutKey, OutEntry>) -> Result<(), TableError> {
        self.put_out(declared.key(), declared.entry()).map(drop)
    }

    fn remove_tap(&mut self, tap: u32) -> Result<(), TableError> {
        self.unsettled.insert(map::TAPS);
        removed(self.taps.remove(&tap), map::TAPS)
    }

    fn remove_in(&mut self, handle: Handle) -> Result<(), TableError> {
        self.unsettled.insert(map::PAIRS_IN);
        removed(self.pairs_in.remove(&Pod(handle)), map::PAIRS_IN)
    }

    fn remove_out(&mut self, key: OutKey) -> Result<(), TableError> {
        self.unsettled.insert(map::PAIRS_OUT);
        removed(self.pairs_out.remove(&Pod(key)), map::PAIRS_OUT)
    }

    fn remove_next_hop(&mut self, host: [u8; 16]) -> Result<(), TableError> {
        self.unsettled.insert(map::NEXT_HOPS);
        removed(self.next_hops.remove(&host), map::NEXT_HOPS)
    }

    fn quiesce(&mut self) -> Result<(), TableError> {
        quiesce().map_err(|error| TableError {
            verb: "wait for running programs",
            map: "all",
            why: error.to_string(),
        })?;
        self.unsettled.clear();
        Ok(())
    }

    fn set_lease(&mut self, end: BootTime) -> Result<(), TableError> {
        self.lease
            .set(0, end.nanos(), 0)
            .map_err(failed("write", map::LEASE))
    }

    fn clear_slot(&mut self, slot: u32) -> Result<(), TableError> {
        let cpus = aya::util::nr_cpus().map_err(|(_, error)| TableError {
            verb: "count the CPUs for",
            map: map::PASSED,
            why: error.to_string(),
        })?;
        let zeros = |map: &'static str| {
            move |error: &dyn Display| TableError {
                verb: "clear",
                map,
                why: error.to_string(),
            }
        };
        for direction in Direction::ALL {
            let none = PerCpuValues::try_from(vec![Pod(Count::default()); cpus])
                .map_err(|error| zeros(map::PASSED)(&error))?;
            self.passed
                .set(count_index(slot, direction), none, 0)
                .map_err(failed("clear", map::PASSED))?;
            for reason in pairgate_abi::DROP_REASONS {
                let none =
                    PerCpuValues::try_from(vec![0_u64; cpus]).map_err(|error| zeros(map::DROPS)(&error))?;
                self.drops
                    .set(drop_index(slot, direction, *reason), none, 0)
                    .map_err(failed("clear", map::DROPS))?;
            }
        }
        self.released
            .set(slot, 0, 0)
            .map_err(failed("clear", map::RELEASED))?;
        self.budgets
            .set(slot, Pod(Budget::default()), 0)
            .map_err(failed("clear", map::BUDGETS))
    }

    fn budget(&self, slot: u32) -> Result<Budget, TableError> {
        let budget = self.budgets.get(&slot, 0).map(|budget| budget.0);
        budget.map_err(failed("read", map::BUDGETS))
    }

    fn set_budget(&mut self, slot: u32, budget: Budget) -> Result<(), TableError> {
        self.budgets
            .set(slot, Pod(budget), 0)
            .map_err(failed("write", map::BUDGETS))
    }

    fn new_flows(&mut self, slot: u32) -> Result<(), TableError> {
        self.flows.renew(slot)
    }

    fn keep_flows(&mut self, slot: u32) -> Result<(), TableError> {
        self.flows.keep(slot)
    }

    fn drop_flows(&mut self, slot: u32) -> Result<(), TableError> {
        self.flows.remove(slot)
    }

    fn flow_slots(&self) -> Result<Vec<u32>, TableError> {
        self.flows.slots()
    }

    fn pin_flows_again(&mut self) -> Result<Vec<u32>, TableError> {
        self.flows.pin_again()
    }

    fn put_back_flows(&mut self, slot: u32) -> Result<(), TableError> {
        self.flows.put_back(slot)
    }

    fn flows(&self, slot: u32) -> Result<Option<Vec<FlowKey>>, TableError> {
        self.flows.of(slot)
    }

    fn remove_flow(&mut self, slot: u32, flow: FlowKey) -> Result<(), TableError> {
        self.flows.forget(slot, flow)
    }

    fn flow_used(&self, slot: u32, flow: FlowKey) -> Result<Option<u64>, TableError> {
        self.flows.used(slot, flow)
    }

    fn note_flow(&mut self, slot: u32, flow: FlowKey, at: BootTime) -> Result<(), TableError> {
        self.flows.note(slot, flow, at)
    }

    fn refusals(&self) -> Result<Vec<OutKey>, TableError> {
        let keys = self.refused.keys().map(|key| key.map(|key| key.0));
        keys.collect::<Result<_, _>>()
            .map_err(failed("read", map::REFUSED))
    }

    fn refuse(&mut self, key: OutKey, until: BootTime) -> Result<(), TableError> {
        self.refused
            .insert(Pod(key), until.nanos(), 0)
            .map_err(failed("write", map::REFUSED))
    }

    fn remove_refusal(&mut self, key: OutKey) -> Result<(), TableError> {
        removed(self.refused.remove(&Pod(key)), map::REFUSED)
    }
}

/// `linux/bpf.h`: how an update treats a key that is or is not there.
mod update_flag {
    pub(super) const NO_EXIST: u64 = 1;
    pub(super) const EXIST: u64 = 2;
}

/// Reads the counters; writes nothing.
pub struct Counters {
    drops: PerCpuArray<MapData, u64>,
    passed: PerCpuArray<MapData, Pod<Count>>,
    budgets: Array<MapData, Pod<Budget>>,
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counters").finish_non_exhaustive()
    }
}

impl Counters {
    pub fn open(loaded: &Loaded) -> Result<Self, OpenError> {
        Ok(Self {
            drops: loaded.drops()?,
            passed: loaded.passed()?,
            budgets: loaded.budgets()?,
        })
    }

    /// Events and first packets of one slot that found their ring full; none if the map cannot be read.
    pub fn lost(&self, slot: u32) -> Option<u64> {
        Some(self.budgets.get(&slot, 0).ok()?.0.lost)
    }

    /// Packets of one slot dropped for one reason; none if the map cannot be read.
    pub fn dropped(&self, slot: u32, direction: Direction, reason: DropReason) -> Option<u64> {
        let values = self.drops.get(&drop_index(slot, direction, reason), 0).ok()?;
        Some(values.iter().fold(0, |sum, value| sum.wrapping_add(*value)))
    }

    /// Packets and bytes of one slot that passed; none if the map cannot be read.
    pub fn passed(&self, slot: u32, direction: Direction) -> Option<Count> {
        let values = self.passed.get(&count_index(slot, direction), 0).ok()?;
        Some(values.iter().fold(Count::default(), |sum, value| Count {
            packets: sum.packets.wrapping_add(value.0.packets),
            bytes: sum.bytes.wrapping_add(value.0.bytes),
        }))
    }
}

/// Tells the programs how many held packets we are done with.
///
/// It never says more than they have handed over: the difference is what they go by.
pub struct Released {
    released: Array<MapData, u64>,
    budgets: Array<MapData, Pod<Budget>>,
}

impl fmt::Debug for Released {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Released").finish_non_exhaustive()
    }
}

impl Released {
    /// Whatever an agent before this one held is lost: the numbers begin even.
    pub fn open(loaded: &Loaded) -> Result<Self, OpenError> {
        let mut released = Self {
            released: loaded.released()?,
            budgets: loaded.budgets()?,
        };
        for slot in 0..SLOTS {
            let even = released
                .held(slot)
                .and_then(|held| released.released.set(slot, held, 0));
            even.map_err(|source| OpenError {
                map: map::RELEASED,
                source: Box::new(source),
            })?;
        }
        Ok(released)
    }

    /// One packet of this slot has come to its end.
    pub fn add_one(&mut self, slot: u32) -> Result<(), TableError> {
        let before = self
            .released
            .get(&slot, 0)
            .map_err(failed("read", map::RELEASED))?;
        let held = self.held(slot).map_err(failed("read", map::BUDGETS))?;
        // A packet of the slot's last guest is not one of its next one's.
        let now = before.saturating_add(1).min(held);
        self.released
            .set(slot, now, 0)
            .map_err(failed("write", map::RELEASED))
    }

    fn held(&self, slot: u32) -> Result<u64, MapError> {
        self.budgets.get(&slot, 0).map(|budget| budget.0.held)
    }
}
