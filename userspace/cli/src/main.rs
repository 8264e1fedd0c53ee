//! `pairgate`: the operator's command line.
//!
//! Job: one verb per question. Networks, hosts, VMs and pairs are asked of the registry over TLS with an
//! operator's certificate; status and drops of one host are asked of its agent over a Unix socket; tokens are
//! judged right here, without asking anyone.
//!
//! Guarantee: the exit code answers the question by itself: 0 done or yes, 1 failed or no, 2 wrong usage,
//! 3 could not tell. A change whose answer was lost is a 3: it may have happened.
//!
//! It keeps no state and decides nothing: whoever may do what is the registry's business.

mod arguments;
mod client;
mod drops;
mod failure;
mod host;
mod network;
mod output;
mod pair;
mod status;
mod times;
mod token;
mod vm;

use arguments::{Cli, Noun};
use clap::Parser;
use failure::{Answer, Failure};
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
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
    if options.on_host.is_some() && !matches!(noun, Noun::Status | Noun::Drops) {
        return Err(Failure::usage(
            "--host has no meaning here",
            "only status and drops are asked of a host",
        ));
    }
    match noun {
        Noun::Network(command) => network::run(command, &options).await,
        Noun::Host(command) => host::run(command, &options).await,
        Noun::Vm(command) => vm::run(command, &options).await,
        Noun::Pair(command) => pair::run(command, &options).await,
        Noun::Status => status::run(&options).await,
        Noun::Drops => drops::run(&options).await,
        Noun::Token(command) => token::run(command),
    }
}
