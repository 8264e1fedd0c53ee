//! `mutants`: changes the decision and token crates in every small way that compiles, and runs their tests each time.
//! A change that no test notices is a failure, unless `.cargo/mutants.toml` says why it makes no difference.

use crate::place::{self, Place};
use crate::tools::Tool;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::Deserialize;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

const MUTANTS: Tool = Tool {
    name: "cargo-mutants",
    version: "^27",
    usually: "3 minutes, once",
};

/// Of the frames that the decisions' tests make up: what these find they find early, and the rest finds it too.
const RANDOM_FRAMES: &str = "500";

/// The crates whose every line decides something.
const PACKAGES: [&str; 3] = ["pairgate-packet", "pairgate-abi", "pairgate-token"];

/// The exit code of cargo-mutants if some mutants made tests hang and none was missed.
const TIMED_OUT: i32 = 3;

/// What is to be changed.
#[derive(Debug, Args)]
pub(crate) struct Wanted {
    /// Only mutants of this file, by the end of its path; may be given again
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<String>,
    /// How many are tried at a time
    #[arg(long, value_name = "N", default_value_t = 2)]
    jobs: u8,
}

impl Wanted {
    /// Every mutant of all crates.
    pub(crate) fn all() -> Self {
        Self {
            files: Vec::new(),
            jobs: 2,
        }
    }
}

/// What cargo-mutants leaves behind.
#[derive(Debug, Deserialize)]
struct Outcomes {
    caught: u32,
    missed: u32,
    timeout: u32,
    unviable: u32,
    total_mutants: u32,
}

pub(crate) fn run(place: &Place, wanted: &Wanted) -> Result<()> {
    let tool = MUTANTS.ensure_installed(place)?;
    let output = place.target.join("mutants");
    // An old result must not be taken for that of a run that came to none.
    place::fresh(&output)?;
    let mut command = Command::new(tool);
    command
        .arg("mutants")
        .current_dir(&place.root)
        .env("CARGO", place::cargo())
        .env("PAIRGATE_CASES", RANDOM_FRAMES);
    for package in PACKAGES {
        command.args(["--package", package]);
    }
    for file in &wanted.files {
        command.args(["--file", file]);
    }
    command
        .args(["--jobs", &wanted.jobs.to_string()])
        .arg("--output")
        .arg(&output);
    let status = command.status().context("cannot run cargo-mutants")?;
    let folder = output.join("mutants.out");
    let path = folder.join("outcomes.json");
    let text = fs::read_to_string(&path).with_context(|| {
        format!(
            "cargo-mutants ended with {status} and without a result in {}",
            path.display()
        )
    })?;
    let outcomes: Outcomes =
        serde_json::from_str(&text).with_context(|| format!("cannot read {}", path.display()))?;
    println!(
        "mutants: {} tried, {} caught, {} timed out, {} do not compile, {} missed",
        outcomes.total_mutants, outcomes.caught, outcomes.timeout, outcomes.unviable, outcomes.missed
    );
    if outcomes.missed > 0 {
        bail!(
            "no test notices these; add a test, or a line with the reason to .cargo/mutants.toml\n{}",
            missed(&folder.join("missed.txt"))?
        );
    }
    ensure!(outcomes.total_mutants > 0, "no mutant was tried");
    // A test that hangs has noticed: it would end the run of any person too.
    ensure!(
        status.success() || status.code() == Some(TIMED_OUT),
        "cargo-mutants ended with {status}"
    );
    Ok(())
}

fn missed(path: &PathBuf) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
