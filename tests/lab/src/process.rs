//! Processes of a laboratory: started into a namespace, remembered on disk, ended by their number and never by
//! a name.
//!
//! A number alone does not say which process is meant, since the kernel hands it out again. A [`Record`] therefore
//! holds when the process began, and every signal goes through a pidfd that was checked against it.

use crate::netns::Netns;
use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long a process may take to end by itself before it is killed.
const POLITE: Duration = Duration::from_secs(3);

/// A process that was started, and how to recognise it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub name: String,
    pub pid: i32,
    /// Clock ticks from boot to its start.
    pub started: u64,
    /// Of the machine, so that ticks of two boots are not compared.
    pub boot: String,
    pub netns: String,
    pub log: PathBuf,
}

/// Starts a program that outlives this one; what it prints is added to `log`.
pub fn start(netns: &Netns, name: &str, command: &mut Command, log: &Path) -> Result<Record> {
    let file = OpenOptions::new().create(true).append(true).open(log);
    let file = file.with_context(|| format!("cannot write {}", log.display()))?;
    command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file);
    // Ctrl-C at the terminal is meant for us alone.
    command.process_group(0);
    let child = netns.spawn(command)?;
    let pid = i32::try_from(child.id()).context("the kernel gave a process number out of range")?;
    let (started, _) = look(pid).with_context(|| format!("{name} ended at once, see {}", log.display()))?;
    let netns = netns.name().to_owned();
    Ok(Record {
        name: name.to_owned(),
        pid,
        started,
        boot: boot(),
        netns,
        log: log.to_path_buf(),
    })
}

impl Record {
    /// Whether exactly this process still runs.
    pub fn is_alive(&self) -> bool {
        self.boot == boot()
            && look(self.pid).is_some_and(|(started, state)| started == self.started && !is_dead(state))
    }

    /// Sends a signal; a process that has ended is fine.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        match self.hold()? {
            Some(held) => held.signal(signal),
            None => Ok(()),
        }
    }

    /// Asks it to end and waits; kills it if it does not.
    pub fn stop(&self) -> Result<()> {
        stop_all(std::slice::from_ref(self))
    }

    /// Kills it without warning and waits until it is gone.
    pub fn kill(&self) -> Result<()> {
        let Some(held) = self.hold()? else {
            return Ok(());
        };
        held.signal(Signal::SIGKILL)?;
        if !held.ended_within(POLITE)? {
            bail!("{} (process {}) does not die", self.name, self.pid);
        }
        Ok(())
    }

    /// The last lines it printed.
    pub fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(12).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn hold(&self) -> Result<Option<Held>> {
        let Some(held) = Held::open(self.pid)? else {
            return Ok(None);
        };
        // Only now, while the number cannot be given away again, is the comparison worth something.
        Ok(self.is_alive().then_some(held))
    }
}

/// Asks all of these to end, waits for all together, and kills those that do not.
pub fn stop_all(records: &[Record]) -> Result<()> {
    let held: Vec<_> = records.iter().map(Record::hold).collect::<Result<_>>()?;
    end_all(&held.into_iter().flatten().collect::<Vec<_>>())
}

/// Ends every process whose network namespace is one of these: politely, then not.
pub fn end_all_in(namespaces: &[u64]) -> Result<()> {
    let held: Vec<_> = in_namespaces(namespaces)
        .into_iter()
        .map(Held::open)
        .collect::<Result<_>>()?;
    end_all(&held.into_iter().flatten().collect::<Vec<_>>())?;
    // They may have had time to start others.
    let left = in_namespaces(namespaces);
    if !left.is_empty() {
        bail!("these processes do not die: {left:?}");
    }
    Ok(())
}

fn end_all(processes: &[Held]) -> Result<()> {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        for process in processes {
            process.signal(signal)?;
        }
        let end = Instant::now() + POLITE;
        for process in processes {
            process.ended_within(end.saturating_duration_since(Instant::now()))?;
        }
    }
    Ok(())
}

/// The living processes, save this one, whose network namespace is one of these.
pub fn in_namespaces(namespaces: &[u64]) -> Vec<i32> {
    let own = std::process::id().cast_signed();
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|&pid| pid != own && look(pid).is_some_and(|(_, state)| !is_dead(state)))
        .filter(|pid| {
            let link = fs::read_link(format!("/proc/{pid}/ns/net")).unwrap_or_default();
            let inode = link
                .to_string_lossy()
                .trim_start_matches("net:[")
                .trim_end_matches(']')
                .parse()
                .ok();
            inode.is_some_and(|inode: u64| namespaces.contains(&inode))
        })
        .collect()
}

