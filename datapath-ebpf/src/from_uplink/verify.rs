//! What the maps and the decisions say about a frame on the uplink.
use crate::{
    maps,
    skb::{self, Skb},
};
use pairgate_abi::{DropReason, InEntry};
use pairgate_packet::{
    outer::{self, Outer},
    receiver,
};

/// The outer header, if the frame is ours. A frame that cannot be read is the host's to judge.
#[inline(always)]
pub fn ours(skb: &Skb) -> Option<Outer> {
    if skb.is_tagged() || !skb.is_to_host() || skb.pull(outer::READ).is_err() {
        return None;
    }
    outer::ours(skb, maps::settings())
}

/// Everything that needs no map.
#[inline(always)]
pub fn carriage(skb: &Skb, outer: &Outer) -> Result<(), DropReason> {
    skb.pull(receiver::READ)?;
    receiver::check_carriage(skb, &skb.metadata()?, outer)
}

/// The pair that the frame belongs to. Once the handle is known, faults count for its guest.
#[inline(always)]
pub fn pair(skb: &Skb, outer: &Outer, slot: &mut u32) -> Result<&'static InEntry, DropReason> {
    let found = maps::pair_in(&outer.handle);
    *slot = found.map_or(0, |entry| entry.slot);
    receiver::check(skb, outer, found, maps::lease(), skb::now())
}
