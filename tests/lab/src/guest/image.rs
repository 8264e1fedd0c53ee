//! What a small guest boots: Debian's kernel, and an initramfs that holds busybox, the modules for virtio, and this
//! laboratory's own program. It runs in memory alone.

use crate::programs::Programs;
use anyhow::{Context, Result};
use pairgate_machine::{Initramfs, Kernel, Release, Store};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// Where `pairgate-lab` lies in a guest.
pub const OWN_PROGRAM: &str = "/bin/pairgate-lab";
/// The modules that Debian's kernel needs for its virtio devices.
const MODULES: [&str; 3] = ["virtio_pci", "virtio_net", "virtio_console"];

/// Addresses come on the kernel's command line as `pairgate.addresses=A/N,B/N`. Tests count what guests say, so they
/// say nothing by themselves.
const SCRIPT: &str = "\
for word in $(cat /proc/cmdline); do
  case $word in
    pairgate.name=*) hostname ${word#*=} ;;
    pairgate.addresses=*) addresses=$(echo ${word#*=} | tr , ' ') ;;
  esac
done
for which in all default eth0; do
  echo 0 >/proc/sys/net/ipv6/conf/$which/accept_ra
  echo 0 >/proc/sys/net/ipv6/conf/$which/router_solicitations
  echo 0 >/proc/sys/net/ipv6/conf/$which/accept_dad
done
for address in $addresses; do ip address add $address dev eth0; done
ip link set eth0 up
echo \"pairgate: this guest is up after $(cut -d ' ' -f 1 /proc/uptime) s\"
pairgate-lab serve
";

/// Where kernels and busybox are kept: beside the programs of a laboratory.
pub fn store(programs: &Programs) -> Result<Store> {
    let target = programs.folder().parent().context("the programs lie nowhere")?;
    Ok(Store::at(&target.join("machine")))
}

/// The kernel and the initramfs of a small guest: fetched and made if they are not there, and made anew when the
/// programs are newer.
pub fn ensure(programs: &Programs) -> Result<(Store, Kernel, PathBuf)> {
    let store = store(programs)?;
    let kernel = store.kernel(Release::V6_1)?;
    let own = programs.path("pairgate-lab")?;
    let path = store.folder().join("guest.cpio");
    if modified(&path) <= modified(&own) {
        let own = stripped(&own, &store)?;
        let mut files = Initramfs::new();
        files.busybox(&store)?;
        files.modules(&store, &kernel, &MODULES)?;
        files.program(&own, OWN_PROGRAM.trim_start_matches('/'))?;
        files.init(SCRIPT);
        let partial = path.with_extension(format!("{}.partial", std::process::id()));
        files.write(&partial)?;
        fs::rename(&partial, &path).with_context(|| format!("cannot put {} in place", path.display()))?;
    }
    Ok((store, kernel, path))
}

/// The first moment of all if it is not there.
fn modified(path: &Path) -> SystemTime {
    let when = fs::metadata(path).and_then(|data| data.modified());
    when.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The program without what only debuggers read, which is the largest part of it; without binutils as it is.
pub(crate) fn stripped(program: &Path, store: &Store) -> Result<PathBuf> {
    let path = store.folder().join("pairgate-lab.stripped");
    let strip = Command::new("strip").arg("-o").arg(&path).arg(program).status();
    if !strip.is_ok_and(|status| status.success()) {
        fs::copy(program, &path).with_context(|| format!("cannot copy {}", program.display()))?;
    }
    Ok(path)
}
