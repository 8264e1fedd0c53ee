//! eBPF programs of other people, in the kernel's own code: what ours must live with.
use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

const LOAD: libc::c_int = 5;
const OPEN_PIN: libc::c_int = 7;
const TEST_RUN: libc::c_int = 10;
const LINK: libc::c_int = 28;
const LINK_DETACH: libc::c_int = 34;
pub(crate) type Code = Vec<[u8; 8]>;

/// A program of somebody else on an interface's ingress, before all that are there. Gone when this is dropped.
pub(crate) struct Other {
    _link: OwnedFd,
}

impl Other {
    pub(crate) fn on(interface: u32, code: &Code) -> Self {
        let program = load(code);
        let mut link = [0_u8; 64];
        link[0..4].copy_from_slice(&program.as_raw_fd().to_ne_bytes());
        link[4..8].copy_from_slice(&interface.to_ne_bytes());
        link[8..12].copy_from_slice(&46_u32.to_ne_bytes()); // TCX ingress
        link[12..16].copy_from_slice(&8_u32.to_ne_bytes()); // before all others
        Self {
            _link: descriptor(LINK, &mut link),
        }
    }
}

/// Takes a pinned link's program off its interface, as any tool can that has the right; the pin stays, and is an empty
/// shell.
pub(crate) fn detach(pin: &Path) {
    let path = CString::new(pin.as_os_str().as_bytes()).unwrap();
    let mut get = [0_u8; 16];
    get[0..8].copy_from_slice(&(path.as_ptr() as u64).to_ne_bytes());
    let link = descriptor(OPEN_PIN, &mut get);
    let mut detach = [0_u8; 4];
    detach.copy_from_slice(&link.as_raw_fd().to_ne_bytes());
    bpf(LINK_DETACH, &mut detach);
}

/// Ends a program: 0 passes the frame to the host, -1 to the next program.
pub(crate) fn end(action: i32) -> Code {
    let [a, b, c, d] = action.to_ne_bytes();
    vec![[0xb7, 0x00, 0, 0, a, b, c, d], [0x95, 0, 0, 0, 0, 0, 0, 0]] // r0 = action; exit
}

/// Says, as a card's driver would, that so many checksums of each packet, from the outermost on, are right.
pub(crate) fn vouch(checksums: usize) -> Code {
    /// `bpf_csum_level` with `BPF_CSUM_LEVEL_INC`.
    const VOUCH: [[u8; 8]; 3] = [
        [0xbf, 0x61, 0, 0, 0, 0, 0, 0],   // r1 = r6
        [0xb7, 0x02, 0, 0, 1, 0, 0, 0],   // r2 = 1
        [0x85, 0x00, 0, 0, 135, 0, 0, 0], // call 135
    ];
    let context = [[0xbf, 0x16, 0, 0, 0, 0, 0, 0]]; // r6 = r1
    [&context[..], &vec![VOUCH; checksums].concat(), &end(-1)].concat()
}

/// Runs a program, on no interface, that takes as long as the kernel allows: some tens of milliseconds at least.
/// Returns when it began and ended, as `ticks` has it.
pub(crate) fn dawdle() -> (u32, u32) {
    let ticks = [
        [0x85, 0x00, 0, 0, 5, 0, 0, 0],  // call 5, bpf_ktime_get_ns
        [0x77, 0x00, 0, 0, 10, 0, 0, 0], // r0 >>= 10
    ];
    let code = [
        vec![[0xbf, 0x16, 0, 0, 0, 0, 0, 0]], // r6 = r1, the context
        ticks.to_vec(),
        vec![
            [0x63, 0x06, 8, 0, 0, 0, 0, 0],       // the packet's mark = r0
            [0x85, 0x00, 0, 0, 5, 0, 0, 0],       // call 5
            [0xe5, 0x00, 1, 0, 0, 0, 0, 0],       // may_goto +1: in the end, out of the loop
            [0x05, 0x00, 0xfd, 0xff, 0, 0, 0, 0], // goto -3
        ],
        ticks.to_vec(),
        vec![[0x95, 0, 0, 0, 0, 0, 0, 0]], // exit, with r0
    ];
    let (program, frame, mut context) = (load(&code.concat()), [0_u8; 64], [0_u8; 192]);
    let mut run = [0_u8; 80];
    run[0..4].copy_from_slice(&program.as_raw_fd().to_ne_bytes());
    run[8..12].copy_from_slice(&(frame.len() as u32).to_ne_bytes());
    run[16..24].copy_from_slice(&(frame.as_ptr() as u64).to_ne_bytes());
    run[44..48].copy_from_slice(&(context.len() as u32).to_ne_bytes());
    run[56..64].copy_from_slice(&(context.as_mut_ptr() as u64).to_ne_bytes());
    bpf(TEST_RUN, &mut run);
    let number = |bytes: &[u8]| u32::from_ne_bytes(bytes.try_into().unwrap());
    (number(&context[8..12]), number(&run[4..8]))
}

/// The programs' clock, in units of 1024 nanoseconds; it wraps after an hour.
pub(crate) fn ticks() -> u32 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
    let nanos = now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64;
    (nanos >> 10) as u32
}

/// True if the first of two instants, which are less than half an hour apart, is the later one.
pub(crate) fn is_later(instant: u32, other: u32) -> bool {
    instant.wrapping_sub(other).cast_signed() > 0
}

fn load(code: &Code) -> OwnedFd {
    let mut load = [0_u8; 128];
    load[0..4].copy_from_slice(&3_u32.to_ne_bytes()); // a traffic-control program
    load[4..8].copy_from_slice(&(code.len() as u32).to_ne_bytes());
    load[8..16].copy_from_slice(&(code.as_ptr() as u64).to_ne_bytes());
    load[16..24].copy_from_slice(&(c"GPL".as_ptr() as u64).to_ne_bytes());
    descriptor(LOAD, &mut load)
}

fn descriptor(command: libc::c_int, attributes: &mut [u8]) -> OwnedFd {
    // SAFETY: these commands make a descriptor for us.
    unsafe { OwnedFd::from_raw_fd(bpf(command, attributes) as i32) }
}

fn bpf(command: libc::c_int, attributes: &mut [u8]) -> libc::c_long {
    // SAFETY: the kernel reads and writes the attributes; every pointer in them is to memory that outlives the call.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), attributes.len()) };
    assert!(answer >= 0, "bpf({command}): {}", io::Error::last_os_error());
    answer
}
