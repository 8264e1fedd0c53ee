//! Stages in turn: the first that fails ends the run and is named in its error; how long each took is a table.

use anyhow::Result;
use std::time::{Duration, Instant};

/// The work of one stage.
pub(crate) type Work<'a> = Box<dyn FnOnce() -> Result<()> + 'a>;

/// Runs stages, each with its name.
pub(crate) fn all<'a>(stages: impl IntoIterator<Item = (&'static str, Work<'a>)>) -> Result<()> {
    let mut times: Vec<(&str, Duration)> = Vec::new();
    let mut failed = None;
    for (name, work) in stages {
        eprintln!("\n==== {name} ====");
        let start = Instant::now();
        let result = work();
        times.push((name, start.elapsed()));
        if let Err(error) = result {
            failed = Some(error.context(name));
            break;
        }
    }
    println!("\n{:<24} {:>8}", "stage", "seconds");
    for (name, time) in &times {
        println!("{name:<24} {:>8.1}", time.as_secs_f64());
    }
    let count = usize::from(failed.is_some());
    println!("stages: {} passed, {count} failed", times.len() - count);
    let Some(error) = failed else { return Ok(()) };
    // Its kind stays with it: what needs something from the caller is another exit code.
    Err(error)
}
