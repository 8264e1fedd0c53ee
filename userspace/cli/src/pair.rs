//! `pairgate pair`.

use crate::arguments::{Name, Options, Output};
use crate::client::Registry;
use crate::ending::{receipts, unanswered};
use crate::failure::{Answer, Failure};
use crate::output::{self, Table, reply};
use crate::times::utc;
use clap::Subcommand;
use pairgate_api::rest::{Allowed, DENIAL_WAIT_MAX_SECS, NewDenial, NewPair, Pair, Vm};
use pairgate_token::{GrantError, Grants};
use serde::Serialize;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Let two VMs talk, in both directions unless told otherwise
    #[command(
        after_help = "A grant is made of tcp/443, udp/1000-2000, sctp/9, tcp (all its ports), icmp (ICMP and ICMPv6) and \
                      proto/47 (an IP protocol by its number); ports are the ones that are opened at the destination. \
                      Without a grant, everything. What is allowed with the same grant already stays as it is; with \
                      another one it ends, and begins anew; exit code 1 says then that not every host has confirmed in \
                      time that the old grant is over, while the new one stands.\n\n\
                      Examples:\n  pairgate pair allow web1 db1\n  \
                      pairgate pair allow web1 db2 tcp/443 icmp --one-way"
    )]
    Allow {
        /// One VM
        #[arg(value_name = "VM")]
        source: Name,
        /// The other
        #[arg(value_name = "OTHER_VM")]
        destination: Name,
        /// What they may say to each other; everything unless given
        #[arg(value_name = "GRANT", value_parser = one_grant)]
        grant: Vec<String>,
        /// OTHER_VM may only answer what VM began
        #[arg(long)]
        one_way: bool,
        /// How long to wait for the hosts' receipts where another grant ends what was allowed, at most 300
        #[arg(long, value_name = "SECS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=DENIAL_WAIT_MAX_SECS))]
        timeout: u64,
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
    /// Whether a VM may open something at another, and what
    #[command(
        after_help = "Exit codes: 0 it may, 1 it may not, 3 could not tell. Without a grant it asks for anything at all; with \
                      several, all of them must be allowed. What only comes back as an answer is not asked about.\n\n\
                      Example:\n  pairgate pair check web1 db2 tcp/443"
    )]
    Check {
        /// Who would begin
        #[arg(value_name = "VM")]
        source: Name,
        /// Who would be asked
        #[arg(value_name = "OTHER_VM")]
        destination: Name,
        /// What it would say
        #[arg(value_name = "GRANT", value_parser = one_grant)]
        grant: Vec<String>,
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
        Command::Allow {
            source,
            destination,
            grant,
            one_way,
            timeout,
        } => {
            let what = format!("cannot allow {source} and {destination} to talk");
            let body = NewPair {
                source: source.into(),
                destination: destination.into(),
                grant,
                one_way,
                timeout_ms: timeout * 1_000,
            };
            let wait = Duration::from_secs(timeout);
            let answer = registry.post_and_wait(&what, &pairs, &body, wait).await?;
            reply(&answer, options.output, allowed)?;
            if !answer.value.ended.applied {
                return Err(unanswered("the new grant", &answer.value.ended, timeout));
            }
        }
        Command::Check {
            source,
            destination,
            grant,
        } => {
            let asked = Grants::from_texts(&grant).map_err(|error| {
                let what = format!("cannot check {source} and {destination}");
                Failure::usage(what, error.to_string())
            })?;
            let checked = check(&registry, options, source, destination).await;
            let mut checked = checked.map_err(Failure::not_an_answer)?;
            checked.allowed = checked
                .carries
                .as_deref()
                .is_some_and(|carries| may(carries, &asked, &grant));
            match options.output {
                Output::Table => output::line(&checked.sentence())?,
                Output::Json => output::json(&checked)?,
            }
            return Ok(if checked.allowed { Answer::Yes } else { Answer::No });
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
                return Err(unanswered("the denial", &answer.value, timeout));
            }
        }
    }
    Ok(Answer::Yes)
}

/// What is printed about one direction.
#[derive(Debug, Serialize)]
struct Checked {
    allowed: bool,
    source: String,
    destination: String,
    /// What the direction carries; none if nothing.
    carries: Option<String>,
}

impl Checked {
    fn sentence(&self) -> String {
        let Self {
            allowed,
            source,
            destination,
            carries,
        } = self;
        let word = if *allowed { "yes" } else { "no" };
        match carries.as_deref() {
            None => format!("{word}: {source} -> {destination} carries nothing"),
            Some(REPLIES) => format!("{word}: {source} -> {destination} carries replies only"),
            Some(carries) => format!(
                "{word}: {source} -> {destination} carries {}",
                carries.replace(',', ", ")
            ),
        }
    }
}

async fn check(
    registry: &Registry,
    options: &Options,
    source: Name,
    destination: Name,
) -> Result<Checked, Failure> {
    let what = format!("cannot tell whether {source} may talk to {destination}");
    let vms = format!("networks/{}/vms", options.in_network);
    // A VM that is not there is no VM that may not be talked to.
    registry.get::<Vm>(&what, &format!("{vms}/{destination}")).await?;
    let pairs = registry
        .get::<Vec<Pair>>(&what, &format!("{vms}/{source}/pairs"))
        .await?
        .value;
    let direction = pairs
        .into_iter()
        .find(|pair| pair.source == source.as_str() && pair.destination == destination.as_str());
    Ok(Checked {
        allowed: false,
        source: source.into(),
        destination: destination.into(),
        carries: direction.map(|pair| pair.grant),
    })
}

/// Whether a direction that carries this may open what is asked for; anything at all if nothing was named.
fn may(carries: &str, asked: &Grants, named: &[String]) -> bool {
    let Ok(held) = carries.parse::<Grants>() else {
        // Replies, or a word of a later version: nothing that could be begun for certain.
        return false;
    };
    named.is_empty() || held.covers(asked)
}

/// The registry's word for a direction that only answers.
const REPLIES: &str = "replies";

/// Refused here already, as wrong usage; the registry is the judge all the same.
fn one_grant(text: &str) -> Result<String, GrantError> {
    Grants::from_texts(&[text])?;
    Ok(text.to_owned())
}

fn allowed(allowed: &Allowed) -> String {
    let pairs = list(&allowed.pairs);
    if allowed.ended.directions.is_empty() {
        return pairs;
    }
    format!(
        "{pairs}\n\nwhat was allowed before:\n{}",
        receipts(&allowed.ended)
    )
}

fn list(pairs: &[Pair]) -> String {
    let mut table = Table::new(["SOURCE", "DESTINATION", "CARRIES", "SINCE", "PAIR ID"]);
    for pair in pairs {
        table.row([
            pair.source.clone(),
            pair.destination.clone(),
            pair.grant.replace(',', ", "),
            utc(pair.since_unix_ms),
            pair.id.to_string(),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_begun_is_a_yes() {
        for (carries, named, expected) in [
            ("all", &[][..], true),
            ("all", &["tcp/443"], true),
            ("tcp/443,udp/53", &[], true),
            ("tcp/443,udp/53", &["udp/53", "tcp/443"], true),
            ("tcp/443,udp/53", &["tcp/443", "icmp"], false),
            ("tcp/443", &["all"], false),
            ("replies", &[], false),
            ("replies", &["tcp/443"], false),
            ("something-later", &[], false),
        ] {
            let named: Vec<String> = named.iter().map(|text| (*text).to_owned()).collect();
            let asked = Grants::from_texts(&named).unwrap();
            assert_eq!(may(carries, &asked, &named), expected, "{carries} {named:?}");
        }
    }
}
