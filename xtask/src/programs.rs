//! Builds what a laboratory runs: the kernel's programs first, since the agent embeds them.

use crate::place::{self, Place};
use crate::step::Step;
use crate::{ebpf, outcome};
use anyhow::Result;
use std::process::Command;

/// The packages whose programs run in a laboratory.
const PACKAGES: [&str; 4] = ["pairgate-registry", "pairgate-agent", "pairgate", "pairgate-lab"];

/// How they are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Profile {
    Dev,
    /// As users have them: what agent and registry cost is measured with these.
    Release,
}

/// Builds them, so that [`Place::programs`] holds them all.
pub(crate) fn build(place: &Place) -> Result<()> {
    build_in(place, Profile::Dev)
}

/// Builds them as users have them, so that [`Place::released`] holds them all.
pub(crate) fn build_released(place: &Place) -> Result<()> {
    build_in(place, Profile::Release)
}

fn build_in(place: &Place, profile: Profile) -> Result<()> {
    // Whoever has to be asked for something before the first part can be built gets the second all the same.
    let asked = match ebpf::build(place, false) {
        Err(error) if !error.is::<outcome::NeedsCaller>() => return Err(error),
        other => other,
    };
    let mut command = Command::new(place::cargo());
    command
        .args(["build", "--locked", "--bins"])
        .current_dir(&place.root);
    command.arg("--target-dir").arg(&place.target);
    for package in PACKAGES {
        command.args(["--package", package]);
    }
    let (what, usually) = match profile {
        Profile::Dev => (
            "building registry, agent, CLI and laboratory",
            "3 minutes the first time",
        ),
        Profile::Release => {
            command.arg("--release");
            (
                "building registry, agent, CLI and laboratory as users have them",
                "6 minutes the first time",
            )
        }
    };
    Step { what, usually }.run(&mut command)?;
    asked
}

/// Builds them, and then stops unless root calls.
pub(crate) fn build_as_root(place: &Place) -> Result<()> {
    build(place)?;
    if !pairgate_lab::is_root() {
        return Err(outcome::continue_as_root(&outcome::own_arguments()).into());
    }
    Ok(())
}
