//! Waiting for something that gives no sign: asks again and again, until a deadline or an interruption.

use crate::interrupt;
use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks until the answer is there. `what` completes "… did not happen".
pub fn until<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        interrupt::go_on()?;
        if Instant::now() >= end {
            bail!("waited {:.1} s in vain: {what}", limit.as_secs_f64());
        }
        std::thread::sleep(PAUSE);
    }
}
