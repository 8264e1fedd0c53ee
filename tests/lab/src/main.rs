//! The small processes of a laboratory. People call `cargo xtask lab`, which calls these.

use anyhow::{Context, Result};
use clap::Parser;
use pairgate_lab::cable::{self, Cable, End};
use pairgate_lab::guard::Lab;
use pairgate_lab::netns::Netns;
use pairgate_lab::plan::Prefix;
use pairgate_lab::programs::Programs;
use pairgate_lab::record::Wishes;
use pairgate_lab::{cli, up, watch};
use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(
    name = "pairgate-lab",
    about = "The small processes of a Pairgate laboratory",
    version
)]
enum Job {
    /// Move frames between a host's tap and a guest's interface.
    Cable {
        /// The guest's name, for the log.
        #[arg(long)]
        name: String,
        #[arg(long)]
        tap: String,
        #[arg(long)]
        tap_netns: String,
        #[arg(long)]
        guest: String,
        #[arg(long)]
        guest_netns: String,
        /// A file that says `attached` while both ends are plugged in.
        #[arg(long)]
        report: Option<PathBuf>,
        /// Let only finished packets no larger than the MTU cross.
        #[arg(long)]
        no_offload: bool,
    },
    /// Become the operator's CLI inside a laboratory.
    Cli {
        #[arg(long)]
        prefix: String,
        /// The CLI's program.
        cli: PathBuf,
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
    /// Bring a laboratory up and leave it, as `cargo xtask lab up` does.
    #[command(hide = true)]
    Up {
        #[arg(long)]
        prefix: String,
        #[arg(long)]
        state_dir: PathBuf,
    },
    /// Hold a laboratory until standard input closes, as a test does.
    #[command(hide = true)]
    Hold {
        #[arg(long)]
        prefix: String,
        #[arg(long)]
        state_dir: PathBuf,
    },
    /// Take a laboratory down when standard input closes.
    #[command(hide = true)]
    Watch {
        #[arg(long)]
        prefix: String,
        #[arg(long)]
        state_dir: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Job::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(job: Job) -> Result<()> {
    match job {
        Job::Cable {
            name,
            tap,
            tap_netns,
            guest,
            guest_netns,
            report,
            no_offload,
        } => cable::run(&Cable {
            name,
            tap: End {
                netns: Netns::named(&tap_netns),
                interface: tap,
            },
            guest: End {
                netns: Netns::named(&guest_netns),
                interface: guest,
            },
            offload: !no_offload,
            report,
        }),
        Job::Cli {
            prefix,
            cli,
            arguments,
        } => Err(cli::become_it(&Prefix::new(&prefix)?, &cli, &arguments)),
        Job::Up { prefix, state_dir } => {
            let (prefix, programs) = (Prefix::new(&prefix)?, Programs::beside_this_one()?);
            let say = &mut |step: &str| println!("{step}");
            up::up(&prefix, &state_dir, Wishes::default(), &programs, say).map(|_| println!("up"))
        }
        Job::Hold { prefix, state_dir } => {
            let (prefix, programs) = (Prefix::new(&prefix)?, Programs::beside_this_one()?);
            let say = &mut |step: &str| println!("{step}");
            let held = Lab::start(prefix, &state_dir, Wishes::default(), programs, say)?;
            println!("up");
            std::io::stdin()
                .read_to_end(&mut Vec::new())
                .context("cannot wait for the end of standard input")?;
            drop(held);
            Ok(())
        }
        Job::Watch { prefix, state_dir } => watch::run(&Prefix::new(&prefix)?, &state_dir),
    }
}
