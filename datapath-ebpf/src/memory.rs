//! Memory that maps and other parts of the program hand out, behind safe doors.
use aya_ebpf::btf_maps::HashOfMaps;
use core::{arch::asm, hint::assert_unchecked};
use pairgate_abi::{Settings, limits};

/// Tells the compiler what holds for every value of every map, so that it compares addresses in them eight bytes at a
/// time.
#[inline(always)]
fn aligned<V>(value: *mut V) -> *mut V {
    // SAFETY: the kernel puts values at multiples of 8.
    unsafe { assert_unchecked(value as usize % 8 == 0) };
    value
}

/// The value that a map returned.
#[inline(always)]
pub fn value<V>(found: Option<*const V>) -> Option<&'static V> {
    found.map(|value| {
        // SAFETY: the map's memory stays until this program has ended. The agent deletes an entry, waits for
        // all programs to end, and only then reuses its place.
        unsafe { &*aligned(value.cast_mut()) }
    })
}

/// An entry of a pair, and the one field of it that packets write.
pub struct Used<V: 'static> {
    pub entry: &'static V,
    used_ns: *mut u64,
}

/// The entry that a map returned, with the place of its `used_ns`.
#[inline(always)]
pub fn used<V>(found: *mut V, at: usize) -> Used<V> {
    Used {
        // SAFETY: as in `value`.
        entry: unsafe { &*aligned(found) },
        used_ns: field(found, at),
    }
}

impl<V> Used<V> {
    /// Notes that a packet has passed. A load that is in the cache already and a comparison for most packets.
    #[inline(always)]
    pub fn note(&self, now_ns: u64) {
        touch(self.used_ns, now_ns, limits::USE_STEP_NS);
    }
}

/// What another part of the program has given to a function that is judged apart. The verifier checks the caller's
/// side of it, and lets nothing be read that was compared with nothing.
#[inline(always)]
pub fn given<'a, T>(value: *const T) -> Option<&'a T> {
    // SAFETY: every caller passes a reference.
    unsafe { value.as_ref() }
}

/// The same, to be written.
#[inline(always)]
pub fn given_mut<'a, T>(value: *mut T) -> Option<&'a mut T> {
    // SAFETY: every caller passes a reference that it does not use meanwhile.
    unsafe { value.as_mut() }
}

/// The map that a map of maps returned.
#[inline(always)]
pub fn inner<K, V, const N: usize, const F: usize>(
    outer: &'static HashOfMaps<K, V, N, F>,
    key: &K,
) -> Option<&'static V> {
    // SAFETY: an inner map that is taken out stays until all programs that may have it have ended.
    unsafe { outer.get(key) }
}

/// Writes the time where it was at least `step_ns` ago. Of two CPUs that write at once either is right.
#[inline(always)]
pub fn touch(at: *mut u64, now_ns: u64, step_ns: u64) {
    // SAFETY: eight aligned bytes that a map returned, only ever read and written whole.
    unsafe {
        if now_ns > at.read_volatile().wrapping_add(step_ns) {
            at.write_volatile(now_ns);
        }
    }
}

/// A number that a map returned and that others write.
#[inline(always)]
pub fn number(at: *mut u64) -> u64 {
    // SAFETY: as in `touch`.
    unsafe { at.read_volatile() }
}

/// Writes such a number. A lost update of a budget lets one action more through.
#[inline(always)]
pub fn set_number(at: *mut u64, number: u64) {
    // SAFETY: as in `touch`.
    unsafe { at.write_volatile(number) }
}

/// A number inside a value that a map returned; `at` is the offset of a field of eight bytes.
#[inline(always)]
pub fn field<V>(value: *mut V, at: usize) -> *mut u64 {
    // SAFETY: the offset is that of a field of the value.
    unsafe { value.byte_add(at) }.cast()
}

/// Adds one to a number that other CPUs add to.
#[inline(always)]
pub fn count_one(at: *mut u64) {
    // SAFETY: as in `touch`; everybody adds atomically. The library has no such operation for this target.
    unsafe { asm!("lock *(u64 *)({at} + 0) += {one}", at = in(reg) at, one = in(reg) 1_u64) }
}

/// Changes a value that a map returned.
#[inline(always)]
pub fn change<V>(found: Option<*mut V>, change: impl FnOnce(&mut V)) {
    if let Some(value) = found {
        // SAFETY: as in `value`; counters belong to one CPU, and a lost update of a budget is harmless.
        change(unsafe { &mut *value });
    }
}

/// The settings as the agent fixed them, not as they stand in the source.
#[inline(always)]
pub fn settled(settings: &'static Settings) -> &'static Settings {
    core::hint::black_box(settings)
}
