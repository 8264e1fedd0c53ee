//! First recipe: rustup's nightly compiles `core` from `rust-src`, and `bpf-linker` is in PATH.

use crate::{place, step};
use std::path::PathBuf;
use std::process::Command;

/// A nightly that can build `core`.
#[derive(Debug)]
pub(crate) struct Rustup {
    version: String,
    linker: PathBuf,
}

impl Rustup {
    /// Looks, and fetches nothing: a nightly without `rust-src` or a missing linker is no recipe.
    pub(super) fn find() -> Option<Self> {
        place::in_path("rustup")?;
        let linker = place::in_path("bpf-linker")?;
        let version = step::output(nightly("rustc").arg("--version")).ok()?;
        let sysroot = step::output(nightly("rustc").args(["--print", "sysroot"])).ok()?;
        let core = PathBuf::from(sysroot.trim()).join("lib/rustlib/src/rust/library/core/Cargo.toml");
        core.is_file().then(|| Self {
            version: version.trim().to_owned(),
            linker,
        })
    }

    pub(super) fn describe(&self) -> String {
        format!("rustup nightly ({}) with {}", self.version, self.linker.display())
    }

    pub(super) fn cargo_build(&self) -> Command {
        let mut command = nightly("cargo");
        command.args(["build", "-Zbuild-std=core"]);
        command
    }
}

/// A program of the nightly toolchain. What cargo told this process about its own toolchain must not reach it.
fn nightly(program: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", program]);
    for variable in ["RUSTUP_TOOLCHAIN", "RUSTC", "RUSTDOC", "CARGO", "RUSTC_WRAPPER"] {
        command.env_remove(variable);
    }
    command
}
