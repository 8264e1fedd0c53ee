//! One at a time may change a laboratory. The kernel gives the lock back when its holder dies.

use crate::plan::{Prefix, RUN_ROOT};
use crate::{patience, plan};
use anyhow::{Context, Result};
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Held by whoever changes the laboratory with one prefix.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Waits for it, but no longer than `limit`.
    pub fn take(prefix: &Prefix, limit: Duration) -> Result<Self> {
        let path = Path::new(RUN_ROOT).join(format!("{}.lock", prefix.stem()));
        let what = format!("another program holds {}", path.display());
        patience::until(limit, &what, || Self::try_take(&path))
    }

    fn try_take(path: &Path) -> Result<Option<Self>> {
        let private = fs::create_dir_all(plan::RUN_ROOT)
            .and_then(|()| File::options().create(true).append(true).open(path));
        let file = match private {
            // The folder went between the two steps, with the last laboratory in it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.with_context(|| format!("cannot open {}", path.display()))?,
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        // Its last holder may have removed the name while we waited: then we hold what nobody else will see.
        let still_named =
            fs::metadata(path).is_ok_and(|now| file.metadata().is_ok_and(|own| own.ino() == now.ino()));
        Ok(still_named.then(|| Self {
            file,
            path: path.to_path_buf(),
        }))
    }

    /// Gives it back and leaves no file behind.
    pub fn remove(self) {
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_dir(RUN_ROOT); // stays while other laboratories are there
        drop(self.file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_waits_until_the_first_has_gone() {
        if !crate::is_root() {
            return;
        }
        let prefix = Prefix::new("pgtlock-").unwrap();
        let first = Lock::take(&prefix, Duration::ZERO).unwrap();
        assert!(Lock::take(&prefix, Duration::ZERO).is_err());
        let path = first.path.clone();
        first.remove();
        assert!(!path.exists());
        Lock::take(&prefix, Duration::ZERO).unwrap().remove();
    }
}
