//! The auditor: compares what the kernel has with what it should have, puts right what it can, counts it and says it
//! once.
//!
//! It never asks how something came about. Whoever changes maps, pins, programs or settings under a running agent is
//! root on this host, so none of this is a defence; it is there so that a mistake, or another tool, is seen within
//! seconds and does not stay. What is declared is what the keeper has written and nothing has ended since
//! ([`super::book`]); the kernel's word counts only at the agent's start.
//!
//! The maps of pairs are read a slice at a time, so that a full host's hundred thousand entries never keep an offer
//! waiting; see [`limits`](super::limits).

mod budgets;
mod entries;
mod places;

pub(super) use entries::Walks;

use arc_swap::ArcSwap;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// What is not as declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An entry of a map that nobody here has written.
    Stray,
    /// An entry that says something else than what was written.
    Altered,
    /// An entry that is gone before its end.
    Missing,
    /// A program that was taken off its interface.
    Program,
    /// A map or link without its pin.
    Pin,
    /// Somebody else's program that sees packets before ours.
    Foreign,
    /// A kernel setting of a tap or of the VXLAN device.
    Setting,
    /// An interface of ours that was changed, or is used by somebody else too.
    Device,
    /// The guard in the uplink's driver, which was wanted and is not on.
    Guard,
}

impl Kind {
    pub const ALL: [Self; 9] = [
        Self::Stray,
        Self::Altered,
        Self::Missing,
        Self::Program,
        Self::Pin,
        Self::Foreign,
        Self::Setting,
        Self::Device,
        Self::Guard,
    ];

    /// The metric label, and the word in the status.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Stray => "stray",
            Self::Altered => "altered",
            Self::Missing => "missing",
            Self::Program => "program",
            Self::Pin => "pin",
            Self::Foreign => "foreign",
            Self::Setting => "setting",
            Self::Device => "device",
            Self::Guard => "guard",
        }
    }
}

/// One thing that is not as declared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub kind: Kind,
    /// A sentence's worth, with names and numbers.
    pub what: String,
}

impl Finding {
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
        }
    }
}

/// What the auditor has seen, for those who show it.
#[derive(Debug, Default)]
pub struct Board {
    counts: [AtomicU64; Kind::ALL.len()],
    /// What it cannot put right, and is still so.
    standing: ArcSwap<Vec<Finding>>,
    walk_ns: AtomicU64,
}

impl Board {
    /// Findings so far, each counted once while it stands.
    pub fn count(&self, kind: Kind) -> u64 {
        self.counts
            .get(kind as usize)
            .map_or(0, |count| count.load(Ordering::Relaxed))
    }

    pub fn standing(&self) -> Arc<Vec<Finding>> {
        self.standing.load_full()
    }

    /// Time that the last walk through the maps of pairs has taken the keeper, all its slices together.
    pub fn walk(&self) -> Duration {
        Duration::from_nanos(self.walk_ns.load(Ordering::Relaxed))
    }

    fn add(&self, kind: Kind) {
        if let Some(count) = self.counts.get(kind as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn took(&self, walk_ns: u64) {
        self.walk_ns.store(walk_ns, Ordering::Relaxed);
    }
}

/// What the keeper remembers between two looks.
#[derive(Debug, Default)]
pub(super) struct Auditor {
    pub(super) walks: Walks,
    pub(super) board: Arc<Board>,
    /// What the last look at the places found and could not put right.
    standing: BTreeSet<Finding>,
    /// Where the next look at the settings begins: not every tap's are read each time.
    next_tap: u32,
    walked: Duration,
}

/// Lines that the log has of one kind in one look; the rest is a number.
const SAID: usize = 4;

impl Auditor {
    /// A step of a walk took so long; the sum is shown when the walk is over.
    pub(super) fn took(&mut self, step: Duration) {
        self.walked += step;
        if self.walks.are_over() {
            self.board
                .took(u64::try_from(self.walked.as_nanos()).unwrap_or(u64::MAX));
            self.walked = Duration::ZERO;
        }
    }

    /// Something was put right.
    pub(super) fn mended(&self, findings: &[Finding]) {
        let mut by_kind: BTreeMap<Kind, Vec<&str>> = BTreeMap::new();
        for finding in findings {
            self.board.add(finding.kind);
            by_kind.entry(finding.kind).or_default().push(&finding.what);
        }
        for (kind, found) in by_kind {
            for what in found.iter().take(SAID) {
                tracing::error!(
                    kind = kind.word(),
                    "the kernel was not as declared, mended: {what}"
                );
            }
            if let Some(more) = found.len().checked_sub(SAID).filter(|more| *more > 0) {
                tracing::error!(kind = kind.word(), more, "the kernel was not as declared, mended");
            }
        }
    }

    /// Everything that a look has found and could not put right: what is new is counted and said, what is no longer
    /// there is said, too.
    fn stands(&mut self, found: BTreeSet<Finding>) {
        for Finding { kind, what } in found.difference(&self.standing) {
            self.board.add(*kind);
            tracing::error!(
                kind = kind.word(),
                "not as declared, and not the agent's to mend: {what}"
            );
        }
        for Finding { kind, what } in self.standing.difference(&found) {
            tracing::info!(kind = kind.word(), "no longer so: {what}");
        }
        if found != self.standing {
            let shown = found.iter().cloned().collect();
            self.board.standing.store(Arc::new(shown));
            self.standing = found;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_is_counted_once_and_shown_until_it_is_gone() {
        let mut auditor = Auditor::default();
        let board = auditor.board.clone();
        let one = Finding::new(Kind::Foreign, "a program");
        for _ in 0..3 {
            auditor.stands(BTreeSet::from([one.clone()]));
        }
        assert_eq!(board.count(Kind::Foreign), 1, "a metric would grow for ever");
        assert_eq!(*board.standing(), [one]);
        auditor.stands(BTreeSet::new());
        assert_eq!(board.standing().len(), 0);
        assert_eq!(board.count(Kind::Foreign), 1);
    }

    #[test]
    fn every_kind_has_its_own_count() {
        let auditor = Auditor::default();
        for (times, kind) in Kind::ALL.into_iter().enumerate() {
            auditor.mended(&vec![Finding::new(kind, "x"); times + 1]);
        }
        for (times, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(auditor.board.count(kind), times as u64 + 1, "{}", kind.word());
        }
    }
}
