//! What the maps say about the guest and its pair.
use crate::{
    maps,
    skb::{self, Skb},
};
use pairgate_abi::{DropReason, NextHop, OutEntry, TapEntry, limits};
use pairgate_packet::{budget, pair, sender::Packet};

/// The guest behind this tap.
#[inline(always)]
pub fn tap(skb: &Skb) -> Result<&'static TapEntry, DropReason> {
    maps::tap(skb.interface()).ok_or(DropReason::NoState)
}

/// The pair that carries the packet. Where asking the registry could help, the agent is told, as often as
/// the tap's budget allows.
#[inline(always)]
pub fn pair(skb: &Skb, tap: &TapEntry, packet: &Packet) -> Result<&'static OutEntry, DropReason> {
    let (key, now) = (pair::key(skb.interface(), packet), skb::now());
    let used = maps::pair_out(&key);
    let entry = used.as_ref().map(|used| used.entry);
    let found = pair::check(packet, entry, maps::lease(), now);
    if let (Ok(_), Some(used)) = (found, &used) {
        used.note(now);
    }
    if let Err(reason) = found
        && let Some(event) = pair::event(reason, &key, packet, now)
    {
        skb::change(maps::budget(tap.slot), |kept| {
            let (rate, burst) = (limits::EVENTS_PER_SECOND, limits::EVENT_BURST);
            if let Some(spent) = budget::spend(kept.event_ns, now, rate, burst) {
                kept.event_ns = spent;
                maps::raise(event);
            }
        });
    }
    found
}

/// The way to the pair's host.
#[inline(always)]
pub fn next_hop(pair: &OutEntry) -> Result<NextHop, DropReason> {
    maps::next_hop(&pair.dst_host).ok_or(DropReason::NextHop)
}
