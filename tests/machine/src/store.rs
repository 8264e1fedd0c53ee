//! What is fetched once and kept: kernels and busybox, unpacked; QEMU, installed.
//!
//! What is unpacked appears under its final name only when it is complete: an interrupted fetch leaves folders called
//! `….partial`, which the next one throws away.

use crate::kernel::{Kernel, Release, write_dependencies};
use crate::{apt, command};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The emulator's program, from the package of the same purpose.
pub(crate) const QEMU: &str = "qemu-system-x86_64";
const QEMU_PACKAGE: &str = "qemu-system-x86";

/// A folder with kernels and busybox.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// The store in this folder; nothing is made yet.
    pub fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_path_buf(),
        }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A kernel, fetched if it is not there. 30 MB are fetched and 40 to 110 MB kept.
    pub fn kernel(&self, release: Release) -> Result<Kernel> {
        let root = self.folder.join(format!("linux-{}", release.name()));
        if let Some(kernel) = Kernel::unpacked(&root) {
            return Ok(kernel);
        }
        let busybox = self.busybox()?;
        self.refuse_elsewhere()?;
        if release.package().is_err() {
            apt::update()?;
        }
        eprintln!(
            "==> fetching Debian's kernel {} (usually 20 s, 30 MB)",
            release.name()
        );
        self.fetch(
            &root,
            || Ok(vec![release.package()?]),
            |unpacked| write_dependencies(unpacked, &busybox),
        )?;
        Kernel::unpacked(&root).with_context(|| format!("the kernel in {} is not whole", root.display()))
    }

    /// Whether [`kernel`](Self::kernel) would succeed as far as package sources matter: the kernel is there, or
    /// this machine's package lists name it.
    pub fn has_or_knows(&self, release: Release) -> bool {
        let root = self.folder.join(format!("linux-{}", release.name()));
        Kernel::unpacked(&root).is_some() || release.package().is_ok()
    }

    /// One program with all the small ones in it; needs no library.
    pub fn busybox(&self) -> Result<PathBuf> {
        let root = self.folder.join("busybox");
        let program = root.join("bin/busybox");
        if program.is_file() {
            return Ok(program);
        }
        self.refuse_elsewhere()?;
        apt::ensure_known("busybox-static")?;
        self.fetch(&root, || Ok(vec!["busybox-static".to_owned()]), |_| Ok(()))?;
        if !program.is_file() {
            bail!("the package busybox-static holds no {}", program.display());
        }
        Ok(program)
    }

    /// The emulator, installed by apt if it is not there.
    pub fn qemu(&self) -> Result<&'static str> {
        if command::output(Command::new(QEMU).arg("--version")).is_err() {
            self.refuse_elsewhere()?;
            apt::ensure_installed(&[QEMU_PACKAGE.to_owned()])?;
        }
        Ok(QEMU)
    }

    fn refuse_elsewhere(&self) -> Result<()> {
        if std::env::consts::ARCH != "x86_64" {
            bail!(
                "kernels for {} are not tried here: only x86_64 is",
                std::env::consts::ARCH
            );
        }
        if !apt::is_there() {
            bail!(
                "this machine has no apt-get: put a kernel with its modules below {} and {QEMU} into PATH",
                self.folder.display()
            );
        }
        Ok(())
    }

    fn fetch(
        &self,
        root: &Path,
        names: impl Fn() -> Result<Vec<String>>,
        finish: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let beside = |ending: &str| {
            let mut name = root.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        let (partial, packages) = (beside(".partial"), beside(".debs.partial"));
        apt::download(names, &packages)?;
        apt::fresh(&partial)?;
        apt::unpack(&packages, &partial)?;
        finish(&partial)?;
        if root.exists() {
            fs::remove_dir_all(root).with_context(|| format!("cannot remove {}", root.display()))?;
        }
        fs::rename(&partial, root).with_context(|| format!("cannot put {} in place", root.display()))?;
        fs::remove_dir_all(&packages).context("cannot remove the packages after unpacking")
    }
}
