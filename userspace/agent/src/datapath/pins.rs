//! Where maps and links live on after the agent: `<pin-dir>/v<ABI version>/`.
use super::{attach::Program, attachment, kernel};
use aya::maps::MapData;
use nix::sys::statfs::{FsType, statfs};
use pairgate_abi::ABI_VERSION;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What `statfs` says of a BPF file system.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// The pins of this agent's version of the contract.
#[derive(Clone, Debug)]
pub struct Pins {
    directory: PathBuf,
}

impl Pins {
    /// The pins under an agent's pin directory; nothing is made or opened yet.
    pub fn under(pin_dir: &Path) -> Self {
        Self {
            directory: pin_dir.join(format!("v{ABI_VERSION}")),
        }
    }

    /// The pins of every version under an agent's pin directory, whether this agent would adopt them or not.
    pub fn every(pin_dir: &Path) -> io::Result<Vec<Self>> {
        let entries = match fs::read_dir(pin_dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut versions = Vec::new();
        for entry in entries {
            let directory = entry?.path();
            let name = directory.file_name().unwrap_or_default().to_string_lossy();
            let is_version = name
                .strip_prefix('v')
                .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
            if is_version {
                versions.push(Self { directory });
            }
        }
        Ok(versions)
    }

    /// Makes the directory, readable by nobody but its owner.
    pub fn create(&self) -> io::Result<()> {
        use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)?;
        fs::set_permissions(&self.directory, fs::Permissions::from_mode(0o700))
    }

    /// Makes the directory if it is not there, and says whether what is pinned in it will be kept.
    pub fn are_kept(&self) -> io::Result<()> {
        if !self.directory.exists() {
            self.create()?;
        }
        let kind = statfs(&self.directory)?.filesystem_type();
        if kind == FsType(BPF_FS_MAGIC) {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "{} is not on a BPF file system any more; mount one where it was (`mount -t bpf bpf /sys/fs/bpf`)",
            self.directory.display()
        )))
    }

    /// The directory itself.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Pin of a map, by its name in `pairgate_abi::map`.
    pub fn map(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Pin of the link that holds `program` to an interface, or of the program that a filter there has. Named by index: names may hold dots, which
    /// this file system refuses, and may be given to another interface.
    pub fn link(&self, interface: u32, program: Program) -> PathBuf {
        self.directory
            .join(format!("link-{interface}-{}", program.name()))
    }

    /// Name under which a map is pinned that is to take the place of another; `name` is that of its pin.
    pub(super) fn next_map(&self, name: &str) -> PathBuf {
        self.directory.join(format!("next-{name}"))
    }

    /// Name under which a pin is made that is to take the place of another.
    pub(super) fn next_link(&self, interface: u32, program: Program) -> PathBuf {
        self.directory
            .join(format!("next-{interface}-{}", program.name()))
    }

    /// Pin of the table of conversations of a tap slot.
    pub fn flow_table(&self, slot: u32) -> PathBuf {
        self.directory.join(format!("flows-{slot}"))
    }

    /// Name under which such a table is pinned that is to take the place of another.
    pub(super) fn next_flow_table(&self, slot: u32) -> PathBuf {
        self.next_map(&format!("flows-{slot}"))
    }

    /// Every pinned link.
    pub fn links(&self) -> io::Result<Vec<(u32, Program)>> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut links = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let Some((index, program)) = name
                .to_str()
                .and_then(|name| name.strip_prefix("link-"))
                .and_then(|rest| rest.split_once('-'))
            else {
                continue;
            };
            if let (Ok(index), Some(program)) = (index.parse(), Program::from_name(program)) {
                links.push((index, program));
            }
        }
        links.sort_unstable();
        Ok(links)
    }
}

/// Whether the map of this number is pinned there, and not another one, or anything else.
pub(super) fn names_map(pin: &Path, number: u32) -> io::Result<bool> {
    let there = match kernel::pinned_map(pin) {
        Ok(Some(there)) => there,
        Ok(None) => return Ok(false),
        // No object of the kernel's: only a file that has such a name.
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => return Ok(false),
        Err(error) => return Err(error),
    };
    let info = MapData::from_fd(there).and_then(|there| there.info());
    Ok(info.map_err(io::Error::other)?.id() == number)
}

/// Removes every pin of every version under `pin_dir`, and the directory. What the links held is detached
/// and the maps are freed, unless a running agent still has them open. Taps must be down or gone before
/// this: without their programs nothing filters them.
pub fn remove_pins(pin_dir: &Path) -> io::Result<()> {
    for pins in Pins::every(pin_dir)? {
        for (interface, program) in pins.links()? {
            // Links end with their pins, filters do not.
            let done = attachment::release(&pins.link(interface, program), program, interface);
            done.map_err(io::Error::other)?;
        }
    }
    match fs::remove_dir_all(pin_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
