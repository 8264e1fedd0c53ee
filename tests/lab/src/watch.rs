//! Takes a laboratory down when the program that made it has died without doing so, even by SIGKILL.
//!
//! A small process of its own reads from a pipe whose other end only that program holds: the kernel closes it,
//! whatever the program died of.

use crate::down;
use crate::plan::Prefix;
use crate::programs::Programs;
use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// Said through the pipe when there is nothing left to do.
const ALL_DONE: u8 = b'd';

/// The program's end of the pipe.
#[derive(Debug)]
pub struct Watch {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Watch {
    /// From now on the laboratory goes when this program does.
    pub fn begin(prefix: &Prefix, state_dir: &Path, programs: &Programs) -> Result<Self> {
        let mut command = Command::new(programs.path("pairgate-lab")?);
        command
            .args(["watch", "--prefix", prefix.as_str(), "--state-dir"])
            .arg(state_dir);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // Ctrl-C must reach the program and not its watch.
        command.process_group(0);
        let mut child = command.spawn().context("cannot start the laboratory's watch")?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe })
    }

    /// The program has taken the laboratory down itself.
    pub fn end(mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            let _ = pipe.write_all(&[ALL_DONE]); // a watch that has died needs no telling
        }
        let _ = self.child.wait();
    }
}

/// The watch itself: returns when the laboratory is gone.
pub fn run(prefix: &Prefix, state_dir: &Path) -> Result<()> {
    let mut said = Vec::new();
    std::io::stdin()
        .read_to_end(&mut said)
        .context("cannot read from the watched program")?;
    if said == [ALL_DONE] {
        return Ok(());
    }
    down::down(prefix, state_dir, false)
}
