//! Takes the tunnel header off and addresses the packet to its guest.
use crate::skb::Skb;
use pairgate_abi::{DropReason, InEntry};
use pairgate_packet::receiver;

#[inline(always)]
pub fn pull(skb: &Skb, pair: &InEntry) -> Result<(), DropReason> {
    skb.unwrap(&receiver::delivery(pair))
}
