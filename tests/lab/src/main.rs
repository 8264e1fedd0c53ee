//! The small processes of a laboratory. People call `cargo xtask lab`, which calls these.

use anyhow::{Context, Result};
use clap::Parser;
use pairgate_lab::cable::{self, Cable, End};
use pairgate_lab::guard::Lab;
use pairgate_lab::guest::{Inside, machine, serve};
use pairgate_lab::netns::Netns;
use pairgate_lab::plan::{GUESTS, Prefix};
use pairgate_lab::probe::cli::{self as probe, Probe};
use pairgate_lab::programs::Programs;
use pairgate_lab::record::{Memory, Wishes};
use pairgate_lab::{cli, up, watch};
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
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
    /// Wait for a guest's tap, attach to it and become this emulator; `{tap}` in its arguments is the descriptor.
    Machine {
        #[arg(long)]
        tap: String,
        #[arg(long)]
        netns: String,
        /// The machine takes nothing unfinished.
        #[arg(long)]
        no_offload: bool,
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Run a command in a guest of the laboratory that keeps its state in a folder.
    Guest {
        #[arg(long)]
        state_dir: PathBuf,
        /// The guest, then the command.
        #[arg(last = true, required = true)]
        words: Vec<String>,
    },
    /// In a guest that is a machine: run what the host asks for.
    Serve,
    /// Send and watch packets, in the namespace it is called in.
    #[command(subcommand)]
    Probe(Probe),
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
        Ok(code) => code,
        Err(error) => {
            eprintln!("failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(job: Job) -> Result<ExitCode> {
    let done = match job {
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
        Job::Machine {
            tap,
            netns,
            no_offload,
            command,
        } => {
            let netns = Netns::named(&netns);
            machine::run(
                &End {
                    netns,
                    interface: tap,
                },
                !no_offload,
                &command,
            )
        }
        Job::Guest { state_dir, words } => return guest(&state_dir, &words),
        Job::Serve => serve::run(),
        Job::Probe(probe) => probe::run(probe),
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
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn guest(state_dir: &Path, words: &[String]) -> Result<ExitCode> {
    let memory = Memory::read(state_dir)?.context("the laboratory is not up")?;
    let (name, command) = words.split_first().context("no guest is named")?;
    let names = || GUESTS.map(|guest| guest.name).join(", ");
    let guest = GUESTS.iter().find(|guest| guest.name == name);
    let guest = guest.with_context(|| format!("there is no guest {name}, but {}", names()))?;
    let inside = Inside::of(&memory.plan, guest, &Programs::beside_this_one()?);
    inside.become_it(command).map(ExitCode::from)
}
