//! What a laboratory remembers of itself on disk. All of it is written before what it speaks of is made, so that
//! a crash leaves nothing that [`crate::down`] cannot find.

use crate::plan::{Plan, Prefix, Settings, run_dir};
use crate::process;
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

/// What a caller wants set; what is left open stays as it is, or as programs choose.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    pub hosts: Option<u8>,
    pub token_life_secs: Option<u64>,
    pub lease_secs: Option<u64>,
    pub idle_secs: Option<u64>,
}

impl Wishes {
    /// Settings for a new laboratory, or those of the one that is there, if the wishes agree with it.
    pub fn settle(&self, there: Option<&Settings>) -> Result<Settings> {
        let Some(there) = there else {
            let hosts = self.hosts.unwrap_or(Settings::default().hosts);
            return Ok(Settings {
                hosts,
                token_life_secs: self.token_life_secs,
                lease_secs: self.lease_secs,
                idle_secs: self.idle_secs,
            });
        };
        let same = self.hosts.is_none_or(|hosts| hosts == there.hosts)
            && (self.token_life_secs.is_none() || self.token_life_secs == there.token_life_secs)
            && (self.lease_secs.is_none() || self.lease_secs == there.lease_secs)
            && (self.idle_secs.is_none() || self.idle_secs == there.idle_secs);
        if !same {
            let Settings {
                hosts,
                token_life_secs,
                lease_secs,
                idle_secs,
            } = there;
            let spelled = |secs: &Option<u64>| secs.map_or("default".to_owned(), |secs| secs.to_string());
            bail!(
                "the laboratory is up with other settings (--hosts {hosts}, token life {}, lease {}, idle \
                 {}): take it down first",
                spelled(token_life_secs),
                spelled(lease_secs),
                spelled(idle_secs)
            );
        }
        Ok(there.clone())
    }
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

    #[test]
    fn settings_of_a_laboratory_that_is_up_are_kept_and_others_refused() {
        let there = Settings {
            hosts: 3,
            token_life_secs: Some(5),
            lease_secs: None,
            idle_secs: None,
        };
        assert_eq!(Wishes::default().settle(Some(&there)).unwrap(), there);
        let same = Wishes {
            hosts: Some(3),
            ..Wishes::default()
        };
        assert_eq!(same.settle(Some(&there)).unwrap(), there);
        let other = Wishes {
            lease_secs: Some(9),
            ..Wishes::default()
        };
        assert!(other.settle(Some(&there)).is_err());
    }
}
