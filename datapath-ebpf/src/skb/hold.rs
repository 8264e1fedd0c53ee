//! A copy of a frame for the agent: a first packet, or a question for configuration.
use super::Skb;
use crate::from_tap::{ForConfiguration, Homeless};
use aya_ebpf::{helpers::bpf_skb_load_bytes, maps::RingBuf};
use core::arch::asm;
use pairgate_abi::{HELD_BYTES, Held, QUESTION_BYTES, Question};

impl Skb {
    /// Copies the frame into a record of the ring; false if there is no room.
    #[inline(always)]
    pub fn copy_into(&self, ring: &RingBuf, packet: &Homeless) -> bool {
        // Counted from one byte: kernels before 6.4 must see that the copy below is not of nothing.
        let rest = less_one(packet.length);
        if rest >= HELD_BYTES as u64 {
            return false;
        }
        let length = (rest + 1) as u32;
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
    /// The same for a question.
    #[inline(always)]
    pub fn copy_question(&self, ring: &RingBuf, question: &ForConfiguration) -> bool {
        let rest = less_one(question.length);
        if rest >= QUESTION_BYTES as u64 {
            return false;
        }
        let length = (rest + 1) as u32;
        let Some(mut record) = ring.reserve::<Question>(0) else {
            return false;
        };
        let to = record.as_mut_ptr();
        // SAFETY: as in `copy_into`, with a `Question`.
        let answer = unsafe {
            (&raw mut (*to).tap).write(question.tap);
            (&raw mut (*to).slot).write(question.slot);
            (&raw mut (*to).length).write(length);
            (&raw mut (*to).checksum_start).write(question.checksum_start);
            (&raw mut (*to).reserved).write(0);
            (&raw mut (*to).at_ns).write(question.at_ns);
            (&raw mut (*to).reserved_end).write([0; 6]);
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

/// One less, in a way that the compiler cannot look through: it would merge comparisons into one of another register,
/// from which an old verifier learns nothing about this one. Below 0 comes the largest number.
#[inline(always)]
fn less_one(number: u32) -> u64 {
    let mut number = number as u64;
    // SAFETY: a subtraction in a register.
    unsafe {
        asm!("{number} += -1", number = inout(reg) number, options(pure, nomem, nostack, preserves_flags))
    };
    number
}
