//! What guests were told last, for showing.

use super::{Kind, Protocol};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};
use uuid::Uuid;

/// By VM and protocol, the last answer. Bounded by the guests of this host.
#[derive(Debug, Default)]
pub struct Given {
    told: Mutex<HashMap<(Uuid, Protocol), Told>>,
}

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    pub protocol: Protocol,
    pub kind: Kind,
    /// By the host's clock, Unix milliseconds.
    pub at_unix_ms: u64,
}

impl Given {
    pub fn note(&self, vm: Uuid, protocol: Protocol, kind: Kind) {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let at_unix_ms = u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
        let told = Told {
            protocol,
            kind,
            at_unix_ms,
        };
        self.told().insert((vm, protocol), told);
    }

    /// In the order of the protocols.
    pub fn of(&self, vm: Uuid) -> Vec<Told> {
        let told = self.told();
        Protocol::ALL
            .iter()
            .filter_map(|protocol| told.get(&(vm, *protocol)).copied())
            .collect()
    }

    /// Forgets other VMs.
    pub fn keep(&self, is_here: impl Fn(Uuid) -> bool) {
        self.told().retain(|(vm, _), _| is_here(*vm));
    }

    fn told(&self) -> std::sync::MutexGuard<'_, HashMap<(Uuid, Protocol), Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
