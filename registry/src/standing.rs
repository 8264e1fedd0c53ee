//! What every host has said and been granted, in memory.
//!
//! Guarantee: a lease's end is known here before the lease leaves, and a receipt counts only if it came over
//! the host's current stream for a revision that was sent on it. Losing this memory is safe: after a start
//! every enrolled host is assumed to hold a lease granted at the last moment, and to have applied nothing; and when
//! the leases of agents before a reset end is in the store.

use crate::inventory::{
    fence::{Fenced, Receipt, Standing, judge},
    lease::Leases,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

#[derive(Debug, Default)]
struct Entry {
    /// The highest receipt of the agent's current run.
    receipt: Option<Receipt>,
    leases: Leases,
    /// Of the agent's run that the receipt belongs to.
    boot_id: Vec<u8>,
    stream: Option<Current>,
    predecessors: Option<Predecessors>,
}

/// The agents that had the record before its last reset.
#[derive(Debug)]
struct Predecessors {
    leases: Leases,
    /// What all of them that may still act had applied for certain.
    applied_revision: u64,
}

impl Predecessors {
    fn end_unix_ms(&self, revision: u64) -> u64 {
        if self.applied_revision >= revision {
            return 0;
        }
        self.leases.ends_before_unix_ms(revision)
    }
}

#[derive(Debug)]
struct Current {
    number: u64,
    ended: CancellationToken,
}

#[derive(Debug, Default)]
struct Hosts {
    entries: HashMap<Uuid, Entry>,
    streams: u64,
}

/// What operators see of a host's standing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub connected: bool,
    pub receipt: Option<Receipt>,
    /// When the last lease that it may hold ends; 0 if it never had one.
    pub lease_ends_unix_ms: u64,
}

#[derive(Debug)]
pub struct Standings {
    hosts: Mutex<Hosts>,
    /// Counts what may end a wait: receipts and nothing else (a lease's end comes by itself).
    changes: watch::Sender<u64>,
}

impl Standings {
    /// After a start: no lease granted before it reaches further than `leases_end_unix_ms`, and none from before a
    /// host's last reset further than the instant that comes with the host.
    pub fn assume(hosts: impl IntoIterator<Item = (Uuid, u64)>, leases_end_unix_ms: u64) -> Self {
        let entry = |predecessors_end_unix_ms| Entry {
            leases: Leases::unknown(leases_end_unix_ms),
            predecessors: Some(Predecessors {
                leases: Leases::unknown(predecessors_end_unix_ms),
                applied_revision: 0,
            }),
            ..Entry::default()
        };
        let entries = hosts.into_iter().map(|(host, end)| (host, entry(end))).collect();
        Self {
            hosts: Mutex::new(Hosts { entries, streams: 0 }),
            changes: watch::Sender::new(0),
        }
    }

