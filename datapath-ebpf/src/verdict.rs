//! The only exit: turns a result into an action, and counts it.
//!
//! Every frame is counted exactly once, as passed or under one reason, also if the answer to it goes back in its
//! place; only what is the host's own is not counted at all, and what is held is counted by the budget that lets it be
//! held.
use crate::{maps, memory, skb::Skb};
use aya_ebpf::bindings::{
    TC_ACT_OK, TC_ACT_REDIRECT, TC_ACT_SHOT, TC_ACT_UNSPEC,
    xdp_action::{XDP_DROP, XDP_PASS},
};
use pairgate_abi::{Direction, DropReason, count_index, drop_index};
use pairgate_packet::{Frame, Verdict, Way};

#[inline(always)]
pub fn finish(skb: &Skb, direction: Direction, slot: u32, result: Result<Verdict, DropReason>) -> i32 {
    let action = match result {
        Ok(Verdict::NotOurs) => return TC_ACT_UNSPEC,
        Ok(Verdict::Held) => return TC_ACT_SHOT as i32, // the agent has a copy
        Ok(Verdict::ToDevice) => TC_ACT_OK as i32,
        Ok(Verdict::Delivered) => {
            skb.set_mark(0);
            TC_ACT_OK as i32
        }
        Ok(Verdict::Redirect(Way::Neighbour(next))) => skb.to_neighbour(&next),
        Ok(Verdict::Redirect(Way::Tap(tap))) => {
            skb.set_mark(maps::settings().mark);
            skb.to_interface(tap)
        }
        Ok(Verdict::Told(reason)) => {
            let _ = refuse(skb, slot, direction, reason);
            skb.set_mark(maps::settings().mark);
            return skb.to_interface(skb.interface());
        }
        Err(reason) => return refuse(skb, slot, direction, reason),
    };
    if action != TC_ACT_OK as i32 && action != TC_ACT_REDIRECT as i32 {
        return refuse(skb, slot, direction, DropReason::Internal);
    }
    memory::change(maps::passed(count_index(slot, direction)), |count| {
        count.packets += 1;
        count.bytes += skb.length() as u64;
    });
    action
}

#[inline(always)]
fn refuse(skb: &Skb, slot: u32, direction: Direction, reason: DropReason) -> i32 {
    log(skb, slot, direction, reason);
    count(slot, direction, reason);
    TC_ACT_SHOT as i32
}

/// The exit of the program in the driver. What goes on is counted by the one that judges it.
#[inline(always)]
pub fn early(slot: u32, dies: Option<DropReason>) -> u32 {
    let Some(reason) = dies else {
        return XDP_PASS;
    };
    count(slot, Direction::XdpUplink, reason);
    XDP_DROP
}

#[inline(always)]
fn count(slot: u32, direction: Direction, reason: DropReason) {
    memory::change(maps::drops(drop_index(slot, direction, reason)), |packets| {
        *packets += 1
    });
}

/// Tells of a drop, in a build made for finding faults.
#[inline(always)]
#[cfg(feature = "log")]
fn log(skb: &Skb, slot: u32, direction: Direction, reason: DropReason) {
    let (interface, direction, reason, length) =
        (skb.interface(), direction as u32, reason as u32, skb.length());
    aya_log_ebpf::debug!(
        skb,
        "interface {} slot {} direction {} reason {} length {}",
        interface,
        slot,
        direction,
        reason,
        length
    );
}

#[inline(always)]
#[cfg(not(feature = "log"))]
fn log(_: &Skb, _: u32, _: Direction, _: DropReason) {}
