//! The maps, as plain tables: what the programs look up, and what packets change in it.
use pairgate_abi::{
    Budget, FlowKey, Handle, InEntry, NextHop, OutEntry, OutKey, Settings, TapEntry, limits::SLOTS,
};
use std::collections::{HashMap, HashSet};

/// Every map that a program reads or writes, and the clock.
///
/// The clock stands still while packets are judged: what depends on it is either for ever or long past, so that the
/// kernel, whose clock goes on, must come to the same answer.
#[derive(Clone, Debug)]
pub struct Maps {
    /// Boot time in nanoseconds, as it was when the packets began.
    pub now_ns: u64,
    /// The programs' settings.
    pub settings: Settings,
    /// MAC addresses of the host's own interfaces, by index: a frame for another one is not for this host.
    pub own_macs: HashMap<u32, [u8; 6]>,
    /// `TAPS`.
    pub taps: HashMap<u32, TapEntry>,
    /// `PAIRS_OUT`.
    pub pairs_out: HashMap<OutKey, OutEntry>,
    /// `PAIRS_IN`.
    pub pairs_in: HashMap<Handle, InEntry>,
    /// `NEXT_HOPS`.
    pub next_hops: HashMap<[u8; 16], NextHop>,
    /// `LEASE`, in nanoseconds of boot time.
    pub lease_ns: u64,
    /// `REFUSED`.
    pub refused: HashMap<OutKey, u64>,
    /// `BUDGETS`; a slot that is missing has not been used.
    pub budgets: HashMap<u32, Budget>,
    /// `RELEASED`; likewise.
    pub released: HashMap<u32, u64>,
    /// `FLOWS`; a slot that is missing has no table.
    pub flows: HashMap<u32, HashMap<FlowKey, u64>>,
    /// `BIG`, where it is not `idle_big`.
    pub big: HashMap<u32, u64>,
    /// What stands in every other cell of `BIG`.
    pub idle_big: u64,
    /// Pairs that a packet has used.
    pub used_out: HashSet<OutKey>,
    /// The same for pairs that are received on.
    pub used_in: HashSet<Handle>,
}

impl Maps {
    /// The budget of a slot, if there is such a slot.
    pub fn budget(&mut self, slot: u32) -> Option<&mut Budget> {
        (slot < SLOTS).then(|| self.budgets.entry(slot).or_default())
    }

    /// How many held packets of a tap the agent is done with.
    pub fn released(&self, slot: u32) -> u64 {
        self.released.get(&slot).copied().unwrap_or(0)
    }

    /// A cell of `BIG`.
    pub fn big(&mut self, cell: u32) -> &mut u64 {
        self.big.entry(cell).or_insert(self.idle_big)
    }
}

/// Writes the time where it was at least `step_ns` ago, as the programs do.
pub(super) fn touch(at: &mut u64, now_ns: u64, step_ns: u64) {
    if now_ns > at.wrapping_add(step_ns) {
        *at = now_ns;
    }
}
