//! May this guest say this? The check of everything a guest can choose, before any pair is looked up.
//!
//! The order is part of the contract, because every frame dies of exactly one reason: VLAN tag, segmentation,
//! source MAC, ethertype, destination MAC, then per protocol. A frame that passes carries the guest's own
//! addresses, is one whole packet to one unicast address, and nothing in its metadata can change a byte that
//! was checked.
use crate::{
    Frame, Metadata,
    arp::Question,
    ethernet::{self, Ethernet},
    ipv4::{self, Ipv4},
    transport::Ports,
};
use pairgate_abi::{DropReason, TapEntry};

/// Where the transport header of a guest's frame stands.
pub const TRANSPORT_AT: usize = ethernet::LENGTH + ipv4::LENGTH;
/// Bytes of a guest's frame that the decisions may read.
pub const READ: usize = TRANSPORT_AT + crate::transport::READ;

/// What a guest said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// A packet for a peer.
    Packet(Packet),
    /// A question that is answered on the spot.
    Question(Question),
}

/// A packet for a peer, found to be the guest's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its IPv4 header.
    pub ipv4: Ipv4,
    /// Its ports.
    pub ports: Ports,
}

impl Packet {
    /// Bytes of the frame that belong to the packet; what stands behind them is not sent on.
    #[inline(always)]
    pub fn frame_length(&self) -> u32 {
        ethernet::LENGTH as u32 + self.ipv4.total as u32
    }
}

/// Judges a frame that came from the guest behind `tap`.
#[inline(always)]
pub fn check(frame: &impl Frame, metadata: &Metadata, tap: &TapEntry) -> Result<Said, DropReason> {
    if metadata.vlan {
        return Err(DropReason::Vlan);
    }
    let ethernet = Ethernet::of(frame)?;
    if ethernet.is_tagged() {
        return Err(DropReason::Vlan);
    }
    if metadata.gso {
        return Err(DropReason::Offload);
    }
    if ethernet.source != tap.mac {
        return Err(DropReason::SpoofedMac);
    }
    match ethernet.ethertype {
        ethernet::IPV4 => packet(frame, metadata, &ethernet, tap).map(Said::Packet),
        ethernet::ARP => Question::of(frame, metadata, &ethernet, tap).map(Said::Question),
        _ => Err(DropReason::Ethertype),
    }
}

#[inline(always)]
fn packet(
    frame: &impl Frame,
    metadata: &Metadata,
    ethernet: &Ethernet,
    tap: &TapEntry,
) -> Result<Packet, DropReason> {
    ethernet.to_gateway()?;
    let ipv4 = Ipv4::at(frame, ethernet::LENGTH)?;
    if ipv4.source != tap.ipv4 {
        return Err(DropReason::SpoofedAddress);
    }
    ipv4::check_destination(tap.ipv4, tap.ipv4_prefix, ipv4.destination)?;
    if ipv4.is_fragment() {
        return Err(DropReason::Fragment);
    }
    let ports = Ports::at(frame, TRANSPORT_AT, &ipv4)?;
    metadata.checksum.check(TRANSPORT_AT as u32, ipv4.protocol)?;
    Ok(Packet { ipv4, ports })
}
