//! The guard before a guest: only what our own programs sent to it reaches its tap.
use crate::{Frame, Verdict};
use pairgate_abi::{DropReason, TapEntry};

/// Judges a frame about to be queued to the guest behind `tap`, by its packet mark and by the MAC address to which it
/// is delivered. `expected` is the mark of the settings; 0 there means that nobody chose one, and nothing passes.
///
/// Programs deliver under the MAC address of the guest whom the frame is for. An entry that has outlived its guest
/// may lead to a tap that is another guest's by now: what it delivers is not for that one.
#[inline(always)]
pub fn check(frame: &impl Frame, tap: &TapEntry, mark: u32, expected: u32) -> Result<Verdict, DropReason> {
    if expected == 0 {
        return Err(DropReason::NoState);
    }
    if mark == expected && frame.read(0) == Some(tap.mac) {
        Ok(Verdict::Delivered)
    } else {
        Err(DropReason::NotDelivered)
    }
}
