//! The way into a machine: serial ports of virtio, each a Unix socket of the host's.
//!
//! A port carries one command at a time, and the command lives as long as its connection. Both sides send lines of
//! JSON: the host one [`Request`], the guest [`Reply`] after [`Reply`]. A port is a stream without a beginning: what
//! an earlier connection left in it is told apart by the request's number.

use super::Ended;
use crate::patience;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Ports of each machine: so many commands can run in it at once.
pub const PORTS: usize = 4;
/// How a port's name starts, inside the machine.
pub const PORT_NAME: &str = "pairgate.";
/// Exit codes from here on are of commands that were killed, or never began.
pub const KILLED: i32 = 128;
/// How long a port may stay taken by commands before it is said.
const BUSY: Duration = Duration::from_secs(10);

/// A command to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the host; different for each request.
    pub id: u64,
    pub argv: Vec<String>,
    /// What it reads.
    pub stdin: String,
}

/// A piece of what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The request's.
    pub id: u64,
    pub said: Said,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Said {
    /// A line, or the last part of one, on its standard output.
    Out(String),
    /// Likewise on its standard error.
    Err(String),
    /// It has ended with this code: 128 and above if it was killed, or could not be started. Nothing follows.
    Ended(i32),
}

/// The socket of a machine's port.
pub fn socket(folder: &Path, machine: &str, port: usize) -> PathBuf {
    folder.join(format!("{machine}.{port}"))
}

/// A command that runs in a machine; dropped, it is killed there.
#[derive(Debug)]
pub struct Job {
    id: u64,
    lines: BufReader<UnixStream>,
    partial: Vec<u8>,
    what: String,
    /// Says that the port is taken, for as long as this lives.
    _taken: File,
}

impl Job {
    /// Starts a command in the machine whose sockets lie in `folder`, as soon as it listens.
    pub fn start(folder: &Path, machine: &str, argv: &[&str], stdin: &str) -> Result<Self> {
        let what = format!("`{}` in {machine}", argv.join(" "));
        let (port, taken) = take_port(folder, machine)?;
        let path = socket(folder, machine, port);
        let stream = UnixStream::connect(&path)
            .with_context(|| format!("{machine} is not there: nobody listens at {}", path.display()))?;
        let request = Request {
            id: fresh_id(),
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
            stdin: stdin.to_owned(),
        };
        // The first byte ends whatever line an earlier connection left half-written.
        let mut line = b"\n".to_vec();
        serde_json::to_writer(&mut line, &request)?;
        line.push(b'\n');
        (&stream)
            .write_all(&line)
            .with_context(|| format!("cannot ask for {what}"))?;
        Ok(Self {
            id: request.id,
            lines: BufReader::new(stream),
            partial: Vec::new(),
            what,
            _taken: taken,
        })
    }

    /// What it says next; none if it says nothing for as long as `limit`.
    pub fn next(&mut self, limit: Option<Duration>) -> Result<Option<Said>> {
        let end = limit.map(|limit| Instant::now() + limit);
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            self.lines.get_ref().set_read_timeout(left)?;
            match self.lines.read_until(b'\n', &mut self.partial) {
                Ok(0) => bail!("the machine ended before {}", self.what),
                Ok(_) if !self.partial.ends_with(b"\n") => continue,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(error) => return Err(error).with_context(|| format!("cannot hear {}", self.what)),
            }
            let line = std::mem::take(&mut self.partial);
            match serde_json::from_slice::<Reply>(&line) {
                Ok(reply) if reply.id == self.id => return Ok(Some(reply.said)),
                // Another's, or the rest of another's.
                _ => {}
            }
        }
    }

    /// The first line on its standard output.
    pub fn first_line(&mut self, limit: Duration) -> Result<String> {
        match self.next(Some(limit))? {
            Some(Said::Out(line)) => Ok(line.trim_end().to_owned()),
            other => bail!("{} did not begin well: {other:?}", self.what),
        }
    }

    /// The lines on its standard output that are there now, or come before it has been quiet for so long.
    pub fn lines_until_quiet(&mut self, quiet: Duration) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        while let Some(said) = self.next(Some(quiet))? {
            match said {
                Said::Out(line) => lines.push(line.trim_end().to_owned()),
                Said::Err(_) | Said::Ended(_) => bail!("{} has ended: {said:?}", self.what),
            }
        }
        Ok(lines)
    }

    /// All that it says until its end.
    pub fn finish(mut self, limit: Duration) -> Result<Ended> {
        let end = Instant::now() + limit;
        let mut ended = Ended {
            code: 0,
            stdout: String::new(),
            stderr: String::new(),
        };
        loop {
            match self.next(Some(end.saturating_duration_since(Instant::now())))? {
                None => bail!("{} did not end in time", self.what),
                Some(Said::Out(text)) => ended.stdout.push_str(&text),
                Some(Said::Err(text)) => ended.stderr.push_str(&text),
                Some(Said::Ended(code)) => {
                    ended.code = code;
                    return Ok(ended);
                }
            }
        }
    }
}

/// A port that nobody uses, and the lock that says that it is taken.
fn take_port(folder: &Path, machine: &str) -> Result<(usize, File)> {
    let what = format!("one of the {PORTS} ways into {machine} is free");
    patience::until(BUSY, &what, || {
        for port in 0..PORTS {
            let path = folder.join(format!("{machine}.{port}.lock"));
            let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
            match file.try_lock() {
                Ok(()) => return Ok(Some((port, file))),
                Err(fs::TryLockError::WouldBlock) => {}
                Err(fs::TryLockError::Error(error)) => return Err(error.into()),
            }
        }
        Ok(None)
    })
}

/// Different for each request, also of two programs at one time.
fn fresh_id() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanoseconds = now.map_or(0, |now| now.as_nanos() as u64);
    nanoseconds.rotate_left(20) ^ u64::from(std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn what_another_connection_left_is_not_taken_for_an_answer() {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(socket(folder.path(), "m", 0)).unwrap();
        let guest = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            lines.read_line(&mut line).unwrap();
            assert_eq!(line, "\n");
            lines.read_line(&mut line).unwrap();
            let request: Request = serde_json::from_str(line.trim()).unwrap();
            let say = |id, said| {
                let mut line = serde_json::to_vec(&Reply { id, said }).unwrap();
                line.push(b'\n');
                (&stream).write_all(&line).unwrap();
            };
            (&stream).write_all(b"rest of a line\"}}\n").unwrap();
            say(request.id ^ 1, Said::Ended(7));
            say(request.id, Said::Out("one\n".into()));
            say(request.id, Said::Ended(3));
            request.argv
        });
        let job = Job::start(folder.path(), "m", &["x", "y"], "").unwrap();
        let ended = job.finish(Duration::from_secs(5)).unwrap();
        assert_eq!((ended.code, ended.stdout.as_str()), (3, "one\n"));
        assert_eq!(guest.join().unwrap(), ["x", "y"]);
    }
}
