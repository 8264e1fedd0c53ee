//! Mints that get no audit row of their own, counted in memory and written down once a minute: refused ones, and
//! those that renew what was minted before. A host that asks without end writes a bounded number of rows.

use super::judge::Reason;
use crate::{
    audit::{Actor, Event},
    store::{Change, StoreError},
};
use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Mutex, PoisonError},
};
use uuid::Uuid;

/// Different things of one host that are counted one by one between two writes; the rest is one number per
/// outcome. So a host writes at most this many rows a minute and one for each outcome.
const PER_HOST_MAX: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Refused(Reason),
    /// Not the first token for its pair and generations, which has a row of its own.
    Renewed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct What {
    /// Source VM and destination address; none for the rest.
    pair: Option<(Uuid, IpAddr)>,
    outcome: Outcome,
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    hosts: Mutex<HashMap<Uuid, BTreeMap<What, u64>>>,
}

/// What was counted since the last write.
#[derive(Debug, Default)]
pub(super) struct Counted(HashMap<Uuid, BTreeMap<What, u64>>);

impl Tally {
    pub(super) fn count(&self, host: Uuid, source: Uuid, destination: IpAddr, outcome: Outcome) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = hosts.entry(host).or_default();
        let exact = What {
            pair: Some((source, destination)),
            outcome,
        };
        let what = if counts.len() < PER_HOST_MAX || counts.contains_key(&exact) {
            exact
        } else {
            What { pair: None, outcome }
        };
        *counts.entry(what).or_default() += 1;
    }

    /// Empties the counters. What cannot be written afterwards is lost, which is told by the failed store.
    pub(super) fn take(&self) -> Counted {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        Counted(std::mem::take(&mut *hosts))
    }
}

impl Counted {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn write(&self, change: &Change<'_>) -> Result<(), StoreError> {
        for (host, counts) in &self.0 {
            for (what, times) in counts {
                let (host, times) = (*host, *times);
                let source = what.pair.map(|(source, _)| source);
                let destination = what.pair.map(|(_, destination)| destination);
                let event = match what.outcome {
                    Outcome::Refused(reason) => Event::MintsRefused {
                        host,
                        source,
                        destination,
                        because: reason.word(),
                        times,
                    },
                    Outcome::Renewed => Event::MintsRenewed {
                        host,
                        source,
                        destination,
                        times,
                    },
                };
                change.audit(Actor::Registry, &event)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_asks_for_everything_fills_a_bounded_number_of_rows() {
        let tally = Tally::default();
        let (host, destination) = (Uuid::from_u128(1), "10.0.0.2".parse().unwrap());
        let refused = Outcome::Refused(Reason::SourceNotHere);
        for source in 0..10_000u128 {
            tally.count(host, Uuid::from_u128(source), destination, refused);
            tally.count(host, Uuid::from_u128(source), destination, Outcome::Renewed);
        }
        let counted = tally.take();
        let rows = &counted.0[&host];
        assert_eq!(rows.len(), PER_HOST_MAX + 2);
        assert_eq!(rows.values().sum::<u64>(), 20_000, "none is lost");
        assert!(tally.take().is_empty());
    }
}
