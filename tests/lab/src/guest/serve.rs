//! The guest's end of [`channel`](super::channel): runs what the host asks for, a thread for each port.

use super::channel::{PORT_NAME, Reply, Request, Said};
use anyhow::{Context, Result, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Where the kernel lists the ports with their names.
const PORTS: &str = "/sys/class/virtio-ports";
/// While nobody is connected a port cannot be waited for: it is looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(30);
/// So many looks in a row must find nobody connected before a command is taken for left alone.
const HUNG_UP_LOOKS: u32 = 10;
/// The longest request.
const LONGEST: usize = 8 << 20;
/// Of a command that was never started.
const NOT_STARTED: i32 = 255;

/// Serves every port of ours; only returns if there is none.
pub fn run() -> Result<()> {
    let ports = ports()?;
    ensure!(!ports.is_empty(), "this machine has no port called {PORT_NAME}…");
    std::thread::scope(|scope| {
        for port in &ports {
            scope.spawn(move || {
                if let Err(error) = serve(port) {
                    eprintln!("port {}: {error:#}", port.display());
                }
            });
        }
    });
    Ok(())
}

fn ports() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(PORTS).with_context(|| format!("cannot list {PORTS}"))? {
        let entry = entry?;
        let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        if name.starts_with(PORT_NAME) {
            found.push(Path::new("/dev").join(entry.file_name()));
        }
    }
    Ok(found)
}

/// One port: lines come in, and the command of the last is the one that runs.
fn serve(path: &Path) -> Result<()> {
    let port = OpenOptions::new().read(true).write(true).open(path)?;
    let mut pending = Vec::new();
    loop {
        let Some(line) = next_line(&port, &mut pending)? else {
            continue;
        };
        if let Ok(request) = serde_json::from_slice::<Request>(&line) {
            perform(&port, &request)?;
        }
    }
}

/// A whole line; nothing yet if the host has hung up.
fn next_line(port: &File, pending: &mut Vec<u8>) -> Result<Option<Vec<u8>>> {
    loop {
        if let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            return Ok(Some(pending.drain(..=end).collect()));
        }
        let mut bytes = [0; 4096];
        match (&*port).read(&mut bytes)? {
            0 => {
                pending.clear();
                std::thread::sleep(LOOK_EVERY);
                return Ok(None);
            }
            length => pending.extend(&bytes[..length]),
        }
        ensure!(pending.len() <= LONGEST, "a request has no end");
    }
}

/// Runs one command. Kills it if the host hangs up, or asks for another.
fn perform(port: &File, request: &Request) -> Result<()> {
    let out = Mutex::new(port);
    let say = |said| {
        let mut line = serde_json::to_vec(&Reply { id: request.id, said })?;
        line.push(b'\n');
        let mut port = *out.lock().unwrap_or_else(PoisonError::into_inner);
        port.write_all(&line).context("cannot answer")
    };
    let mut child = match start(request) {
        Ok(child) => child,
        Err(error) => {
            say(Said::Err(format!("{error:#}\n")))?;
            return say(Said::Ended(NOT_STARTED));
        }
    };
    let (stdout, stderr, stdin) = (child.stdout.take(), child.stderr.take(), child.stdin.take());
    let code = std::thread::scope(|scope| {
        scope.spawn(|| pass_on(stdout, |line| say(Said::Out(line))));
        scope.spawn(|| pass_on(stderr, |line| say(Said::Err(line))));
        scope.spawn(|| {
            if let Some(mut stdin) = stdin {
                let _ = stdin.write_all(request.stdin.as_bytes()); // a command need not read it
            }
        });
        watch(port, &mut child)
    })?;
    say(Said::Ended(code))
}

fn start(request: &Request) -> Result<Child> {
    let (program, arguments) = request.argv.split_first().context("no command is given")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    command.spawn().with_context(|| format!("cannot run {program}"))
}

fn pass_on(from: Option<impl Read>, say: impl Fn(String) -> Result<()>) {
    let Some(from) = from else { return };
    let mut lines = BufReader::new(from);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        if say(String::from_utf8_lossy(&line).into_owned()).is_err() {
            return;
        }
        line.clear();
    }
}

/// Waits for the command's end; what the host does meanwhile (hang up, write) ends it.
fn watch(port: &File, child: &mut Child) -> Result<i32> {
    let pid = child.id().cast_signed();
    // SAFETY: the system call takes two numbers and returns a new descriptor or -1.
    let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let raw = nix::errno::Errno::result(raw).context("cannot hold the command")?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    let ended = unsafe { OwnedFd::from_raw_fd(i32::try_from(raw)?) };
    if !ends_first(&ended, port) {
        // It may have started others, which hold its pipes open.
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL); // it has ended meanwhile: fine
    }
    let status = child.wait().context("cannot wait for the command")?;
    Ok(status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default()))
}

/// Whether the command ends before the host hangs up or writes.
///
/// A port says that nobody is connected for a moment after somebody is: what is written travels by another way than the
/// word that a connection has ended and a new one begun, and may overtake both. So it must stay said.
fn ends_first(ended: &OwnedFd, port: &File) -> bool {
    let look = |timeout: PollTimeout| {
        let mut waited = [
            PollFd::new(ended.as_fd(), PollFlags::POLLIN),
            PollFd::new(port.as_fd(), PollFlags::POLLIN),
        ];
        while let Err(nix::errno::Errno::EINTR) = poll(&mut waited, timeout) {}
        waited.map(|fd| fd.revents().unwrap_or(PollFlags::empty()))
    };
    let mut timeout = PollTimeout::NONE;
    let mut hung_up = 0;
    loop {
        let [command, host] = look(timeout);
        if !command.is_empty() {
            return true;
        }
        // Where nobody is connected, nothing to read counts as something.
        if !host.contains(PollFlags::POLLHUP) {
            if host.contains(PollFlags::POLLIN) {
                return false;
            }
            (hung_up, timeout) = (0, PollTimeout::NONE);
            continue;
        }
        if hung_up == HUNG_UP_LOOKS {
            return false;
        }
        (hung_up, timeout) = (hung_up + 1, PollTimeout::ZERO);
        std::thread::sleep(LOOK_EVERY);
    }
}
