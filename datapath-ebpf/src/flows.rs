//! The flow tables: what each guest has opened, so that the answers may come back.
use crate::{maps, memory};
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
    if let Note::Opened = grant::sends_by(carries, packet, named)? {
        let key = grant::opened(packet);
        match maps::flow(slot, &key) {
            Some(used) => memory::touch(used, now_ns, STEP_NS),
            None => maps::open_flow(slot, &key, now_ns),
        }
    }
    Ok(())
}

/// What the receiver's pair says of the packet, and where that is not enough, the table of the receiving guest.
#[inline(always)]
pub fn receive(carries: &Carries, packet: &Packet, slot: u32, now_ns: u64) -> Result<(), DropReason> {
    if let Admission::Granted = grant::receives_by(carries, packet, named)? {
        return Ok(());
    }
    let Some(used) = maps::flow(slot, &grant::answered(packet)) else {
        return Err(DropReason::Grant);
    };
    if !grant::is_live(packet.protocol, memory::number(used), now_ns) {
        return Err(DropReason::Grant);
    }
    // An error is no part of the conversation: it would keep it open for whoever sends one from time to time.
    if !packet.is_error {
        memory::touch(used, now_ns, STEP_NS);
    }
    Ok(())
}

#[inline(always)]
fn named(carries: &Carries, protocol: u8, port: [u8; 2]) -> bool {
    pairgate_names(carries, protocol.into(), u16::from_ne_bytes(port).into()) != 0
}

/// [`grant::names`] as a function that the kernel's verifier judges apart, once, and not in every place and with
/// every number that it is called with: that its name is known outside makes it one.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn pairgate_names(carries: *const Carries, protocol: u32, port: u32) -> u32 {
    let Some(carries) = memory::given(carries) else {
        return 0;
    };
    grant::names(carries, protocol as u8, (port as u16).to_ne_bytes()).into()
}
