//! `pairgate diff` and `pairgate apply`: a file says what should be, the registry says what is.
//!
//! Job: [`file`] reads the file, [`compare`] decides what is missing, [`carry_out`] does that and nothing else.
//! Every change goes through the same requests as the verbs for single things.
//!
//! Guarantee: what the file does not mention stays as it is. Only `--deny-unlisted-pairs` takes anything away,
//! and then pairs alone, in the networks that the file mentions. Applying the same file twice changes nothing
//! the second time. A file with a fault, or one that wants what the registry cannot do, changes nothing at all.

mod carry_out;
mod compare;
pub(crate) mod file;

use crate::arguments::{Name, Options, Output};
use crate::client::Registry;
use crate::failure::{Answer, Failure};
use crate::output;
use clap::Args;
use compare::{Known, Plan, Step, compare};
use file::{Fault, Wanted};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

const FILE_FORM: &str = "The file is TOML. Everything in it may be left out; network is that of --network then:\n  \
    [[network]]\n  \
    name = \"default\"\n  \
    prefixes = [\"10.77.0.0/24\", \"fd77::/64\"]\n  \
    dns = [\"192.0.2.53\"]                     # gateway, domain and mtu likewise: what guests are told\n\n  \
    [[vm]]\n  \
    name = \"web1\"\n  \
    network = \"default\"\n  \
    addresses = [\"10.77.0.11\", \"fd77::11\"]   # mac likewise; chosen by the registry if left out\n  \
    host = \"h1\"                              # left out: placed by other hands\n\n  \
    [[pair]]\n  \
    between = [\"web1\", \"db1\"]\n  \
    grant = [\"tcp/443\", \"icmp\"]             # left out: everything\n  \
    one_way = true                           # db1 may only answer; left out: both ways";

#[derive(Debug, Args)]
#[command(after_help = format!(
    "Exit codes: 0 the registry is as the file says, 1 it differs, 2 the file or the command line is wrong, \
     3 could not tell.\n\n{FILE_FORM}\n\nExample:\n  pairgate diff -f site.toml"
))]
pub(crate) struct Diff {
    #[command(flatten)]
    subject: Subject,
}

#[derive(Debug, Args)]
#[command(after_help = format!(
    "What the file does not mention stays. A second run of the same file changes nothing; a run that was cut \
     off is finished by the next.\n\n{FILE_FORM}\n\nExample:\n  pairgate apply -f site.toml --dry-run\n  \
     pairgate apply -f site.toml"
))]
pub(crate) struct Apply {
    #[command(flatten)]
    subject: Subject,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// How long to wait for the hosts' receipts for each change that ends pairs
    #[arg(long, value_name = "SECS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=300))]
    timeout: u64,
}

#[derive(Debug, Args)]
struct Subject {
    /// What should be; - reads standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Also deny every pair that the file does not list, in the networks that it mentions
    #[arg(long)]
    deny_unlisted_pairs: bool,
}

pub(crate) async fn diff(command: Diff, options: &Options) -> Result<Answer, Failure> {
    // Here 1 means "it differs": a refusal must not look like that.
    let (_, plan) = look(&command.subject, options, "cannot compare")
        .await
        .map_err(Failure::not_an_answer)?;
    match options.output {
        Output::Table if plan.is_empty() => output::line("nothing differs")?,
        Output::Table => output::line(&plan.describe())?,
        Output::Json => output::json(&serde_json::json!({
            "same": plan.is_empty(), "changes": plan.steps, "conflicts": plan.conflicts,
        }))?,
    }
    Ok(if plan.is_empty() { Answer::Yes } else { Answer::No })
}

