//! What the maps say about the guest and its pair.
use crate::{flows, maps, skb::Skb};
use pairgate_abi::{DropReason, NextHop, OutEntry, TapEntry};
use pairgate_packet::{Packet, pair};

/// The guest behind this tap.
#[inline(always)]
pub fn tap(skb: &Skb) -> Result<&'static TapEntry, DropReason> {
    maps::tap(skb.interface()).ok_or(DropReason::NoState)
}

/// The pair that carries the packet.
#[inline(always)]
pub fn pair(skb: &Skb, tap: &TapEntry, packet: &Packet, now: u64) -> Result<&'static OutEntry, DropReason> {
    let used = maps::pair_out(&pair::key(skb.interface(), packet));
    let entry = used.as_ref().map(|used| used.entry);
    let entry = pair::check(tap, packet, entry, maps::lease(), now)?;
    flows::send(&entry.carries, packet, tap.slot, now)?;
    if let Some(used) = &used {
        used.note(now);
    }
    Ok(entry)
}

/// The way to the pair's host.
#[inline(always)]
pub fn next_hop(pair: &OutEntry) -> Result<NextHop, DropReason> {
    maps::next_hop(&pair.dst_host).ok_or(DropReason::NextHop)
}
