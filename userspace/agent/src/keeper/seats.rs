//! Which tap stands for which guest, and which counter slot it has.

use crate::goal::Guest;
use pairgate_abi::{TapEntry, limits::SLOTS};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// The rows of `TAPS`, with the VM behind each once it is known.
#[derive(Debug, Default)]
pub struct Seats {
    rows: HashMap<u32, Row>,
    by_vm: HashMap<Uuid, u32>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    entry: TapEntry,
    vm: Option<Uuid>,
}

/// The local guest's end of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Interface index of the guest's tap.
    pub tap: u32,
    /// The tap's place in counters and budgets.
    pub slot: u32,
    pub mac: [u8; 6],
}

impl Seats {
    /// What the map held when the agent started; the VMs become known with the first goal state.
    pub fn read(rows: Vec<(u32, TapEntry)>) -> Self {
        let row = |(tap, entry)| (tap, Row { entry, vm: None });
        Self {
            rows: rows.into_iter().map(row).collect(),
            by_vm: HashMap::new(),
        }
    }

    pub fn of_vm(&self, vm: Uuid) -> Option<Seat> {
        let tap = *self.by_vm.get(&vm)?;
        let row = self.rows.get(&tap)?;
        Some(Seat {
            tap,
            slot: row.entry.slot,
            mac: row.entry.mac,
        })
    }

    /// Every tap in the map.
    pub fn taps(&self) -> Vec<u32> {
        self.rows.keys().copied().collect()
    }

    /// Every slot in use.
    pub fn slots(&self) -> impl Iterator<Item = u32> {
        self.rows.values().map(|row| row.entry.slot)
    }

    pub fn entry(&self, tap: u32) -> Option<TapEntry> {
        self.rows.get(&tap).map(|row| row.entry)
    }

    /// Whether the tap's row is that of another guest than this one. What an agent before this one has left is told by its
    /// MAC address.
    pub fn is_anothers(&self, tap: u32, guest: &Guest) -> bool {
        let row = self.rows.get(&tap);
        row.is_some_and(|row| row.vm.map_or(row.entry.mac != guest.mac, |vm| vm != guest.id))
    }

    pub fn note(&mut self, tap: u32, entry: TapEntry, vm: Uuid) {
        self.strike(tap);
        self.by_vm.insert(vm, tap);
        self.rows.insert(tap, Row { entry, vm: Some(vm) });
    }

    pub fn strike(&mut self, tap: u32) {
        if let Some(Row { vm: Some(vm), .. }) = self.rows.remove(&tap) {
            self.by_vm.remove(&vm);
        }
    }

    /// The lowest slot that no tap has; none if the host is full. Slot 0 belongs to no tap.
    pub fn free_slot(&self) -> Option<u32> {
        let used: HashSet<u32> = self.rows.values().map(|row| row.entry.slot).collect();
        (1..SLOTS).find(|slot| !used.contains(slot))
    }
}
