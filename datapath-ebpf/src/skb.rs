//! The packet's memory and the kernel's helpers, behind safe doors. The only `unsafe` of the package.
//!
//! Every read of the packet is compared with its end first; after each helper that may move the packet the
//! pointers are taken anew from the context, because nothing here keeps one.
use crate::{from_tap::Homeless, maps};
use aya_ebpf::{
    EbpfContext,
    bindings::{
        __sk_buff, BPF_CSUM_LEVEL_DEC, BPF_F_ADJ_ROOM_DECAP_L3_IPV4, BPF_F_ADJ_ROOM_DECAP_L3_IPV6,
        BPF_F_ADJ_ROOM_ENCAP_L2_ETH, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6,
        BPF_F_ADJ_ROOM_ENCAP_L4_UDP, BPF_F_ADJ_ROOM_FIXED_GSO, BPF_F_ADJ_ROOM_NO_CSUM_RESET,
        BPF_F_RECOMPUTE_CSUM, BPF_F_TUNINFO_IPV6, bpf_adj_room_mode, bpf_redir_neigh,
        bpf_redir_neigh__bindgen_ty_1, bpf_tunnel_key,
    },
    btf_maps::HashOfMaps,
    helpers::{
        bpf_csum_level, bpf_ktime_get_boot_ns, bpf_probe_read_kernel, bpf_redirect, bpf_redirect_neigh,
        bpf_skb_adjust_room, bpf_skb_change_tail, bpf_skb_get_tunnel_key, bpf_skb_get_tunnel_opt,
        bpf_skb_load_bytes, bpf_skb_pull_data, bpf_skb_store_bytes,
    },
    maps::RingBuf,
    programs::TcContext,
};
use core::{
    arch::asm,
    hint::assert_unchecked,
    mem::{MaybeUninit, transmute},
};
use pairgate_abi::{DropReason, HELD_BYTES, Held, NextHop, Settings, limits};
use pairgate_packet::{
    Checksum, Frame, Gso, Metadata,
    address::{self, Address},
    ethernet,
    ip::Family,
    outer::{self, Outer},
    receiver,
};

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
/// `PACKET_HOST`: the frame was addressed to this machine.
const TO_HOST: u32 = 0;
/// `CHECKSUM_PARTIAL`: someone behind us will write the checksum.
const CHECKSUM_PARTIAL: u8 = 3;

/// One load from the packet, however it is aligned. The compiler would take a number that may stand anywhere apart
/// into single bytes, eight loads for one; the kernel's verifier allows the whole one in packets.
macro_rules! load {
    ($size:literal, $at:expr) => {{
        let found: u64;
        asm!(
            concat!("{found} = *(", $size, " *)({at} + 0)"),
            found = out(reg) found,
            at = in(reg) $at,
            options(pure, readonly, nostack, preserves_flags)
        );
        found
    }};
}

/// Bytes on the stack that are written eight at a time.
#[repr(C, align(8))]
pub struct Aligned<const N: usize>(pub [u8; N]);

/// A packet in the kernel.
pub struct Skb {
    context: *mut __sk_buff,
}

impl Frame for Skb {
    #[inline(always)]
    fn length(&self) -> u32 {
        // SAFETY: the context is valid while the program runs; so for every access to it below.
        unsafe { (*self.context).len }
    }

    #[inline(always)]
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        // SAFETY: see `length`.
        let (start, end) = unsafe { ((*self.context).data as usize, (*self.context).data_end as usize) };
        if start + at + N > end {
            return None;
        }
        let mut bytes = [0; N];
        let mut read = 0;
        while read + 8 <= N {
            // SAFETY: the N bytes end at or before the packet's end; so for the pieces below.
            let piece = unsafe { load!("u64", start + at + read) };
            bytes[read..read + 8].copy_from_slice(&piece.to_ne_bytes());
            read += 8;
        }
        if read + 4 <= N {
            // SAFETY: see above.
            let piece = unsafe { load!("u32", start + at + read) };
            bytes[read..read + 4].copy_from_slice(&(piece as u32).to_ne_bytes());
            read += 4;
        }
        if read + 2 <= N {
            // SAFETY: see above.
            let piece = unsafe { load!("u16", start + at + read) };
            bytes[read..read + 2].copy_from_slice(&(piece as u16).to_ne_bytes());
            read += 2;
        }
        if read < N {
            // SAFETY: see above.
            bytes[read] = unsafe { load!("u8", start + at + read) } as u8;
        }
        Some(bytes)
    }
}

