//! A stock Debian as a guest: made of this machine's own release by debootstrap, with systemd and its network daemon.
//!
//! About the network it says what Debian's images for clouds say, "DHCP on every Ethernet interface", and nothing else.
//! Added is only the way in.

use super::image::{self, OWN_PROGRAM};
use super::machine;
use crate::programs::Programs;
use anyhow::{Context, Result};
use pairgate_machine::{Boot, Kernel, apt, command};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long it may take from its start until a command runs in it.
pub const BOOT: Duration = Duration::from_secs(420);
/// Its memory.
const MEMORY_MIB: u32 = 512;
/// Its disk; only what is written takes room.
const DISK: &str = "2G";
/// What is in it beside Debian's smallest set: an init, a kernel, tools to look at its network with.
const PACKAGES: &str = "systemd-sysv,udev,dbus,linux-image-cloud-amd64,iproute2,iputils-ping,netbase";
/// A release that every debootstrap knows, for machines that run something else than Debian.
const FALLBACK: &str = "bookworm";

/// As in Debian's images for clouds.
const NETWORK: &str = "[Match]\nType=ether\n\n[Network]\nDHCP=yes\n";
/// The way in.
const SERVICE: &str = "[Unit]\nDescription=Commands from the laboratory\n\n[Service]\nExecStart=/bin/pairgate-lab \
                       serve\nRestart=always\nRestartSec=1\n\n[Install]\nWantedBy=multi-user.target\n";

/// What boots it; made if it is not there, which takes minutes and 1.5 GB.
pub fn boot(programs: &Programs) -> Result<Boot> {
    let store = image::store(programs)?;
    let root = store.folder().join("debian");
    if !root.is_dir() {
        bootstrap(&root)?;
    }
    let own = image::stripped(&programs.path("pairgate-lab")?, &store)?;
    let disk = disk(&root, &own)?;
    let kernel = Kernel {
        image: newest(&root.join("boot"), "vmlinuz-")?,
        modules: root.join("lib/modules"),
        version: String::new(),
    };
    let initrd = newest(&root.join("boot"), "initrd.img-")?;
    let disk = format!("file={},format=raw,if=virtio,snapshot=on", disk.display());
    Ok(Boot::new(&store, &kernel, &initrd)?
        .memory_mib(MEMORY_MIB)
        .append("root=/dev/vda rw")
        .arguments(["-drive", &disk]))
}

/// Appears under its name only when it is whole.
fn bootstrap(root: &Path) -> Result<()> {
    apt::ensure_installed(&["debootstrap".to_owned(), "e2fsprogs".to_owned()])?;
    let partial = root.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))?;
    }
    eprintln!("==> making a Debian guest with debootstrap (usually 4 minutes, 100 MB)");
    let mut debootstrap = Command::new("debootstrap");
    debootstrap
        .args(["--variant=minbase", &format!("--include={PACKAGES}"), &release()])
        .arg(&partial);
    command::run(&mut debootstrap)?;
    let archives = partial.join("var/cache/apt/archives");
    fs::remove_dir_all(&archives).with_context(|| format!("cannot remove {}", archives.display()))?;
    write(&partial.join("etc/systemd/network/80-dhcp.network"), NETWORK)?;
    write(&partial.join("etc/systemd/system/pairgate-lab.service"), SERVICE)?;
    write(&partial.join("etc/hostname"), "debian\n")?;
    write(&partial.join("etc/fstab"), "")?;
    let wanted = partial.join("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wanted)?;
    let units = [("pairgate-lab", "/etc"), ("systemd-networkd", "/lib")];
    for (unit, at) in units {
        symlink(
            format!("{at}/systemd/system/{unit}.service"),
            wanted.join(format!("{unit}.service")),
        )?;
    }
    fs::rename(&partial, root).with_context(|| format!("cannot put {} in place", root.display()))
}

/// The image of the disk, made anew when the programs are newer.
fn disk(root: &Path, own: &Path) -> Result<PathBuf> {
    let image = root.with_extension("ext4");
    let program = root.join(OWN_PROGRAM.trim_start_matches('/'));
    if image.is_file() && fs::read(&program).ok() == fs::read(own).ok() {
        return Ok(image);
    }
    fs::copy(own, &program).with_context(|| format!("cannot write {}", program.display()))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let partial = root.with_extension("ext4.partial");
    let mut make = Command::new("mke2fs");
    make.args(["-q", "-F", "-t", "ext4", "-d"])
        .arg(root)
        .arg(&partial)
        .arg(DISK);
    command::run(&mut make)?;
    fs::rename(&partial, &image).with_context(|| format!("cannot put {} in place", image.display()))?;
    Ok(image)
}

/// What this machine runs, if it is Debian: then its libraries are no newer than the guest's.
fn release() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_default()
    };
    match (value("ID="), value("VERSION_CODENAME=")) {
        ("debian", name) if !name.is_empty() => name.to_owned(),
        _ => FALLBACK.to_owned(),
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn newest(folder: &Path, start: &str) -> Result<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .with_context(|| format!("cannot list {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(start))
        })
        .collect();
    found.sort();
    found
        .pop()
        .with_context(|| format!("there is no {start}… in {}", folder.display()))
}

/// Waits until a command runs in it.
pub fn await_up(inside: &super::Inside) -> Result<()> {
    machine::await_within(inside, BOOT, || Ok(()))
}
