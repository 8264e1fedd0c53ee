//! One agent per host.
//!
//! Two agents on the same maps would undo each other's denials. The kernel holds both locks, so an agent that
//! was killed leaves none behind: a name in the network namespace, which bars a second agent for the same
//! uplink and taps, and the state directory, which bars one with the same identity.

use nix::fcntl::{Flock, FlockArg};
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::{DirBuilderExt, OpenOptionsExt},
            net::{SocketAddr, UnixListener},
        },
    },
    path::{Path, PathBuf},
};

/// In the abstract namespace of Unix sockets, which belongs to the network namespace.
const NAME: &str = "pairgate-agent";

/// Held while the agent lives.
#[derive(Debug)]
pub struct Locks {
    _name: UnixListener,
    _files: Vec<Flock<File>>,
}

/// Why this agent must not run.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error(
        "another agent runs in this network namespace (it holds the abstract socket @{NAME}); stop it first, this one has changed nothing"
    )]
    Namespace,
    #[error("another agent uses {0}; stop it first, or give this one directories of its own")]
    Directory(PathBuf),
    #[error("cannot lock {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("cannot take the name @{NAME}: {0}")]
    Name(io::Error),
}

impl Locks {
    /// Takes the name first: until that is ours nothing is made or opened.
    pub fn take(state_dir: &Path, pin_dir: &Path) -> Result<Self, LockError> {
        let name = take_name()?;
        make_private(state_dir)?;
        make_private(pin_dir)?;
        let state = lock(state_dir, &state_dir.join("lock"), true)?;
        let pins = lock(pin_dir, pin_dir, false)?;
        Ok(Self {
            _name: name,
            _files: vec![state, pins],
        })
    }

    /// The same for one who makes nothing: a directory that is not there locks nobody out.
    pub fn existing(state_dir: &Path, pin_dir: &Path) -> Result<Self, LockError> {
        let name = take_name()?;
        let state = state_dir.join("lock");
        let mut files = Vec::new();
        for (directory, path) in [(state_dir, state.as_path()), (pin_dir, pin_dir)] {
            if path.exists() {
                files.push(lock(directory, path, false)?);
            }
        }
        Ok(Self {
            _name: name,
            _files: files,
        })
    }
}

fn take_name() -> Result<UnixListener, LockError> {
    let name = SocketAddr::from_abstract_name(NAME).map_err(LockError::Name)?;
    UnixListener::bind_addr(&name).map_err(|error| {
        if error.kind() == io::ErrorKind::AddrInUse {
            LockError::Namespace
        } else {
            LockError::Name(error)
        }
    })
}

fn make_private(directory: &Path) -> Result<(), LockError> {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory);
    made.map_err(|source| LockError::Io {
        path: directory.to_owned(),
        source,
    })
}

fn lock(directory: &Path, path: &Path, create: bool) -> Result<Flock<File>, LockError> {
    let failed = |source| LockError::Io {
        path: path.to_owned(),
        source,
    };
    let file = OpenOptions::new()
        .read(true)
        .write(create)
        .create(create)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| {
        if error == nix::errno::Errno::EWOULDBLOCK {
            LockError::Directory(directory.to_owned())
        } else {
            failed(error.into())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_locked_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let held = lock(directory.path(), &path, true).unwrap();
        assert!(matches!(
            lock(directory.path(), &path, true),
            Err(LockError::Directory(_))
        ));
        drop(held);
        assert!(lock(directory.path(), &path, true).is_ok());
        assert!(lock(directory.path(), directory.path(), false).is_ok());
    }

    #[test]
    fn what_only_looks_makes_no_directory() {
        let directory = tempfile::tempdir().unwrap();
        let (state, pins) = (directory.path().join("state"), directory.path().join("pins"));
        // Another agent in this namespace, maybe a real one, may hold the name: that is a refusal, too.
        let _ = Locks::existing(&state, &pins);
        assert!(!state.exists() && !pins.exists());
    }
}
