//! May this guest say this? The check of everything a guest can choose, before any pair is looked up.
//!
//! The order is part of the contract, because every frame dies of exactly one reason: VLAN tag, segmentation
//! lies, source MAC, ethertype, destination MAC, then per protocol. A frame that passes carries the guest's own
//! addresses, is one whole packet to one address, and nothing in its metadata can change a byte that was checked.
use crate::{
    Frame, Metadata, Packet, address, configuration,
    ethernet::{self, Ethernet},
    icmp,
    ip::{Family, Ip},
    nd,
};
use pairgate_abi::{DropReason, TapEntry};

/// Bytes of a guest's frame that the decisions may read.
pub const READ: usize = ethernet::LENGTH + Family::V6.header() + icmp::READ;
const _: () = assert!(READ >= nd::READ);

/// What a guest said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// A packet for a peer.
    Packet(Packet),
    /// ARP: perhaps a question, which is answered on the spot ([`arp::Question`](crate::arp::Question)).
    Arp,
    /// Neighbour discovery: likewise ([`nd::Question`](crate::nd::Question)).
    Neighbour,
    /// A question for its configuration, which the agent answers: how many bytes of IP packet it has.
    Question(u32),
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
    metadata.check()?;
    if ethernet.source != tap.mac {
        return Err(DropReason::SpoofedMac);
    }
    match ethernet.ethertype {
        ethernet::IPV4 if configuration::is_dhcpv4(frame) => {
            configuration::dhcpv4(frame, metadata, &ethernet, tap).map(Said::Question)
        }
        ethernet::IPV4 => packet(frame, metadata, &ethernet, tap, Family::V4).map(Said::Packet),
        ethernet::IPV6 if configuration::is_solicitation(frame) => {
            configuration::solicitation(frame, metadata, &ethernet, tap).map(Said::Question)
        }
        ethernet::IPV6 if nd::is_at(frame, ethernet::LENGTH) => metadata.is_final().map(|()| Said::Neighbour),
        ethernet::IPV6 if configuration::is_dhcpv6(frame) => {
            configuration::dhcpv6(frame, metadata, &ethernet).map(Said::Question)
        }
        ethernet::IPV6 => packet(frame, metadata, &ethernet, tap, Family::V6).map(Said::Packet),
        ethernet::ARP => metadata.is_final().map(|()| Said::Arp),
        _ => Err(DropReason::Ethertype),
    }
}

#[inline(always)]
fn packet(
    frame: &impl Frame,
    metadata: &Metadata,
    ethernet: &Ethernet,
    tap: &TapEntry,
    family: Family,
) -> Result<Packet, DropReason> {
    ethernet.to_gateway()?;
    let ip = Ip::at(frame, ethernet::LENGTH, family)?;
    if !address::is_own(tap, ip.source) {
        return Err(DropReason::SpoofedAddress);
    }
    address::check_destination(family, ip.destination)?;
    ip.check_whole()?;
    Packet::sent(frame, ethernet::LENGTH, &ip, metadata)
}
