//! One step that may take long: says what runs and how long that usually takes, gives a sign of life while it
//! runs, and says how long it took.

use anyhow::Result;
pub(crate) use pairgate_machine::command::{output, run};
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How often a step that prints nothing itself says that it still runs.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// What a person is told about a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step<'a> {
    pub(crate) what: &'a str,
    /// Such as `about a minute`.
    pub(crate) usually: &'a str,
}

impl Step<'_> {
    /// Runs `work` and reports about it on stderr.
    pub(crate) fn watch<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        eprintln!("==> {} (usually {})", self.what, self.usually);
        let start = Instant::now();
        let (done, over) = mpsc::channel::<()>();
        let result = std::thread::scope(|scope| {
            scope.spawn(move || {
                while over.recv_timeout(SIGN_OF_LIFE) == Err(RecvTimeoutError::Timeout) {
                    eprintln!(
                        "    still running: {} ({} s)",
                        self.what,
                        start.elapsed().as_secs()
                    );
                }
            });
            let result = work();
            drop(done);
            result
        });
        let verdict = if result.is_ok() { "done" } else { "FAILED" };
        eprintln!(
            "    {verdict}: {} ({:.1} s)",
            self.what,
            start.elapsed().as_secs_f64()
        );
        result
    }

    /// Runs a command with its output shown as it comes.
    pub(crate) fn run(&self, command: &mut Command) -> Result<()> {
        self.watch(|| run(command))
    }
}