pub(crate) async fn apply(command: Apply, options: &Options) -> Result<Answer, Failure> {
    let (registry, plan) = look(&command.subject, options, "cannot apply").await?;
    if !plan.conflicts.is_empty() {
        let conflicts: Vec<_> = plan.conflicts.iter().map(ToString::to_string).collect();
        return Err(Failure::failed("nothing was applied", conflicts.join("; "))
            .next("make the file say what is, or give the thing another name"));
    }
    let mut report = Report::new(&plan, command.dry_run);
    let mut result = Ok(());
    if !command.dry_run {
        result = carry_out::all(&registry, &mut report, command.timeout).await;
    }
    match options.output {
        Output::Table => output::line(&report.describe())?,
        Output::Json => output::json(&report)?,
    }
    result.map(|()| Answer::Yes)
}

/// Reads both sides and compares them.
async fn look(subject: &Subject, options: &Options, what: &str) -> Result<(Registry, Plan), Failure> {
    let path = subject.file.display();
    let what = format!("{what} {path}");
    let text = file::read(&subject.file)
        .map_err(|error| Failure::usage(&what, error.to_string()).next("name a readable file with --file"))?;
    let unusable = |faults: Vec<Fault>| {
        let faults: Vec<_> = faults.iter().map(|fault| format!("{path}: {fault}")).collect();
        Failure::usage(&what, faults.join("; "))
            .next("nothing was changed; pairgate apply --help shows the form of the file")
    };
    let wanted = Wanted::parse(&text, &options.in_network).map_err(unusable)?;
    let registry = Registry::new(options)?;
    let known = known(&registry, &wanted, &what).await?;
    let plan = compare(&wanted, &known, subject.deny_unlisted_pairs).map_err(unusable)?;
    Ok((registry, plan))
}

/// What the registry knows of what the file mentions.
async fn known(registry: &Registry, wanted: &Wanted, what: &str) -> Result<Known, Failure> {
    let mut known = Known {
        networks: registry.get(what, "networks").await?.value,
        hosts: registry.get(what, "hosts").await?.value,
        vms: BTreeMap::new(),
        pairs: BTreeMap::new(),
    };
    let there = |name: &&&Name| known.networks.iter().any(|network| network.name == name.as_str());
    for name in wanted.networks_mentioned().iter().filter(there) {
        let path = format!("networks/{name}");
        let vms = registry.get(what, &format!("{path}/vms")).await?.value;
        let pairs = registry.get(what, &format!("{path}/pairs")).await?.value;
        known.vms.insert(name.as_str().to_owned(), vms);
        known.pairs.insert(name.as_str().to_owned(), pairs);
    }
    Ok(known)
}

/// How far a change has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Planned,
    Done,
    /// It stands, while not every host has given its receipt for the pairs that ended with it.
    Unconfirmed,
    Failed,
}

#[derive(Debug, Serialize)]
struct Change {
    #[serde(flatten)]
    step: Step,
    state: State,
}

/// What `apply` prints in the end.
#[derive(Debug, Serialize)]
struct Report {
    dry_run: bool,
    changes: Vec<Change>,
}

impl Report {
    fn new(plan: &Plan, dry_run: bool) -> Self {
        let planned = |step: &Step| Change {
            step: step.clone(),
            state: State::Planned,
        };
        Self {
            dry_run,
            changes: plan.steps.iter().map(planned).collect(),
        }
    }

    fn describe(&self) -> String {
        let count = |state| self.changes.iter().filter(|change| change.state == state).count();
        let all = self.changes.len();
        if all == 0 {
            return "nothing differs, nothing to do".to_owned();
        }
        if self.dry_run {
            let steps: Vec<_> = self
                .changes
                .iter()
                .map(|change| change.step.to_string())
                .collect();
            return format!("{}\n\n{all} to do, nothing was done", output::lines(&steps));
        }
        match (count(State::Done), count(State::Unconfirmed)) {
            (done, 0) => format!("{done} of {all} done"),
            (done, unconfirmed) => format!(
                "{} of {all} done, {unconfirmed} of them not yet confirmed by every host",
                done + unconfirmed
            ),
        }
    }
}
