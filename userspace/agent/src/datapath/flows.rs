//! The tables of conversations: one map of the kernel for each guest, reached by its slot, so that no guest can
//! push out another's.
//!
//! Each is pinned beside the others. The kernel could also hand it out by its number, but only to a process that
//! may do everything, which the agent need not be.

use super::{
    OpenError, Pod, attachment,
    kernel::make_lru_hash,
    maps::{failed, removed},
    pins::{self, Pins},
};
use crate::{clock::BootTime, keeper::TableError};
use aya::maps::{HashMap, HashOfMaps, IterableMap, Map, MapData, MapError};
use pairgate_abi::{FlowKey, limits::FLOWS_PER_TAP, map};
use std::{collections, fs, io};

type Table = HashMap<MapData, Pod<FlowKey>, u64>;
/// All tables, as the programs find them.
pub(super) type Outer = HashOfMaps<MapData, u32, Table>;

/// Keys that are read of one table: twice as many as it can have.
const PATIENCE: usize = 2 * FLOWS_PER_TAP as usize;

/// See the module.
pub(super) struct Flows {
    outer: Outer,
    pins: Pins,
    tables: collections::HashMap<u32, Table>,
}

impl Flows {
    /// Opens the tables of an agent before this one. What is pinned and not in use is left to [`Self::renew`].
    pub(super) fn open(outer: Outer, pins: &Pins) -> Result<Self, OpenError> {
        let mut tables = collections::HashMap::new();
        for slot in outer.keys() {
            let slot = slot.map_err(unusable)?;
            if let Ok(table) = MapData::from_pin(pins.flow_table(slot)).and_then(table) {
                tables.insert(slot, table);
            }
        }
        Ok(Self {
            outer,
            pins: pins.clone(),
            tables,
        })
    }

    /// An empty table for a new guest, in the place of one that may be there.
    pub(super) fn renew(&mut self, slot: u32) -> Result<(), TableError> {
        let made = make_lru_hash(size_of::<FlowKey>(), size_of::<u64>(), FLOWS_PER_TAP);
        let made = made.map_err(MapError::IoError).and_then(MapData::from_fd);
        let data = made.map_err(failed("make a table for", map::FLOWS))?;
        let pin = self.pins.flow_table(slot);
        match fs::remove_file(&pin) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("unpin a table of", map::FLOWS)(error.into()));
            }
            Ok(()) | Err(_) => {}
        }
        self.tables.remove(&slot);
        let made = table(data).map_err(failed("make a table for", map::FLOWS))?;
        let written = self.outer.insert(slot, &made, 0);
        written.map_err(failed("write", map::FLOWS))?;
        // Only now: a pinned table is always the one that the programs have.
        self.pin(slot, &made)?;
        self.tables.insert(slot, made);
        Ok(())
    }

    /// The table that is there, or an empty one.
    pub(super) fn keep(&mut self, slot: u32) -> Result<(), TableError> {
        if self.tables.contains_key(&slot) {
            return Ok(());
        }
        self.renew(slot)
    }

    pub(super) fn remove(&mut self, slot: u32) -> Result<(), TableError> {
        removed(self.outer.remove(&slot), map::FLOWS)?;
        self.tables.remove(&slot);
        // Made anew for the next guest in any case.
        let _ = fs::remove_file(self.pins.flow_table(slot));
        Ok(())
    }

    /// Pins the tables whose pins somebody has removed, or put something else in the place of; returns their slots.
    pub(super) fn pin_again(&mut self) -> Result<Vec<u32>, TableError> {
        let mut bare = Vec::new();
        for (slot, table) in &self.tables {
            let number = table
                .map()
                .info()
                .map_err(failed("look at a table of", map::FLOWS))?
                .id();
            let named = pins::names_map(&self.pins.flow_table(*slot), number);
            if named.map_err(|error| failed("look at a pin of", map::FLOWS)(error.into()))? {
                continue;
            }
            let kept = self.pins.are_kept();
            kept.map_err(|error| failed("pin a table of", map::FLOWS)(error.into()))?;
            self.pin(*slot, table)?;
            bare.push(*slot);
        }
        Ok(bare)
    }

    fn pin(&self, slot: u32, table: &Table) -> Result<(), TableError> {
        let (pin, next) = (self.pins.flow_table(slot), self.pins.next_flow_table(slot));
        let pinned = attachment::pin_over(&pin, &next, |path| table.map().pin(path));
        pinned.map_err(|why| TableError {
            verb: "pin a table of",
            map: map::FLOWS,
            why,
        })
    }

    pub(super) fn slots(&self) -> Result<Vec<u32>, TableError> {
        let slots = self.outer.keys().collect::<Result<_, _>>();
        slots.map_err(failed("read", map::FLOWS))
    }

    /// The table that we have of a slot, where the programs find it; an empty one if we have none.
    pub(super) fn put_back(&mut self, slot: u32) -> Result<(), TableError> {
        let Some(table) = self.tables.get(&slot) else {
            return self.renew(slot);
        };
        let written = self.outer.insert(slot, table, 0);
        written.map_err(failed("write", map::FLOWS))
    }

    /// None if reading does not come to its end: the kernel begins again at the first key whenever the one that was read
    /// last has given way to a new one, and a guest can see to it that this goes on and on.
    pub(super) fn of(&self, slot: u32) -> Result<Option<Vec<FlowKey>>, TableError> {
        let Some(table) = self.tables.get(&slot) else {
            return Ok(Some(Vec::new()));
        };
        let keys = table.keys().map(|key| key.map(|key| key.0)).take(PATIENCE);
        let keys: Vec<_> = keys
            .collect::<Result<_, _>>()
            .map_err(failed("read", map::FLOWS))?;
        Ok((keys.len() < PATIENCE).then_some(keys))
    }

    pub(super) fn forget(&mut self, slot: u32, flow: FlowKey) -> Result<(), TableError> {
        match self.tables.get_mut(&slot) {
            Some(table) => removed(table.remove(&Pod(flow)), map::FLOWS),
            None => Ok(()),
        }
    }

    pub(super) fn used(&self, slot: u32, flow: FlowKey) -> Result<Option<u64>, TableError> {
        match self.tables.get(&slot).map(|table| table.get(&Pod(flow), 0)) {
            None | Some(Err(MapError::KeyNotFound | MapError::ElementNotFound)) => Ok(None),
            Some(found) => found.map(Some).map_err(failed("read", map::FLOWS)),
        }
    }

    pub(super) fn note(&mut self, slot: u32, flow: FlowKey, at: BootTime) -> Result<(), TableError> {
        let Some(table) = self.tables.get_mut(&slot) else {
            return Ok(());
        };
        let written = table.insert(Pod(flow), at.nanos(), 0);
        written.map_err(failed("write", map::FLOWS))
    }
}

fn table(data: MapData) -> Result<Table, MapError> {
    Map::from_map_data(data).and_then(Table::try_from)
}

fn unusable(source: MapError) -> OpenError {
    OpenError {
        map: map::FLOWS,
        source: Box::new(source),
    }
}
