//! What may die in the uplink's driver already: a part of what `from_uplink` drops, under the same reasons, and never
//! anything else.
//!
//! A driver says less of a frame than the kernel does later. To whom the link layer delivers it is told by its first
//! six bytes; a tag that the card has taken out is not to be seen at all, so the agent keeps this off uplinks that
//! carry networks beside ours.
use crate::{
    Frame,
    outer::Outer,
    receiver::{check_outer, is_told},
};
use pairgate_abi::{DropReason, InEntry};

/// True if the frame is for the uplink itself: what the kernel will say of it when it has it.
#[inline(always)]
pub fn is_to(frame: &impl Frame, mac: &[u8; 6]) -> bool {
    frame.read::<6>(0) == Some(*mac)
}

/// Why a frame that is ours and has the right form ([`check_form`](crate::receiver::check_form)) dies by its outer header.
///
/// A frame of which the agent could still be told is not ours to take: it goes on, and `from_uplink` tells and drops
/// it. So whatever is told is told as without this, and this takes what is left once the budget is used up: a flood.
#[inline(always)]
pub fn dies(outer: &Outer, entry: Option<&InEntry>, could_tell: impl FnOnce() -> bool) -> Option<DropReason> {
    let reason = check_outer(outer, entry).err()?;
    if is_told(reason) && could_tell() {
        return None;
    }
    Some(reason)
}
