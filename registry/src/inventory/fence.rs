//! When a host can no longer act on what it knew before a revision.
//!
//! A host is fenced from a revision by its own word (a receipt for that revision or a later one) or by the
//! end of every lease that it may hold from before it: without a lease its kernel refuses every pair, and a
//! later lease is taken only after the revision is applied. Denials are *applied* and moved VMs *open* by this
//! one judgement.
//!
//! After a reset two machines may act as the host: the word of the one of now says nothing about the one before, whose
//! leases must end.

/// A host's word that everything up to a revision is in force in its kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub revision: u64,
    pub applied_unix_ms: u64,
    /// Packets queued to guests before the change and not yet read by them.
    pub undrained: u64,
}

/// What counts of a host for the judgement about one revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The highest receipt of the agent's current run.
    pub receipt: Option<Receipt>,
    /// When the last lease ends that it may hold from before the revision; 0 if it had none.
    pub lease_ends_unix_ms: u64,
    /// The same of the agents before the last reset; 0 if they had none, or had applied the revision.
    pub predecessors_end_unix_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fenced {
    Applied(Receipt),
    LeaseEnded,
    /// It may still act on the old state, at most until its lease ends.
    NotYet {
        lease_ends_unix_ms: u64,
    },
}

impl Fenced {
    pub fn is_certain(self) -> bool {
        match self {
            Self::Applied(_) | Self::LeaseEnded => true,
            Self::NotYet { .. } => false,
        }
    }
}

/// Whether the host is fenced from everything before `revision`.
pub fn judge(standing: Standing, revision: u64, now_unix_ms: u64) -> Fenced {
    let receipt = standing.receipt.filter(|receipt| receipt.revision >= revision);
    let own_end = receipt.map_or(standing.lease_ends_unix_ms, |_| 0);
    let lease_ends_unix_ms = own_end.max(standing.predecessors_end_unix_ms);
    if lease_ends_unix_ms > now_unix_ms {
        return Fenced::NotYet { lease_ends_unix_ms };
    }
    receipt.map_or(Fenced::LeaseEnded, Fenced::Applied)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(revision: u64) -> Receipt {
        Receipt {
            revision,
            applied_unix_ms: 7,
            undrained: 0,
        }
    }

    #[test]
    fn every_case_of_receipt_and_lease() {
        let lease_ends = 100;
        let not_yet = Fenced::NotYet {
            lease_ends_unix_ms: lease_ends,
        };
        for (given, now, expected) in [
            (None, 99, not_yet),
            (None, 100, Fenced::LeaseEnded),
            (Some(4), 99, not_yet),
            (Some(4), 100, Fenced::LeaseEnded),
            (Some(5), 99, Fenced::Applied(receipt(5))),
            (Some(5), 100, Fenced::Applied(receipt(5))),
            (Some(6), 99, Fenced::Applied(receipt(6))),
        ] {
            let standing = Standing {
                receipt: given.map(receipt),
                lease_ends_unix_ms: lease_ends,
                predecessors_end_unix_ms: 0,
            };
            assert_eq!(judge(standing, 5, now), expected, "receipt {given:?} at {now}");
        }
        for (given, now, expected) in [
            (Some(5), 149, Some(150)),
            (Some(5), 150, None),
            (None, 149, Some(150)),
            (None, 150, None),
        ] {
            let standing = Standing {
                receipt: given.map(receipt),
                lease_ends_unix_ms: lease_ends,
                predecessors_end_unix_ms: 150,
            };
            let end = match judge(standing, 5, now) {
                Fenced::NotYet { lease_ends_unix_ms } => Some(lease_ends_unix_ms),
                Fenced::Applied(_) | Fenced::LeaseEnded => None,
            };
            assert_eq!(end, expected, "a predecessor, receipt {given:?} at {now}");
        }
        assert_eq!(
            judge(Standing::default(), 5, 1),
            Fenced::LeaseEnded,
            "never had a lease"
        );
    }
}
