//! Debian's stock kernels: which there are, and where one lies after it was unpacked.

use crate::{apt, command};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A line of stable kernels that Debian has packaged, in the flavour for virtual machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    V6_1,
    V6_12,
}

impl Release {
    /// Every one, oldest first.
    pub const ALL: [Self; 2] = [Self::V6_1, Self::V6_12];

    /// Such as `6.1`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        }
    }

    /// The release of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|release| release.name() == name)
    }

    /// Packages that depend on the newest kernel of some line, and on this one's in some release of Debian.
    const fn leading(self) -> [&'static str; 2] {
        match self {
            Self::V6_1 => ["linux-image-cloud-amd64", "linux-image-6.1-cloud-amd64"],
            Self::V6_12 => ["linux-image-6.12-cloud-amd64", "linux-image-cloud-amd64"],
        }
    }

    /// The package with the kernel itself, as this machine's package lists name it today.
    pub(crate) fn package(self) -> Result<String> {
        let start = format!("linux-image-{}.", self.name());
        for package in self.leading() {
            if let Ok(found) = apt::dependency(package, &start) {
                return Ok(found);
            }
        }
        bail!(
            "this machine's package sources have no kernel {}: neither {} leads to one",
            self.name(),
            self.leading().join(" nor ")
        )
    }
}

/// An unpacked kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The compressed kernel, as QEMU takes it.
    pub image: PathBuf,
    /// `…/lib/modules/<version>`, with a `modules.dep`.
    pub modules: PathBuf,
    /// What `uname -r` says in it.
    pub version: String,
}

impl Kernel {
    /// The kernel in a folder, if all of it is there.
    pub(crate) fn unpacked(root: &Path) -> Option<Self> {
        let mut versions = fs::read_dir(root.join("lib/modules")).ok()?;
        let modules = versions.next()?.ok()?.path();
        let version = modules.file_name()?.to_str()?.to_owned();
        let image = root.join("boot").join(format!("vmlinuz-{version}"));
        (image.is_file() && modules.join("modules.dep").is_file()).then_some(Self {
            image,
            modules,
            version,
        })
    }
}

/// Writes the table of which module needs which, as installing the package would have.
pub(crate) fn write_dependencies(root: &Path, busybox: &Path) -> Result<()> {
    let mut versions = fs::read_dir(root.join("lib/modules")).context("the package holds no modules")?;
    let version = versions.next().context("the package holds no modules")??;
    let root = std::path::absolute(root)?;
    let mut depmod = Command::new(busybox);
    depmod.arg("depmod").arg("-b").arg(root).arg(version.file_name());
    command::run(&mut depmod)
}