impl Skb {
    #[inline(always)]
    pub fn new(context: TcContext) -> Self {
        Self {
            context: context.as_ptr().cast(),
        }
    }

    /// Interface index of the device whose hook this is.
    #[inline(always)]
    pub fn interface(&self) -> u32 {
        // SAFETY: see `length`.
        unsafe { (*self.context).ifindex }
    }

    #[inline(always)]
    pub fn mark(&self) -> u32 {
        // SAFETY: see `length`.
        unsafe { (*self.context).mark }
    }

    #[inline(always)]
    pub fn set_mark(&self, mark: u32) {
        // SAFETY: see `length`.
        unsafe { (*self.context).mark = mark }
    }

    /// True if the link layer delivered the frame to this machine and to nobody else.
    #[inline(always)]
    pub fn is_to_host(&self) -> bool {
        // SAFETY: see `length`.
        unsafe { (*self.context).pkt_type == TO_HOST }
    }

    #[inline(always)]
    pub fn is_tagged(&self) -> bool {
        // SAFETY: see `length`.
        unsafe { (*self.context).vlan_present != 0 }
    }

    /// What the kernel knows about the packet besides its bytes.
    #[inline(always)]
    pub fn metadata(&self) -> Result<Metadata, DropReason> {
        Ok(Metadata {
            vlan: self.is_tagged(),
            gso: self.gso()?,
            checksum: self.checksum()?,
        })
    }

    /// The segmentation request. What is to be cut stands behind the packet's memory, in the part that all its
    /// copies share.
    #[inline(always)]
    fn gso(&self) -> Result<Option<Gso>, DropReason> {
        // SAFETY: see `length`.
        let (size, segments) = unsafe { ((*self.context).gso_size, (*self.context).gso_segs) };
        if size == 0 && segments <= 1 {
            return Ok(None);
        }
        let layout = &maps::settings().skb;
        let (head, end) = (self.probe::<u64>(layout.head)?, self.probe::<u32>(layout.end)?);
        let kind = head.wrapping_add(end as u64).wrapping_add(layout.gso_type as u64);
        // SAFETY: the helper reads any kernel memory or fails.
        let kind = unsafe { bpf_probe_read_kernel(kind as *const u32) }.map_err(|_| DropReason::Internal)?;
        Ok(Some(Gso { size, kind }))
    }

    /// The checksum's state. Programs are not offered these fields, but their context is the kernel's own
    /// structure, and the agent has found out where they stand in it.
    #[inline(always)]
    fn checksum(&self) -> Result<Checksum, DropReason> {
        let layout = &maps::settings().skb;
        let state: u8 = self.probe(layout.ip_summed)?;
        if state >> (layout.ip_summed_shift & 7) & 3 != CHECKSUM_PARTIAL {
            return Ok(Checksum::Finished);
        }
        let (head, data) = (self.probe::<u64>(layout.head)?, self.probe::<u64>(layout.data)?);
        let [start, offset] = self.probe::<[u16; 2]>(layout.csum_start)?;
        Ok(Checksum::Partial {
            start: head.wrapping_add(start as u64).wrapping_sub(data) as u32,
            offset,
        })
    }

    #[inline(always)]
    fn probe<T>(&self, at: u32) -> Result<T, DropReason> {
        let field = (self.context as usize + at as usize) as *const T;
        // SAFETY: the helper reads any kernel memory or fails; T is an integer or an array of them.
        unsafe { bpf_probe_read_kernel(field) }.map_err(|_| DropReason::Internal)
    }

    /// Makes the first `bytes` of the frame, or all of it if it is shorter, readable in one piece.
    #[inline(always)]
    pub fn pull(&self, bytes: usize) -> Result<(), DropReason> {
        // SAFETY: see `length`.
        let linear = unsafe { (*self.context).data_end - (*self.context).data };
        let wanted = if self.length() < bytes as u32 {
            self.length()
        } else {
            bytes as u32
        };
        if linear >= wanted {
            return Ok(());
        }
        // SAFETY: the context is the kernel's.
        done(
            unsafe { bpf_skb_pull_data(self.context, wanted) },
            DropReason::Room,
        )
    }

