//! System calls for which the crates we use have no safe door. The only `unsafe` of this module besides
//! the marker in `pod` and the descriptor in `log`.
use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};
use zerocopy::FromBytes;

/// Waits until every eBPF program that was running when this was called has ended, on all CPUs.
///
/// After a delete this makes it true that no program still acts on the deleted entry. Takes a few
/// milliseconds and blocks the thread.
pub fn quiesce() -> io::Result<()> {
    match barrier() {
        // A kernel told to leave some CPUs alone (`nohz_full`, which is common on hypervisors) has no global
        // barrier.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => replace_inner_map(),
        done => done,
    }
}

fn barrier() -> io::Result<()> {
    // SAFETY: the call takes three integers and touches no memory of ours.
    let answer = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The slower way to the same end: an update of a map that holds maps returns only when no program can still
/// see the inner map of before.
fn replace_inner_map() -> io::Result<()> {
    let array = |map_type, inner_map_fd| MapAttributes {
        map_type,
        key_size: 4,
        value_size: 4,
        max_entries: 1,
        map_flags: 0,
        inner_map_fd,
    };
    let inner = make_map(&mut array(BPF_MAP_TYPE_ARRAY, 0))?;
    let number = inner.as_raw_fd().cast_unsigned();
    let outer = make_map(&mut array(BPF_MAP_TYPE_ARRAY_OF_MAPS, number))?;
    let (key, value) = (0_u32, number);
    let mut update = UpdateAttributes {
        map_fd: outer.as_raw_fd().cast_unsigned(),
        key: (&raw const key) as u64,
        value: (&raw const value) as u64,
        ..Default::default()
    };
    // SAFETY: the attributes are this command's; key and value are four bytes each, as the map has them.
    unsafe { bpf(BPF_MAP_UPDATE_ELEM, &mut update) }.map(drop)
}

/// A hash map that gives up its least recently used entries when it is full. The library makes none outside an
/// object file.
pub(super) fn make_lru_hash(key_size: usize, value_size: usize, max_entries: u32) -> io::Result<OwnedFd> {
    make_map(&mut MapAttributes {
        map_type: BPF_MAP_TYPE_LRU_HASH,
        key_size: u32::try_from(key_size).map_err(io::Error::other)?,
        value_size: u32::try_from(value_size).map_err(io::Error::other)?,
        max_entries,
        map_flags: 0,
        inner_map_fd: 0,
    })
}

const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_MAP_TYPE_LRU_HASH: u32 = 9;
const BPF_MAP_TYPE_ARRAY_OF_MAPS: u32 = 12;

/// The kernel's `bpf_attr` as `BPF_MAP_CREATE` reads it.
#[repr(C)]
struct MapAttributes {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
}

/// The kernel's `bpf_attr` as `BPF_MAP_UPDATE_ELEM` reads it.
#[repr(C)]
#[derive(Default)]
struct UpdateAttributes {
    map_fd: u32,
    reserved: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// One call of `bpf`.
///
/// # Safety
/// The attributes are laid out as the command reads them, and every address in them is that of memory which
/// outlives the call and is as large as the command makes it.
unsafe fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<libc::c_long> {
    let (at, size) = (std::ptr::from_mut(attributes), size_of::<T>());
    // SAFETY: the caller's promise; the size given is that of the attributes.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, at, size) };
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(answer)
    }
}

fn make_map(attributes: &mut MapAttributes) -> io::Result<OwnedFd> {
    // SAFETY: the attributes are this command's and hold no address.
    let number = unsafe { bpf(BPF_MAP_CREATE, attributes) }?;
    let number = RawFd::try_from(number).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor and given it to us.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;

/// The kernel's `bpf_attr` as `BPF_MAP_LOOKUP_BATCH` reads it.
#[repr(C)]
#[derive(Default)]
struct BatchAttributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Reads entries of a hash map whose keys and values have these types, as many as there is room for, from a place on.
/// Returns how many were read, and where to go on; none at the end.
pub(super) fn lookup_batch<K: FromBytes, V: FromBytes>(
    map: BorrowedFd<'_>,
    from: Option<u32>,
    keys: &mut [K],
    values: &mut [V],
) -> io::Result<(usize, Option<u32>)> {
    let room = keys.len().min(values.len());
    let (before, mut after) = (from.unwrap_or_default(), 0_u32);
    let mut attributes = BatchAttributes {
        in_batch: from.map_or(0, |_| (&raw const before) as u64),
        out_batch: (&raw mut after) as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: u32::try_from(room).map_err(io::Error::other)?,
        map_fd: map.as_raw_fd().cast_unsigned(),
        ..Default::default()
    };
    // SAFETY: the attributes are this command's; a place in a hash map has four bytes, and both arrays have room for as
    // many entries as `count` says. Any bytes are a key and a value.
    let answer = unsafe { bpf(BPF_MAP_LOOKUP_BATCH, &mut attributes) };
    let count = room.min(attributes.count as usize);
    match answer {
        Ok(_) => Ok((count, Some(after))),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok((count, None)),
        Err(error) => Err(error),
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

/// A program on a hook: its number, and that of the link that holds it, 0 if it was put there without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hooked {
    pub(super) program: u32,
    pub(super) link: u32,
}

/// What is on one TCX hook of an interface, in the order in which it runs. Unlike the library's query this needs
/// no right to open other people's programs.
pub(super) fn tcx_chain(interface: u32, attach_type: u32) -> io::Result<Vec<Hooked>> {
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
    // SAFETY: the attributes are this command's; both arrays outlive the call and hold as many entries as `count`
    // says, which is as many as the kernel writes.
    unsafe { bpf(BPF_PROG_QUERY, &mut attributes) }?;
    let hooked = programs.into_iter().zip(links);
    Ok(hooked
        .take(attributes.count as usize)
        .map(|(program, link)| Hooked { program, link })
        .collect())
}

const BPF_OBJ_GET: libc::c_long = 7;

/// The kernel's `bpf_attr` as `BPF_OBJ_GET` reads it.
#[repr(C)]
#[derive(Default)]
struct PinAttributes {
    path: u64,
    descriptor: u32,
    flags: u32,
}

/// Whether a program is pinned there, as opposed to a link; none if nothing is.
pub(super) fn is_pinned_program(pin: &Path) -> io::Result<Option<bool>> {
    Ok(open_pin(pin)?.map(|(_, what)| what.contains("bpf-prog")))
}

/// The map that is pinned there; none if nothing is, or something else.
pub(super) fn pinned_map(pin: &Path) -> io::Result<Option<OwnedFd>> {
    let there = open_pin(pin)?.filter(|(_, what)| what.contains("bpf-map"));
    Ok(there.map(|(descriptor, _)| descriptor))
}

/// What is pinned there, and its kind; none if nothing is. The kernel gives out programs, maps and links by the same
/// call and does not say which it was, except in the name of the descriptor.
fn open_pin(pin: &Path) -> io::Result<Option<(OwnedFd, String)>> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let mut attributes = PinAttributes {
        path: path.as_ptr() as u64,
        ..Default::default()
    };
    // SAFETY: the attributes are this command's; the path ends with a zero and outlives the call.
    let number = match unsafe { bpf(BPF_OBJ_GET, &mut attributes) } {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        done => RawFd::try_from(done?).map_err(io::Error::other)?,
    };
    // SAFETY: the kernel has just made this descriptor and given it to us.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    let what = fs::read_link(format!("/proc/self/fd/{}", descriptor.as_raw_fd()))?;
    Ok(Some((descriptor, what.to_string_lossy().into_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_a_global_barrier_is_waited_for_all_the_same() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: needs root to make maps");
            return;
        }
        replace_inner_map().expect("no receipt could be given on a host with nohz_full");
    }
}
