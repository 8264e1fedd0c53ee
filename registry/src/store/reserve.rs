//! Disk that is kept back, so that a pair can be denied when there is none left.
//!
//! A file of its own beside the store holds the room, against this service as well as against whatever else fills
//! the disk. When what must not wait (a denial, a move, a revocation) finds the disk nearly full, the file is
//! removed, and from then on nothing else is written until there is room for it again.

use nix::{errno::Errno, fcntl::posix_fallocate, sys::statvfs::statvfs};
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// A denial takes some pages in the log, which is used again once it has been worked in: enough for thousands.
const RESERVE: u64 = 16 << 20;
/// What one batch and a checkpoint of the log may need; below this the disk counts as full.
const MARGIN: u64 = 6 << 20;
const NAME: &str = "reserve";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Whole,
    /// Given up, or never had for want of room.
    Not,
    /// This file system keeps nothing back; the service goes on without.
    Cannot,
}

#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    kept: Kept,
    /// The same for others to read.
    is_used: Arc<AtomicBool>,
}

impl Reserve {
    /// Keeps room in this directory, as far as there is some.
    pub(super) fn keep_in(directory: &Path) -> Self {
        let path = directory.join(NAME);
        let whole = fs::metadata(&path).is_ok_and(|found| found.len() == RESERVE);
        let kept = if whole { Kept::Whole } else { Kept::Not };
        let mut reserve = Self {
            path,
            kept,
            is_used: Arc::default(),
        };
        reserve.refill();
        if reserve.kept == Kept::Not {
            tracing::error!(
                needed = RESERVE + MARGIN, free = reserve.free(), directory = %directory.display(),
                "the disk has no room for the reserve: nothing but denials, moves and removals is written until it has"
            );
        }
        reserve
    }

    /// Set while ordinary changes are refused.
    pub(super) fn is_used(&self) -> Arc<AtomicBool> {
        self.is_used.clone()
    }

    /// Whether an ordinary change may be written.
    pub(super) fn is_whole(&mut self) -> bool {
        self.refill();
        self.kept != Kept::Not
    }

    /// Before something that must not wait.
    pub(super) fn make_room(&mut self) {
        if self.kept == Kept::Whole && self.free() < MARGIN {
            self.release();
        }
    }

    /// The disk was full after all, by a quota or faster than could be seen.
    pub(super) fn release(&mut self) {
        if self.kept != Kept::Whole {
            return;
        }
        tracing::error!(
            path = %self.path.display(),
            "the disk is full: the reserve is given up for denials and moves, and nothing else is written until there is room"
        );
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::error!(%error, path = %self.path.display(), "the reserve could not be removed");
        }
        self.kept = Kept::Not;
        self.tell();
    }

    fn tell(&self) {
        self.is_used.store(self.kept == Kept::Not, Ordering::Relaxed);
    }

    fn refill(&mut self) {
        if self.kept != Kept::Not || self.free() < RESERVE + MARGIN {
            return self.tell();
        }
        self.kept = match allocate(&self.path) {
            Ok(()) => Kept::Whole,
            Err(error) => {
                // Half a reserve would only take room away.
                let _ = fs::remove_file(&self.path);
                let full = [Errno::ENOSPC, Errno::EDQUOT].map(|errno| Some(errno as i32));
                if full.contains(&error.raw_os_error()) {
                    Kept::Not
                } else {
                    tracing::warn!(%error, path = %self.path.display(), "no disk can be kept in reserve");
                    Kept::Cannot
                }
            }
        };
        self.tell();
    }

    /// What is left to us; a file system that does not say counts as full only when it says so in writing.
    fn free(&self) -> u64 {
        let directory = self.path.parent().unwrap_or_else(|| Path::new("."));
        statvfs(directory).map_or(u64::MAX, |found| {
            found.blocks_available().saturating_mul(found.fragment_size())
        })
    }
}

fn allocate(path: &Path) -> io::Result<()> {
    let file: File = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    posix_fallocate(&file, 0, i64::try_from(RESERVE).unwrap_or(i64::MAX))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_kept_given_up_and_taken_back() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(NAME);
        let mut reserve = Reserve::keep_in(directory.path());
        assert_eq!(
            reserve.kept,
            Kept::Whole,
            "the test needs {RESERVE} bytes of disk"
        );
        assert_eq!(fs::metadata(&file).unwrap().len(), RESERVE);
        reserve.make_room();
        assert!(file.exists(), "there is room");
        reserve.release();
        assert!(!file.exists());
        assert!(reserve.is_whole() && file.exists(), "there is room again");
        fs::write(&file, "half").unwrap();
        let again = Reserve::keep_in(directory.path());
        assert_eq!(fs::metadata(&file).unwrap().len(), RESERVE);
        assert_eq!(again.kept, Kept::Whole);
    }

    #[test]
    fn a_file_system_that_keeps_nothing_back_does_not_stop_the_service() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join(NAME)).unwrap();
        let mut reserve = Reserve::keep_in(directory.path());
        assert_eq!(reserve.kept, Kept::Cannot);
        assert!(reserve.is_whole());
    }
}
