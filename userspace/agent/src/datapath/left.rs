//! What agents left on the BPF file system, of any version of the contract: for taking it away.
//!
//! Layouts of maps differ between versions and are not looked into, with one exception that has been the same
//! in all of them: `LEASE`, an array of one `u64`. At 0 the programs refuse every pair, whoever wrote the rest.

use super::{
    attach::{AttachError, Program},
    attachment::{self, Attachment},
    open::OpenError,
    pins::Pins,
};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

/// See the module.
#[derive(Debug)]
pub struct Left {
    pin_dir: PathBuf,
    versions: Vec<Pins>,
}

/// What was left could not be looked at or taken away.
#[derive(Debug, thiserror::Error)]
pub enum LeftError {
    #[error("cannot use {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Attach(#[from] AttachError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("cannot end the host lease in {path}: {why}")]
    Lease { path: PathBuf, why: String },
}

fn failed(path: &Path) -> impl Fn(io::Error) -> LeftError {
    let path = path.to_owned();
    move |source| LeftError::Io {
        path: path.clone(),
        source,
    }
}

impl Left {
    /// Looks; changes nothing.
    pub fn find(pin_dir: &Path) -> Result<Self, LeftError> {
        Ok(Self {
            pin_dir: pin_dir.to_owned(),
            versions: Pins::every(pin_dir).map_err(failed(pin_dir))?,
        })
    }

    /// The directories of versions.
    pub fn versions(&self) -> impl Iterator<Item = &Path> {
        self.versions.iter().map(Pins::directory)
    }

    /// Interfaces that a program of taps runs on right now, by index.
    pub fn guarded(&self) -> Result<BTreeSet<u32>, LeftError> {
        let mut guarded = BTreeSet::new();
        for pins in &self.versions {
            for (index, program) in pins.links().map_err(failed(pins.directory()))? {
                if !is_of_taps(program) {
                    continue;
                }
                let pin = pins.link(index, program);
                let there = Attachment::open(&pin).map_err(|message| AttachError::Pin {
                    program,
                    interface: index,
                    message,
                })?;
                if let Some(there) = there
                    && there.runs_on(program, index)?
                {
                    guarded.insert(index);
                }
            }
        }
        Ok(guarded)
    }

    /// Ends every pair of this host at once, in the kernel.
    pub fn end_leases(&self) -> Result<(), LeftError> {
        for pins in &self.versions {
            if !pins.map(pairgate_abi::map::LEASE).exists() {
                continue;
            }
            let mut lease = pins.lease()?;
            lease.set(0, 0, 0).map_err(|error| LeftError::Lease {
                path: pins.directory().to_owned(),
                why: error.to_string(),
            })?;
        }
        Ok(())
    }

    /// Removes every pin, save the links of the taps in `shut`: their programs run on. They refuse everything
    /// then, whoever held the maps.
    pub fn remove(&self, shut: &BTreeSet<u32>) -> Result<(), LeftError> {
        for pins in &self.versions {
            let kept: BTreeSet<PathBuf> = shut
                .iter()
                .flat_map(|index| Program::OF_TAP.map(|program| pins.link(*index, program)))
                .collect();
            let directory = pins.directory();
            for (index, program) in pins.links().map_err(failed(directory))? {
                let pin = pins.link(index, program);
                if !kept.contains(&pin) {
                    attachment::release(&pin, program, index).map_err(|message| AttachError::Pin {
                        program,
                        interface: index,
                        message,
                    })?;
                }
            }
            for entry in fs::read_dir(directory).map_err(failed(directory))? {
                let path = entry.map_err(failed(directory))?.path();
                if !kept.contains(&path) {
                    fs::remove_file(&path).map_err(failed(&path))?;
                }
            }
            remove_if_empty(directory)?;
        }
        remove_if_empty(&self.pin_dir)
    }
}

/// `stop_in` is on the VXLAN device too.
fn is_of_taps(program: Program) -> bool {
    matches!(program, Program::FromTap | Program::ToTap | Program::StopOut)
}

fn remove_if_empty(directory: &Path) -> Result<(), LeftError> {
    match fs::remove_dir(directory) {
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound
            ) =>
        {
            Err(failed(directory)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_goes_but_the_links_of_taps_that_stay_shut() {
        let folder = tempfile::tempdir().unwrap();
        let pin_dir = folder.path().join("pins");
        for version in ["v2", "v3"] {
            fs::create_dir_all(pin_dir.join(version)).unwrap();
            for name in [
                "TAPS",
                "link-3-from_tap",
                "link-3-to_tap",
                "link-3-stop_in",
                "link-3-stop_out",
                "link-4-from_tap",
                "link-1-from_uplink",
                "link-1-xdp_uplink",
            ] {
                fs::write(pin_dir.join(version).join(name), "").unwrap();
            }
        }
        fs::create_dir(pin_dir.join("vault")).unwrap();
        let left = Left::find(&pin_dir).unwrap();
        assert_eq!(left.versions().count(), 2);
        left.remove(&BTreeSet::from([3])).unwrap();
        for version in ["v2", "v3"] {
            let mut names: Vec<_> = fs::read_dir(pin_dir.join(version))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            assert_eq!(
                names,
                [
                    "link-3-from_tap",
                    "link-3-stop_in",
                    "link-3-stop_out",
                    "link-3-to_tap"
                ]
            );
        }
        left.remove(&BTreeSet::new()).unwrap();
        assert!(!pin_dir.join("v2").exists());
        assert!(pin_dir.join("vault").exists(), "what is not ours was removed");
    }

    #[test]
    fn a_host_on_which_no_agent_ever_ran_has_nothing_to_take_away() {
        let folder = tempfile::tempdir().unwrap();
        let left = Left::find(&folder.path().join("none")).unwrap();
        assert!(left.guarded().unwrap().is_empty());
        left.end_leases().unwrap();
        left.remove(&BTreeSet::new()).unwrap();
    }
}
