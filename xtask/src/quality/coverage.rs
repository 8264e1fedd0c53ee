//! `coverage`: every branch of the decision and token crates is taken by their own tests, or has a reason in
//! `.coverage.toml`.
//!
//! Counted are both sides of every condition, and every piece of code between two of them: the arms of a `match` and
//! the early returns of `?` are such pieces. A decision is generic over the frame it reads, so it is compiled once for
//! each kind of frame; its counts are those of all copies together.

mod report;

use crate::place::{self, Place};
use crate::step::{self, Step};
use anyhow::{Context, Result, bail};
use pairgate_machine::apt;
use report::{Gap, Report};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is measured: the package and the folder of its sources.
const PACKAGES: [(&str, &str); 3] = [
    ("pairgate-packet", "datapath-ebpf/packet/src"),
    ("pairgate-abi", "datapath-ebpf/abi/src"),
    ("pairgate-token", "registry/token/src"),
];

/// `.coverage.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    uncovered: Vec<Exception>,
}

/// Code that no test reaches.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    file: String,
    /// Stands in the line where the branch begins.
    code: String,
    /// How many pieces or sides of conditions of such lines no test reaches.
    places: usize,
    reason: String,
}

/// Builds the tests with counters, runs them, and compares what they did not reach with the list.
pub(crate) fn run(place: &Place) -> Result<()> {
    let llvm = llvm_tools()?;
    let work = place.target.join("coverage");
    let programs = Step {
        what: "building the tests with counters",
        usually: "a minute",
    }
    .watch(|| build(place, &work))?;
    let profile = measure(place, &llvm, &work, &programs)?;
    let mut export = Command::new(llvm.join("llvm-cov"));
    export.arg("export").arg("--instr-profile").arg(&profile);
    for program in &programs {
        export.arg("--object").arg(program);
    }
    export
        .arg("--sources")
        .args(PACKAGES.map(|(_, folder)| place.root.join(folder)));
    let folders = PACKAGES.map(|(_, folder)| place.root.join(folder));
    let report = Report::read(&step::output(&mut export)?, &folders)?;
    judge(place, &report)
}

/// llvm-profdata and llvm-cov of the compiler's own LLVM: other versions do not read its files.
fn llvm_tools() -> Result<PathBuf> {
    let said = step::output(Command::new("rustc").arg("-vV"))?;
    let version = said.lines().find_map(|line| line.strip_prefix("LLVM version: "));
    let major = version.and_then(|version| version.split('.').next());
    let major = major.context("rustc does not say which LLVM it has")?;
    apt::ensure_installed(&[format!("llvm-{major}")])?;
    Ok(PathBuf::from(format!("/usr/lib/llvm-{major}/bin")))
}

/// The programs of all tests, compiled with counters.
fn build(place: &Place, work: &Path) -> Result<Vec<PathBuf>> {
    let mut command = Command::new(place::cargo());
    command.args(["test", "--locked", "--no-run", "--message-format=json", "--quiet"]);
    for (package, _) in PACKAGES {
        command.args(["--package", package]);
    }
    command
        .arg("--target-dir")
        .arg(work.join("build"))
        .current_dir(&place.root);
    // Branches are counted by an option that the compiler still calls unstable.
    command.env("RUSTC_BOOTSTRAP", "1");
    command.env("RUSTFLAGS", "-Cinstrument-coverage -Zcoverage-options=branch");
    // A build script is a program too, and would leave its counts where it runs.
    command.env("LLVM_PROFILE_FILE", work.join("build").join("ignored-%m.profraw"));
    let said = step::output(&mut command)?;
    let messages = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok());
    let programs: Vec<_> = messages.filter_map(|message| message.executable).collect();
    if programs.is_empty() {
        bail!("cargo has built no test");
    }
    Ok(programs)
}

/// What cargo says about one thing that it has built.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
}

/// Runs the tests and joins their counts.
fn measure(place: &Place, llvm: &Path, work: &Path, programs: &[PathBuf]) -> Result<PathBuf> {
    let raw = work.join("raw");
    place::fresh(&raw)?;
    for program in programs {
        let mut test = Command::new(program);
        test.arg("--quiet").current_dir(&place.root);
        test.env("LLVM_PROFILE_FILE", raw.join("%m-%p.profraw"));
        step::run(&mut test)?;
    }
    let profile = work.join("tests.profdata");
    let mut merge = Command::new(llvm.join("llvm-profdata"));
    merge.args(["merge", "--sparse", "--output"]).arg(&profile);
    for entry in fs::read_dir(&raw)? {
        merge.arg(entry?.path());
    }
    step::run(&mut merge)?;
    Ok(profile)
}

fn judge(place: &Place, report: &Report) -> Result<()> {
    let path = place.root.join(".coverage.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let list: List = toml::from_str(&text).with_context(|| format!("cannot read {}", path.display()))?;
    let mut used = vec![0_usize; list.uncovered.len()];
    let mut open = Vec::new();
    for gap in report.gaps(&place.root)? {
        let known = list.uncovered.iter().position(|exception| {
            exception.file == gap.file && gap.code.contains(&exception.code) && !exception.reason.is_empty()
        });
        match known {
            Some(at) => used[at] += 1,
            None => open.push(gap),
        }
    }
    for (_, folder) in PACKAGES {
        let (pieces, branches) = report.counts(&place.root.join(folder))?;
        println!("{folder}: {pieces} pieces of code, {branches} sides of conditions");
    }
    // Neither more nor less: a reason must not come to stand for a place that somebody has stopped testing.
    let idle = list.uncovered.iter().zip(&used);
    let idle: Vec<_> = idle
        .filter(|(exception, found)| exception.places != **found)
        .map(|(exception, found)| {
            let Exception {
                file, code, places, ..
            } = exception;
            format!("{file}: `{code}`: {found} places are not reached, the file says {places}; correct the number, or test them")
        })
        .collect();
    println!(
        "not reached: {} places for {} reasons, {} without",
        used.iter().sum::<usize>(),
        list.uncovered.len(),
        open.len()
    );
    if !open.is_empty() {
        bail!(
            "no test reaches these; add a test, or an entry with its reason to .coverage.toml\n{}",
            open.iter().map(Gap::to_string).collect::<Vec<_>>().join("\n")
        );
    }
    if !idle.is_empty() {
        bail!(
            "{} does not match what the tests reach:\n{}",
            path.display(),
            idle.join("\n")
        );
    }
    Ok(())
}
