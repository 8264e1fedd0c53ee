//! System calls for which the crates we use have no safe door. The only `unsafe` of this module besides
//! the marker in `pod` and the descriptor in `log`.
use std::io;

/// Waits until every eBPF program that was running when this was called has ended, on all CPUs.
///
/// After a delete this makes it true that no program still acts on the deleted entry. Takes a few
/// milliseconds and blocks the thread.
pub fn quiesce() -> io::Result<()> {
    // SAFETY: the call takes three integers and touches no memory of ours.
    let answer = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

const BPF_PROG_QUERY: libc::c_long = 16;
/// Programs that a query can name; far more than anybody chains on one interface.
const CHAIN: usize = 64;

/// The kernel's `bpf_attr` as `BPF_PROG_QUERY` reads it for a TCX hook.
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

/// Ids of the links on one TCX hook of an interface, in the order in which they run. Unlike the library's
/// query this needs no right to open other people's programs.
pub(super) fn tcx_links(interface: u32, attach_type: u32) -> io::Result<Vec<u32>> {
    let mut programs = [0_u32; CHAIN];
    let mut links = [0_u32; CHAIN];
    let mut attributes = QueryAttributes {
        target_ifindex: interface,
        attach_type,
        program_ids: programs.as_mut_ptr() as u64,
        count: CHAIN as u32,
        link_ids: links.as_mut_ptr() as u64,
        ..Default::default()
    };
    // SAFETY: the attributes have the kernel's layout and the size given; both arrays outlive the call and
    // hold as many entries as `count` says, which is as many as the kernel writes.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_QUERY,
            &raw mut attributes,
            size_of::<QueryAttributes>(),
        )
    };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(links
        .into_iter()
        .take(attributes.count as usize)
        .filter(|id| *id != 0)
        .collect())
}
