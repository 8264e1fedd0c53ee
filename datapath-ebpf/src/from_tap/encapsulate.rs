//! Wraps a packet for its way to the peer host.
use crate::skb::Skb;
use pairgate_abi::{DropReason, OutEntry};
use pairgate_packet::{outer, sender::Packet};

/// Bytes behind the packet (padding, or what a guest hid there) stay behind.
#[inline(always)]
pub fn push(skb: &Skb, packet: &Packet, pair: &OutEntry) -> Result<(), DropReason> {
    let header = outer::header(packet, pair)?;
    skb.trim(packet.frame_length())?;
    skb.wrap(&header)
}
