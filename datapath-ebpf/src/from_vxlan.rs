//! What arrived big from other hosts, after the kernel's VXLAN device has taken the outer header off: the same
//! verification once more, from what the device says about that header. Nothing else lives on that device, so
//! whatever is not a pair's packet dies here.
use crate::{
    arrival::{self, Arrived},
    maps, skb,
    skb::Skb,
};
use aya_ebpf::bindings::__sk_buff;
use pairgate_abi::{DropReason, InEntry};
use pairgate_packet::{Verdict, Way, ip::Family, receiver};

#[inline(always)]
pub fn run(skb: &Skb, slot: &mut u32) -> Result<Verdict, DropReason> {
    let outer = skb
        .tunnel(Family::of(&maps::settings().host))
        .ok_or(DropReason::Outer)?;
    skb.pull(receiver::read(0))?;
    if skb.is_tagged() {
        return Err(DropReason::Inner); // the kernel has lifted the tag out of the inner frame
    }
    let mut arrived = Arrived::NOTHING;
    let pair = arrival::pair(skb, &outer, pairgate_taken_apart, skb::now(), slot, &mut arrived)?;
    skb.store(0, &receiver::delivery(pair.mac, arrived.packet.family), 0)?;
    Ok(Verdict::Redirect(Way::Tap(pair.tap)))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn pairgate_taken_apart(
    context: *mut __sk_buff,
    entry: *const InEntry,
    now: u64,
    arrived: *mut Arrived,
) -> u32 {
    arrival::judge(context, entry, now, arrived, 0)
}
