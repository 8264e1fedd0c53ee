//! The file system in which agents pin their maps and links. It belongs to the machine: mounted if it is not,
//! and never unmounted.

use crate::plan::{PIN_ROOT, Prefix, pin_dir};
use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use std::path::Path;

const FOLDER: &str = "/sys/fs/bpf";

/// Mounts it if it is not mounted.
pub fn ensure() -> Result<()> {
    let mounted =
        || nix::sys::statfs::statfs(FOLDER).is_ok_and(|fs| fs.filesystem_type().0 == libc::BPF_FS_MAGIC);
    if mounted() {
        return Ok(());
    }
    match mount(
        Some("bpf"),
        FOLDER,
        Some("bpf"),
        MsFlags::empty(),
        Some("mode=0700"),
    ) {
        Err(_) if mounted() => Ok(()), // another was faster
        other => other.with_context(|| format!("cannot mount the BPF file system on {FOLDER}")),
    }
}

/// Removes the pins of one laboratory; absent is fine.
pub fn remove_pins(prefix: &Prefix) -> Result<()> {
    let (folder, own) = pin_dir(prefix, u8::MAX);
    for pins in own {
        if pins.exists() {
            std::fs::remove_dir_all(&pins).with_context(|| format!("cannot remove {}", pins.display()))?;
        }
    }
    // Shared with other laboratories: goes with the last of them.
    let _ = std::fs::remove_dir(folder);
    let _ = std::fs::remove_dir(Path::new(PIN_ROOT));
    Ok(())
}
