//! What has ended, and what the hosts have said to it: the same for a denial, another grant, other addresses and a
//! removal.

use crate::failure::Failure;
use crate::output::Table;
use crate::times::utc;
use pairgate_api::rest::{Denial, DeniedDirection};

pub(crate) fn receipts(denial: &Denial) -> String {
    if denial.directions.is_empty() {
        return "nothing was allowed that had to end".to_owned();
    }
    let mut table = Table::new(["DIRECTION", "HOST", "STATE", "WHEN", "UNDRAINED"]);
    for direction in &denial.directions {
        let when = match (direction.applied_unix_ms, direction.lease_ends_unix_ms) {
            (Some(applied), _) => utc(applied),
            (None, Some(ends)) => format!("lease ends {}", utc(ends)),
            (None, None) => "-".into(),
        };
        table.row([
            format!("{} -> {}", direction.source, direction.destination),
            direction.host.clone().unwrap_or_else(|| "-".into()),
            direction.state.clone(),
            when,
            direction.undrained.to_string(),
        ]);
    }
    let told = if denial.told.is_empty() {
        "nobody".to_owned()
    } else {
        denial.told.join(", ")
    };
    let mut notes = Table::plain();
    notes
        .property("revision", denial.revision)
        .property("told, not waited for", told);
    format!("{}\n\n{}", table.render(), notes.render())
}

/// What an operator must know when receipts are missing: who, until when, and that nothing has to be repeated.
/// `stands` is the change that need not be repeated, such as `the denial`.
pub(crate) fn unanswered(stands: &str, denial: &Denial, timeout_secs: u64) -> Failure {
    let missing = |direction: &&DeniedDirection| direction.state == "unanswered";
    let mut hosts: Vec<String> = denial
        .directions
        .iter()
        .filter(missing)
        .map(silent_host)
        .collect();
    hosts.sort();
    hosts.dedup();
    let who = if hosts.is_empty() {
        "not every host has confirmed".into()
    } else {
        hosts.join("; ")
    };
    Failure::failed(
        format!("{stands} stands, but is not confirmed everywhere"),
        format!("within {timeout_secs} s: {who}"),
    )
    .next(
        "nothing has to be repeated: a silent host refuses all its pairs by itself when its lease ends; \
           pairgate host list shows whether it is back",
    )
}

fn silent_host(direction: &DeniedDirection) -> String {
    let host = direction.host.as_deref().unwrap_or("a host without a name");
    match direction.lease_ends_unix_ms {
        Some(ends) => format!("{host} has not answered, its lease ends at {}", utc(ends)),
        None => format!("{host} has not answered, and when its lease ends is not known"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direction(source: &str, destination: &str, host: &str, state: &str) -> DeniedDirection {
        DeniedDirection {
            pair_id: 1,
            source: source.into(),
            destination: destination.into(),
            host: Some(host.into()),
            state: state.into(),
            applied_unix_ms: (state == "applied").then_some(0),
            undrained: 0,
            lease_ends_unix_ms: (state == "unanswered").then_some(1_794_406_292_123),
        }
    }

    #[test]
    fn receipts_are_one_line_for_each_direction() {
        let denial = Denial {
            applied: false,
            revision: 7,
            directions: vec![
                direction("web1", "db1", "h2", "applied"),
                direction("db1", "web1", "h1", "unanswered"),
            ],
            told: vec!["h1".into(), "h2".into()],
        };
        let text = receipts(&denial);
        let lines: Vec<_> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .collect();
        assert_eq!(
            lines[1],
            [
                "web1",
                "->",
                "db1",
                "h2",
                "applied",
                "1970-01-01T00:00:00.000Z",
                "0"
            ]
        );
        assert_eq!(
            lines[2][3..],
            [
                "h1",
                "unanswered",
                "lease",
                "ends",
                "2026-11-11T14:11:32.123Z",
                "0"
            ]
        );
        let failure = unanswered("the denial", &denial, 10);
        assert_eq!(failure.exit_code(), 1);
        let text = failure.to_string();
        assert!(text.contains("the denial stands"), "{text}");
        assert!(
            text.contains("h1 has not answered, its lease ends at 2026-11-11T14:11:32.123Z"),
            "{text}"
        );
        assert!(!text.contains("h2"), "{text}");
    }
}
