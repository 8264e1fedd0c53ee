//! Takes a laboratory down without trace: processes, namespaces, pins, sockets, state. Whatever half of it is
//! there, also nothing.

use crate::lock::Lock;
use crate::netns::{self, Netns};
use crate::plan::{Plan, Prefix, run_dir};
use crate::{bpffs, process, record, up};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;

/// Removes the laboratory with this prefix. `keep_logs` leaves `*.log` below the state folder.
pub fn down(prefix: &Prefix, state_dir: &Path, keep_logs: bool) -> Result<()> {
    ensure!(crate::is_root(), "a laboratory needs root to be taken down");
    let lock = Lock::take(prefix, up::PATIENCE)?;
    clear(prefix, state_dir, keep_logs)?;
    lock.remove();
    Ok(())
}

/// The same for a caller who holds the lock. Goes on from any point at which another call was interrupted: each
/// step looks at what is there, and what the next steps need is removed last.
pub(crate) fn clear(prefix: &Prefix, state_dir: &Path, keep_logs: bool) -> Result<()> {
    let state_dir = std::path::absolute(state_dir)?;
    // There is one laboratory of a prefix on a machine, wherever its state lies.
    let mut state_dirs = vec![state_dir];
    state_dirs.extend(record::owner(prefix).filter(|owner| *owner != state_dirs[0]));
    for state_dir in &state_dirs {
        process::stop_all(&record::processes(state_dir))?;
    }
    let namespaces: Vec<_> = netns::names()
        .into_iter()
        .filter(|name| Plan::owns_netns(prefix, name))
        .collect();
    let namespaces: Vec<_> = namespaces.iter().map(|name| Netns::named(name)).collect();
    // A process may have been started and not yet remembered.
    let inodes: Vec<_> = namespaces.iter().filter_map(Netns::inode).collect();
    process::end_all_in(&inodes)?;
    for namespace in namespaces {
        namespace.delete()?;
    }
    bpffs::remove_pins(prefix)?;
    for state_dir in &state_dirs {
        record::remove_state(state_dir, keep_logs)?;
    }
    // It says where the state is, so it goes after the state.
    let run_dir = run_dir(prefix);
    if run_dir.exists() {
        fs::remove_dir_all(&run_dir).with_context(|| format!("cannot remove {}", run_dir.display()))?;
    }
    Ok(())
}
