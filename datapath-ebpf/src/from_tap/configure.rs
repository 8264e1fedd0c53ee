//! A guest's question for its configuration goes to the agent, which answers it on the tap, after everything that
//! needs no pair has been checked. It opens nothing.
use super::hear::Heard;
use crate::{
    budgets,
    skb::{self, Skb},
};
use pairgate_abi::DropReason;
use pairgate_packet::Verdict;

/// What the agent gets.
pub struct ForConfiguration {
    /// Interface index of the tap.
    pub tap: u32,
    /// Counter slot of the tap.
    pub slot: u32,
    /// Bytes of the frame that are the packet's.
    pub length: u32,
    /// Not 0 if the transport checksum is unfinished.
    pub checksum_start: u16,
    /// Now.
    pub at_ns: u64,
}

/// Over its budget the question dies like everything that nobody listens to: as `multicast`.
#[inline(never)]
pub fn ask(skb: &Skb, heard: &Heard, slot: u32) -> Result<Verdict, DropReason> {
    let question = ForConfiguration {
        tap: skb.interface(),
        slot,
        length: heard.packet.frame_length(),
        checksum_start: heard.checksum_start,
        at_ns: skb::now(),
    };
    if budgets::ask(skb, &question) {
        Ok(Verdict::Held)
    } else {
        Err(DropReason::Multicast)
    }
}