    /// Makes the frame so many bytes long: cuts off what stands behind, or adds zeros.
    #[inline(always)]
    pub fn resize(&self, length: u32) -> Result<(), DropReason> {
        if self.length() == length {
            return Ok(());
        }
        // SAFETY: the context is the kernel's.
        done(
            unsafe { bpf_skb_change_tail(self.context, length, 0) },
            DropReason::Room,
        )
    }

    /// Puts a tunnel header between the Ethernet header and the packet. Segments keep their size: the pair's MTU
    /// leaves room for the header in front of each.
    #[inline(always)]
    pub fn wrap<const N: usize>(&self, header: &[u8; N], underlay: Family) -> Result<(), DropReason> {
        let network = match underlay {
            Family::V4 => BPF_F_ADJ_ROOM_ENCAP_L3_IPV4,
            Family::V6 => BPF_F_ADJ_ROOM_ENCAP_L3_IPV6,
        };
        let flags = network as u64
            | BPF_F_ADJ_ROOM_ENCAP_L4_UDP as u64
            | BPF_F_ADJ_ROOM_ENCAP_L2_ETH as u64
            | BPF_F_ADJ_ROOM_FIXED_GSO as u64
            | (ethernet::LENGTH as u64) << 56;
        self.adjust(N as i32, flags)?;
        self.store(ethernet::LENGTH, header, BPF_F_RECOMPUTE_CSUM as u64)
    }

    /// Takes the tunnel header out again and writes the Ethernet header of the delivery. A checksum that
    /// was found good for the outer packet says nothing about the inner one.
    #[inline(always)]
    pub fn unwrap(
        &self,
        header: &[u8; ethernet::LENGTH],
        underlay: Family,
        inner: Family,
    ) -> Result<(), DropReason> {
        let other_family = match (underlay, inner) {
            (Family::V4, Family::V6) => BPF_F_ADJ_ROOM_DECAP_L3_IPV6,
            (Family::V6, Family::V4) => BPF_F_ADJ_ROOM_DECAP_L3_IPV4,
            _ => 0,
        };
        let flags = BPF_F_ADJ_ROOM_NO_CSUM_RESET as u64 | other_family as u64;
        self.adjust(-(outer::length(underlay) as i32), flags)?;
        // SAFETY: the context is the kernel's. It fails on packets without a checked checksum: nothing to do.
        let _ = unsafe { bpf_csum_level(self.context, BPF_CSUM_LEVEL_DEC as u64) };
        self.store(0, header, 0)
    }

    #[inline(always)]
    fn adjust(&self, bytes: i32, flags: u64) -> Result<(), DropReason> {
        // SAFETY: the context is the kernel's.
        let answer =
            unsafe { bpf_skb_adjust_room(self.context, bytes, bpf_adj_room_mode::BPF_ADJ_ROOM_MAC, flags) };
        done(answer, DropReason::Room)
    }

    /// What the VXLAN device has taken off: the outer header of a frame that was in it. Nothing for a frame that
    /// came into the device by another way, or without the group that all of ours have.
    #[inline(always)]
    pub fn tunnel(&self, underlay: Family) -> Option<Outer> {
        let flags = match underlay {
            Family::V4 => 0,
            Family::V6 => BPF_F_TUNINFO_IPV6 as u64,
        };
        let mut key = MaybeUninit::<bpf_tunnel_key>::uninit();
        let size = size_of::<bpf_tunnel_key>() as u32;
        // SAFETY: the helper writes `size` bytes of a structure of that size, or fails.
        let answer = unsafe { bpf_skb_get_tunnel_key(self.context, key.as_mut_ptr(), size, flags) };
        if answer != 0 {
            return None;
        }
        let mut group = 0_u32;
        // SAFETY: the helper writes at most four bytes; the device's only option has as many.
        let answer = unsafe { bpf_skb_get_tunnel_opt(self.context, (&raw mut group).cast(), 4) };
        if answer != 4 {
            return None;
        }
        // SAFETY: the helper has written all of it.
        let key = unsafe { key.assume_init() };
        // SAFETY: the unions hold integers only, in the form that the flags chose.
        let (source, destination) = unsafe {
            match underlay {
                Family::V4 => (
                    Address::of_ipv4(key.__bindgen_anon_1.remote_ipv4.to_be_bytes()),
                    Address::of_ipv4(key.__bindgen_anon_3.local_ipv4.to_be_bytes()),
                ),
                Family::V6 => (
                    Address::of(&transmute::<[u32; 4], [u8; 16]>(key.__bindgen_anon_1.remote_ipv6)),
                    Address::of(&transmute::<[u32; 4], [u8; 16]>(key.__bindgen_anon_3.local_ipv6)),
                ),
            }
        };
        Some(receiver::from_device(key.tunnel_id, group, source, destination))
    }

