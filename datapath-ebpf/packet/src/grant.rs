//! What a pair carries. Grants name destination ports; a packet back to where a conversation came from passes by
//! the flow table of the guest that began it, and of nobody else: the sender cannot vouch for itself.
use crate::{Packet, transport};
use pairgate_abi::{
    CARRIES_ALL, CARRIES_ALL_NOTED, CARRIES_GRANTS, CARRIES_REPLIES, Carries, DropReason, FlowKey, GRANTS,
    limits::{FLOW_OTHER_NS, FLOW_TCP_NS},
};

/// What a sent packet means for the flow table of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// Nothing: answers need no table, or this may be one.
    Nothing,
    /// It may begin a conversation: answers to it must find it in the sender's table.
    Opened,
}

/// Whether a packet may reach the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Whatever the receiver has said before.
    Granted,
    /// If it answers what the receiver has opened.
    IfAnswer,
}

/// True if the grants have the protocol, and for protocols with ports this one.
#[inline(always)]
pub fn names(carries: &Carries, protocol: u8, port: [u8; 2]) -> bool {
    let port = u16::from_be_bytes(port);
    let mut at = 0;
    while at < (carries.count as usize).min(GRANTS) {
        let grant = &carries.grants[at];
        let in_range = !transport::has_ports(protocol) || (grant.first <= port && port <= grant.last);
        if grant.protocol == protocol && in_range {
            return true;
        }
        at += 1;
    }
    false
}

/// Judges a packet that a guest sends.
#[inline(always)]
pub fn sends(carries: &Carries, packet: &Packet) -> Result<Note, DropReason> {
    sends_by(carries, packet, names)
}

/// The same with [`names`] in another's hands: in the programs it is a function that the verifier judges apart.
#[inline(always)]
pub fn sends_by(
    carries: &Carries,
    packet: &Packet,
    names: impl Fn(&Carries, u8, [u8; 2]) -> bool,
) -> Result<Note, DropReason> {
    match carries.kind {
        // Whether it is an answer is for the receiver's host to judge.
        CARRIES_ALL | CARRIES_REPLIES => Ok(Note::Nothing),
        CARRIES_ALL_NOTED => Ok(opens(packet)),
        CARRIES_GRANTS if names(carries, packet.protocol, packet.ports.destination) => Ok(opens(packet)),
        // It may be an answer: both directions of a two-way pair have the same grant.
        CARRIES_GRANTS if names(carries, packet.protocol, packet.ports.source) => Ok(Note::Nothing),
        _ => Err(DropReason::Grant),
    }
}

/// An error is about a packet that was sent the other way, and begins nothing.
#[inline(always)]
fn opens(packet: &Packet) -> Note {
    if packet.is_error {
        Note::Nothing
    } else {
        Note::Opened
    }
}

/// Judges a packet for a guest.
#[inline(always)]
pub fn receives(carries: &Carries, packet: &Packet) -> Result<Admission, DropReason> {
    receives_by(carries, packet, names)
}

/// The same with [`names`] in another's hands.
#[inline(always)]
pub fn receives_by(
    carries: &Carries,
    packet: &Packet,
    names: impl Fn(&Carries, u8, [u8; 2]) -> bool,
) -> Result<Admission, DropReason> {
    match carries.kind {
        CARRIES_ALL | CARRIES_ALL_NOTED => Ok(Admission::Granted),
        CARRIES_GRANTS if names(carries, packet.protocol, packet.ports.destination) => Ok(Admission::Granted),
        CARRIES_GRANTS | CARRIES_REPLIES => Ok(Admission::IfAnswer),
        _ => Err(DropReason::Grant),
    }
}

/// The flow of a packet, as the table of its sender has it.
#[inline(always)]
pub fn opened(packet: &Packet) -> FlowKey {
    FlowKey {
        own: packet.source.bytes(),
        peer: packet.destination.bytes(),
        own_port: packet.ports.source,
        peer_port: packet.ports.destination,
        protocol: packet.protocol,
        reserved: [0; 3],
    }
}

/// The flow that a packet answers, as the table of its receiver has it.
#[inline(always)]
pub fn answered(packet: &Packet) -> FlowKey {
    FlowKey {
        own: packet.destination.bytes(),
        peer: packet.source.bytes(),
        own_port: packet.ports.destination,
        peer_port: packet.ports.source,
        protocol: packet.protocol,
        reserved: [0; 3],
    }
}

/// True while answers to a flow may come. At the very end of its time it has ended.
#[inline(always)]
pub fn is_live(protocol: u8, used_ns: u64, now_ns: u64) -> bool {
    let life = if protocol == transport::TCP {
        FLOW_TCP_NS
    } else {
        FLOW_OTHER_NS
    };
    now_ns < used_ns.saturating_add(life)
}
