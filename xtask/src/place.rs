//! Where things are in this checkout. Everything that is made lies below `target`, and nothing made is committed.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// A checkout, and the folder for what is built from it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The folder with the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Where built things go; `root/target` unless told otherwise.
    pub(crate) target: PathBuf,
}

impl Place {
    /// The checkout that this xtask was built from.
    pub(crate) fn of_this_checkout() -> Self {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest.parent().unwrap_or(manifest).to_path_buf();
        let target = root.join("target");
        Self { root, target }
    }

    /// The package that is built for the kernel.
    pub(crate) fn datapath(&self) -> PathBuf {
        self.root.join("datapath-ebpf")
    }

    /// The package whose programs libFuzzer runs.
    pub(crate) fn fuzz(&self) -> PathBuf {
        self.root.join("tests").join("fuzz").join("run")
    }

    /// What the agent embeds.
    pub(crate) fn datapath_object(&self) -> PathBuf {
        self.target.join("ebpf").join("pairgate-datapath.o")
    }

    /// Compilers and linkers that are fetched or built, never installed.
    pub(crate) fn toolchain(&self) -> PathBuf {
        self.target.join("toolchain")
    }

    /// Programs that check this checkout.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// Where cargo puts the programs of the workspace.
    pub(crate) fn programs(&self) -> PathBuf {
        self.target.join("debug")
    }

    /// The same, built as users have them.
    pub(crate) fn released(&self) -> PathBuf {
        self.target.join("release")
    }
}

/// The cargo that runs us, so that a build started by us uses the same compiler.
pub(crate) fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// Whether a program is in PATH, and where.
pub(crate) fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// An empty folder of this name, whatever was there.
pub(crate) fn fresh(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}
