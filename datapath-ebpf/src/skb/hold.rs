//! A copy of a first packet for the agent.
use super::Skb;
use crate::from_tap::Homeless;
use aya_ebpf::{helpers::bpf_skb_load_bytes, maps::RingBuf};
use pairgate_abi::{HELD_BYTES, Held};

impl Skb {
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
}
