//! A running machine: its console, and its end.

use anyhow::{Context, Result, bail};
use nix::sys::{prctl, signal::Signal};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Before the number with which the machine's script has ended, on a line of its own.
pub const EXIT: &str = "pairgate-machine: exit";

/// Lines of the console that an error quotes.
const TAIL: usize = 25;

/// A machine that runs until it turns itself off, or this is dropped, or the thread that started it ends.
#[derive(Debug)]
pub struct Machine {
    child: Child,
    lines: Receiver<String>,
    tail: VecDeque<String>,
    log: PathBuf,
}

impl Machine {
    /// Starts a machine from [`Boot::command`](crate::Boot::command); its console is written to `log` too.
    pub fn start(mut command: Command, log: &Path) -> Result<Self> {
        let mut file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let errors = file.try_clone()?;
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors);
        // Ctrl-C at the terminal is meant for us alone.
        command.process_group(0);
        // SAFETY: between fork and exec only one system call is made.
        unsafe { command.pre_exec(|| prctl::set_pdeathsig(Signal::SIGKILL).map_err(Into::into)) };
        let mut child = command.spawn().context("cannot start the emulator")?;
        let console = child.stdout.take().context("the emulator has no console")?;
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            let mut console = BufReader::new(console);
            let mut bytes = Vec::new();
            while console
                .read_until(b'\n', &mut bytes)
                .is_ok_and(|length| length > 0)
            {
                let _no_log = file.write_all(&bytes);
                let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
                bytes.clear();
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            child,
            lines,
            tail: VecDeque::new(),
            log: log.to_path_buf(),
        })
    }

    /// The next line of the console; none when the machine is off.
    pub fn next_line(&mut self, limit: Duration) -> Result<Option<String>> {
        match self.lines.recv_timeout(limit) {
            Ok(line) => {
                if self.tail.len() == TAIL {
                    self.tail.pop_front();
                }
                self.tail.push_back(line.clone());
                Ok(Some(line))
            }
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                bail!("the machine says nothing for {limit:?}; {}", self.last_words())
            }
        }
    }

    /// Waits for a line with these words.
    pub fn wait_for(&mut self, words: &str, limit: Duration) -> Result<String> {
        let end = Instant::now() + limit;
        loop {
            match self.next_line(end.saturating_duration_since(Instant::now()))? {
                Some(line) if line.contains(words) => return Ok(line),
                Some(_) => {}
                None => bail!(
                    "the machine turned itself off before it said {words:?}; {}",
                    self.last_words()
                ),
            }
        }
    }

    /// Types a line at the console.
    pub fn type_line(&mut self, line: &str) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("the emulator has no console")?;
        writeln!(stdin, "{line}").context("typing at the machine's console")
    }

    /// Shows each line of the console until the machine is off; what its script ended with.
    pub fn run_to_end(&mut self, limit: Duration, mut show: impl FnMut(&str)) -> Result<i32> {
        let end = Instant::now() + limit;
        let mut code = None;
        while let Some(line) = self.next_line(end.saturating_duration_since(Instant::now()))? {
            match exit_code(&line) {
                Some(number) => code = Some(number),
                None => show(&line),
            }
        }
        self.child.wait().context("waiting for the emulator")?;
        code.with_context(|| format!("the machine ended and did not say how; {}", self.last_words()))
    }

    /// The number of the emulator's process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    fn last_words(&self) -> String {
        let lines: Vec<_> = self.tail.iter().map(String::as_str).collect();
        format!(
            "its last words (all of them in {}):\n{}",
            self.log.display(),
            lines.join("\n")
        )
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn exit_code(line: &str) -> Option<i32> {
    line.split_once(EXIT)?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_the_end_is_read() {
        assert_eq!(exit_code("pairgate-machine: exit 101"), Some(101));
        assert_eq!(exit_code("pairgate-machine: exit"), None);
        assert_eq!(exit_code("test result: ok"), None);
    }
}
