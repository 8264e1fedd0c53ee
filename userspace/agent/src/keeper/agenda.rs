//! Which entry to look at when. An entry's own memory says when it wants to be looked at; what stands here
//! besides that is old and is passed over, so nothing has to be found and taken out.

use crate::clock::BootTime;
use pairgate_abi::{Handle, OutKey};
use std::collections::BTreeMap;

/// An entry of the kernel, by its map and key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    In(Handle),
    Out(OutKey),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    /// By instant, and in the order in which they were noted.
    looks: BTreeMap<(BootTime, u64), Subject>,
    noted: u64,
}

impl Agenda {
    pub(super) fn note(&mut self, at: BootTime, subject: Subject) {
        self.looks.insert((at, self.noted), subject);
        self.noted += 1;
    }

    /// The next entry whose time has come, and the instant for which it was noted.
    pub(super) fn due(&mut self, now: BootTime) -> Option<(BootTime, Subject)> {
        let first = self.looks.first_entry()?;
        let (at, _) = *first.key();
        (at <= now).then(|| (at, first.remove()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_in_its_order_and_nothing_comes_early() {
        let handle = |vni| Subject::In(Handle::new(vni, 1).unwrap());
        let at = BootTime::from_nanos;
        let mut agenda = Agenda::default();
        for (instant, vni) in [(30, 3), (10, 1), (20, 2), (10, 4)] {
            agenda.note(at(instant), handle(vni));
        }
        assert_eq!(agenda.due(at(9)), None);
        let due: Vec<_> = std::iter::from_fn(|| agenda.due(at(20))).collect();
        assert_eq!(
            due,
            [(at(10), handle(1)), (at(10), handle(4)), (at(20), handle(2))]
        );
    }
}
