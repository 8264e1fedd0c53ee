//! What is done to a frame: its length, its headers, where it goes.
use super::{Skb, done};
use aya_ebpf::{
    bindings::{
        BPF_CSUM_LEVEL_DEC, BPF_F_ADJ_ROOM_DECAP_L3_IPV4, BPF_F_ADJ_ROOM_DECAP_L3_IPV6,
        BPF_F_ADJ_ROOM_ENCAP_L2_ETH, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6,
        BPF_F_ADJ_ROOM_ENCAP_L4_UDP, BPF_F_ADJ_ROOM_FIXED_GSO, BPF_F_ADJ_ROOM_NO_CSUM_RESET,
        BPF_F_RECOMPUTE_CSUM, bpf_adj_room_mode, bpf_redir_neigh, bpf_redir_neigh__bindgen_ty_1,
    },
    helpers::{
        bpf_csum_level, bpf_redirect, bpf_redirect_neigh, bpf_skb_adjust_room, bpf_skb_change_tail,
        bpf_skb_store_bytes,
    },
};
use core::mem::transmute;
use pairgate_abi::{DropReason, NextHop};
use pairgate_packet::{Frame, address, ethernet, ip::Family, outer};

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

impl Skb {
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

    /// Cuts the frame off behind so many bytes. All of it is in one piece then, and it is not to be cut into segments
    /// any more.
    #[inline(always)]
    pub fn cut(&self, length: u32) -> Result<(), DropReason> {
        // SAFETY: the context is the kernel's.
        done(
            unsafe { bpf_skb_change_tail(self.context, length, 0) },
            DropReason::Room,
        )
    }

    /// Puts new headers in front of the packet, in the place of its Ethernet header. A checksum that was found good says
    /// nothing about them; one that is still to be written moves along.
    #[inline(always)]
    pub fn precede<const N: usize>(&self, headers: &[u8; N]) -> Result<(), DropReason> {
        self.adjust((N - ethernet::LENGTH) as i32, 0)?;
        self.store(0, headers, 0)
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
