//! `test` and `ci`: every check of this checkout, in stages, cheap ones first.

mod deny;
mod dependencies;
pub(crate) mod kernels;
mod length;

use crate::place::{self, Place};
use crate::programs;
use crate::prove;
use crate::step;
use crate::turn;
use anyhow::{Context, Result, ensure};
use std::process::Command;

/// Whether what the run leaves in the checkout is judged too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checkout {
    MayHaveChanges,
    MustBeClean,
}

struct Stage {
    name: &'static str,
    work: fn(&Place) -> Result<()>,
}

const STAGES: [Stage; 11] = [
    Stage {
        name: "format",
        work: format,
    },
    Stage {
        name: "file length",
        work: length::check,
    },
    Stage {
        name: "programs",
        work: programs::build,
    },
    Stage {
        name: "dependency direction",
        work: dependencies::check,
    },
    Stage {
        name: "eBPF format",
        work: ebpf_format,
    },
    Stage {
        name: "lints",
        work: lints,
    },
    Stage {
        name: "licences and sources",
        work: deny::check,
    },
    Stage {
        name: "unit tests",
        work: unit_tests,
    },
    Stage {
        name: "oracle",
        work: prove::short,
    },
    Stage {
        name: "end to end",
        work: end_to_end,
    },
    Stage {
        name: "older hook",
        work: older_hook,
    },
];

const CLEAN: Stage = Stage {
    name: "clean checkout",
    work: clean,
};

/// What the stages are called.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    STAGES.iter().map(|stage| stage.name)
}

/// Runs all stages, or those named.
pub(crate) fn run(place: &Place, checkout: Checkout, only: &[String]) -> Result<()> {
    if !pairgate_lab::is_root() {
        return programs::build_as_root(place);
    }
    let extra = (checkout == Checkout::MustBeClean).then_some(&CLEAN);
    let wanted = |stage: &&Stage| only.is_empty() || only.iter().any(|name| name == stage.name);
    turn::all(STAGES.iter().filter(wanted).chain(extra).map(|stage| {
        let work: turn::Work<'_> = Box::new(move || (stage.work)(place));
        (stage.name, work)
    }))
}

/// `cargo` in the checkout, building into its target folder.
fn cargo(place: &Place, subcommand: &str) -> Command {
    let mut command = Command::new(place::cargo());
    command
        .arg(subcommand)
        .arg("--locked")
        .arg("--target-dir")
        .arg(&place.target)
        .current_dir(&place.root);
    command
}

fn format(place: &Place) -> Result<()> {
    step::run(
        Command::new(place::cargo())
            .args(["fmt", "--all", "--check"])
            .current_dir(&place.root),
    )
}

fn ebpf_format(place: &Place) -> Result<()> {
    step::run(
        Command::new(place::cargo())
            .args(["fmt", "--check"])
            .current_dir(place.datapath()),
    )
}

fn lints(place: &Place) -> Result<()> {
    step::run(cargo(place, "clippy").args(["--workspace", "--all-targets", "--", "-Dwarnings"]))
}

/// The public vectors of the token are among these.
fn unit_tests(place: &Place) -> Result<()> {
    step::run(cargo(place, "test").args(["--workspace", "--exclude", "pairgate-e2e", "--no-fail-fast"]))
}

/// One at a time: each has a laboratory of its own, and two cores are few.
fn end_to_end(place: &Place) -> Result<()> {
    // They run the programs as cargo left them, which may be from before the last change.
    programs::build(place)?;
    let only = [
        "--package",
        "pairgate-e2e",
        "--no-fail-fast",
        "--",
        "--test-threads=1",
    ];
    step::run(cargo(place, "test").args(only))
}

/// A few of them once more with agents that attach their programs as kernels before 6.6 have them.
fn older_hook(place: &Place) -> Result<()> {
    programs::build(place)?;
    let mut command = cargo(place, "test");
    command.args(["--package", "pairgate-e2e", "--no-fail-fast"]);
    for test in ["talk", "guard", "denial"] {
        command.args(["--test", test]);
    }
    step::run(
        command
            .args(["--", "--test-threads=1"])
            .env("PAIRGATE_HOOK", "clsact"),
    )
}

/// Those whose guests may be machines of their own, with such guests. `test` runs the first of them too.
pub(crate) fn machines(place: &Place) -> Result<()> {
    programs::build(place)?;
    let mut command = cargo(place, "test");
    command.args(["--package", "pairgate-e2e", "--no-fail-fast"]);
    for test in ["qemu", "talk", "denial", "families", "life", "outage"] {
        command.args(["--test", test]);
    }
    step::run(
        command
            .args(["--", "--test-threads=1"])
            .env("PAIRGATE_GUESTS", "qemu"),
    )
}

/// Nothing that the stages before have made may show up as a change.
fn clean(place: &Place) -> Result<()> {
    let mut git = Command::new("git");
    let changes = step::output(git.args(["status", "--porcelain"]).current_dir(&place.root));
    let changes = changes.context("cannot ask git what has changed")?;
    ensure!(
        changes.trim().is_empty(),
        "the checkout has changes:\n{}",
        changes.trim_end()
    );
    Ok(())
}
