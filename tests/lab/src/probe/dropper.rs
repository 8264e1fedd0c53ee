//! A program that drops every frame at once: what a tap's own program is compared with.

use nix::libc;
use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
};

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
const BPF_TCX_INGRESS: u32 = 46;
/// Before everything that is on the hook.
const BPF_F_BEFORE: u32 = 8;

/// On an interface's ingress, before all that are there, until dropped.
#[derive(Debug)]
pub struct Dropper {
    _link: OwnedFd,
}

/// The kernel's `bpf_attr` as `BPF_PROG_LOAD` reads it, as far as it is needed.
#[repr(C)]
#[derive(Default)]
struct LoadAttributes {
    kind: u32,
    instructions: u32,
    code: u64,
    licence: u64,
    rest: [u64; 8],
}

/// The kernel's `bpf_attr` as `BPF_LINK_CREATE` reads it.
#[repr(C)]
#[derive(Default)]
struct LinkAttributes {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
    rest: [u64; 2],
}

impl Dropper {
    /// On this interface of the caller's namespace, by index.
    pub fn start(interface: u32) -> io::Result<Self> {
        // r0 = TC_ACT_SHOT; exit
        let code: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 2, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];
        let program = made(
            BPF_PROG_LOAD,
            &mut LoadAttributes {
                kind: BPF_PROG_TYPE_SCHED_CLS,
                instructions: 2,
                code: code.as_ptr() as u64,
                licence: c"GPL".as_ptr() as u64,
                ..LoadAttributes::default()
            },
        )?;
        let link = made(
            BPF_LINK_CREATE,
            &mut LinkAttributes {
                program: program.as_raw_fd().cast_unsigned(),
                interface,
                attach_type: BPF_TCX_INGRESS,
                flags: BPF_F_BEFORE,
                ..LinkAttributes::default()
            },
        )?;
        Ok(Self { _link: link })
    }
}

/// One of the commands that make a descriptor.
fn made<T>(command: libc::c_long, attributes: &mut T) -> io::Result<OwnedFd> {
    let (at, size) = (std::ptr::from_mut(attributes), size_of::<T>());
    // SAFETY: the attributes are laid out as the command reads them, and what they point to lives through the call.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, at, size) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    let number = RawFd::try_from(answer).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor and given it to us.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
