//! From other hosts towards a guest.

mod way;

use crate::{
    arrival::{self, Arrived},
    maps,
    skb::{self, Skb},
};
use aya_ebpf::bindings::__sk_buff;
use pairgate_abi::{DropReason, InEntry};
use pairgate_packet::{
    Verdict, Way,
    ip::Family,
    outer::{self, Outer},
    receiver,
};

/// The family of the underlay is fixed when the programs are loaded: the verifier leaves the other half out.
#[inline(always)]
pub fn run(skb: &Skb, slot: &mut u32) -> Result<Verdict, DropReason> {
    match Family::of(&maps::settings().host) {
        Family::V4 => over(skb, slot, Family::V4),
        Family::V6 => over(skb, slot, Family::V6),
    }
}

#[inline(always)]
fn over(skb: &Skb, slot: &mut u32, underlay: Family) -> Result<Verdict, DropReason> {
    let Some(outer) = ours(skb, underlay) else {
        return Ok(Verdict::NotOurs);
    };
    let (inner_at, now) = (outer::inner_at(underlay), skb::now());
    skb.pull(receiver::read(inner_at))?;
    let mut arrived = Arrived::NOTHING;
    // May this host say this to that guest, and still?
    let pair = arrival::pair(skb, &outer, pairgate_arrived, now, slot, &mut arrived)?;
    let is_other_family = arrived.packet.family != underlay;
    if way::is_by_device(arrived.is_gso, &outer, is_other_family, now)? {
        return Ok(Verdict::ToDevice);
    }
    skb.unwrap(
        &receiver::delivery(pair.mac, arrived.packet.family),
        underlay,
        arrived.packet.family,
    )?;
    Ok(Verdict::Redirect(Way::Tap(pair.tap)))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn pairgate_arrived(
    context: *mut __sk_buff,
    entry: *const InEntry,
    now: u64,
    arrived: *mut Arrived,
) -> u32 {
    match Family::of(&maps::settings().host) {
        Family::V4 => arrival::judge(context, entry, now, arrived, outer::inner_at(Family::V4)),
        Family::V6 => arrival::judge(context, entry, now, arrived, outer::inner_at(Family::V6)),
    }
}

/// The outer header, if the frame is ours. A frame that cannot be read is the host's to judge.
#[inline(always)]
fn ours(skb: &Skb, underlay: Family) -> Option<Outer> {
    if skb.is_tagged() || !skb.is_to_host() || skb.pull(outer::inner_at(underlay)).is_err() {
        return None;
    }
    outer::ours(skb, maps::settings(), underlay)
}
