//! Debian's package tools, for what the second recipe needs.

use crate::outcome::{NeedsCaller, own_arguments};
use crate::place;
use crate::step::{self, Step};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// Makes sure that apt knows a package; its lists are fetched if it does not.
pub(super) fn ensure_known(package: &str) -> Result<()> {
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
pub(super) fn download(names: impl Fn() -> Result<Vec<String>>, folder: &Path) -> Result<()> {
    let download = || {
        place::fresh(folder)?;
        let mut command = Command::new("apt-get");
        // Root's downloads would else be done as a user who may not write into the folder, with a warning.
        command
            .args(["download", "-q", "-o", "APT::Sandbox::User=root"])
            .args(names()?)
            .current_dir(folder);
        step::run(&mut command)
    };
    // Lists that are too old name packages that are no longer there.
    download().or_else(|_| update().and_then(|()| download()))
}

/// The name that starts so among what a package depends on.
pub(super) fn dependency(package: &str, start: &str) -> Result<String> {
    let said = step::output(Command::new("apt-cache").args(["show", "--no-all-versions", package]))?;
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
pub(super) fn ensure_installed(packages: &[String]) -> Result<()> {
    let missing: Vec<_> = packages
        .iter()
        .filter(|package| !is_installed(package))
        .cloned()
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !pairgate_lab::is_root() {
        let list = missing.join(" ");
        let again = own_arguments();
        let next = format!("go on with: sudo apt-get install -y {list} && cargo xtask {again}");
        return Err(NeedsCaller(next).into());
    }
    for package in &missing {
        ensure_known(package)?;
    }
    let install = || {
        let mut command = Command::new("apt-get");
        command
            .args(["install", "-y", "-q", "--no-install-recommends"])
            .args(&missing);
        step::run(command.env("DEBIAN_FRONTEND", "noninteractive"))
    };
    let what = format!("installing {}", missing.join(" "));
    Step {
        what: &what,
        usually: "a minute",
    }
    .watch(|| install().or_else(|_| update().and_then(|()| install())))
}

fn update() -> Result<()> {
    if !pairgate_lab::is_root() {
        let again = own_arguments();
        return Err(NeedsCaller(format!("go on with: sudo apt-get update && cargo xtask {again}")).into());
    }
    let step = Step {
        what: "apt-get update",
        usually: "10 s",
    };
    step.run(Command::new("apt-get").args(["update", "-q"]))
}

fn is_known(package: &str) -> Result<bool> {
    let said = step::output(Command::new("apt-cache").args(["policy", package]))?;
    Ok(said
        .lines()
        .any(|line| line.trim().starts_with("Candidate:") && !line.contains("(none)")))
}

fn is_installed(package: &str) -> bool {
    let mut ask = Command::new("dpkg-query");
    let said = step::output(ask.args(["-W", "-f=${db:Status-Status}", package]));
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
