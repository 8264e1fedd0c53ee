//! The programs that a laboratory runs.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// The package that holds each program, to say what to build when one is missing.
const PACKAGES: [(&str, &str); 4] = [
    ("pairgate-registry", "pairgate-registry"),
    ("pairgate-agent", "pairgate-agent"),
    ("pairgate", "pairgate"),
    ("pairgate-lab", "pairgate-lab"),
];

/// A folder in which cargo has put the programs.
#[derive(Clone, Debug)]
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            folder: folder.to_path_buf(),
        }
    }

    /// Where cargo built this very program, be it a binary or a test.
    pub fn beside_this_one() -> Result<Self> {
        let own = std::env::current_exe().context("cannot tell where this program lies")?;
        let mut folder = own.parent().context("this program lies nowhere")?;
        if folder.ends_with("deps") {
            folder = folder.parent().unwrap_or(folder);
        }
        Ok(Self::in_folder(folder))
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn path(&self, program: &str) -> Result<PathBuf> {
        let path = self.folder.join(program);
        if path.is_file() {
            return Ok(path);
        }
        let package = PACKAGES
            .iter()
            .find(|(name, _)| *name == program)
            .map_or(program, |(_, package)| package);
        bail!(
            "{} is not built; build it with: cargo build -p {package}",
            path.display()
        )
    }
}
