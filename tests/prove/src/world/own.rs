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
    io::Write,
    os::fd::{AsRawFd, OwnedFd},
};

ioctl_write_ptr_bad!(set_interface, libc::TUNSETIFF, libc::ifreq);
ioctl_write_ptr_bad!(set_flags, libc::SIOCSIFFLAGS, libc::ifreq);
ioctl_write_ptr_bad!(set_mac, libc::SIOCSIFHWADDR, libc::ifreq);

/// The thread's interfaces; gone with this.
#[derive(Debug)]
pub struct Own {
    /// Where they are.
    pub links: Links,
    taps: Vec<File>,
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
        // Otherwise the kernel's own multicast reports would be counted. The thread's namespace, not the machine's.
        let _without_ipv6 = std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
        mount(Some("bpf"), "/sys/fs/bpf", Some("bpf"), MsFlags::empty(), nothing).context("own bpffs")?;
        let (mut taps, mut indices) = (Vec::new(), [0; Link::ALL.len()]);
        for (index, link) in indices.iter_mut().zip(Link::ALL) {
            taps.push(tap(link.name())?);
            *index = if_nametoindex(link.name())?;
        }
        name_uplink()?;
        let links = Links::new(indices, UPLINK_MAC);
        Ok(Self { links, taps })
    }

    /// Takes the interfaces up.
    pub fn up(&self) -> Result<()> {
        for link in Link::ALL {
            let mut request = request(link.name());
            request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
            // SAFETY: the descriptor is a socket's, and the request lives through the call.
            unsafe { set_flags(socket()?.as_raw_fd(), &raw const request) }
                .context("cannot take a tap up")?;
        }
        Ok(())
    }

    /// From now on what cannot be sent at once is refused. It is also how the kernel takes the short way with frames.
    pub fn wait_for_nothing(&self) -> Result<()> {
        for tap in &self.taps {
            nix::fcntl::fcntl(tap, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
        }
        Ok(())
    }

    /// Sends a frame as the machine behind an interface.
    pub fn send(&self, interface: u32, frame: &[u8]) -> Result<()> {
        let at = Link::ALL
            .iter()
            .position(|link| self.links.index(*link) == interface);
        let mut tap = at.and_then(|at| self.taps.get(at)).context("no such interface")?;
        let sent = tap.write(frame).context("cannot send")?;
        ensure!(sent == frame.len(), "a frame was cut by the kernel");
        Ok(())
    }
}

/// MAC address of the uplink: the same each time, so that packets that were written down are for it again.
const UPLINK_MAC: [u8; 6] = [0x02, 0x50, 0x47, 0xff, 0, 1];

fn name_uplink() -> Result<()> {
    let mut request = request(Link::Uplink.name());
    let mut address = libc::sockaddr {
        sa_family: libc::ARPHRD_ETHER,
        sa_data: [0; 14],
    };
    for (to, from) in address.sa_data.iter_mut().zip(UPLINK_MAC) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_hwaddr = address;
    // SAFETY: the descriptor is a socket's, and the request lives through the call.
    unsafe { set_mac(socket()?.as_raw_fd(), &raw const request) }.context("cannot name the uplink")?;
    Ok(())
}

fn socket() -> Result<OwnedFd> {
    let kind = nix::sys::socket::SockType::Datagram;
    let flags = nix::sys::socket::SockFlag::SOCK_CLOEXEC;
    Ok(nix::sys::socket::socket(
        nix::sys::socket::AddressFamily::Inet,
        kind,
        flags,
        None,
    )?)
}

/// A request about the interface of this name, whose end is a zero.
fn request(name: &str) -> libc::ifreq {
    // SAFETY: every field of this C structure is a number or an array of them: zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request
}

fn tap(name: &str) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    let file = file.context("cannot open /dev/net/tun")?;
    let mut request = request(name);
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the descriptor is open, and the request lives through the call and ends its name with a zero.
    unsafe { set_interface(file.as_raw_fd(), &raw const request) }.context("cannot make a tap")?;
    Ok(file)
}
