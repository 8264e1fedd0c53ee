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

const BPF_PROG_GET_FD_BY_ID: libc::c_long = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;

/// The kernel's `bpf_attr` as `BPF_PROG_GET_FD_BY_ID` reads it.
#[repr(C)]
#[derive(Default)]
struct ByNumber {
    number: u32,
    next: u32,
    flags: u32,
}

/// The kernel's `bpf_attr` as `BPF_OBJ_GET_INFO_BY_FD` reads it.
#[repr(C)]
struct InfoAttributes {
    descriptor: u32,
    length: u32,
    info: u64,
}

/// The part of the kernel's `bpf_prog_info` up to the program's name.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    kind: u32,
    number: u32,
    tag: [u8; 8],
    lengths: [u32; 2],
    code: [u64; 2],
    load_time: u64,
    uid: u32,
    map_count: u32,
    maps: u64,
    name: [u8; 16],
}

/// The name of a loaded program, by its number. Needs root.
pub(super) fn program_name(number: u32) -> io::Result<String> {
    let mut attributes = ByNumber {
        number,
        ..ByNumber::default()
    };
    // SAFETY: the attributes have the kernel's layout and the size given, and hold no pointer.
    let descriptor = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_GET_FD_BY_ID,
            &raw mut attributes,
            size_of::<ByNumber>(),
        )
    };
    let descriptor = i32::try_from(descriptor)
        .ok()
        .filter(|descriptor| *descriptor >= 0)
        .ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just made this descriptor and given it to us.
    let program = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let mut info = ProgramInfo::default();
    let mut attributes = InfoAttributes {
        descriptor: program.as_raw_fd().cast_unsigned(),
        length: u32::try_from(size_of::<ProgramInfo>()).map_err(io::Error::other)?,
        info: (&raw mut info) as u64,
    };
    // SAFETY: the attributes are this command's, and the kernel writes no more than `length` bytes of the info.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_OBJ_GET_INFO_BY_FD,
            &raw mut attributes,
            size_of::<InfoAttributes>(),
        )
    };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    let name = info.name.into_iter().take_while(|byte| *byte != 0).collect();
    String::from_utf8(name).map_err(io::Error::other)
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
