//! What `/metrics` shows. Names and labels are fixed here and nowhere else.
//!
//! | name | labels | what |
//! |---|---|---|
//! | `pairgate_packets_total` | `verdict` (`drop`, `pass`), `reason`, `direction` | packets the programs judged; every reason and direction is there from the start |
//! | `pairgate_bytes_total` | `direction` | bytes of the packets that passed |
//! | `pairgate_pairs` | `way` (`in`, `out`) | entries in the kernel |
//! | `pairgate_lease_seconds_left` | | until the kernel refuses every pair of this host |
//! | `pairgate_applied_revision` | | goal state in force; 0 before the first |
//! | `pairgate_tombstones` | | things remembered as dead |
//! | `pairgate_taps` | `state` (`guarded`, `failed`) | guests of this host |
//! | `pairgate_registry_connected` | | 1 while a goal state is followed |
//! | `pairgate_mints_total` | `result` | requests to the registry for a token |
//! | `pairgate_offers_total` | `side` (`sent`, `received`), `result` | offers to, and from, other hosts |
//! | `pairgate_renewals_total` | `result` (`renewed`, `failed`) | new tokens for pairs that are open |
//! | `pairgate_build_info` | `version`, `abi` | 1 |
//!
//! VMs are no labels: their number is not bounded by us. `pairgate drops` tells them apart.

