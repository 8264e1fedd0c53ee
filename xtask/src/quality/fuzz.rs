//! `fuzz`: runs the fuzz targets under libFuzzer, each for a while.
//!
//! What a run finds of interest goes to `target/fuzz/corpus`, which the next run begins with; the small corpus in
//! the repository is only read. An input that makes a target fail is left in `target/fuzz/artifacts` and named.

use crate::place::{self, Place};
use crate::step::{self, Step};
use crate::tools::Tool;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;

const FUZZ: Tool = Tool {
    name: "cargo-fuzz",
    version: "^0.13",
    usually: "2 minutes, once",
};

/// Longest input, in bytes: twice the largest frame that is held.
const INPUT_LEN_MAX: u32 = 4096;
/// An input that takes longer has met work without a bound.
const INPUT_SECS_MAX: u32 = 10;
/// More memory than any input can need.
const MEMORY_MIB_MAX: u32 = 2048;

/// The targets of the decision and token crates. Asked for alone they are built in a minute, without agent, registry and
/// command.
const PURE: [&str; 11] = [
    "from_tap",
    "from_tap_built",
    "from_uplink",
    "from_uplink_built",
    "from_vxlan",
    "grant_text",
    "icmp_error_built",
    "mint_proof",
    "token_bytes",
    "token_claims",
    "token_text",
];

/// What is to be fuzzed.
#[derive(Debug, Args)]
pub(crate) struct Wanted {
    /// This target alone; may be given again. Without it: all of them
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 30)]
    seconds: u32,
    /// Look for faults of memory too: slower, and everything here but a few dependencies is safe Rust
    #[arg(long, value_name = "NAME", default_value = "none", value_parser = ["none", "address"])]
    sanitizer: String,
    /// Write what the runs have found, made as small as it goes, into the corpus of the repository
    #[arg(long)]
    keep: bool,
}

impl Wanted {
    /// Every target, for a moment.
    pub(crate) fn short() -> Self {
        Self {
            targets: Vec::new(),
            seconds: 20,
            sanitizer: "none".to_owned(),
            keep: false,
        }
    }
}

/// Builds the programs and runs them, as many at a time as there are processors. After the first input that makes one
/// fail no other begins.
pub(crate) fn run(place: &Place, wanted: &Wanted) -> Result<()> {
    let all = names(place)?;
    for name in &wanted.targets {
        ensure!(
            all.contains(name),
            "no target is called {name}: there are {}",
            all.join(", ")
        );
    }
    let tool = FUZZ.ensure_installed(place)?;
    let targets = if wanted.targets.is_empty() {
        &all
    } else {
        &wanted.targets
    };
    // The same versions as everywhere else; cargo adds what only these programs need.
    let lock = place.fuzz().join("Cargo.lock");
    fs::copy(place.root.join("Cargo.lock"), &lock)
        .with_context(|| format!("cannot write {}", lock.display()))?;
    Step {
        what: "building the fuzz targets",
        usually: "10 minutes the first time",
    }
    .run(&mut build(place, &tool, wanted))?;
    each(targets, |name| one(place, &tool, name, wanted))?;
    println!(
        "fuzz: {} targets, {} s each, nothing found",
        targets.len(),
        wanted.seconds
    );
    Ok(())
}

/// One target, or all of them together.
fn build(place: &Place, tool: &Path, wanted: &Wanted) -> Command {
    let mut command = fuzz(place, tool, "build", wanted);
    if let [only] = &wanted.targets[..] {
        command.arg(only);
    }
    command
}

/// The targets, from their sources.
fn names(place: &Place) -> Result<Vec<String>> {
    let folder = place.fuzz().join("fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        names.extend(stem.map(str::to_owned));
    }
    names.sort_unstable();
    Ok(names)
}

/// cargo-fuzz, for the package of the targets. It asks for a nightly compiler; the stable one has all it needs.
fn fuzz(place: &Place, tool: &Path, subcommand: &str, wanted: &Wanted) -> Command {
    let mut command = Command::new(tool);
    command.arg(subcommand).arg("--fuzz-dir").arg(place.fuzz());
    command
        .arg("--target-dir")
        .arg(place.target.join("fuzz").join("build"));
    command.args(["--sanitizer", &wanted.sanitizer]);
    if !wanted.targets.is_empty() && wanted.targets.iter().all(|name| PURE.contains(&name.as_str())) {
        command.arg("--no-default-features");
    }
    command.current_dir(&place.root);
    command.env("RUSTC_BOOTSTRAP", "1").env("CARGO", place::cargo());
    command
}

