//! `man`: the CLI's manual pages and completion scripts, written by the CLI itself from its own definition.

use crate::place::{self, Place};
use crate::step::{self, Step};
use anyhow::{Context, Result};
use std::fs;
use std::process::Command;

/// Shells, and the name under which each looks for the script.
const SHELLS: [(&str, &str); 3] = [
    ("bash", "pairgate"),
    ("zsh", "_pairgate"),
    ("fish", "pairgate.fish"),
];

/// Writes `target/man` and `target/completions`.
pub(crate) fn write(place: &Place) -> Result<()> {
    let mut build = Command::new(place::cargo());
    build
        .args(["build", "--locked", "--package", "pairgate", "--target-dir"])
        .arg(&place.target)
        .current_dir(&place.root);
    Step {
        what: "building the CLI",
        usually: "a minute the first time",
    }
    .run(&mut build)?;
    let pairgate = place.programs().join("pairgate");
    let pages = place.target.join("man");
    step::run(Command::new(&pairgate).arg("manual").arg(&pages))?;
    let scripts = place.target.join("completions");
    fs::create_dir_all(&scripts).with_context(|| format!("cannot make {}", scripts.display()))?;
    for (shell, name) in SHELLS {
        let script = step::output(Command::new(&pairgate).args(["completion", shell]))?;
        let path = scripts.join(name);
        fs::write(&path, script).with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("manual pages in {}", pages.display());
    println!("completions for bash, zsh and fish in {}", scripts.display());
    Ok(())
}
