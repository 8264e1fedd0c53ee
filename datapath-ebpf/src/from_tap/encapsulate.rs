//! Wraps a packet for its way to the peer host.
use crate::{
    maps,
    skb::{Aligned, Skb},
};
use pairgate_abi::{DropReason, OutEntry};
use pairgate_packet::{Packet, ip::Family, outer};

/// Bytes behind the packet (padding, or what a guest hid there) stay behind.
#[inline(never)]
pub fn push(skb: &Skb, packet: &Packet, pair: &OutEntry) -> Result<(), DropReason> {
    // Fixed when the programs are loaded: the verifier leaves the other half out.
    match Family::of(&maps::settings().host) {
        Family::V4 => {
            let mut header = Aligned([0; outer::LENGTH_V4]);
            outer::header_v4(packet, pair, &mut header.0)?;
            skb.resize(packet.frame_length())?;
            skb.wrap(&header.0, Family::V4)
        }
        Family::V6 => {
            let mut header = Aligned([0; outer::LENGTH_V6]);
            outer::header_v6(packet, pair, &mut header.0)?;
            skb.resize(packet.frame_length())?;
            skb.wrap(&header.0, Family::V6)
        }
    }
}
