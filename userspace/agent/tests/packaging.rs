//! The board and the alert rules in `userspace/packaging` speak of metrics, reasons and results: each must be
//! one that this agent has, or an operator looks at an empty panel and an alert that never comes. That they
//! really are in a scrape is seen end to end, in `tests/e2e`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use pairgate_abi::{DROP_REASONS, Direction};
use pairgate_agent::request::mint::MintError;
use std::collections::BTreeSet;

/// Where names and labels are fixed, and nowhere else.
const METRICS: [&str; 2] = [
    include_str!("../src/metrics.rs"),
    include_str!("../src/metrics/seen.rs"),
];
const BOARD: &str = include_str!("../../packaging/grafana/pairgate-hosts.json");
const ALERTS: &str = include_str!("../../packaging/prometheus/alerts.yaml");

/// Every word of a text that begins like a metric of ours.
fn names(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("pairgate_"))
        .collect()
}

/// The values that a text wants of a label: `label="a"` and `label=~"a|b"`.
fn values<'a>(text: &'a str, label: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    for operator in ["=", "=~"] {
        for quote in ["\"", "\\\""] {
            let start = format!("{label}{operator}{quote}");
            for (at, _) in text.match_indices(&start) {
                let rest = &text[at + start.len()..];
                found.extend(rest[..rest.find(['"', '\\']).unwrap()].split('|'));
            }
        }
    }
    found
}

#[test]
fn every_metric_that_board_and_alerts_name_is_in_the_agents_list() {
    // In quotes: what is given to the Prometheus crate, not what is only written about.
    let ours: BTreeSet<&str> = METRICS
        .iter()
        .flat_map(|text| text.split('"'))
        .filter(|text| names(text).contains(text))
        .collect();
    assert!(ours.contains("pairgate_packets_total"), "{ours:?}");
    // The agents' job in Prometheus is no metric: its name has no underscore.
    for (file, text) in [("board", BOARD), ("alerts", ALERTS)] {
        let wanted = names(text);
        assert!(wanted.len() > 4, "{file}: {wanted:?}");
        let unknown: Vec<_> = wanted.difference(&ours).collect();
        assert!(
            unknown.is_empty(),
            "{file} names {unknown:?}, of which the agent knows nothing"
        );
    }
}

#[test]
fn every_reason_direction_and_result_they_ask_for_exists() {
    let reasons: BTreeSet<_> = DROP_REASONS.iter().map(|reason| reason.word()).collect();
    let directions: BTreeSet<_> = Direction::ALL.iter().map(|direction| direction.word()).collect();
    for text in [BOARD, ALERTS] {
        for (label, known) in [
            ("reason", &reasons),
            ("direction", &directions),
            ("result", &MintError::WORDS.into()),
            ("verdict", &["drop", "pass"].into()),
            ("state", &["guarded", "absent", "failed"].into()),
        ] {
            let unknown: Vec<_> = values(text, label).difference(known).copied().collect();
            assert!(unknown.is_empty(), "{label} {unknown:?}");
        }
    }
    assert!(
        values(ALERTS, "reason").contains("handle"),
        "the search itself finds nothing"
    );
    assert!(
        values(BOARD, "verdict").contains("pass"),
        "the search itself finds nothing"
    );
}
