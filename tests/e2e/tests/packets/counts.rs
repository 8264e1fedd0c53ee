//! The programs' counters, as a test compares them.
use pairgate_abi::Direction;
use pairgate_agent::datapath::Pod;

use crate::world::{DOOR_SLOT, SLOT};

type Drops = aya::maps::PerCpuArray<aya::maps::MapData, u64>;
type Passed = aya::maps::PerCpuArray<aya::maps::MapData, Pod<pairgate_abi::Count>>;

/// One line per counter that is not zero: (slot, direction, reason or "passed") and how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts(pub(crate) std::collections::BTreeMap<(u32, &'static str, &'static str), u64>);

impl Counts {
    pub(crate) fn read(drops: &Drops, passed: &Passed) -> Self {
        use pairgate_abi::{DROP_REASONS, count_index, drop_index};
        let mut counts = std::collections::BTreeMap::new();
        let mut note = |key, number: u64| {
            if number > 0 {
                counts.insert(key, number);
            }
        };
        for slot in [0, SLOT, DOOR_SLOT] {
            for direction in Direction::ALL {
                let all = passed.get(&count_index(slot, direction), 0).unwrap();
                note(
                    (slot, direction.word(), "passed"),
                    all.iter().map(|count| count.0.packets).sum(),
                );
                for reason in DROP_REASONS {
                    let all = drops.get(&drop_index(slot, direction, *reason), 0).unwrap();
                    note((slot, direction.word(), reason.word()), all.iter().sum());
                }
            }
        }
        Self(counts)
    }

    /// What was counted between `before` and this.
    pub(crate) fn since(&self, before: &Self) -> Vec<(u32, &'static str, &'static str, u64)> {
        self.0
            .iter()
            .map(|(key, number)| {
                (
                    key.0,
                    key.1,
                    key.2,
                    number - before.0.get(key).copied().unwrap_or(0),
                )
            })
            .filter(|line| line.3 > 0)
            .collect()
    }
}
