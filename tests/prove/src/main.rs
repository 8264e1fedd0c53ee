//! `pairgate-prove`: what `cargo xtask prove` and `cargo xtask test` start for the oracle. Needs root; everything
//! happens in namespaces of its own.
use anyhow::Result;
use clap::{Parser, Subcommand};
use pairgate_prove::{guard, record, replay, run, sweep, world::own::Own};
use std::{path::PathBuf, process::ExitCode, time::Duration};

#[derive(Debug, Parser)]
#[command(
    name = "pairgate-prove",
    about = "The loaded programs against the decision crate"
)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Compare this many packets
    Run {
        #[arg(long, default_value_t = 10_000_000)]
        packets: u64,
        /// Other packets; a run prints its own
        #[arg(long)]
        seed: Option<u64>,
        #[arg(long)]
        threads: Option<usize>,
        /// Where what differs is written
        #[arg(long, default_value = "target/prove")]
        failures: PathBuf,
    },
    /// Try packets from files, or from every file of a folder, again
    Replay { paths: Vec<PathBuf> },
    /// Try every packet of a kind: all ethertypes, all protocols, all truncations
    Sweep {
        /// Where what differs is written
        #[arg(long, default_value = "target/prove")]
        failures: PathBuf,
    },
    /// Add real traffic to a file of frames
    Record {
        file: PathBuf,
        /// Interfaces of this network namespace
        #[arg(required = true)]
        interfaces: Vec<String>,
        #[arg(long, default_value_t = 30)]
        seconds: u64,
    },
    /// Measure what the guard in the uplink's driver costs and saves
    Guard {
        #[arg(long, default_value_t = 11)]
        rounds: u32,
        #[arg(long, default_value_t = 200_000)]
        frames: u32,
    },
    /// Try every handle
    Handles {
        /// Only one network identifier in so many
        #[arg(long, default_value_t = 1)]
        share: u32,
        #[arg(long, default_value = "target/prove")]
        failures: PathBuf,
    },
}

fn main() -> ExitCode {
    match act(Arguments::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Fewer packets cannot be asked to come to every end.
const COMPLETE: u64 = 1_000_000;

fn act(verb: Verb) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match verb {
        Verb::Run {
            packets,
            seed,
            threads,
            failures,
        } => run::run(&run::Order {
            packets,
            seed: seed.unwrap_or_else(rand::random),
            threads: threads.unwrap_or(cores).clamp(1, cores),
            failures,
            must_be_complete: packets >= COMPLETE,
        }),
        Verb::Replay { paths } => replay::all(&paths, &Own::enter()?),
        Verb::Sweep { failures } => sweep::cheap(&failures),
        Verb::Record {
            file,
            interfaces,
            seconds,
        } => record::record(&file, &interfaces, Duration::from_secs(seconds)),
        Verb::Guard { rounds, frames } => guard::measure(&guard::Order { rounds, frames }),
        Verb::Handles { share, failures } => sweep::vni(&failures, cores, share.max(1)),
    }
}
