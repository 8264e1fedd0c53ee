//! Taps, from the side of the program that reads and writes their frames.
//!
//! Every frame carries a virtio-net header in front, [`HEADER`] bytes long. What the reader announces decides
//! what the kernel hands out: with offloads also packets of 64 KiB that are still to be cut, and unfinished
//! checksums, described in that header; without them finished packets no larger than the MTU.

use crate::netns::Netns;
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::{ioctl_read_bad, ioctl_write_int_bad, ioctl_write_ptr_bad};
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

/// The virtio-net header without `num_buffers`: what the kernel uses when nobody asks for more.
pub const HEADER: usize = 10;

/// The largest frame with its header: 64 KiB behind an Ethernet header.
pub const LARGEST: usize = HEADER + 14 + 65_536;

/// `TUN_F_CSUM`: the reader finishes checksums, or hands the packet to somebody who does.
const CHECKSUM: libc::c_int = 0x01;
/// `TUN_F_TSO4`, `TUN_F_TSO6`, `TUN_F_TSO_ECN`: likewise for cutting TCP.
const CUT_TCP: libc::c_int = 0x02 | 0x04 | 0x08;
/// `TUN_F_USO4`, `TUN_F_USO6`: likewise for cutting UDP into datagrams; since Linux 6.2.
const CUT_UDP: libc::c_int = 0x20 | 0x40;

ioctl_write_ptr_bad!(set_interface, libc::TUNSETIFF, libc::ifreq);
ioctl_read_bad!(get_interface, libc::TUNGETIFF, libc::ifreq);
ioctl_write_int_bad!(set_persistent, libc::TUNSETPERSIST);
ioctl_write_int_bad!(set_offload, libc::TUNSETOFFLOAD);
ioctl_write_ptr_bad!(set_header_size, libc::TUNSETVNETHDRSZ, libc::c_int);

/// Why a tap could not be attached.
#[derive(Debug)]
pub enum Attach {
    /// Its interface is not there.
    Absent,
    /// Another program holds it.
    Busy,
    /// Anything else.
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Attach {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// Makes a tap that stays when this program has gone; an existing one is left as it is.
pub fn ensure(netns: &Netns, name: &str) -> Result<()> {
    let made = netns.run(|| {
        let file = open(name)?;
        // SAFETY: the descriptor is a tap's, and the argument is a number.
        unsafe { set_persistent(file.as_raw_fd(), 1) }
    })?;
    match made {
        Ok(_) => Ok(()),
        // A cable holds it, so it is there.
        Err(Errno::EBUSY) => Ok(()),
        Err(errno) => Err(errno).with_context(|| format!("cannot make the tap {name} in {}", netns.name())),
    }
}

/// Attaches to a tap that is there, and announces every offload that the kernel knows, or none. Reads and writes
/// on the result never block.
pub fn attach(netns: &Netns, name: &str, offload: bool) -> Result<File, Attach> {
    let attached = netns.run(|| {
        nix::net::if_::if_nametoindex(name)?;
        let file = open(name)?;
        // The interface may have gone between the two steps: then the second has made another, which lasts
        // only as long as its descriptor, because nobody has asked that it stay.
        if flags(&file)? & libc::IFF_PERSIST == 0 {
            return Err(Errno::ENODEV);
        }
        let size = libc::c_int::try_from(HEADER).map_err(|_| Errno::EINVAL)?;
        // SAFETY: the descriptor is a tap's; the first argument lives through the call, the second is a number.
        unsafe {
            set_header_size(file.as_raw_fd(), &raw const size)?;
        }
        announce(&file, offload)?;
        Ok(file)
    })?;
    match attached {
        Ok(file) => Ok(file),
        Err(Errno::ENODEV | Errno::ENXIO) => Err(Attach::Absent),
        Err(Errno::EBUSY) => Err(Attach::Busy),
        Err(errno) => {
            let failed = Err(errno).with_context(|| format!("cannot attach to {name} in {}", netns.name()));
            failed.map_err(Attach::Failed)
        }
    }
}

fn announce(file: &File, offload: bool) -> nix::Result<()> {
    // SAFETY: the descriptor is a tap's, and the argument is a number.
    let set = |flags| unsafe { set_offload(file.as_raw_fd(), flags) }.map(drop);
    if !offload {
        return set(0);
    }
    match set(CHECKSUM | CUT_TCP | CUT_UDP) {
        Err(Errno::EINVAL) => set(CHECKSUM | CUT_TCP),
        done => done,
    }
}

fn open(name: &str) -> nix::Result<File> {
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun");
    let file = file.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
    let mut request = request_for(name)?;
    let wanted = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(wanted).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the descriptor is open, and the request lives through the call and ends its name with a zero.
    unsafe { set_interface(file.as_raw_fd(), &raw const request)? };
    Ok(file)
}

/// A request about the interface of this name.
pub(crate) fn request_for(name: &str) -> nix::Result<libc::ifreq> {
    let mut request = empty_request();
    if name.len() >= request.ifr_name.len() {
        return Err(Errno::ENAMETOOLONG);
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    Ok(request)
}

fn flags(file: &File) -> nix::Result<libc::c_int> {
    let mut request = empty_request();
    // SAFETY: the descriptor is a tap's, and the request lives through the call, which fills it.
    unsafe {
        get_interface(file.as_raw_fd(), &raw mut request)?;
        Ok(libc::c_int::from(request.ifr_ifru.ifru_flags))
    }
}

fn empty_request() -> libc::ifreq {
    // SAFETY: every field of this C structure is a number, an address or an array of them: zero is valid.
    unsafe { std::mem::zeroed() }
}
