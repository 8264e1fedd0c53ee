//! Answers what is too big for its pair by turning the guest's own frame round, cut and under new headers.
//!
//! A function that the kernel's verifier judges apart, like `hear`: its sums are long, and nothing comes after them.
use super::hear::Heard;
use crate::{budgets, maps, memory, skb::Skb};
use aya_ebpf::bindings::__sk_buff;
use pairgate_abi::{DropReason, TapEntry};
use pairgate_packet::{Verdict, ethernet, ip::Family, pair, too_big};

/// Over its budget, and where nothing must be said, the packet only dies.
#[inline(always)]
pub fn answer(skb: &Skb, tap: &TapEntry, heard: &Heard) -> Result<Verdict, DropReason> {
    match pairgate_too_big(skb.context(), tap, heard) {
        0 => Ok(Verdict::Told(DropReason::TooBig)),
        _ => Err(DropReason::TooBig),
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn pairgate_too_big(context: *mut __sk_buff, tap: *const TapEntry, heard: *const Heard) -> u32 {
    let (Some(tap), Some(heard)) = (memory::given(tap), memory::given(heard)) else {
        return 1;
    };
    match tell(&Skb::of(context), tap, heard) {
        Some(()) => 0,
        None => 1,
    }
}

#[inline(always)]
fn tell(skb: &Skb, tap: &TapEntry, heard: &Heard) -> Option<()> {
    let packet = &heard.packet;
    // Once more: the pair's entry is no argument that a function which is judged apart could have.
    let mtu = maps::pair_out(&pair::key(skb.interface(), packet))?.entry.mtu;
    let quoted = too_big::quoted(packet, mtu)?;
    if !budgets::may_tell_size(tap.slot) {
        return None;
    }
    skb.cut(ethernet::LENGTH as u32 + quoted).ok()?;
    let (checksum, mac) = (heard.checksum(), tap.mac);
    match packet.family {
        Family::V4 => skb.precede(&too_big::headers_v4(skb, checksum, mac, packet, mtu)),
        Family::V6 => skb.precede(&too_big::headers_v6(skb, checksum, mac, packet, mtu)),
    }
    .ok()
}
