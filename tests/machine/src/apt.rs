//! Debian's package tools: fetching without installing, and installing what no user misses afterwards.

use crate::command;
use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Somebody else may be installing too.
const WAIT: [&str; 2] = ["-o", "DPkg::Lock::Timeout=300"];

/// What only root may do before the work can go on: the command, without `sudo`.
#[derive(Debug)]
pub struct NeedsRoot(pub String);

impl std::fmt::Display for NeedsRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "needs root, do this and call it again: sudo {}", self.0)
    }
}

impl std::error::Error for NeedsRoot {}

/// Whether this machine has Debian's tools at all.
pub fn is_there() -> bool {
    ["apt-get", "apt-cache", "dpkg"].iter().all(|program| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    })
}

/// Makes sure that apt knows a package; its lists are fetched if it does not.
pub fn ensure_known(package: &str) -> Result<()> {
    if is_known(package)? {
        return Ok(());
    }
    update()?;
    if !is_known(package)? {
        bail!("apt knows no package {package}: this machine's package sources do not have it");
    }
    Ok(())
}

/// Fetches packages into an empty folder, without installing them. `names` is asked again after the lists were fetched
/// anew: a name that carries a version, taken from an old list, does not go with the rest of the new one.
pub fn download(names: impl Fn() -> Result<Vec<String>>, folder: &Path) -> Result<()> {
    let download = || {
        fresh(folder)?;
        let mut command = Command::new("apt-get");
        // Root's downloads would else be done as a user who may not write into the folder, with a warning.
        command
            .args(["download", "-q", "-o", "APT::Sandbox::User=root"])
            .args(names()?)
            .current_dir(folder);
        command::run(&mut command)
    };
    // Lists that are too old name packages that are no longer there.
    download().or_else(|_| update().and_then(|()| download()))
}

/// The name that starts so among what a package depends on.
pub fn dependency(package: &str, start: &str) -> Result<String> {
    let said = command::output(Command::new("apt-cache").args(["show", "--no-all-versions", package]))?;
    dependency_in(&said, start).with_context(|| format!("{package} depends on nothing called {start}…"))
}

fn dependency_in(shown: &str, start: &str) -> Option<String> {
    let line = shown.lines().find_map(|line| line.strip_prefix("Depends: "))?;
    let names = line.split(',').filter_map(|part| part.split_whitespace().next());
    names
        .into_iter()
        .find(|name| name.starts_with(start))
        .map(str::to_owned)
}

/// Installs what is not installed. Only ordinary development packages go this way.
pub fn ensure_installed(packages: &[String]) -> Result<()> {
    let missing: Vec<_> = packages
        .iter()
        .filter(|package| !is_installed(package))
        .cloned()
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !geteuid().is_root() {
        return Err(NeedsRoot(format!("apt-get install -y {}", missing.join(" "))).into());
    }
    for package in &missing {
        ensure_known(package)?;
    }
    let install = || {
        let mut command = Command::new("apt-get");
        command
            .args(["install", "-y", "-q", "--no-install-recommends"])
            .args(WAIT)
            .args(&missing);
        command::run(command.env("DEBIAN_FRONTEND", "noninteractive"))
    };
    eprintln!("==> installing {} (usually a minute)", missing.join(" "));
    install().or_else(|_| update().and_then(|()| install()))
}

/// Unpacks every package of a folder into another.
pub fn unpack(packages: &Path, into: &Path) -> Result<()> {
    for package in fs::read_dir(packages).with_context(|| format!("cannot read {}", packages.display()))? {
        command::run(Command::new("dpkg").arg("-x").arg(package?.path()).arg(into))?;
    }
    Ok(())
}

/// An empty folder of this name, whatever was there.
pub(crate) fn fresh(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// Fetches the package lists anew.
pub fn update() -> Result<()> {
    if !geteuid().is_root() {
        return Err(NeedsRoot("apt-get update".to_owned()).into());
    }
    eprintln!("==> apt-get update (usually 10 s)");
    command::run(Command::new("apt-get").args(["update", "-q", WAIT[0], WAIT[1]]))
}

fn is_known(package: &str) -> Result<bool> {
    let said = command::output(Command::new("apt-cache").args(["policy", package]))?;
    Ok(said
        .lines()
        .any(|line| line.trim().starts_with("Candidate:") && !line.contains("(none)")))
}

fn is_installed(package: &str) -> bool {
    let mut ask = Command::new("dpkg-query");
    let said = command::output(ask.args(["-W", "-f=${db:Status-Status}", package]));
    said.is_ok_and(|status| status.trim() == "installed")
}

#[cfg(test)]
mod tests {
    use super::dependency_in;

    #[test]
    fn a_versioned_name_is_found_among_the_dependencies() {
        let shown = "Package: x\nDepends: libc6 (>= 2.34), libstd-rust-web-1.96 (= 1.96.0), gcc\nSize: 1\n";
        assert_eq!(
            dependency_in(shown, "libstd-rust-web-").as_deref(),
            Some("libstd-rust-web-1.96")
        );
        assert_eq!(dependency_in(shown, "libllvm"), None);
    }
}
