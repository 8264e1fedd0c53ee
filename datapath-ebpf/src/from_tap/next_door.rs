//! To a guest of the same host: the same checks as across hosts, those of the receiver included, and no wire. The
//! token had both host addresses equal, and the pair obeys the same lease.
use crate::{flows, skb::Skb};
use pairgate_abi::{DropReason, OutEntry};
use pairgate_packet::{Packet, receiver};

/// Bytes behind the packet (padding, or what a guest hid there) stay behind.
#[inline(never)]
pub fn deliver(skb: &Skb, packet: &Packet, pair: &OutEntry, now: u64) -> Result<(), DropReason> {
    flows::receive(&pair.carries, packet, pair.local_slot, now)?;
    skb.resize(packet.frame_length())?;
    skb.store(0, &receiver::delivery(pair.local_mac, packet.family), 0)
}
