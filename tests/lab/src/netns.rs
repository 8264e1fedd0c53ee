//! Network namespaces, made as `ip netns` makes them, so that `ip netns exec` finds them too.

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// Where named namespaces are bound.
const FOLDER: &str = "/run/netns";

/// A named network namespace; only the name is held, the namespace outlives this value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// One that exists, or that [`Netns::ensure`] will make.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn path(&self) -> PathBuf {
        Path::new(FOLDER).join(&self.name)
    }

    /// Makes it unless it is there; a file that an interrupted attempt left behind counts as absent.
    pub fn ensure(&self) -> Result<()> {
        let _one_at_a_time = share_folder()?;
        if self.exists() {
            return Ok(());
        }
        let path = self.path();
        File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        // A thread of its own moves into a new namespace and binds it to the name; then the thread ends.
        let made = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    unshare(CloneFlags::CLONE_NEWNET)?;
                    let own = "/proc/thread-self/ns/net";
                    mount(Some(own), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                })
                .join()
        });
        match made {
            Ok(Ok(())) => Ok(()),
            Ok(Err(errno)) => Err(errno).with_context(|| format!("cannot make the namespace {}", self.name)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Whether the name is bound to a namespace.
    pub fn exists(&self) -> bool {
        nix::sys::statfs::statfs(&self.path()).is_ok_and(|fs| fs.filesystem_type().0 == libc::NSFS_MAGIC)
    }

    /// Takes the name away; the namespace ends with the last process or socket in it. Absent is fine.
    pub fn delete(&self) -> Result<()> {
        let path = self.path();
        loop {
            match umount2(&path, MntFlags::MNT_DETACH) {
                Ok(()) => {} // it may be bound more than once after races
                Err(Errno::EINVAL | Errno::ENOENT) => break,
                Err(errno) => return Err(errno).with_context(|| format!("cannot unbind {}", path.display())),
            }
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// What tells one namespace from another while it lives.
    pub fn inode(&self) -> Option<u64> {
        if !self.exists() {
            return None;
        }
        fs::metadata(self.path()).ok().map(|data| data.ino())
    }

    /// Runs `work` on a thread of its own inside the namespace. Sockets and child processes made there stay
    /// there; the caller stays where it is.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let path = self.path();
        let file = File::open(&path).with_context(|| format!("there is no namespace {}", self.name))?;
        let result = std::thread::scope(|scope| {
            scope
                .spawn(move || {
                    setns(&file, CloneFlags::CLONE_NEWNET)
                        .with_context(|| format!("cannot enter the namespace {}", path.display()))?;
                    Ok(work())
                })
                .join()
        });
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Starts a command inside the namespace.
    pub fn spawn(&self, command: &mut Command) -> Result<Child> {
        let program = command.get_program().to_string_lossy().into_owned();
        self.run(|| command.spawn())?
            .with_context(|| format!("cannot start {program} in the namespace {}", self.name))
    }

    /// Runs a command inside the namespace to its end.
    pub fn output(&self, command: &mut Command) -> Result<std::process::Output> {
        let program = command.get_program().to_string_lossy().into_owned();
        self.run(|| command.output())?
            .with_context(|| format!("cannot run {program} in the namespace {}", self.name))
    }

    /// Sets a network setting such as `ipv6/conf/all/disable_ipv6` inside the namespace.
    pub fn sysctl(&self, setting: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys/net").join(setting);
        self.run(|| fs::write(&path, value))?
            .with_context(|| format!("cannot set {} in the namespace {}", path.display(), self.name))
    }
}

/// All names that are bound, or were to be.
pub fn names() -> Vec<String> {
    let Ok(entries) = fs::read_dir(FOLDER) else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Makes the folder a shared mount of its own, as `ip netns` does: what is bound there then shows in every mount
/// namespace. The returned lock is the one `ip netns add` takes.
fn share_folder() -> Result<File> {
    let folder = Path::new(FOLDER);
    fs::create_dir_all(folder).with_context(|| format!("cannot make {FOLDER}"))?;
    let lock = File::open(folder)?;
    lock.lock().with_context(|| format!("cannot lock {FOLDER}"))?;
    let none = None::<&str>;
    let share = || mount(none, folder, none, MsFlags::MS_SHARED | MsFlags::MS_REC, none);
    match share() {
        Err(Errno::EINVAL) => {
            mount(
                Some(folder),
                folder,
                none,
                MsFlags::MS_BIND | MsFlags::MS_REC,
                none,
            )
            .with_context(|| format!("cannot bind {FOLDER}"))?;
            share().with_context(|| format!("cannot share {FOLDER}"))?;
        }
        other => other.with_context(|| format!("cannot share {FOLDER}"))?,
    }
    Ok(lock)
}