use crate::{
    admit::Refusal,
    clock::BootTime,
    keeper::{KeeperHandle, View},
    present::OfferError,
    request::mint::MintError,
    totals::{SlotCounts, Totals},
};
use prometheus::{
    Encoder, Gauge, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use std::sync::Arc;
use tokio::sync::watch;

/// The counters of the agent itself.
#[derive(Clone, Debug)]
pub struct Metrics {
    mints: IntCounterVec,
    offers: IntCounterVec,
    renewals: IntCounterVec,
}

impl Metrics {
    /// Every result is there from the start, at 0: what has never happened must not look like what is not
    /// measured.
    pub fn new() -> Result<Self, prometheus::Error> {
        let mints = Opts::new(
            "pairgate_mints_total",
            "Requests to the registry for a token, by result",
        );
        let mints = IntCounterVec::new(mints, &["result"])?;
        for word in MintError::WORDS {
            mints.with_label_values(&[word]);
        }
        let offers = Opts::new(
            "pairgate_offers_total",
            "Offers to and from other hosts, by result",
        );
        let offers = IntCounterVec::new(offers, &["side", "result"])?;
        for word in OfferError::WORDS {
            offers.with_label_values(&["sent", word]);
        }
        for word in Refusal::words().chain(["accepted"]) {
            offers.with_label_values(&["received", word]);
        }
        let renewals = Opts::new(
            "pairgate_renewals_total",
            "New tokens for pairs that are open, by result",
        );
        let renewals = IntCounterVec::new(renewals, &["result"])?;
        for word in ["renewed", "failed"] {
            renewals.with_label_values(&[word]);
        }
        Ok(Self {
            mints,
            offers,
            renewals,
        })
    }

    pub fn minted(&self, result: &'static str) {
        self.mints.with_label_values(&[result]).inc();
    }

    pub fn renewed(&self, result: &'static str) {
        self.renewals.with_label_values(&[result]).inc();
    }

    /// We offered.
    pub fn offered(&self, result: &'static str) {
        self.offers.with_label_values(&["sent", result]).inc();
    }

    /// We were offered.
    pub fn received(&self, result: &'static str) {
        self.offers.with_label_values(&["received", result]).inc();
    }
}

/// Everything `/metrics` shows.
#[derive(Debug)]
pub struct Scrape {
    registry: Registry,
}

impl Scrape {
    pub fn new(
        metrics: &Metrics,
        keeper: KeeperHandle,
        totals: Arc<Totals>,
        connected: watch::Receiver<bool>,
    ) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        registry.register(Box::new(metrics.mints.clone()))?;
        registry.register(Box::new(metrics.offers.clone()))?;
        registry.register(Box::new(metrics.renewals.clone()))?;
        registry.register(Box::new(FromKernel::new(keeper, totals, connected)?))?;
        let process = prometheus::process_collector::ProcessCollector::for_self();
        registry.register(Box::new(process))?;
        Ok(Self { registry })
    }

    /// The text format. Reads the maps, so it takes a moment and blocks.
    pub fn text(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
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

/// Reads the kernel's maps and the keeper's view when asked, so that nothing has to be kept in step.
struct FromKernel {
    keeper: KeeperHandle,
    totals: Arc<Totals>,
    connected: watch::Receiver<bool>,
    families: Families,
}

/// Made new for every scrape; the ones kept only describe themselves.
struct Families {
    packets: IntCounterVec,
    bytes: IntCounterVec,
    pairs: IntGaugeVec,
    taps: IntGaugeVec,
    build: IntGaugeVec,
    lease: Gauge,
    revision: IntGauge,
    tombstones: IntGauge,
    connected: IntGauge,
}

impl Families {
    fn new() -> Result<Self, prometheus::Error> {
        let packets = Opts::new("pairgate_packets_total", "Packets the programs judged");
        let bytes = Opts::new("pairgate_bytes_total", "Bytes of packets that passed");
        let pairs = Opts::new("pairgate_pairs", "Pair entries in the kernel");
        let taps = Opts::new("pairgate_taps", "Taps of this host's guests");
        let build = Opts::new(
            "pairgate_build_info",
            "Version of the agent and of its kernel contract",
        );
        Ok(Self {
            packets: IntCounterVec::new(packets, &["verdict", "reason", "direction"])?,
            bytes: IntCounterVec::new(bytes, &["direction"])?,
            pairs: IntGaugeVec::new(pairs, &["way"])?,
            taps: IntGaugeVec::new(taps, &["state"])?,
            build: IntGaugeVec::new(build, &["version", "abi"])?,
            lease: Gauge::new(
                "pairgate_lease_seconds_left",
                "Until the kernel refuses every pair of this host",
            )?,
            revision: IntGauge::new("pairgate_applied_revision", "Goal state in force")?,
            tombstones: IntGauge::new("pairgate_tombstones", "Things remembered as dead")?,
            connected: IntGauge::new(
                "pairgate_registry_connected",
                "Whether the registry's goal state is followed",
            )?,
        })
    }

    fn all(&self) -> [&dyn Collector; 9] {
        [
            &self.packets,
            &self.bytes,
            &self.pairs,
            &self.taps,
            &self.build,
            &self.lease,
            &self.revision,
            &self.tombstones,
            &self.connected,
        ]
    }

    fn fill(&self, counts: &SlotCounts, view: &View, connected: bool, now: BootTime) {
        for (direction, reason, packets) in counts.dropped() {
            let labels = ["drop", reason.word(), direction.word()];
            self.packets.with_label_values(&labels).inc_by(packets);
        }
        for (direction, count) in counts.passed() {
            let labels = ["pass", "", direction.word()];
            self.packets.with_label_values(&labels).inc_by(count.packets);
            self.bytes
                .with_label_values(&[direction.word()])
                .inc_by(count.bytes);
        }
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.pairs
            .with_label_values(&["in"])
            .set(number(view.counts.incoming()));
        self.pairs
            .with_label_values(&["out"])
            .set(number(view.counts.outgoing()));
        let guarded = view
            .guests
            .values()
            .filter(|guest| guest.state == "guarded")
            .count();
        self.taps.with_label_values(&["guarded"]).set(number(guarded));
        self.taps
            .with_label_values(&["failed"])
            .set(number(view.guests.len().saturating_sub(guarded)));
        let abi = pairgate_abi::ABI_VERSION.to_string();
        self.build
            .with_label_values(&[env!("CARGO_PKG_VERSION"), &abi])
            .set(1);
        self.lease.set(now.until(view.lease).as_secs_f64());
        let revision = view.applied.unwrap_or(0);
        self.revision.set(i64::try_from(revision).unwrap_or(i64::MAX));
        let tombstones = view.goal.as_ref().map_or(0, |goal| goal.tombstones.len());
        self.tombstones.set(number(tombstones));
        self.connected.set(i64::from(connected));
    }
}

impl FromKernel {
    fn new(
        keeper: KeeperHandle,
        totals: Arc<Totals>,
        connected: watch::Receiver<bool>,
    ) -> Result<Self, prometheus::Error> {
        Ok(Self {
            keeper,
            totals,
            connected,
            families: Families::new()?,
        })
    }
}

impl Collector for FromKernel {
    fn desc(&self) -> Vec<&Desc> {
        let all = [
            self.families.packets.desc(),
            self.families.bytes.desc(),
            self.families.pairs.desc(),
            self.families.taps.desc(),
            self.families.build.desc(),
            self.families.lease.desc(),
            self.families.revision.desc(),
            self.families.tombstones.desc(),
            self.families.connected.desc(),
        ];
        all.into_iter().flatten().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // The names were accepted once, so they are accepted again.
        let Ok(families) = Families::new() else {
            return Vec::new();
        };
        let view = self.keeper.view();
        let counts = sum(&self.totals, &view);
        families.fill(&counts, &view, *self.connected.borrow(), BootTime::now());
        families
            .all()
            .iter()
            .flat_map(|family| family.collect())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pairgate_abi::{DROP_REASONS, Direction};

    fn text(families: &Families) -> String {
        let mut text = Vec::new();
        let collected: Vec<_> = families
            .all()
            .iter()
            .flat_map(|family| family.collect())
            .collect();
        TextEncoder::new().encode(&collected, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn every_drop_reason_is_shown_for_every_direction_before_anything_was_dropped() {
        let families = Families::new().unwrap();
        families.fill(&SlotCounts::default(), &View::default(), false, BootTime::ZERO);
        let text = text(&families);
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
    }

    #[test]
    fn results_are_shown_before_they_happen() {
        let metrics = Metrics::new().unwrap();
        let shown = metrics.offers.collect();
        let count: usize = shown.iter().map(|family| family.get_metric().len()).sum();
        assert_eq!(count, OfferError::WORDS.len() + Refusal::words().count() + 1);
    }
}
