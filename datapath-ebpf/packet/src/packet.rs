//! One whole packet of either family, as both directions see it.
use crate::{
    Frame, Metadata,
    address::Address,
    ethernet,
    ip::{Family, Ip},
    transport::{Ports, Transport},
};
use pairgate_abi::DropReason;

/// A packet whose headers hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its family.
    pub family: Family,
    /// Protocol of its payload.
    pub protocol: u8,
    /// Bytes of IP header and payload.
    pub length: u32,
    /// Bytes of the largest IP packet that it is on the wire: its length, or that of one segment if it is to be cut.
    pub largest: u32,
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Its ports.
    pub ports: Ports,
}

impl Packet {
    /// No packet: what stands in a packet's place until there is one.
    pub const NOTHING: Self = Self {
        family: Family::V4,
        protocol: 0,
        length: 0,
        largest: 0,
        source: Address::NONE,
        destination: Address::NONE,
        ports: Ports {
            source: [0; 2],
            destination: [0; 2],
        },
    };

    /// Completes a packet whose IP header stands at `at` and has been judged: its transport header, and what the
    /// kernel would still do to it.
    #[inline(always)]
    pub(crate) fn behind(
        frame: &impl Frame,
        at: usize,
        ip: &Ip,
        metadata: &Metadata,
    ) -> Result<Self, DropReason> {
        let transport_at = at + ip.family.header();
        let transport = Transport::at(frame, transport_at, ip)?;
        let protocol = ip.protocol_again(frame, transport_at);
        metadata.checksum.check(transport_at as u32, protocol)?;
        let largest = match metadata.gso {
            None => ip.length,
            Some(gso) => gso.check(ip, protocol, &transport, at as u32 + ip.length == frame.length())?,
        };
        Ok(Self {
            family: ip.family,
            protocol: ip.protocol,
            length: ip.length,
            largest,
            source: ip.source,
            destination: ip.destination,
            ports: transport.ports,
        })
    }

    /// Bytes of a guest's frame that belong to the packet; what stands behind them is not sent on.
    #[inline(always)]
    pub fn frame_length(&self) -> u32 {
        ethernet::LENGTH as u32 + self.length
    }
}
