//! Ctrl-C while a program holds a laboratory: every wait ends, and the program comes to where it takes the
//! laboratory down by itself. A second Ctrl-C ends the program at once; then its [`crate::watch`] does it.
//!
//! A handler, and not a blocked signal: blocked signals would be inherited by the processes started meanwhile,
//! and those could no longer be asked to end.

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// What a shell says of a program that Ctrl-C has ended.
const INTERRUPTED: libc::c_int = 130;

/// From now on SIGINT and SIGTERM ask, instead of ending the program.
pub fn heed() -> Result<()> {
    let action = SigAction::new(SigHandler::Handler(ask), SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the handler touches nothing but an atomic flag and `_exit`, both of which any handler may.
        unsafe { sigaction(signal, &action) }.context("cannot heed signals")?;
    }
    Ok(())
}

/// An error once someone has asked for the end.
pub fn go_on() -> Result<()> {
    if ASKED.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    Ok(())
}

extern "C" fn ask(_signal: libc::c_int) {
    if ASKED.swap(true, Ordering::Relaxed) {
        // SAFETY: ends the process without running anything of it.
        unsafe { libc::_exit(INTERRUPTED) };
    }
}
