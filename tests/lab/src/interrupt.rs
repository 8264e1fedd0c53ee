//! Ctrl-C while a program holds a laboratory: takes it down first, then ends the program.

use crate::down;
use crate::plan::Prefix;
use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use std::path::Path;

/// What a shell says of a program that Ctrl-C has ended.
const INTERRUPTED: i32 = 130;

/// To be called while the program has one thread: only then do all later threads leave the signals alone. The
/// caller will hold the laboratory's lock whenever one is up.
pub fn take_down_on_signal(prefix: &Prefix, state_dir: &Path) -> Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block().context("cannot hold back signals")?;
    let (prefix, state_dir) = (prefix.clone(), state_dir.to_path_buf());
    std::thread::spawn(move || {
        let Ok(signal) = signals.wait() else { return };
        eprintln!("\n{signal}: taking the laboratory down");
        if let Err(error) = down::clear(&prefix, &state_dir, false) {
            eprintln!("{error:#}");
        }
        std::process::exit(INTERRUPTED);
    });
    Ok(())
}
