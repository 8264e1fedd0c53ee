//! Commands of this machine, with errors that name them.

use anyhow::{Context, Result, bail};
use std::process::{Command, Stdio};

/// Runs a command with its output shown as it comes; anything but exit 0 is an error that names the command.
pub fn run(command: &mut Command) -> Result<()> {
    command.stdin(Stdio::null());
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", spelled(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", spelled(command));
    }
    Ok(())
}

/// Runs a command quietly and returns what it printed on stdout; its stderr is part of the error if it fails.
pub fn output(command: &mut Command) -> Result<String> {
    bytes(command).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The same for a command whose output is no text.
pub fn bytes(command: &mut Command) -> Result<Vec<u8>> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", spelled(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{} ended with {}: {}",
            spelled(command),
            output.status,
            said.trim()
        );
    }
    Ok(output.stdout)
}

/// The command as one would type it.
fn spelled(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}
