//! Namespaces and interfaces of a thread's own: nothing of the machine is seen or touched.
use super::{Link, Links};
use anyhow::{Context, Result, ensure};
use nix::{
    ioctl_write_ptr_bad,
    mount::{MsFlags, mount},
    net::if_::if_nametoindex,
    sched::{CloneFlags, unshare},
};
use std::{
    fs::{File, OpenOptions},
    os::fd::AsRawFd,
};

ioctl_write_ptr_bad!(set_interface, libc::TUNSETIFF, libc::ifreq);

/// The thread's interfaces; gone with this.
#[derive(Debug)]
pub struct Own {
    /// Where they are.
    pub links: Links,
    _taps: Vec<File>,
}

impl Own {
    /// Moves the thread into namespaces of its own, with a BPF file system that dies with them, and makes every
    /// interface there. They stay down.
    pub fn enter() -> Result<Self> {
        ensure!(
            nix::unistd::geteuid().is_root(),
            "loading eBPF programs needs root"
        );
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).context("own namespaces")?;
        let nothing = None::<&str>;
        mount(
            nothing,
            "/",
            nothing,
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
            nothing,
        )
        .context("private mounts")?;
        mount(Some("bpf"), "/sys/fs/bpf", Some("bpf"), MsFlags::empty(), nothing).context("own bpffs")?;
        let (mut taps, mut indices) = (Vec::new(), [0; Link::ALL.len()]);
        for (index, link) in indices.iter_mut().zip(Link::ALL) {
            taps.push(tap(link.name())?);
            *index = if_nametoindex(link.name())?;
        }
        let links = Links::new(indices, mac_of(Link::Uplink.name())?);
        Ok(Self { links, _taps: taps })
    }
}

fn tap(name: &str) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    let file = file.context("cannot open /dev/net/tun")?;
    // SAFETY: every field of this C structure is a number or an array of them: zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the descriptor is open, and the request lives through the call and ends its name with a zero.
    unsafe { set_interface(file.as_raw_fd(), &raw const request) }.context("cannot make a tap")?;
    Ok(file)
}

fn mac_of(name: &str) -> Result<[u8; 6]> {
    let mut all = nix::ifaddrs::getifaddrs().context("cannot list interfaces")?;
    let mac = all.find_map(|found| {
        let link = found.address.filter(|_| found.interface_name == name)?;
        link.as_link_addr()?.addr()
    });
    mac.with_context(|| format!("{name} has no MAC address"))
}
