//! What a scrape reads at its moment: the kernel's maps, and the state of the other tasks. Nothing has to be
//! kept in step, because nothing is kept.

use crate::{
    clock::BootTime,
    datapath::MapFill,
    keeper::{Board, KeeperHandle, Kind, View},
    renew::Standing,
    totals::{SlotCounts, Totals},
};
use pairgate_abi::{limits, map};
use prometheus::{
    Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use std::sync::Arc;
use tokio::sync::watch;

/// Where a scrape looks.
#[derive(Debug)]
pub struct Seen {
    pub keeper: KeeperHandle,
    pub totals: Arc<Totals>,
    pub fill: Arc<MapFill>,
    pub connected: watch::Receiver<bool>,
    /// Revision of the newest goal state that came.
    pub goal: watch::Receiver<u64>,
    pub certificate: watch::Receiver<Standing>,
}

/// The counts of every slot in use, of slot 0, and of guests that are gone.
pub fn sum(totals: &Totals, view: &View) -> SlotCounts {
    let mut sum = totals.retired();
    sum.add(&totals.of_slot(0));
    for seat in view.guests.values().filter_map(|guest| guest.seat) {
        sum.add(&totals.of_slot(seat.slot));
    }
    sum
}

/// The collector. What it registers only describes itself; each scrape fills new families.
pub(super) struct FromKernel {
    seen: Seen,
    families: Families,
}

/// One look at everything.
struct Moment<'a> {
    counts: &'a SlotCounts,
    view: &'a View,
    entries: Vec<(&'static str, usize)>,
    connected: bool,
    board: &'a Board,
    guard: bool,
    goal: u64,
    certificate_ends_unix_ms: u64,
    now: BootTime,
}

struct Families {
    packets: IntCounterVec,
    bytes: IntCounterVec,
    lost: IntCounter,
    pairs: IntGaugeVec,
    taps: IntGaugeVec,
    entries: IntGaugeVec,
    capacity: IntGaugeVec,
    build: IntGaugeVec,
    lease: Gauge,
    certificate: Gauge,
    goal: IntGauge,
    applied: IntGauge,
    tombstones: IntGauge,
    connected: IntGauge,
    findings: IntCounterVec,
    standing: IntGauge,
    walk: Gauge,
    guard: IntGauge,
}

impl Families {
    fn new() -> Result<Self, prometheus::Error> {
        let counters = |name, help, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let gauges = |name, help, labels: &[&str]| IntGaugeVec::new(Opts::new(name, help), labels);
        Ok(Self {
            packets: counters(
                "pairgate_packets_total",
                "Packets the programs judged",
                &["verdict", "reason", "direction"],
            )?,
            bytes: counters(
                "pairgate_bytes_total",
                "Bytes of packets that passed",
                &["direction"],
            )?,
            lost: IntCounter::new(
                "pairgate_events_lost_total",
                "Events and first packets that the agent was too slow for",
            )?,
            pairs: gauges("pairgate_pairs", "Pair entries in the kernel", &["way"])?,
            taps: gauges("pairgate_taps", "Taps of this host's guests", &["state"])?,
            entries: gauges("pairgate_map_entries", "Entries in a map of the kernel", &["map"])?,
            capacity: gauges("pairgate_map_capacity", "Entries that fit in the map", &["map"])?,
            build: gauges(
                "pairgate_build_info",
                "Version of the agent and of its kernel contract",
                &["version", "abi"],
            )?,
            lease: Gauge::new(
                "pairgate_lease_remaining_seconds",
                "Until the kernel refuses every pair of this host",
            )?,
            certificate: Gauge::new(
                "pairgate_certificate_expiry_timestamp_seconds",
                "When this host's certificate ends, Unix time",
            )?,
            goal: IntGauge::new(
                "pairgate_goal_revision",
                "Newest goal state that the registry sent",
            )?,
            applied: IntGauge::new("pairgate_applied_revision", "Goal state in force")?,
            tombstones: IntGauge::new("pairgate_tombstones", "Things remembered as dead")?,
            connected: IntGauge::new(
                "pairgate_registry_connected",
                "Whether the registry's goal state is followed",
            )?,
            findings: counters(
                "pairgate_audit_findings_total",
                "What was not as declared in the kernel",
                &["kind"],
            )?,
            standing: IntGauge::new(
                "pairgate_audit_standing",
                "What is not as declared and not the agent's to mend",
            )?,
            walk: Gauge::new(
                "pairgate_audit_walk_seconds",
                "What the last walk through the maps of pairs took",
            )?,
            guard: IntGauge::new(
                "pairgate_xdp_guard",
                "Whether the guard in the uplink's driver is on",
            )?,
        })
    }

    fn all(&self) -> [&dyn Collector; 18] {
        [
            &self.packets,
            &self.bytes,
            &self.lost,
            &self.pairs,
            &self.taps,
            &self.entries,
            &self.capacity,
            &self.build,
            &self.lease,
            &self.certificate,
            &self.goal,
            &self.applied,
            &self.tombstones,
            &self.connected,
            &self.findings,
            &self.standing,
            &self.walk,
            &self.guard,
        ]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.all().iter().flat_map(|family| family.collect()).collect()
    }

    fn fill(&self, moment: &Moment<'_>) {
        self.count(moment.counts);
        let view = moment.view;
        let pairs = [
            ("in", map::PAIRS_IN, view.counts.incoming()),
            ("out", map::PAIRS_OUT, view.counts.outgoing()),
        ];
        for (way, name, count) in pairs {
            self.pairs.with_label_values(&[way]).set(number(count));
            self.room(name, count, limits::PAIRS);
        }
        for (name, count) in &moment.entries {
            self.room(name, *count, MapFill::capacity(name));
        }
        let count = |state| view.guests.values().filter(|guest| guest.state == state).count();
        let (guarded, absent) = (count("guarded"), count("absent"));
        let failed = view.guests.len().saturating_sub(guarded + absent);
        for (state, taps) in [("guarded", guarded), ("absent", absent), ("failed", failed)] {
            self.taps.with_label_values(&[state]).set(number(taps));
        }
        let abi = pairgate_abi::ABI_VERSION.to_string();
        let version = env!("CARGO_PKG_VERSION");
        self.build.with_label_values(&[version, &abi]).set(1);
        self.lease.set(moment.now.until(view.lease).as_secs_f64());
        self.certificate
            .set(moment.certificate_ends_unix_ms as f64 / 1000.0);
        let revision = |revision| i64::try_from(revision).unwrap_or(i64::MAX);
        self.goal.set(revision(moment.goal));
        self.applied.set(revision(view.applied.unwrap_or(0)));
        let tombstones = view.goal.as_ref().map_or(0, |goal| goal.tombstones.len());
        self.tombstones.set(number(tombstones));
        self.connected.set(i64::from(moment.connected));
        for kind in Kind::ALL {
            let count = self.findings.with_label_values(&[kind.word()]);
            count.inc_by(moment.board.count(kind));
        }
        self.standing.set(number(moment.board.standing().len()));
        self.walk.set(moment.board.walk().as_secs_f64());
        self.guard.set(i64::from(moment.guard));
    }

    fn count(&self, counts: &SlotCounts) {
        self.lost.inc_by(counts.lost());
        for (direction, reason, packets) in counts.dropped() {
            let labels = ["drop", reason.word(), direction.word()];
            self.packets.with_label_values(&labels).inc_by(packets);
        }
        for (direction, count) in counts.passed() {
            let labels = ["pass", "", direction.word()];
            self.packets.with_label_values(&labels).inc_by(count.packets);
            let bytes = self.bytes.with_label_values(&[direction.word()]);
            bytes.inc_by(count.bytes);
        }
    }

    fn room(&self, map: &str, entries: usize, capacity: u32) {
        self.entries.with_label_values(&[map]).set(number(entries));
        self.capacity.with_label_values(&[map]).set(i64::from(capacity));
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl FromKernel {
    pub(super) fn new(seen: Seen) -> Result<Self, prometheus::Error> {
        Ok(Self {
            seen,
            families: Families::new()?,
        })
    }
}

impl Collector for FromKernel {
    fn desc(&self) -> Vec<&Desc> {
        let all = self.families.all();
        all.into_iter().flat_map(|family| family.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // The names were accepted once, so they are accepted again.
        let Ok(families) = Families::new() else {
            return Vec::new();
        };
        let seen = &self.seen;
        let view = seen.keeper.view();
        families.fill(&Moment {
            counts: &sum(&seen.totals, &view),
            view: &view,
            entries: seen.fill.entries(),
            connected: *seen.connected.borrow(),
            board: seen.keeper.board(),
            guard: seen.keeper.guard().is_on(),
            goal: *seen.goal.borrow(),
            certificate_ends_unix_ms: seen.certificate.borrow().life.ends_unix_ms,
            now: BootTime::now(),
        });
        families.collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use pairgate_abi::{DROP_REASONS, Direction};
    use prometheus::{Encoder, TextEncoder};

    /// Everything as it is before anything has happened.
    pub(in crate::metrics) fn filled() -> Vec<MetricFamily> {
        let families = Families::new().unwrap();
        families.fill(&Moment {
            counts: &SlotCounts::default(),
            view: &View::default(),
            entries: MapFill::MAPS.map(|(name, _)| (name, 0)).to_vec(),
            connected: false,
            board: &Board::default(),
            guard: false,
            goal: 0,
            certificate_ends_unix_ms: 1_500,
            now: BootTime::ZERO,
        });
        families.collect()
    }

    #[test]
    fn every_drop_reason_is_shown_for_every_direction_before_anything_was_dropped() {
        let mut text = Vec::new();
        TextEncoder::new().encode(&filled(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        for direction in Direction::ALL {
            for reason in DROP_REASONS {
                let line = format!(
                    "pairgate_packets_total{{direction=\"{}\",reason=\"{}\",verdict=\"drop\"}} 0",
                    direction.word(),
                    reason.word()
                );
                assert!(text.contains(&line), "{line}");
            }
        }
        for line in [
            "pairgate_certificate_expiry_timestamp_seconds 1.5",
            "pairgate_map_capacity{map=\"PAIRS_IN\"} 131072",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }
}
