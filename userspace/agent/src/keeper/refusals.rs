//! What the registry has refused a moment ago: the kernel drops it as `denied` and nobody is asked again, until a
//! few seconds have passed or anything has changed at the registry. Bounded for each guest; what is over the bound
//! is simply asked again.

use super::{
    Ledger, TableError, Tables,
    limits::{REFUSAL_LIFE, REFUSALS_PER_TAP},
};
use crate::clock::BootTime;
use pairgate_abi::OutKey;
use std::collections::HashMap;

/// What became of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// The kernel remembers it.
    Kept,
    /// Something has changed at the registry since: ask again.
    Changed,
    /// There is no room for it, or no guest.
    Full,
}

/// By tap, each with its end.
#[derive(Debug, Default)]
pub(super) struct Refusals(HashMap<u32, HashMap<OutKey, BootTime>>);

impl<T: Tables> Ledger<T> {
    /// Remembers a refusal that was given while `revision` was the newest that we knew: if a newer one has come
    /// since, it may be allowed by now.
    pub fn refuse(
        &mut self,
        key: OutKey,
        revision: Option<u64>,
        now: BootTime,
    ) -> Result<Memory, TableError> {
        if self.goal().map(|goal| goal.revision) != revision {
            return Ok(Memory::Changed);
        }
        if self.seats.entry(key.tap).is_none() {
            return Ok(Memory::Full);
        }
        self.forgive(Some(key.tap), |end| end <= now)?;
        let of_tap = self.refusals.0.entry(key.tap).or_default();
        if of_tap.len() >= REFUSALS_PER_TAP && !of_tap.contains_key(&key) {
            return Ok(Memory::Full);
        }
        let end = now.after(REFUSAL_LIFE);
        self.tables.refuse(key, end)?;
        of_tap.insert(key, end);
        Ok(Memory::Kept)
    }

    pub(super) fn is_refused(&self, key: &OutKey) -> bool {
        let of_tap = self.refusals.0.get(&key.tap);
        of_tap.is_some_and(|of_tap| of_tap.contains_key(key))
    }

    pub(super) fn forgive_all(&mut self) -> Result<(), TableError> {
        self.forgive(None, |_| true)
    }

    pub(super) fn forgive_tap(&mut self, tap: u32) -> Result<(), TableError> {
        self.forgive(Some(tap), |_| true)
    }

    pub(super) fn forgive_past(&mut self, now: BootTime) -> Result<(), TableError> {
        self.forgive(None, |end| end <= now)
    }

    /// What an agent before this one has left.
    pub(super) fn forgive_unknown(&mut self) -> Result<(), TableError> {
        let left = self.tables.refusals()?;
        left.into_iter()
            .try_for_each(|key| self.tables.remove_refusal(key))
    }

    fn forgive(&mut self, tap: Option<u32>, which: impl Fn(BootTime) -> bool) -> Result<(), TableError> {
        let Self { refusals, tables, .. } = self;
        for (_, of_tap) in refusals
            .0
            .iter_mut()
            .filter(|(of, _)| tap.is_none_or(|tap| tap == **of))
        {
            let over: Vec<_> = of_tap
                .iter()
                .filter(|(_, end)| which(**end))
                .map(|(key, _)| *key)
                .collect();
            for key in over {
                tables.remove_refusal(key)?;
                of_tap.remove(&key);
            }
        }
        refusals.0.retain(|_, of_tap| !of_tap.is_empty());
        Ok(())
    }
}
