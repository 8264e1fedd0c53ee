//! The programs' counters, summed over all CPUs.
use crate::oracle::Cell;
use anyhow::Result;
use aya::maps::{MapData, PerCpuArray};
use pairgate_abi::{Count, DROP_REASONS, Direction, count_index, drop_index};
use pairgate_agent::datapath::{Loaded, Pod};
use std::collections::HashMap;

/// The counters of some slots. What should have been counted there and was counted elsewhere is missing there.
#[expect(missing_debug_implementations, reason = "the library's maps have none")]
pub struct Counters {
    drops: PerCpuArray<MapData, u64>,
    passed: PerCpuArray<MapData, Pod<Count>>,
    slots: Vec<u32>,
    last: HashMap<Cell, Count>,
}

impl Counters {
    /// Those of these slots, as they are now.
    pub fn of(loaded: &Loaded, slots: &[u32]) -> Result<Self> {
        let mut counters = Self {
            drops: loaded.drops()?,
            passed: loaded.passed()?,
            slots: slots.to_vec(),
            last: HashMap::new(),
        };
        counters.moved()?;
        Ok(counters)
    }

    /// What was counted since the last call.
    pub fn moved(&mut self) -> Result<HashMap<Cell, Count>> {
        let mut moved = HashMap::new();
        for (slot, direction) in
            (self.slots.iter()).flat_map(|slot| Direction::ALL.map(|direction| (*slot, direction)))
        {
            let index = count_index(slot, direction);
            let all = self.passed.get(&index, 0)?;
            let count = all.iter().fold(Count::default(), |sum, Pod(one)| Count {
                packets: sum.packets + one.packets,
                bytes: sum.bytes + one.bytes,
            });
            note(&mut moved, &mut self.last, Cell::Passed(index), count);
            for reason in DROP_REASONS {
                let index = drop_index(slot, direction, *reason);
                let packets = self.drops.get(&index, 0)?.iter().sum();
                let count = Count { packets, bytes: 0 };
                note(&mut moved, &mut self.last, Cell::Dropped(index), count);
            }
        }
        Ok(moved)
    }
}

fn note(moved: &mut HashMap<Cell, Count>, last: &mut HashMap<Cell, Count>, cell: Cell, count: Count) {
    let before = last.insert(cell, count).unwrap_or_default();
    if before != count {
        let since = Count {
            packets: count.packets - before.packets,
            bytes: count.bytes - before.bytes,
        };
        moved.insert(cell, since);
    }
}
