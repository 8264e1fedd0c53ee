//! Files that lie where the agent cannot go once it has given up root's power over files: a checkout in the home
//! of a user who keeps it to himself, started with `sudo`.
//!
//! Such a path is opened while the power is still there, and named by its descriptor from then on
//! (`/proc/self/fd/N`), which needs no way to it. Every other path stays as it is. What lies there must belong to
//! root all the same.

use crate::config::Settings;
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

/// Keeps the paths open that could not be opened again; to be held while the agent runs.
#[derive(Debug, Default)]
pub struct Reach {
    _held: Vec<File>,
}

/// A path of the settings that does not lead anywhere.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {path}: {source}")]
pub struct ReachError {
    path: PathBuf,
    source: io::Error,
}

impl Reach {
    /// To be called before powers are given up. The state directory is made if it is missing.
    pub fn hold(settings: &mut Settings) -> Result<Self, ReachError> {
        let mut held = Vec::new();
        let state = settings.state_dir.clone();
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&state);
        made.map_err(|source| ReachError { path: state, source })?;
        let mut paths = vec![&mut settings.state_dir];
        if let Some(zero) = &mut settings.zero {
            paths.extend([&mut zero.authority, &mut zero.certificate, &mut zero.key]);
        }
        for path in paths {
            // One that is not there may not be needed; whoever needs it says so.
            if is_open(path) || !path.exists() {
                continue;
            }
            let file = OpenOptions::new()
                .read(true)
                .custom_flags(libc::O_PATH | libc::O_CLOEXEC)
                .open(&path);
            let file = file.map_err(|source| ReachError {
                path: path.clone(),
                source,
            })?;
            tracing::debug!(path = %path.display(), "held open: a directory above it is closed to us");
            *path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
            held.push(file);
        }
        Ok(Self { _held: held })
    }
}

/// Whether every directory above lets our user through by its rights alone. One that cannot be looked at does not.
fn is_open(path: &Path) -> bool {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let own = nix::unistd::geteuid().as_raw();
    path.ancestors().skip(1).all(|directory| {
        fs::metadata(directory).is_ok_and(|about| lets_through(about.mode(), about.uid() == own))
    })
}

/// By owner or everybody; a group would have to be looked up, and holding too much costs nothing.
fn lets_through(mode: u32, is_owner: bool) -> bool {
    let bit = if is_owner { 0o100 } else { 0o001 };
    mode & bit != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_owner_and_everybody_are_let_through() {
        for (mode, is_owner, through) in [
            (0o40_700, true, true),
            (0o40_700, false, false),
            (0o40_755, false, true),
            (0o40_750, false, false),
            // An owner is judged as the owner, whatever others may.
            (0o40_055, true, false),
        ] {
            assert_eq!(lets_through(mode, is_owner), through, "{mode:o} {is_owner}");
        }
    }

    #[test]
    fn what_can_be_reached_keeps_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("a/state");
        let mut settings = crate::config::tests::settings(&state);
        let _reach = Reach::hold(&mut settings).unwrap();
        assert_eq!(settings.state_dir, state);
        assert_eq!(fs::metadata(&state).unwrap().mode() & 0o777, 0o700);
    }
}
