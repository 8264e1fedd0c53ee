//! What a laboratory remembers of itself on disk. All of it is written before what it speaks of is made, so that
//! a crash leaves nothing that [`crate::down`] cannot find.

use crate::plan::{Plan, Prefix, run_dir};
use crate::process;
pub use crate::settings::Wishes;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// Marks a folder as a laboratory's own: only such a folder is ever removed.
const MARK: &str = "THIS_FOLDER_IS_A_LABORATORY";
const MEMORY: &str = "lab.json";
const PROCESSES: &str = "processes";
const OWNER: &str = "state-dir";

/// How far a laboratory has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    pub plan: Plan,
    /// Whether network, hosts, guests and the first pair were made; they are never made twice, since the
    /// laboratory's user may have changed them. Until then a laboratory is worth nothing, and is begun anew
    /// after a crash.
    pub populated: bool,
}

impl Memory {
    /// What was remembered in this folder, if anything.
    pub fn read(state_dir: &Path) -> Result<Option<Self>> {
        let path = state_dir.join(MEMORY);
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let broken = || {
            format!(
                "{} makes no sense; `cargo xtask lab down` clears it away",
                path.display()
            )
        };
        serde_json::from_str(&text).map(Some).with_context(broken)
    }

    /// Claims folder and prefix, and remembers.
    pub fn write(&self) -> Result<()> {
        let state_dir = &self.plan.state_dir;
        claim(state_dir)?;
        let run_dir = self.plan.run_dir();
        fs::create_dir_all(&run_dir).with_context(|| format!("cannot make {}", run_dir.display()))?;
        replace(&run_dir.join(OWNER), state_dir.display().to_string().as_bytes())?;
        replace(&state_dir.join(MEMORY), &serde_json::to_vec_pretty(self)?)
    }
}

/// Where the laboratory with this prefix keeps its state, as it said itself.
pub fn owner(prefix: &Prefix) -> Option<PathBuf> {
    let text = fs::read_to_string(run_dir(prefix).join(OWNER)).ok()?;
    Some(PathBuf::from(text))
}

/// Whether the folder is a laboratory's.
pub fn is_marked(state_dir: &Path) -> bool {
    state_dir.join(MARK).is_file()
}

/// Makes the folder and marks it. A folder that holds something else is left alone.
fn claim(state_dir: &Path) -> Result<()> {
    fs::create_dir_all(state_dir).with_context(|| format!("cannot make {}", state_dir.display()))?;
    if is_marked(state_dir) {
        return Ok(());
    }
    if fs::read_dir(state_dir)?.next().is_some() {
        bail!(
            "{} holds something that is no laboratory; choose another folder",
            state_dir.display()
        );
    }
    let text = "Made by a Pairgate laboratory, which removes the folder when it is taken down.\n";
    replace(&state_dir.join(MARK), text.as_bytes())
}

/// Removes the folder's contents, save logs if they are wanted. A folder without the mark is left alone.
pub fn remove_state(state_dir: &Path, keep_logs: bool) -> Result<()> {
    if !is_marked(state_dir) {
        return Ok(());
    }
    let failed = || format!("cannot remove {}", state_dir.display());
    if keep_logs {
        return remove_all_but_logs(state_dir).map(|_| ()).with_context(failed);
    }
    // The mark goes last: an interrupted removal must be able to go on.
    for entry in fs::read_dir(state_dir)? {
        let path = entry?.path();
        if path.is_dir() {
            fs::remove_dir_all(&path).with_context(failed)?;
        } else if !path.ends_with(MARK) {
            fs::remove_file(&path).with_context(failed)?;
        }
    }
    fs::remove_dir_all(state_dir).with_context(failed)
}

/// Returns whether the folder is empty now.
fn remove_all_but_logs(folder: &Path) -> std::io::Result<bool> {
    let mut empty = true;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let keep = path.ends_with(MARK) || path.extension().is_some_and(|extension| extension == "log");
        if path.is_dir() && remove_all_but_logs(&path)? {
            fs::remove_dir(&path)?;
        } else if path.is_file() && !keep {
            fs::remove_file(&path)?;
        } else {
            empty &= !path.exists();
        }
    }
    Ok(empty)
}

/// Remembers a process that was started.
pub fn remember_process(plan: &Plan, process: &process::Record) -> Result<()> {
    let folder = plan.state_dir.join(PROCESSES);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    replace(
        &folder.join(format!("{}.json", process.name)),
        &serde_json::to_vec_pretty(process)?,
    )
}

/// The process last started under this name, dead or alive.
pub fn process(plan: &Plan, name: &str) -> Option<process::Record> {
    let text = fs::read(plan.state_dir.join(PROCESSES).join(format!("{name}.json"))).ok()?;
    serde_json::from_slice(&text).ok()
}

/// All that were ever started in this folder, the last of each name.
pub fn processes(state_dir: &Path) -> Vec<process::Record> {
    let Ok(entries) = fs::read_dir(state_dir.join(PROCESSES)) else {
        return Vec::new();
    };
    let texts = entries
        .filter_map(Result::ok)
        .filter_map(|entry| fs::read(entry.path()).ok());
    let mut found: Vec<process::Record> = texts
        .filter_map(|text| serde_json::from_slice(&text).ok())
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

/// Writes a file so that it is seen whole or not at all.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let written = fs::write(&partial, contents).and_then(|()| fs::rename(&partial, path));
    written.with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_no_laboratory_is_neither_taken_nor_removed() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mine"), "x").unwrap();
        assert!(claim(folder.path()).is_err());
        remove_state(folder.path(), false).unwrap();
        assert!(folder.path().join("mine").exists());
    }

    #[test]
    fn only_logs_stay_when_logs_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("lab");
        claim(&state).unwrap();
        fs::create_dir_all(state.join("h1/deep")).unwrap();
        fs::create_dir_all(state.join("h2")).unwrap();
        fs::write(state.join("h1/agent.log"), "x").unwrap();
        fs::write(state.join("h1/deep/host.key"), "secret").unwrap();
        fs::write(state.join("h2/host.key"), "secret").unwrap();
        remove_state(&state, true).unwrap();
        assert!(state.join("h1/agent.log").exists());
        assert!(!state.join("h1/deep").exists() && !state.join("h2").exists());
        remove_state(&state, false).unwrap();
        assert!(!state.exists());
    }
}
