//! `bpf-linker`, built once against the LLVM of the unpacked compiler.

use crate::place;
use crate::step::{self, Step};
use anyhow::{Context, Result, bail};
use pairgate_machine::apt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The release that was tried with this compiler.
const VERSION: &str = "0.13.0";

/// Says which LLVM a linker has, since it does not say so itself.
const MARK: &str = "llvm-major";

/// The folder of a finished linker for this LLVM.
pub(super) fn built(folder: &Path, llvm: &str) -> Option<PathBuf> {
    let finished = folder.join("bpf-linker");
    let programs = finished.join("bin");
    let said = step::output(Command::new(programs.join("bpf-linker")).arg("--version")).ok()?;
    let its_llvm = std::fs::read_to_string(finished.join(MARK)).ok()?;
    (said.contains(VERSION) && its_llvm == llvm).then_some(programs)
}

/// Installs what its build needs, builds it, and puts it in place only when it is finished.
pub(super) fn build(folder: &Path, llvm: &str) -> Result<PathBuf> {
    let development = format!("llvm-{llvm}-dev");
    let polly = format!("libpolly-{llvm}-dev");
    apt::ensure_installed(&[
        development,
        polly,
        "libzstd-dev".to_owned(),
        "zlib1g-dev".to_owned(),
    ])?;
    let partial = folder.join("bpf-linker.partial");
    if partial.exists() {
        std::fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))?;
    }
    let mut command = Command::new(place::cargo());
    command.args(["install", "bpf-linker", "--version", VERSION, "--locked"]);
    command.args(["--no-default-features", "--features", &format!("llvm-{llvm}")]);
    command.arg("--root").arg(&partial);
    command.arg("--target-dir").arg(folder.join("bpf-linker-build"));
    command.env("LLVM_PREFIX", format!("/usr/lib/llvm-{llvm}"));
    let what = format!("building bpf-linker {VERSION} against LLVM {llvm}");
    Step {
        what: &what,
        usually: "a minute or two, once",
    }
    .run(&mut command)?;
    let mark = partial.join(MARK);
    std::fs::write(&mark, llvm).with_context(|| format!("cannot write {}", mark.display()))?;
    let finished = folder.join("bpf-linker");
    if finished.exists() {
        std::fs::remove_dir_all(&finished)
            .with_context(|| format!("cannot remove {}", finished.display()))?;
    }
    std::fs::rename(&partial, &finished).context("cannot put bpf-linker in place")?;
    let Some(programs) = built(folder, llvm) else {
        bail!(
            "bpf-linker was built but does not run; remove {} and try again",
            finished.display()
        );
    };
    // The linker is kept, what it was made from is not.
    std::fs::remove_dir_all(folder.join("bpf-linker-build"))
        .context("cannot remove the linker's build folder")?;
    Ok(programs)
}
