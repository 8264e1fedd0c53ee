//! The packet's memory and the kernel's helpers, behind safe doors. All `unsafe` of the package stands here, in
//! `bytes`, `memory` and `xdp`.
//!
//! Every read of the packet is compared with its end first; after each helper that may move the packet the
//! pointers are taken anew from the context, because nothing here keeps one.

mod change;
mod hold;
mod tunnel;

use crate::{bytes, maps};
use aya_ebpf::{
    EbpfContext,
    bindings::__sk_buff,
    helpers::{bpf_ktime_get_boot_ns, bpf_probe_read_kernel, bpf_skb_load_bytes, bpf_skb_pull_data},
    programs::TcContext,
};
use pairgate_abi::DropReason;
use pairgate_packet::{Checksum, Frame, Gso, Metadata};

/// `PACKET_HOST`: the frame was addressed to this machine.
const TO_HOST: u32 = 0;
/// `CHECKSUM_PARTIAL`: someone behind us will write the checksum.
const CHECKSUM_PARTIAL: u8 = 3;

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
        bytes::read(start, end, at)
    }

    #[inline(always)]
    fn read_far<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let mut bytes = Aligned([0; N]);
        let into = bytes.0.as_mut_ptr().cast();
        // SAFETY: the helper writes N bytes into an array of N, or zeros it and fails.
        let answer = unsafe { bpf_skb_load_bytes(self.context.cast(), at as u32, into, N as u32) };
        (answer == 0).then_some(bytes.0)
    }
}

impl Skb {
    #[inline(always)]
    pub fn new(context: TcContext) -> Self {
        Self {
            context: context.as_ptr().cast(),
        }
    }

    /// The frame of a context, in a function that is judged apart.
    #[inline(always)]
    pub fn of(context: *mut __sk_buff) -> Self {
        Self { context }
    }

    /// The kernel's own name for the frame.
    #[inline(always)]
    pub fn context(&self) -> *mut __sk_buff {
        self.context
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
