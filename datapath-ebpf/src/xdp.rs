//! The packet as the driver has it, before the kernel makes its own structure of it. Nothing is written here.
use crate::bytes;
use aya_ebpf::{EbpfContext, bindings::xdp_md, helpers::bpf_xdp_get_buff_len, programs::XdpContext};
use pairgate_packet::Frame;

/// A packet that a driver has received. What stands behind its first piece is not looked at: headers stand in front.
pub struct Xdp {
    context: *mut xdp_md,
}

impl Xdp {
    #[inline(always)]
    pub fn new(context: XdpContext) -> Self {
        Self {
            context: context.as_ptr().cast(),
        }
    }
}

impl Frame for Xdp {
    #[inline(always)]
    fn length(&self) -> u32 {
        // SAFETY: the context is the kernel's; all pieces count.
        unsafe { bpf_xdp_get_buff_len(self.context) as u32 }
    }

    #[inline(always)]
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        // SAFETY: the context is valid while the program runs.
        let (start, end) = unsafe { ((*self.context).data as usize, (*self.context).data_end as usize) };
        bytes::read(start, end, at)
    }

    #[inline(always)]
    fn read_far<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.read(at)
    }
}