/// Runs a command inside a namespace to its end, but no longer than `limit`.
pub fn output_within(netns: &Netns, command: &mut Command, limit: Duration) -> Result<Output> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = netns.spawn(command)?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let out = std::thread::spawn(move || read_all(out));
    let err = std::thread::spawn(move || read_all(err));
    let pid = i32::try_from(child.id()).context("the kernel gave a process number out of range")?;
    let in_time = Held::open(pid)?.is_none_or(|held| held.wait(limit).unwrap_or(false));
    if !in_time {
        child
            .kill()
            .context("cannot kill a command that takes too long")?;
    }
    let status = child.wait().context("cannot wait for a command")?;
    let stdout = out.join().unwrap_or_default();
    let stderr = err.join().unwrap_or_default();
    if !in_time {
        let program = command.get_program().to_string_lossy();
        let said = String::from_utf8_lossy(&stderr);
        bail!(
            "{program} had not ended after {} s: {}",
            limit.as_secs(),
            said.trim()
        );
    }
    Ok(Output {
        status,
        stdout,
        stderr,
    })
}

fn read_all(from: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        let _ = from.read_to_end(&mut bytes); // what was read until the error is all there is
    }
    bytes
}

/// A process whose number cannot be given to another while this lives.
#[derive(Debug)]
struct Held {
    pid: i32,
    descriptor: OwnedFd,
}

impl Held {
    /// Nothing if there is no such process.
    fn open(pid: i32) -> Result<Option<Self>> {
        // SAFETY: the system call takes two numbers and returns a new descriptor or -1.
        let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        match Errno::result(result) {
            Ok(number) => {
                let number = i32::try_from(number).context("the kernel gave a descriptor out of range")?;
                // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
                let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
                Ok(Some(Self { pid, descriptor }))
            }
            Err(Errno::ESRCH) => Ok(None),
            Err(errno) => Err(errno).with_context(|| format!("cannot hold process {pid}")),
        }
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let none = std::ptr::null::<libc::siginfo_t>();
        let descriptor = self.descriptor.as_raw_fd();
        // SAFETY: the descriptor is a process's and open; no further information goes along, as null says.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                descriptor,
                signal as libc::c_int,
                none,
                0,
            )
        };
        match Errno::result(result) {
            Ok(_) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(errno).with_context(|| format!("cannot signal process {}", self.pid)),
        }
    }

    /// Waits for the end, without taking the exit status.
    fn wait(&self, limit: Duration) -> Result<bool> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(
                &mut [PollFd::new(self.descriptor.as_fd(), PollFlags::POLLIN)],
                timeout,
            ) {
                Ok(0) if left.is_zero() => return Ok(false),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(true),
                Err(errno) => return Err(errno).with_context(|| format!("cannot wait for {}", self.pid)),
            }
        }
    }

    /// Waits for the end, and clears the process away if it is our own child.
    fn ended_within(&self, limit: Duration) -> Result<bool> {
        let ended = self.wait(limit)?;
        if ended {
            let _ = waitpid(Pid::from_raw(self.pid), Some(WaitPidFlag::WNOHANG)); // no child of ours: fine
        }
        Ok(ended)
    }
}

/// When a process began and what state it is in.
fn look(pid: i32) -> Option<(u64, char)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may itself hold spaces and parentheses.
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let state = fields.first()?.chars().next()?;
    let started = fields.get(19)?.parse().ok()?;
    Some((started, state))
}

fn is_dead(state: char) -> bool {
    matches!(state, 'Z' | 'X')
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_with_another_start_is_another_process_and_gets_no_signal() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id().cast_signed();
        let (started, _) = look(pid).unwrap();
        let log = PathBuf::new();
        let mut record = Record {
            name: "x".into(),
            pid,
            started: started + 1,
            boot: boot(),
            netns: String::new(),
            log,
        };
        record.kill().unwrap();
        assert!(
            child.try_wait().unwrap().is_none(),
            "a recycled number was killed"
        );
        record.started = started;
        assert!(record.is_alive());
        record.kill().unwrap();
        assert!(!record.is_alive());
    }
}
