//! The agent's program: arguments and settings, logging, powers, cryptography, then [`pairgate_agent::run`].

use anyhow::Context;
use clap::Parser;
use pairgate_agent::{
    args::{Arguments, CleanupArguments, RunArguments, Verb},
    capabilities, cleanup,
    config::Settings,
    reach::Reach,
};
use std::{io::IsTerminal, process::ExitCode};
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::EnvFilter;

/// As the command line's own errors have it.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match arguments.verb {
        Verb::Run(arguments) => run(*arguments),
        Verb::Cleanup(arguments) => code(clean(&arguments)),
    }
}

fn run(arguments: RunArguments) -> ExitCode {
    let settings = match Settings::resolve(arguments) {
        Ok(settings) => settings,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::from(USAGE);
        }
    };
    code(serve(settings))
}

fn serve(mut settings: Settings) -> anyhow::Result<()> {
    capabilities::raise_file_limit();
    let _reach = Reach::hold(&mut settings)?;
    // Before any other thread is there: each has powers of its own.
    capabilities::reduce()?;
    // Of two providers only the first counts, and there is no other.
    let _ = rustls::crypto::ring::default_provider().install_default();
    runtime()?.block_on(pairgate_agent::run::run(settings))
}

fn clean(arguments: &CleanupArguments) -> anyhow::Result<()> {
    let done = runtime()?.block_on(cleanup::run(arguments, &mut std::io::stdout()));
    done.context("not everything was taken away")
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().enable_all().build()
}

fn code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
