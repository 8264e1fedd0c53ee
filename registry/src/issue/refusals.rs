//! Refused mints, counted in memory and written down once a minute: a host that asks without end writes a
//! bounded number of rows.

use super::judge::{Ask, Reason};
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
/// reason.
const PER_HOST_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct What {
    /// None for the rest.
    pair: Option<(Uuid, IpAddr)>,
    reason: Reason,
}

#[derive(Debug, Default)]
pub(super) struct Refusals {
    hosts: Mutex<HashMap<Uuid, BTreeMap<What, u64>>>,
}

/// What was counted since the last write.
#[derive(Debug, Default)]
pub(super) struct Counted(HashMap<Uuid, BTreeMap<What, u64>>);

impl Refusals {
    pub(super) fn count(&self, ask: &Ask, reason: Reason) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = hosts.entry(ask.host).or_default();
        let exact = What {
            pair: Some((ask.question.source_vm, ask.question.destination_address)),
            reason,
        };
        let what = if counts.len() < PER_HOST_MAX || counts.contains_key(&exact) {
            exact
        } else {
            What { pair: None, reason }
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
                let event = Event::MintsRefused {
                    host: *host,
                    source: what.pair.map(|(source, _)| source),
                    destination: what.pair.map(|(_, destination)| destination),
                    because: what.reason.word(),
                    times: *times,
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
    use pairgate_token::{MintProof, MintQuestion};

    #[test]
    fn a_host_that_asks_for_everything_fills_a_bounded_number_of_rows() {
        let refusals = Refusals::default();
        let host = Uuid::from_u128(1);
        for last in 0..10_000u128 {
            let ask = Ask {
                host,
                question: MintQuestion {
                    network: Uuid::nil(),
                    source_vm: Uuid::from_u128(last),
                    source_address: "10.0.0.1".parse().unwrap(),
                    destination_address: "10.0.0.2".parse().unwrap(),
                    nonce: [0; 16],
                    unix_secs: 0,
                },
                proof: MintProof::from_slice(&[0; 32]).unwrap(),
                with_back: false,
            };
            refusals.count(&ask, Reason::SourceNotHere);
        }
        let counted = refusals.take();
        let rows = &counted.0[&host];
        assert_eq!(rows.len(), PER_HOST_MAX + 1);
        assert_eq!(rows.values().sum::<u64>(), 10_000, "none is lost");
        assert!(refusals.take().is_empty());
    }
}
