//! What `/metrics` shows. Names and labels are fixed here and nowhere else.
//!
//! | name | labels | what |
//! |---|---|---|
//! | `pairgate_packets_total` | `verdict` (`drop`, `pass`), `reason`, `direction` | packets the programs judged; every reason and direction is there from the start |
//! | `pairgate_bytes_total` | `direction` | bytes of the packets that passed |
//! | `pairgate_events_lost_total` | | events and first packets that the agent was too slow for |
//! | `pairgate_pairs` | `way` (`in`, `out`) | entries in the kernel |
//! | `pairgate_map_entries`, `pairgate_map_capacity` | `map` | how full the kernel's maps are |
//! | `pairgate_lease_remaining_seconds` | | until the kernel refuses every pair of this host |
//! | `pairgate_certificate_expiry_timestamp_seconds` | | when this host's certificate ends, Unix time |
//! | `pairgate_goal_revision` | | newest goal state that the registry sent; 0 before the first |
//! | `pairgate_applied_revision` | | goal state in force; 0 before the first |
//! | `pairgate_tombstones` | | things remembered as dead |
//! | `pairgate_taps` | `state` (`guarded`, `absent`, `failed`) | guests of this host |
//! | `pairgate_registry_connected` | | 1 while a goal state is followed |
//! | `pairgate_mints_total` | `result` | requests to the registry for a token |
//! | `pairgate_offers_total` | `side` (`sent`, `received`), `result` | offers to, and from, other hosts |
//! | `pairgate_renewals_total` | `result` (`renewed`, `failed`) | new tokens for pairs that are open |
//! | `pairgate_audit_findings_total` | `kind` | what was not as declared in the kernel: entries, programs, pins, settings |
//! | `pairgate_audit_standing` | | of these, what is still so and not the agent's to mend |
//! | `pairgate_audit_walk_seconds` | | what the last walk through the maps of pairs took |
//! | `pairgate_xdp_guard` | | 1 while the guard in the uplink's driver is on |
//! | `pairgate_guest_questions_total` | `protocol` (`dhcpv4`, `dhcpv6`, `router`), `result` | what guests asked about their configuration, and what they were told, or why they were not |
//! | `pairgate_build_info` | `version`, `abi` | 1 |
//!
//! VMs, pairs and peers are no labels: their number is not bounded by us. `pairgate drops` and `pairgate pairs`
//! tell them apart. Counters end in `_total`, units are seconds and bytes and stand at the end; a test holds
//! every name to it.

mod seen;

pub use seen::{Seen, sum};

use crate::{
    admit::Refusal,
    guest_config::{Kind, Protocol, Silence},
    present::OfferError,
    request::mint::MintError,
};
use prometheus::{Encoder, IntCounterVec, Opts, Registry, TextEncoder};
use seen::FromKernel;

/// The counters of the agent itself.
#[derive(Clone, Debug)]
pub struct Metrics {
    mints: IntCounterVec,
    offers: IntCounterVec,
    renewals: IntCounterVec,
    questions: IntCounterVec,
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
        let questions = Opts::new(
            "pairgate_guest_questions_total",
            "What guests asked about their configuration, by what came of it",
        );
        let questions = IntCounterVec::new(questions, &["protocol", "result"])?;
        for protocol in Protocol::ALL {
            let answers = Kind::ALL.into_iter().filter(|kind| kind.protocol() == protocol);
            let words = answers.map(Kind::word).chain(Silence::ALL.map(Silence::word));
            for word in words {
                questions.with_label_values(&[protocol.word(), word]);
            }
        }
        Ok(Self {
            mints,
            offers,
            renewals,
            questions,
        })
    }

    pub fn minted(&self, result: &'static str) {
        self.mints.with_label_values(&[result]).inc();
    }

    pub fn renewed(&self, result: &'static str) {
        self.renewals.with_label_values(&[result]).inc();
    }

    /// A guest has asked about its configuration.
    pub fn configured(&self, protocol: Protocol, result: &'static str) {
        self.questions.with_label_values(&[protocol.word(), result]).inc();
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
    pub fn new(metrics: &Metrics, seen: Seen) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        registry.register(Box::new(metrics.mints.clone()))?;
        registry.register(Box::new(metrics.offers.clone()))?;
        registry.register(Box::new(metrics.renewals.clone()))?;
        registry.register(Box::new(metrics.questions.clone()))?;
        registry.register(Box::new(FromKernel::new(seen)?))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::core::Collector;

    #[test]
    fn results_are_shown_before_they_happen() {
        let metrics = Metrics::new().unwrap();
        let shown = metrics.offers.collect();
        let count: usize = shown.iter().map(|family| family.get_metric().len()).sum();
        assert_eq!(count, OfferError::WORDS.len() + Refusal::words().count() + 1);
    }

    /// Everything that a scrape has, the agent's own counters and what is read from the kernel.
    fn families() -> Vec<prometheus::proto::MetricFamily> {
        let metrics = Metrics::new().unwrap();
        metrics
            .mints
            .collect()
            .into_iter()
            .chain(metrics.offers.collect())
            .chain(metrics.renewals.collect())
            .chain(metrics.questions.collect())
            .chain(seen::tests::filled())
            .collect()
    }

    #[test]
    fn names_say_what_is_counted_in_which_unit_and_labels_are_bounded() {
        const LABELS: [&str; 12] = [
            "kind",
            "verdict",
            "reason",
            "direction",
            "way",
            "state",
            "map",
            "result",
            "side",
            "protocol",
            "version",
            "abi",
        ];
        let mut seen = std::collections::BTreeSet::new();
        for family in families() {
            let name = family.name();
            assert!(seen.insert(name.to_owned()), "{name} is there twice");
            assert!(name.starts_with("pairgate_"), "{name}: the prefix");
            assert!(!family.help().is_empty(), "{name} has no help");
            let is_counter = family.get_field_type() == prometheus::proto::MetricType::COUNTER;
            assert_eq!(
                name.ends_with("_total"),
                is_counter,
                "{name}: _total is for counters"
            );
            let stem = name.trim_end_matches("_total");
            for (word, unit) in [("second", "_seconds"), ("time", "_seconds"), ("byte", "_bytes")] {
                assert!(
                    !stem.contains(word) || stem.ends_with(unit),
                    "{name}: the unit stands last"
                );
            }
            for small in ["_ms", "_millis", "_ns", "_minutes", "_kb"] {
                assert!(!stem.contains(small), "{name}: base units only");
            }
            for metric in family.get_metric() {
                for label in metric.get_label() {
                    assert!(
                        LABELS.contains(&label.name()),
                        "{name} is told apart by {}",
                        label.name()
                    );
                }
                if name.ends_with("_info") {
                    assert_eq!(metric.get_gauge().get_value(), 1.0, "{name}");
                }
            }
        }
        assert!(seen.len() > 15, "the test itself sees nothing: {seen:?}");
    }

    #[test]
    fn the_list_at_the_top_of_this_file_is_what_a_scrape_has() {
        let listed: std::collections::BTreeSet<_> = include_str!("metrics.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("//! | "))
            .filter_map(|row| row.split(" | ").next())
            .flat_map(|names| names.split('`').filter(|text| text.starts_with("pairgate_")))
            .map(str::to_owned)
            .collect();
        let shown: std::collections::BTreeSet<_> =
            families().iter().map(|family| family.name().to_owned()).collect();
        assert_eq!(listed, shown);
    }
}
