//! `pairgate pair`.

use crate::arguments::{Name, Options};
use crate::client::Registry;
use crate::failure::{Answer, Failure};
use crate::output::{Table, reply};
use crate::times::utc;
use clap::Subcommand;
use pairgate_api::rest::{DENIAL_WAIT_MAX_SECS, Denial, DeniedDirection, NewDenial, NewPair, Pair};
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Let two VMs talk, in both directions
    #[command(after_help = "Example:\n  pairgate pair allow web1 db1")]
    Allow {
        /// One VM
        #[arg(value_name = "VM")]
        source: Name,
        /// The other
        #[arg(value_name = "OTHER_VM")]
        destination: Name,
    },
    /// Stop two VMs from talking, in both directions; when it returns 0, the packets have stopped
    #[command(
        after_help = "Exit code 1 says that not every host has confirmed in time. The denial stands all the \
                      same: such a host stops by itself when its lease ends, which is printed.\n\n\
                      Example:\n  pairgate pair deny web1 db1 --timeout 30"
    )]
    Deny {
        /// One VM
        #[arg(value_name = "VM")]
        source: Name,
        /// The other
        #[arg(value_name = "OTHER_VM")]
        destination: Name,
        /// How long to wait for the hosts' receipts, at most 300; 0 returns as soon as the denial cannot be lost
        #[arg(long, value_name = "SECS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=DENIAL_WAIT_MAX_SECS))]
        timeout: u64,
    },
    /// What is allowed in the network
    #[command(after_help = "Example:\n  pairgate pair list -o json")]
    List,
}

pub(crate) async fn run(command: Command, options: &Options) -> Result<Answer, Failure> {
    let registry = Registry::new(options)?;
    let network = format!("networks/{}", options.in_network);
    let (pairs, denials) = (format!("{network}/pairs"), format!("{network}/denials"));
    match command {
        Command::Allow { source, destination } => {
            let what = format!("cannot allow {source} and {destination} to talk");
            let body = NewPair {
                source: source.into(),
                destination: destination.into(),
            };
            let answer = registry.post(&what, &pairs, &body).await?;
            reply(&answer, options.output, |pairs: &Vec<Pair>| list(pairs))?;
        }
        Command::List => {
            let answer = registry.get("cannot list pairs", &pairs).await?;
            reply(&answer, options.output, |pairs: &Vec<Pair>| list(pairs))?;
        }
        Command::Deny {
            source,
            destination,
            timeout,
        } => {
            let what = format!("cannot confirm that {source} and {destination} have stopped talking");
            let body = NewDenial {
                source: source.into(),
                destination: destination.into(),
                timeout_ms: timeout * 1_000,
            };
            let wait = Duration::from_secs(timeout);
            let answer = registry.post_and_wait(&what, &denials, &body, wait).await?;
            reply(&answer, options.output, receipts)?;
            if !answer.value.applied {
                return Err(unanswered(&answer.value, timeout));
            }
        }
    }
    Ok(Answer::Yes)
}

fn list(pairs: &[Pair]) -> String {
    let mut table = Table::new(["SOURCE", "DESTINATION", "GRANT", "SINCE", "PAIR ID"]);
    for pair in pairs {
        table.row([
            pair.source.clone(),
            pair.destination.clone(),
            pair.grant.clone(),
            utc(pair.since_unix_ms),
            pair.id.to_string(),
        ]);
    }
    table.render()
}

fn receipts(denial: &Denial) -> String {
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
pub(crate) fn unanswered(denial: &Denial, timeout_secs: u64) -> Failure {
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
        "the denial stands, but is not confirmed everywhere",
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
        let failure = unanswered(&denial, 10);
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