/// Does `work` for each name, several at a time; the first error is that of all.
fn each(names: &[String], work: impl Fn(&str) -> Result<()> + Sync) -> Result<()> {
    let left = Mutex::new(names.iter());
    let take = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    let worker = || {
        while let Some(name) = take() {
            if let Err(error) = work(name) {
                // The others stop when they come for their next.
                while take().is_some() {}
                return Err(error);
            }
        }
        Ok(())
    };
    let count = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..count).map(|_| scope.spawn(worker)).collect();
        let mut ended = Ok(());
        for worker in workers {
            let Ok(result) = worker.join() else {
                bail!("a thread that ran a target has panicked");
            };
            ended = ended.and(result);
        }
        ended
    })
}

fn one(place: &Place, tool: &Path, name: &str, wanted: &Wanted) -> Result<()> {
    let work = place.target.join("fuzz");
    let (found, failed) = (work.join("corpus").join(name), work.join("artifacts").join(name));
    let kept = place.root.join("tests/fuzz/corpus").join(name);
    for folder in [&found, &failed, &kept] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut command = fuzz(place, tool, "run", wanted);
    command.arg(name).arg(&found).arg(&kept).arg("--");
    command.args([
        format!("-max_total_time={}", wanted.seconds),
        format!("-max_len={INPUT_LEN_MAX}"),
        format!("-timeout={INPUT_SECS_MAX}"),
        format!("-rss_limit_mb={MEMORY_MIB_MAX}"),
        format!("-artifact_prefix={}/", failed.display()),
        "-print_final_stats=1".to_owned(),
        "-verbosity=0".to_owned(),
    ]);
    eprintln!("==> {name}");
    // Shown only if it has failed: of several at a time nobody could read it.
    let output = command.output().with_context(|| format!("cannot run {name}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!(
            "{said}\n{name} has failed. To see it again copy its input from {} into tests/fuzz/regressions/{name}, under a \
             name that says what it was, and run: cargo test -p pairgate-fuzz --test replay. It stays there once mended",
            failed.display()
        );
    }
    let tried =
        tried(&said).with_context(|| format!("{name} does not say how much it has tried:\n{said}"))?;
    println!("{name:<24} {tried:>10} inputs");
    if wanted.keep {
        keep(place, tool, wanted, name, &found, &kept)
    } else {
        Ok(())
    }
}

/// How many inputs libFuzzer has tried, from its statistics.
fn tried(said: &str) -> Option<u64> {
    let (_, behind) = said.split_once("stat::number_of_executed_units:")?;
    behind.split_whitespace().next()?.parse().ok()
}

/// Most files and longest file of one target's corpus in the repository.
const KEPT_FILES: usize = 40;
const KEPT_LEN_MAX: u64 = 1024;

/// Adds the smallest inputs that together reach all that was reached, as far as they are small.
fn keep(place: &Place, tool: &Path, wanted: &Wanted, name: &str, found: &Path, kept: &Path) -> Result<()> {
    step::run(fuzz(place, tool, "cmin", wanted).arg(name).arg(found))?;
    let mut files = Vec::new();
    for entry in fs::read_dir(found)? {
        let entry = entry?;
        files.push((entry.metadata()?.len(), entry.path()));
    }
    files.sort_unstable();
    let room = KEPT_FILES.saturating_sub(fs::read_dir(kept)?.count());
    // Spread over all lengths: the shortest alone would be those that are refused at once.
    let short: Vec<_> = files
        .iter()
        .filter(|(length, _)| *length <= KEPT_LEN_MAX)
        .collect();
    let step = short.len().div_ceil(room.max(1)).max(1);
    for (_, path) in short.into_iter().step_by(step).take(room) {
        let Some(file) = path.file_name() else {
            bail!("{} has no name", path.display())
        };
        fs::copy(path, kept.join(file)).with_context(|| format!("cannot copy {}", path.display()))?;
    }
    Ok(())
}
