//! `pairgate`: the operator's command line, as a library, so that what it reads can be tried on its own.
//!
//! Job: one verb per question. Networks, hosts, VMs and pairs are asked of the registry over TLS with an
//! operator's certificate; status and drops of one host are asked of its agent over a Unix socket; tokens are
//! judged right here, without asking anyone.
//!
//! Guarantee: the exit code answers the question by itself: 0 done or yes, 1 failed or no, 2 wrong usage,
//! 3 could not tell. `status` says with 0 healthy, 1 degraded, 3 unreachable; `diff` with 0 the same, 1 it differs,
//! anything above: no answer. A change whose answer was lost is a 3: it may have happened.
//!
//! It keeps no state and decides nothing: whoever may do what is the registry's business.

mod arguments;
mod audit;
mod certificate;
mod client;
mod desired;
mod doctor;
mod drops;
mod ending;
mod failure;
mod health;
mod host;
mod manual;
mod network;
mod operator;
mod output;
mod pair;
mod pairs;
pub mod read;
mod status;
mod times;
mod token;
mod vm;
mod zero;

use arguments::{Cli, Noun};
use clap::Parser;
use failure::{Answer, Failure};
use std::process::ExitCode;

/// Runs what the command line asks for.
pub async fn main() -> ExitCode {
    // clap prints its own errors and ends with 2.
    let cli = Cli::parse();
    match run(cli).await {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        Err(failure) => {
            output::complain(&failure.to_string());
            ExitCode::from(failure.exit_code())
        }
    }
}

async fn run(cli: Cli) -> Result<Answer, Failure> {
    let Cli { options, noun } = cli;
    // Said and ignored would be worse than refused: the operator believes that it had a meaning.
    let of_host = matches!(
        noun,
        Noun::Status | Noun::Pairs | Noun::Drops(_) | Noun::Doctor(_)
    );
    if options.on_host.is_some() && !of_host {
        return Err(Failure::usage(
            "--host has no meaning here",
            "only status, pairs, drops and doctor are asked of a host",
        ));
    }
    match noun {
        Noun::Network(command) => network::run(command, &options).await,
        Noun::Host(command) => host::run(command, &options).await,
        Noun::Vm(command) => vm::run(command, &options).await,
        Noun::Pair(command) => pair::run(command, &options).await,
        Noun::Status => status::run(&options).await,
        Noun::Diff(command) => desired::diff(command, &options).await,
        Noun::Apply(command) => desired::apply(command, &options).await,
        Noun::Pairs => pairs::run(&options).await,
        Noun::Drops(command) => drops::run(&command, &options).await,
        Noun::Doctor(command) => doctor::run(&command, &options).await,
        Noun::Audit(command) => audit::run(command, &options).await,
        Noun::Zero(command) => zero::run(command, &options).await,
        Noun::Operator(command) => operator::run(command, &options).await,
        Noun::Token(command) => token::run(command),
        Noun::Completion { shell } => manual::completion(shell),
        Noun::Manual { folder } => manual::pages(&folder),
    }
}