    /// Copies the frame into a record of the ring; false if there is no room.
    #[inline(always)]
    pub fn copy_into(&self, ring: &RingBuf, packet: &Homeless) -> bool {
        let length = packet.length;
        if length == 0 || length > HELD_BYTES as u32 {
            return false;
        }
        let Some(mut record) = ring.reserve::<Held>(0) else {
            return false;
        };
        let to = record.as_mut_ptr();
        // SAFETY: the ring's record is a `Held`, aligned to 8 bytes; its fields are written one by one. The helper
        // writes at most as many bytes as the frame's place has, which was compared above.
        let answer = unsafe {
            (&raw mut (*to).kind).write(packet.kind);
            (&raw mut (*to).tap).write(packet.key.tap);
            (&raw mut (*to).slot).write(packet.slot);
            (&raw mut (*to).length).write(length);
            (&raw mut (*to).source).write(packet.key.source);
            (&raw mut (*to).destination).write(packet.key.destination);
            (&raw mut (*to).at_ns).write(packet.at_ns);
            (&raw mut (*to).checksum_start).write(packet.checksum_start);
            (&raw mut (*to).checksum_offset).write(packet.checksum_offset);
            (&raw mut (*to).reserved).write([0; 6]);
            bpf_skb_load_bytes(self.context.cast(), 0, (&raw mut (*to).frame).cast(), length)
        };
        if answer != 0 {
            record.discard(0);
            return false;
        }
        record.submit(0);
        true
    }

    /// Writes bytes into the frame.
    #[inline(always)]
    pub fn store<const N: usize>(&self, at: usize, bytes: &[u8; N], flags: u64) -> Result<(), DropReason> {
        let from = bytes.as_ptr().cast();
        // SAFETY: the helper copies N bytes from an array of N, and fails if the frame has no such place.
        let answer = unsafe { bpf_skb_store_bytes(self.context, at as u32, from, N as u32, flags) };
        done(answer, DropReason::Internal)
    }

    /// Sends the frame to a neighbour; the kernel writes the Ethernet header. The answer is an action.
    ///
    /// The queue of the tap by which the frame came is forgotten: else it would choose the uplink's, and the
    /// guests, most of which have one queue, would all crowd into the uplink's first.
    #[inline(always)]
    pub fn to_neighbour(&self, way: &NextHop) -> i32 {
        // SAFETY: see `length`.
        unsafe { (*self.context).queue_mapping = 0 };
        let mut neighbour = bpf_redir_neigh {
            nh_family: AF_INET6,
            // SAFETY: sixteen bytes either way.
            __bindgen_anon_1: bpf_redir_neigh__bindgen_ty_1 {
                ipv6_nh: unsafe { transmute::<[u8; 16], [u32; 4]>(way.neighbour) },
            },
        };
        if let Some(neighbour_v4) = address::narrow(&way.neighbour) {
            neighbour.nh_family = AF_INET;
            neighbour.__bindgen_anon_1.ipv4_nh = u32::from_ne_bytes(neighbour_v4);
        }
        let size = size_of::<bpf_redir_neigh>() as i32;
        // SAFETY: the helper reads `size` bytes of a structure of that size, all of them written above.
        unsafe { bpf_redirect_neigh(way.interface, &raw mut neighbour, size, 0) as i32 }
    }

    /// Sends the frame out of an interface as it is. The answer is an action.
    #[inline(always)]
    pub fn to_interface(&self, interface: u32) -> i32 {
        // SAFETY: two integers.
        unsafe { bpf_redirect(interface, 0) as i32 }
    }
}

#[inline(always)]
fn done(answer: i64, reason: DropReason) -> Result<(), DropReason> {
    if answer == 0 { Ok(()) } else { Err(reason) }
}

/// Boot time in nanoseconds, time in suspend included.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_ktime_get_boot_ns() }
}

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
