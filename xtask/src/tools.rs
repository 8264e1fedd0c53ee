//! Programs from crates.io that check this checkout, each built once into `target/tools`.

use crate::place::{self, Place};
use crate::step::Step;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

/// A program that cargo can install.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool {
    /// Of the package and of its program.
    pub(crate) name: &'static str,
    /// The release line that was tried.
    pub(crate) version: &'static str,
    /// How long it takes to build.
    pub(crate) usually: &'static str,
}

impl Tool {
    /// Where it is: in PATH, or built into `target/tools` if it is not there yet.
    pub(crate) fn ensure_installed(&self, place: &Place) -> Result<PathBuf> {
        if let Some(found) = place::in_path(self.name) {
            return Ok(found);
        }
        let tools = place.tools();
        let program = tools.join("bin").join(self.name);
        if program.is_file() {
            return Ok(program);
        }
        let build = tools.join("build").join(self.name);
        let mut command = Command::new(place::cargo());
        command.args(["install", self.name, "--locked", "--version", self.version]);
        command.arg("--root").arg(&tools).arg("--target-dir").arg(&build);
        let what = format!("building {} into target/tools", self.name);
        Step {
            what: &what,
            usually: self.usually,
        }
        .run(&mut command)?;
        std::fs::remove_dir_all(&build)
            .with_context(|| format!("cannot remove the build folder of {}", self.name))?;
        Ok(program)
    }
}
