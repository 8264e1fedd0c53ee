//! `prove`: what takes too long for `test`, in stages. A stage is a line in [`STAGES`]; what it needs on the machine it
//! fetches itself.

use crate::place::{self, Place};
use crate::{bench, programs, quality, step, test, turn};
use anyhow::Result;
use clap::Args;
use clap::builder::PossibleValuesParser;
use std::path::PathBuf;
use std::process::Command;

/// Packets that `test` compares.
const PACKETS: u64 = 10_000_000;

/// What is to be proven.
#[derive(Debug, Args)]
pub(crate) struct Wanted {
    /// How many packets go through the programs and the oracle
    #[arg(long, value_name = "N", default_value_t = 100_000_000)]
    pub(crate) packets: u64,
    /// The same packets again; a run prints its own
    #[arg(long, value_name = "S")]
    pub(crate) seed: Option<u64>,
    /// Run this stage alone; may be given again
    #[arg(long = "stage", value_name = "NAME", value_parser = PossibleValuesParser::new(names()))]
    pub(crate) stages: Vec<String>,
    /// Try the packets of this file, or of every file in this folder, and nothing else
    #[arg(long, value_name = "FILE", conflicts_with = "stages")]
    pub(crate) replay: Option<PathBuf>,
}

struct Stage {
    name: &'static str,
    work: fn(&Place, &Wanted) -> Result<()>,
}

const STAGES: [Stage; 12] = [
    Stage {
        name: "replays",
        work: |place, _| replays(place),
    },
    Stage {
        name: "sweeps",
        work: |place, _| sweeps(place),
    },
    Stage {
        name: "oracle",
        work: |place, wanted| oracle(place, wanted.packets, wanted.seed),
    },
    Stage {
        name: "handles",
        work: |place, _| handles(place),
    },
    Stage {
        name: "kernel 6.1",
        work: |place, _| test::kernels::run(place, &["6.1".to_owned()]),
    },
    Stage {
        name: "kernel 6.12",
        work: |place, _| test::kernels::run(place, &["6.12".to_owned()]),
    },
    Stage {
        name: "coverage",
        work: |place, _| quality::coverage::run(place),
    },
    Stage {
        name: "mutants",
        work: |place, _| quality::mutants::run(place, &quality::mutants::Wanted::all()),
    },
    Stage {
        name: "fuzz",
        work: |place, _| quality::fuzz::run(place, &quality::fuzz::Wanted::short()),
    },
    Stage {
        name: "hostile guest",
        work: |place, _| bench::hostile(place),
    },
    Stage {
        name: "machines",
        work: |place, _| test::machines(place),
    },
    Stage {
        name: "debian guest",
        work: |place, _| debian_guest(place),
    },
];

fn names() -> impl Iterator<Item = &'static str> {
    STAGES.iter().map(|stage| stage.name)
}

/// Runs all stages, or those named.
pub(crate) fn run(place: &Place, wanted: &Wanted) -> Result<()> {
    if !pairgate_lab::is_root() {
        return programs::build_as_root(place);
    }
    programs::build(place)?;
    if let Some(file) = &wanted.replay {
        return step::run(prover(place).arg("replay").arg(file));
    }
    let chosen =
        |stage: &&Stage| wanted.stages.is_empty() || wanted.stages.iter().any(|name| name == stage.name);
    turn::all(STAGES.iter().filter(chosen).map(|stage| {
        let work: turn::Work<'_> = Box::new(move || (stage.work)(place, wanted));
        (stage.name, work)
    }))
}

/// The part of it that `test` runs too.
pub(crate) fn short(place: &Place) -> Result<()> {
    programs::build(place)?;
    replays(place)?;
    sweeps(place)?;
    oracle(place, PACKETS, None)
}

fn prover(place: &Place) -> Command {
    let mut command = Command::new(place::cargo());
    command
        .args([
            "run",
            "--locked",
            "--quiet",
            "--package",
            "pairgate-prove",
            "--target-dir",
        ])
        .arg(&place.target)
        .current_dir(&place.root)
        .arg("--");
    command
}

/// What the guard in the uplink's driver costs and saves.
pub(crate) fn guard(place: &Place, rounds: u32) -> Result<()> {
    step::run(prover(place).args(["guard", "--rounds", &rounds.to_string()]))
}

/// Everything that was once wrong.
fn replays(place: &Place) -> Result<()> {
    step::run(prover(place).args(["replay", "tests/prove/replays"]))
}

/// All ethertypes, all protocols, all truncations.
fn sweeps(place: &Place) -> Result<()> {
    step::run(prover(place).arg("sweep").arg("--failures").arg(failures(place)))
}

/// A stock Debian under QEMU, with nothing configured by hand.
fn debian_guest(place: &Place) -> Result<()> {
    let mut command = Command::new(place::cargo());
    command
        .args([
            "test",
            "--locked",
            "--package",
            "pairgate-lab",
            "--test",
            "debian",
        ])
        .arg("--target-dir")
        .arg(&place.target)
        .args(["--", "--ignored", "--nocapture"])
        .current_dir(&place.root);
    step::run(&mut command)
}

/// All network identifiers.
fn handles(place: &Place) -> Result<()> {
    step::run(
        prover(place)
            .arg("handles")
            .arg("--failures")
            .arg(failures(place)),
    )
}

fn failures(place: &Place) -> PathBuf {
    place.target.join("prove")
}

fn oracle(place: &Place, packets: u64, seed: Option<u64>) -> Result<()> {
    let mut command = prover(place);
    command.args(["run", "--packets", &packets.to_string()]);
    command.arg("--failures").arg(failures(place));
    if let Some(seed) = seed {
        command.args(["--seed", &seed.to_string()]);
    }
    step::run(&mut command)
}