    /// No code below panics while it holds the lock, so a poisoned one holds sound values.
    fn lock(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called before the grant is answered, with a `revision` read before the call; the revision in the
    /// answer is read after it. Then a denial committed in between either sees this lease or is part of the
    /// answer's revision.
    pub fn grant_lease(&self, host: Uuid, revision: u64, ends_unix_ms: u64, now_unix_ms: u64) {
        let mut hosts = self.lock();
        let leases = &mut hosts.entries.entry(host).or_default().leases;
        leases.grant(revision, ends_unix_ms, now_unix_ms);
    }

    /// The host's record is to wait for another key, whose holder's word is not that of the holder before. Tells when
    /// the last lease granted so far ends. To be called within the change, so that it is known here before
    /// anybody new can enrol; a change that fails afterwards makes the judgement stricter for one lease.
    pub fn supersede(&self, host: Uuid) -> u64 {
        let mut hosts = self.lock();
        let entry = hosts.entries.entry(host).or_default();
        let applied = entry.receipt.take().map_or(0, |receipt| receipt.revision);
        let before = entry.predecessors.as_ref();
        entry.predecessors = Some(Predecessors {
            applied_revision: before.map_or(applied, |before| before.applied_revision.min(applied)),
            // Those of earlier predecessors are still among them.
            leases: entry.leases.clone(),
        });
        entry.leases.ends_unix_ms()
    }

    /// A host's agent has said hello; an older stream of the same host ends. Another boot id means another
    /// run of the agent, whose predecessor's receipts prove nothing any more.
    pub fn begin_stream(self: &Arc<Self>, host: Uuid, boot_id: Vec<u8>) -> Stream {
        let ended = CancellationToken::new();
        let mut hosts = self.lock();
        hosts.streams += 1;
        let number = hosts.streams;
        let entry = hosts.entries.entry(host).or_default();
        if entry.boot_id != boot_id {
            entry.boot_id = boot_id;
            entry.receipt = None;
        }
        let current = Current {
            number,
            ended: ended.clone(),
        };
        if let Some(older) = entry.stream.replace(current) {
            older.ended.cancel();
        }
        Stream {
            standings: self.clone(),
            host,
            number,
            ended,
        }
    }

    pub fn seen(&self, host: Uuid) -> Seen {
        let seen = |entry: &Entry| Seen {
            connected: entry.stream.is_some(),
            receipt: entry.receipt,
            lease_ends_unix_ms: entry.leases.ends_unix_ms(),
        };
        self.lock().entries.get(&host).map_or_else(Seen::default, seen)
    }

    pub fn judge(&self, host: Uuid, revision: u64, now_unix_ms: u64) -> Fenced {
        let standing = |entry: &Entry| Standing {
            receipt: entry.receipt,
            lease_ends_unix_ms: entry.leases.ends_before_unix_ms(revision),
            predecessors_end_unix_ms: entry
                .predecessors
                .as_ref()
                .map_or(0, |before| before.end_unix_ms(revision)),
        };
        let standing = self
            .lock()
            .entries
            .get(&host)
            .map_or_else(Standing::default, standing);
        judge(standing, revision, now_unix_ms)
    }

    /// Wakes at every receipt that says something new.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// A host's one current stream; dropping it says that the host is no longer connected.
#[derive(Debug)]
pub struct Stream {
    standings: Arc<Standings>,
    host: Uuid,
    number: u64,
    ended: CancellationToken,
}

impl Stream {
    /// Resolves when a newer stream of the same host has begun.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Takes a receipt for a revision up to the highest one sent on this stream. A lower one than before, one
    /// that was never sent, and one from an ended stream are ignored.
    pub fn record(&self, receipt: Receipt, sent_revision: u64) -> bool {
        let mut hosts = self.standings.lock();
        let Some(entry) = hosts.entries.get_mut(&self.host) else {
            return false;
        };
        let is_current = entry
            .stream
            .as_ref()
            .is_some_and(|stream| stream.number == self.number);
        let is_new = entry
            .receipt
            .is_none_or(|before| before.revision < receipt.revision);
        if !is_current || !is_new || receipt.revision > sent_revision {
            return false;
        }
        entry.receipt = Some(receipt);
        drop(hosts);
        self.standings.changes.send_modify(|count| *count += 1);
        true
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut hosts = self.standings.lock();
        if let Some(entry) = hosts.entries.get_mut(&self.host)
            && entry
                .stream
                .as_ref()
                .is_some_and(|stream| stream.number == self.number)
        {
            entry.stream = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Uuid = Uuid::from_u128(1);

    fn standings() -> Arc<Standings> {
        Arc::new(Standings::assume([], 0))
    }

    fn receipt(revision: u64) -> Receipt {
        Receipt {
            revision,
            applied_unix_ms: 0,
            undrained: 0,
        }
    }

    fn applied(standings: &Standings) -> Option<u64> {
        standings.seen(HOST).receipt.map(|receipt| receipt.revision)
    }

    #[test]
    fn a_lower_a_repeated_and_a_future_receipt_are_ignored() {
        let standings = standings();
        let stream = standings.begin_stream(HOST, vec![1]);
        assert!(stream.record(receipt(5), 7));
        assert!(!stream.record(receipt(5), 7));
        assert!(!stream.record(receipt(4), 7));
        assert!(!stream.record(receipt(8), 7));
        assert_eq!(applied(&standings), Some(5));
    }

    #[test]
    fn a_newer_stream_ends_the_older_one_whose_receipts_then_count_for_nothing() {
        let standings = standings();
        let older = standings.begin_stream(HOST, vec![1]);
        let newer = standings.begin_stream(HOST, vec![1]);
        assert!(older.ended.is_cancelled() && !newer.ended.is_cancelled());
        assert!(!older.record(receipt(1), 9));
        drop(older);
        assert!(
            standings.seen(HOST).connected,
            "the end of the older stream is not the newer's"
        );
        drop(newer);
        assert!(!standings.seen(HOST).connected);
    }

    #[test]
    fn only_a_new_run_of_the_agent_loses_its_receipts() {
        let standings = standings();
        let stream = standings.begin_stream(HOST, vec![1]);
        stream.record(receipt(5), 5);
        let stream = standings.begin_stream(HOST, vec![1]);
        assert_eq!(applied(&standings), Some(5), "the same run connected again");
        drop(stream);
        let _stream = standings.begin_stream(HOST, vec![2]);
        assert_eq!(applied(&standings), None);
    }

    #[test]
    fn a_lease_never_gets_shorter_and_is_assumed_after_a_start() {
        let standings = Arc::new(Standings::assume([(HOST, 0)], 100));
        assert!(!standings.judge(HOST, 2, 99).is_certain());
        standings.grant_lease(HOST, 1, 50, 0);
        assert!(!standings.judge(HOST, 2, 99).is_certain());
        standings.grant_lease(HOST, 1, 200, 0);
        assert!(!standings.judge(HOST, 2, 199).is_certain());
        assert!(standings.judge(HOST, 2, 200).is_certain());
        let stranger = Uuid::from_u128(2);
        assert_eq!(
            standings.judge(stranger, 1, 0),
            Fenced::LeaseEnded,
            "it never enrolled"
        );
    }

    #[test]
    fn the_word_of_a_successor_does_not_end_the_leases_of_the_one_before() {
        let standings = standings();
        let stream = standings.begin_stream(HOST, vec![1]);
        standings.grant_lease(HOST, 4, 100, 0);
        stream.record(receipt(4), 4);
        assert_eq!(standings.supersede(HOST), 100);
        let successor = standings.begin_stream(HOST, vec![2]);
        standings.grant_lease(HOST, 5, 150, 50);
        successor.record(receipt(9), 9);
        assert!(
            standings.judge(HOST, 4, 60).is_certain(),
            "that one both have applied"
        );
        let not_yet = Fenced::NotYet {
            lease_ends_unix_ms: 100,
        };
        assert_eq!(standings.judge(HOST, 9, 99), not_yet);
        assert_eq!(standings.judge(HOST, 9, 100), Fenced::Applied(receipt(9)));
        assert_eq!(standings.supersede(HOST), 150);
        let third = standings.begin_stream(HOST, vec![3]);
        third.record(receipt(10), 10);
        assert!(!standings.judge(HOST, 10, 149).is_certain());
        let restarted = Arc::new(Standings::assume([(HOST, 150)], 60));
        restarted.begin_stream(HOST, vec![4]).record(receipt(10), 10);
        assert!(!restarted.judge(HOST, 10, 149).is_certain());
        assert!(restarted.judge(HOST, 10, 150).is_certain());
    }

    #[test]
    fn a_host_that_renews_and_applies_nothing_is_fenced_when_its_older_leases_end() {
        let standings = standings();
        standings.grant_lease(HOST, 1, 100, 0);
        standings.grant_lease(HOST, 2, 150, 50);
        assert_eq!(
            standings.judge(HOST, 2, 99),
            Fenced::NotYet {
                lease_ends_unix_ms: 100
            }
        );
        assert_eq!(standings.judge(HOST, 2, 100), Fenced::LeaseEnded);
        assert_eq!(standings.seen(HOST).lease_ends_unix_ms, 150);
    }
}
