//! What the ledger writes to: the kernel's maps, or in tests maps that fail.

use super::{Seat, entries::Terms};
use crate::{
    admit::{LocalPair, VerifiedPair},
    clock::BootTime,
    present::CarriedPair,
};
use pairgate_abi::{FlowKey, Handle, InEntry, NextHop, OutEntry, OutKey, TapEntry};

/// The maps that authorise, by their owner's verbs.
///
/// An entry of a pair is written only from a [`VerifiedPair`], a [`CarriedPair`] or a [`LocalPair`]; nothing here
/// takes the bytes of an entry, so nothing unverified can become one.
pub trait Tables {
    fn taps(&self) -> Result<Vec<(u32, TapEntry)>, TableError>;
    fn incoming(&self) -> Result<Vec<(Handle, InEntry)>, TableError>;
    fn outgoing(&self) -> Result<Vec<(OutKey, OutEntry)>, TableError>;
    fn next_hops(&self) -> Result<Vec<[u8; 16]>, TableError>;
    fn lease(&self) -> Result<BootTime, TableError>;
    /// When a packet last passed by this entry: 0 = never since it was written; none if it is not there.
    fn used_in(&self, handle: Handle) -> Result<Option<u64>, TableError>;
    fn used_out(&self, key: OutKey) -> Result<Option<u64>, TableError>;

    fn put_tap(&mut self, tap: u32, entry: TapEntry) -> Result<(), TableError>;
    fn open_in(&mut self, handle: Handle, pair: &VerifiedPair, seat: Seat) -> Result<InEntry, TableError>;
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

    fn remove_tap(&mut self, tap: u32) -> Result<(), TableError>;
    fn remove_in(&mut self, handle: Handle) -> Result<(), TableError>;
    fn remove_out(&mut self, key: OutKey) -> Result<(), TableError>;
    fn remove_next_hop(&mut self, host: [u8; 16]) -> Result<(), TableError>;
    /// Waits until no program run that saw a removed or replaced entry is left.
    fn quiesce(&mut self) -> Result<(), TableError>;

    fn set_lease(&mut self, end: BootTime) -> Result<(), TableError>;
    /// Makes the counters and budgets of a slot zero, for a new guest.
    fn clear_slot(&mut self, slot: u32) -> Result<(), TableError>;

    /// Gives a slot an empty table of conversations.
    fn new_flows(&mut self, slot: u32) -> Result<(), TableError>;
    /// Makes sure that a slot has a table of conversations; one that is there stays as it is.
    fn keep_flows(&mut self, slot: u32) -> Result<(), TableError>;
    fn drop_flows(&mut self, slot: u32) -> Result<(), TableError>;
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

/// A map did not do what it was told. What it held before holds still.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} in the map {map}: {why}")]
pub struct TableError {
    pub verb: &'static str,
    pub map: &'static str,
    pub why: String,
}
