//! Questions to the kernel for which there is no file and no safe door in the crates we use. The only `unsafe`
//! of the CLI.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

const BPF_PROG_QUERY: libc::c_long = 16;
/// Where the kernel's TCX hook for what arrives has its number.
const BPF_TCX_INGRESS: u32 = 46;
/// The loopback interface's index, in every network namespace.
const LOOPBACK: u32 = 1;

/// The first part of the kernel's `bpf_attr` as `BPF_PROG_QUERY` reads it for a TCX hook; with no room for
/// answers it only counts.
#[repr(C)]
#[derive(Default)]
struct QueryAttributes {
    target_ifindex: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    program_ids: u64,
    count: u32,
    reserved: u32,
    program_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// Whether the kernel knows TCX, asked by counting what hangs on the loopback interface. A kernel that does not
/// answers `EINVAL`.
pub(super) fn knows_tcx() -> io::Result<bool> {
    let mut attributes = QueryAttributes {
        target_ifindex: LOOPBACK,
        attach_type: BPF_TCX_INGRESS,
        ..QueryAttributes::default()
    };
    // SAFETY: the attributes have the kernel's layout and the size given, and hold no pointer.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_QUERY,
            &raw mut attributes,
            size_of::<QueryAttributes>(),
        )
    };
    if answer == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::EINVAL) {
        return Ok(false);
    }
    Err(error)
}

/// An interface's MTU in this process's network namespace; `/sys/class/net` may show another's.
pub(super) fn mtu(interface: &str) -> io::Result<u32> {
    let name = interface.as_bytes();
    // SAFETY: an all-zero request is a valid value of this plain C structure.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.is_empty() || name.len() >= request.ifr_name.len() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    for (place, byte) in request.ifr_name.iter_mut().zip(name) {
        *place = byte.cast_signed();
    }
    // SAFETY: takes three integers; the descriptor it returns is ours alone.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, and owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: the request outlives the call, its name ends with a zero, and the kernel fills in no more than it.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFMTU, &raw mut request) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above has written this member.
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    u32::try_from(mtu).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_loopback_interface_has_an_mtu_and_a_name_that_cannot_be_one_has_none() {
        assert!(super::mtu("lo").unwrap() >= 1280);
        for name in ["", "nosuchif0", "a-name-that-is-far-too-long"] {
            assert!(super::mtu(name).is_err(), "{name}");
        }
    }
}
