//! The guard before a guest: only what our own programs sent reaches its tap.
use crate::Verdict;
use pairgate_abi::DropReason;

/// Judges a frame about to be queued to a guest by its packet mark. `expected` is the mark of the settings;
/// 0 there means that nobody chose one, and nothing passes.
#[inline(always)]
pub fn check(mark: u32, expected: u32) -> Result<Verdict, DropReason> {
    if expected == 0 {
        Err(DropReason::NoState)
    } else if mark == expected {
        Ok(Verdict::Delivered)
    } else {
        Err(DropReason::NotDelivered)
    }
}
