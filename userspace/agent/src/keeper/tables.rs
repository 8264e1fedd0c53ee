//! What the ledger writes to: the kernel's maps, or in tests maps that fail.

use super::{Seat, book::Declared, entries::Terms};
use crate::{
    admit::{LocalPair, VerifiedPair},
    clock::BootTime,
    present::CarriedPair,
};
use pairgate_abi::{Budget, FlowKey, Handle, InEntry, NextHop, OutEntry, OutKey, TapEntry};

/// The maps that authorise, by their owner's verbs.
///
/// An entry of a pair is written only from a [`VerifiedPair`], a [`CarriedPair`] or a [`LocalPair`], or once more from
/// what the book has of one ([`Declared`]); nothing here takes the bytes of an entry, so nothing unverified can become
/// one.
pub trait Tables {
    fn taps(&self) -> Result<Vec<(u32, TapEntry)>, TableError>;
    fn incoming(&self) -> Result<Vec<(Handle, InEntry)>, TableError>;
    fn outgoing(&self) -> Result<Vec<(OutKey, OutEntry)>, TableError>;
    /// A few entries of `PAIRS_IN`, about `most`, from a place on; none: from the beginning.
    fn some_incoming(&self, from: Option<Place>, most: usize) -> Result<Slice<Handle, InEntry>, TableError>;
    fn some_outgoing(&self, from: Option<Place>, most: usize) -> Result<Slice<OutKey, OutEntry>, TableError>;
    fn next_hops(&self) -> Result<Vec<([u8; 16], NextHop)>, TableError>;
    fn lease(&self) -> Result<BootTime, TableError>;
    /// When a packet last passed by this entry: 0 = never since it was written; none if it is not there.
    fn used_in(&self, handle: Handle) -> Result<Option<u64>, TableError>;
    fn used_out(&self, key: OutKey) -> Result<Option<u64>, TableError>;

    fn put_tap(&mut self, tap: u32, entry: TapEntry) -> Result<(), TableError>;
    fn open_in(
        &mut self,
        handle: Handle,
        pair: &VerifiedPair,
        seat: Seat,
        mtu: u16,
    ) -> Result<InEntry, TableError>;
    fn open_out(
        &mut self,
        pair: &CarriedPair,
        seat: Seat,
        hop: NextHop,
        terms: Terms,
    ) -> Result<(OutKey, OutEntry), TableError>;
    /// Opens a pair between two guests of this host: the sender's seat, and the receiver's.
    fn open_local(
        &mut self,
        pair: &LocalPair,
        from: Seat,
        to: Seat,
        terms: Terms,
    ) -> Result<(OutKey, OutEntry), TableError>;
    /// The way to a host, if it is another than before.
    fn set_next_hop(&mut self, host: [u8; 16], hop: NextHop) -> Result<(), TableError>;
    /// Lets smaller packets through by an outgoing pair than before; never larger.
    fn narrow_out(&mut self, key: OutKey, entry: OutEntry, mtu: u16) -> Result<OutEntry, TableError>;
    /// Ends an incoming pair sooner; never later.
    fn shorten_in(&mut self, handle: Handle, entry: InEntry, end: BootTime) -> Result<InEntry, TableError>;
    /// Writes an entry as the book has it, wherever it was changed or removed by somebody else.
    fn restore_in(&mut self, declared: &Declared<Handle, InEntry>) -> Result<(), TableError>;
    fn restore_out(&mut self, declared: &Declared<OutKey, OutEntry>) -> Result<(), TableError>;

    fn remove_tap(&mut self, tap: u32) -> Result<(), TableError>;
    fn remove_in(&mut self, handle: Handle) -> Result<(), TableError>;
    fn remove_out(&mut self, key: OutKey) -> Result<(), TableError>;
    fn remove_next_hop(&mut self, host: [u8; 16]) -> Result<(), TableError>;
    /// Waits until no program run that saw a removed or replaced entry is left.
    fn quiesce(&mut self) -> Result<(), TableError>;

    fn set_lease(&mut self, end: BootTime) -> Result<(), TableError>;
    /// Makes the counters and budgets of a slot zero, for a new guest.
    fn clear_slot(&mut self, slot: u32) -> Result<(), TableError>;

    /// What a slot's guest has spent, as the programs keep it.
    fn budget(&self, slot: u32) -> Result<Budget, TableError>;
    fn set_budget(&mut self, slot: u32, budget: Budget) -> Result<(), TableError>;

    /// Gives a slot an empty table of conversations.
    fn new_flows(&mut self, slot: u32) -> Result<(), TableError>;
    /// Makes sure that a slot has a table of conversations; one that is there stays as it is.
    fn keep_flows(&mut self, slot: u32) -> Result<(), TableError>;
    fn drop_flows(&mut self, slot: u32) -> Result<(), TableError>;
    /// The slots that have a table of conversations.
    fn flow_slots(&self) -> Result<Vec<u32>, TableError>;
    /// Pins the tables of conversations whose pins are gone; returns their slots.
    fn pin_flows_again(&mut self) -> Result<Vec<u32>, TableError>;
    /// Shows a slot's table to the programs again, with what is in it.
    fn put_back_flows(&mut self, slot: u32) -> Result<(), TableError>;
    /// Every conversation that a slot's guest has opened and that is remembered; none if its programs write so fast
    /// that the table cannot be read to its end.
    fn flows(&self, slot: u32) -> Result<Option<Vec<FlowKey>>, TableError>;
    fn remove_flow(&mut self, slot: u32, flow: FlowKey) -> Result<(), TableError>;
    /// When a packet of this conversation last passed.
    fn flow_used(&self, slot: u32, flow: FlowKey) -> Result<Option<u64>, TableError>;
    fn note_flow(&mut self, slot: u32, flow: FlowKey, at: BootTime) -> Result<(), TableError>;

    fn refusals(&self) -> Result<Vec<OutKey>, TableError>;
    /// From here on to that instant nobody is asked again.
    fn refuse(&mut self, key: OutKey, until: BootTime) -> Result<(), TableError>;
    fn remove_refusal(&mut self, key: OutKey) -> Result<(), TableError>;
}

/// Where in a map a walk goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(pub u32);

/// Some entries of a map.
#[derive(Clone, Debug)]
pub struct Slice<K, V> {
    pub rows: Vec<(K, V)>,
    /// None at the map's end.
    pub next: Option<Place>,
}

/// A map did not do what it was told. What it held before holds still.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} in the map {map}: {why}")]
pub struct TableError {
    pub verb: &'static str,
    pub map: &'static str,
    pub why: String,
}
