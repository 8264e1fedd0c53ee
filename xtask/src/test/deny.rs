//! cargo-deny: which licences, sources and packages may be in the graph, and known faults of what is in it.

use crate::place::Place;
use crate::step;
use crate::tools::Tool;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const DENY: Tool = Tool {
    name: "cargo-deny",
    version: "^0.20",
    usually: "4 minutes, once",
};
/// How long the database of advisories may take to arrive.
const FETCH: Duration = Duration::from_secs(60);

pub(super) fn check(place: &Place) -> Result<()> {
    let deny = DENY.ensure_installed(place)?;
    let config = place.root.join(".deny.toml");
    // The kernel's programs have a lock file of their own, and so a graph of their own.
    let manifests = [place.root.join("Cargo.toml"), place.datapath().join("Cargo.toml")];
    let run = |options: &[&str], checks: &[&str]| {
        manifests.iter().try_for_each(|manifest| {
            let mut command = Command::new(&deny);
            command.arg("--locked").arg("--manifest-path").arg(manifest);
            command
                .arg("--config")
                .arg(&config)
                .arg("check")
                .args(options)
                .args(checks);
            step::run(command.current_dir(&place.root))
        })
    };
    run(&[], &["bans", "licenses", "sources"])?;
    if !database_is_there(place, &deny)? {
        eprintln!("skipped: advisories, since their database cannot be reached from here");
        return Ok(());
    }
    run(&["--disable-fetch"], &["advisories"])
}

/// Fetches the database, but gives up soon: a machine without a way to it is no fault of this checkout.
fn database_is_there(place: &Place, deny: &PathBuf) -> Result<bool> {
    let mut command = Command::new(deny);
    command
        .args(["fetch", "db"])
        .current_dir(&place.root)
        .env("GIT_TERMINAL_PROMPT", "0");
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null());
    let mut child = command
        .stderr(std::process::Stdio::null())
        .spawn()
        .context("cannot start cargo-deny")?;
    let end = std::time::Instant::now() + FETCH;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if std::time::Instant::now() > end {
            child.kill()?;
            child.wait()?;
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
