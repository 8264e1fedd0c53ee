//! What the VXLAN device knows about a frame that it has taken apart.
use super::Skb;
use aya_ebpf::{
    bindings::{BPF_F_TUNINFO_IPV6, bpf_tunnel_key},
    helpers::{bpf_skb_get_tunnel_key, bpf_skb_get_tunnel_opt},
};
use core::mem::{MaybeUninit, transmute};
use pairgate_packet::{address::Address, ip::Family, outer::Outer, receiver};

impl Skb {
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
}
