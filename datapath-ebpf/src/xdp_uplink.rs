//! Before everything, where the uplink's driver runs programs by itself: drops early what `from_uplink` would drop by the
//! outer header alone, before the kernel has spent anything on it.
//!
//! It only drops. Whatever it does not understand, or could not count as `from_uplink` would, goes on to be judged there:
//! taking this program away, or never having it, changes no verdict.
use crate::{budgets, maps, skb, xdp::Xdp};
use pairgate_abi::DropReason;
use pairgate_packet::{
    early,
    ip::Family,
    outer::{self, Outer},
    receiver,
};

/// What the frame dies of, if it does.
#[inline(always)]
pub fn run(xdp: &Xdp, slot: &mut u32) -> Option<DropReason> {
    let outer = ours(xdp)?;
    // Before its handle is looked up: it is counted for nobody's guest.
    if let Err(reason) = receiver::check_form(&outer) {
        return Some(reason);
    }
    let entry = maps::pair_in(&outer.handle).map(|used| used.entry);
    *slot = entry.map_or(0, |entry| entry.slot);
    early::dies(&outer, entry, || budgets::could_tell(0, skb::now()))
}

/// The outer header, if the frame is ours. The family of the underlay is fixed when the program is loaded.
#[inline(always)]
fn ours(xdp: &Xdp) -> Option<Outer> {
    if !early::is_to(xdp, &maps::uplink_mac()?) {
        return None;
    }
    match Family::of(&maps::settings().host) {
        Family::V4 => outer::ours(xdp, maps::settings(), Family::V4),
        Family::V6 => outer::ours(xdp, maps::settings(), Family::V6),
    }
}
