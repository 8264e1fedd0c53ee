//! The packet's memory and the kernel's helpers, behind safe doors. The only `unsafe` of the package.
//!
//! Every read of the packet is compared with its end first; after each helper that may move the packet the
//! pointers are taken anew from the context, because nothing here keeps one.
use crate::maps;
use aya_ebpf::{
    EbpfContext,
    bindings::{
        __sk_buff, BPF_CSUM_LEVEL_DEC, BPF_F_ADJ_ROOM_ENCAP_L2_ETH, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4,
        BPF_F_ADJ_ROOM_ENCAP_L4_UDP, BPF_F_ADJ_ROOM_NO_CSUM_RESET, BPF_F_RECOMPUTE_CSUM, bpf_adj_room_mode,
        bpf_redir_neigh, bpf_redir_neigh__bindgen_ty_1,
    },
    helpers::{
        bpf_csum_level, bpf_ktime_get_boot_ns, bpf_probe_read_kernel, bpf_redirect, bpf_redirect_neigh,
        bpf_skb_adjust_room, bpf_skb_change_tail, bpf_skb_pull_data, bpf_skb_store_bytes,
    },
    programs::TcContext,
};
use pairgate_abi::{DropReason, NextHop, Settings, limits};
use pairgate_packet::{Checksum, Frame, Metadata, ethernet, outer};

const AF_INET: u32 = 2;
/// `PACKET_HOST`: the frame was addressed to this machine.
const TO_HOST: u32 = 0;
/// `CHECKSUM_PARTIAL`: someone behind us will write the checksum.
const CHECKSUM_PARTIAL: u8 = 3;

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
        // SAFETY: the N bytes end at or before the packet's end; bytes need no alignment.
        Some(unsafe { *((start + at) as *const [u8; N]) })
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
        // SAFETY: see `length`.
        let gso = unsafe { (*self.context).gso_size != 0 || (*self.context).gso_segs > 1 };
        Ok(Metadata {
            vlan: self.is_tagged(),
            gso,
            checksum: self.checksum()?,
        })
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

    /// Cuts off what stands behind the first `length` bytes, which the frame has.
    #[inline(always)]
    pub fn trim(&self, length: u32) -> Result<(), DropReason> {
        if self.length() == length {
            return Ok(());
        }
        // SAFETY: the context is the kernel's.
        done(
            unsafe { bpf_skb_change_tail(self.context, length, 0) },
            DropReason::Room,
        )
    }

    /// Puts a tunnel header between the Ethernet header and the packet.
    #[inline(always)]
    pub fn wrap(&self, header: &[u8; outer::LENGTH]) -> Result<(), DropReason> {
        let flags = BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 as u64
            | BPF_F_ADJ_ROOM_ENCAP_L4_UDP as u64
            | BPF_F_ADJ_ROOM_ENCAP_L2_ETH as u64
            | (ethernet::LENGTH as u64) << 56;
        self.adjust(outer::LENGTH as i32, flags)?;
        self.store(ethernet::LENGTH, header, BPF_F_RECOMPUTE_CSUM as u64)
    }

    /// Takes the tunnel header out again and writes the Ethernet header of the delivery. A checksum that
    /// was found good for the outer packet says nothing about the inner one.
    #[inline(always)]
    pub fn unwrap(&self, header: &[u8; ethernet::LENGTH]) -> Result<(), DropReason> {
        self.adjust(-(outer::LENGTH as i32), BPF_F_ADJ_ROOM_NO_CSUM_RESET as u64)?;
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
            nh_family: AF_INET,
            __bindgen_anon_1: bpf_redir_neigh__bindgen_ty_1 { ipv6_nh: [0; 4] },
        };
        neighbour.__bindgen_anon_1.ipv4_nh = u32::from_ne_bytes(way.neighbour);
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

/// The value that a map returned.
#[inline(always)]
pub fn value<V>(found: Option<*const V>) -> Option<&'static V> {
    // SAFETY: the map's memory stays until this program has ended. The agent deletes an entry, waits for
    // all programs to end, and only then reuses its place.
    found.map(|value| unsafe { &*value })
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
        entry: unsafe { &*found },
        // SAFETY: the offset is that of a field of the entry.
        used_ns: unsafe { found.byte_add(at) }.cast(),
    }
}

impl<V> Used<V> {
    /// Notes that a packet has passed. A load that is in the cache already and a comparison for most packets.
    #[inline(always)]
    pub fn note(&self, now_ns: u64) {
        // SAFETY: an aligned field that is only ever read and written here, eight bytes at a time; of two
        // CPUs that write at once either is right.
        unsafe {
            if now_ns > self.used_ns.read_volatile().wrapping_add(limits::USE_STEP_NS) {
                self.used_ns.write_volatile(now_ns);
            }
        }
    }
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
