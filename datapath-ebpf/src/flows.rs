//! The flow tables: what each guest has opened, so that the answers may come back.
use crate::{maps, skb};
use pairgate_abi::{Carries, DropReason};
use pairgate_packet::{
    Packet,
    grant::{self, Admission, Note},
};

/// How old the instant of a flow's last packet may get before it is written again.
const STEP_NS: u64 = 1_000_000_000;

/// What the sender's pair says of the packet; a conversation that it may begin is noted in the table of its guest.
#[inline(always)]
pub fn send(carries: &Carries, packet: &Packet, slot: u32, now_ns: u64) -> Result<(), DropReason> {
    if let Note::Opened = grant::sends(carries, packet)? {
        let key = grant::opened(packet);
        match maps::flow(slot, &key) {
            Some(used) => skb::touch(used, now_ns, STEP_NS),
            None => maps::open_flow(slot, &key, now_ns),
        }
    }
    Ok(())
}

/// What the receiver's pair says of the packet, and where that is not enough, the table of the receiving guest.
#[inline(always)]
pub fn receive(carries: &Carries, packet: &Packet, slot: u32, now_ns: u64) -> Result<(), DropReason> {
    if let Admission::Granted = grant::receives(carries, packet)? {
        return Ok(());
    }
    let Some(used) = maps::flow(slot, &grant::answered(packet)) else {
        return Err(DropReason::Grant);
    };
    if !grant::is_live(packet.protocol, skb::number(used), now_ns) {
        return Err(DropReason::Grant);
    }
    skb::touch(used, now_ns, STEP_NS);
    Ok(())
}
