//! eBPF programs of other people, in the kernel's own code: what ours must live with.
use aya::programs::{
    Link, SchedClassifier, TcAttachType,
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle},
};
use pairgate_agent::datapath::Hook;
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
const PIN: libc::c_int = 6;
const OPEN_PIN: libc::c_int = 7;
const TEST_RUN: libc::c_int = 10;
const LINK: libc::c_int = 28;
const LINK_DETACH: libc::c_int = 34;
pub(crate) type Code = Vec<[u8; 8]>;

/// A program of somebody else on an interface's ingress, before all that are there. Gone when this is dropped.
pub(crate) enum Other {
    Link { _link: OwnedFd },
    Filter { _program: Box<SchedClassifier> },
}

impl Other {
    pub(crate) fn on(interface: u32, code: &Code) -> Self {
        let program = load(code);
        if hook() == Hook::Clsact {
            return Self::Filter {
                _program: Box::new(filter(interface, &program)),
            };
        }
        let mut link = [0_u8; 64];
        link[0..4].copy_from_slice(&program.as_raw_fd().to_ne_bytes());
        link[4..8].copy_from_slice(&interface.to_ne_bytes());
        link[8..12].copy_from_slice(&46_u32.to_ne_bytes()); // TCX ingress
        link[12..16].copy_from_slice(&8_u32.to_ne_bytes()); // before all others
        Self::Link {
            _link: descriptor(LINK, &mut link),
        }
    }
}

/// How the programs are attached here.
pub(crate) fn hook() -> Hook {
    wanted_hook().unwrap_or_else(|| Hook::of_this_kernel().unwrap())
}

/// The way of attaching that the caller of the suite asks for, by `PAIRGATE_HOOK=clsact`.
pub(crate) fn wanted_hook() -> Option<Hook> {
    let wish = std::env::var("PAIRGATE_HOOK").ok()?;
    let hooks = [Hook::Tcx, Hook::Clsact];
    let known = hooks.into_iter().find(|hook| hook.name() == wish);
    assert!(known.is_some(), "PAIRGATE_HOOK={wish}: TCX or clsact");
    known
}

/// A filter on the ingress, with the same priority as ours: the kernel asks the youngest first.
fn filter(interface: u32, program: &OwnedFd) -> SchedClassifier {
    let path = format!("/sys/fs/bpf/other-{interface}");
    let (name, mut pin) = (CString::new(path.as_str()).unwrap(), [0_u8; 16]);
    pin[0..8].copy_from_slice(&(name.as_ptr() as u64).to_ne_bytes());
    pin[8..12].copy_from_slice(&program.as_raw_fd().to_ne_bytes());
    bpf(PIN, &mut pin);
    let mut program = SchedClassifier::from_pin(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let name = nix::net::if_::if_indextoname(interface).unwrap();
    let name = name.to_str().unwrap();
    // It may be there already, for ours.
    let _there = tc::qdisc_add_clsact(name);
    let first = TcAttachOptions::Netlink(NlOptions {
        priority: 1,
        ..NlOptions::default()
    });
    program
        .attach_with_options(name, TcAttachType::Ingress, first)
        .unwrap();
    program
}

/// Takes one of our filters off the interface that its pin names.
fn detach_filter(pin: &Path) {
    let name = pin.file_name().unwrap().to_str().unwrap();
    let mut parts = name.splitn(3, '-').skip(1);
    let interface = parts.next().unwrap().parse::<u32>().unwrap();
    let program = parts.next().unwrap();
    let interface = nix::net::if_::if_indextoname(interface).unwrap();
    let side = match program {
        "to_tap" | "stop_out" => TcAttachType::Egress,
        _ => TcAttachType::Ingress,
    };
    let priority = if program.starts_with("stop") { u16::MAX } else { 1 };
    let handle = TcHandle::new(0x5047, 1);
    let link = SchedClassifierLink::attached(interface.to_str().unwrap(), side, priority, handle, None);
    Link::detach(link.unwrap()).unwrap();
}

/// Takes a pinned link's program off its interface, as any tool can that has the right; the pin stays, and is an empty
/// shell.
pub(crate) fn detach(pin: &Path) {
    if hook() == Hook::Clsact {
        return detach_filter(pin);
    }
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

/// A program that takes as long as the kernel allows: some milliseconds at least, on a kernel without endless loops.
pub(crate) fn dawdler() -> OwnedFd {
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
    // Kernels before 6.9 have no such loop: then one of as many rounds as they are willing to judge one by one.
    let older = [
        vec![[0xbf, 0x16, 0, 0, 0, 0, 0, 0]],
        ticks.to_vec(),
        vec![
            [0x63, 0x06, 8, 0, 0, 0, 0, 0],          // the packet's mark = r0
            [0xb7, 0x07, 0, 0, 0x00, 0x00, 0x02, 0], // r7 = 131 072
            [0x85, 0x00, 0, 0, 5, 0, 0, 0],          // call 5
            [0x17, 0x07, 0, 0, 1, 0, 0, 0],          // r7 -= 1
            [0x55, 0x07, 0xfd, 0xff, 0, 0, 0, 0],    // if r7 != 0 goto -3
        ],
        ticks.to_vec(),
        vec![[0x95, 0, 0, 0, 0, 0, 0, 0]],
    ];
    try_load(&code.concat()).unwrap_or_else(|_| load(&older.concat()))
}

/// Runs it, on no interface. Returns when it began and ended, as `ticks` has it.
pub(crate) fn dawdle(program: &OwnedFd) -> (u32, u32) {
    let (frame, mut context) = ([0_u8; 64], [0_u8; 192]);
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
    try_load(code).unwrap()
}

fn try_load(code: &Code) -> io::Result<OwnedFd> {
    let mut load = [0_u8; 128];
    load[0..4].copy_from_slice(&3_u32.to_ne_bytes()); // a traffic-control program
    load[4..8].copy_from_slice(&(code.len() as u32).to_ne_bytes());
    load[8..16].copy_from_slice(&(code.as_ptr() as u64).to_ne_bytes());
    load[16..24].copy_from_slice(&(c"GPL".as_ptr() as u64).to_ne_bytes());
    let number = try_bpf(LOAD, &mut load)?;
    // SAFETY: this command makes a descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(number as i32) })
}

fn descriptor(command: libc::c_int, attributes: &mut [u8]) -> OwnedFd {
    // SAFETY: these commands make a descriptor for us.
    unsafe { OwnedFd::from_raw_fd(bpf(command, attributes) as i32) }
}

fn bpf(command: libc::c_int, attributes: &mut [u8]) -> libc::c_long {
    try_bpf(command, attributes).unwrap()
}

fn try_bpf(command: libc::c_int, attributes: &mut [u8]) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads and writes the attributes; every pointer in them is to memory that outlives the call.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), attributes.len()) };
    if answer < 0 {
        let error = io::Error::last_os_error();
        return Err(io::Error::new(error.kind(), format!("bpf({command}): {error}")));
    }
    Ok(answer)
}
