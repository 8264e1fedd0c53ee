//! One whole packet of either family, as both directions see it.
use crate::{
    Frame, Gso, Metadata,
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
    /// Protocol of its flow: that of its payload. An ICMP error counts as a packet of the flow that it is about.
    pub protocol: u8,
    /// It is an ICMP error.
    pub is_error: bool,
    /// Bytes of IP header and payload.
    pub length: u32,
    /// Bytes of the largest IP packet that it is on the wire: its length, or that of one segment if it is to be cut.
    pub largest: u32,
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Its flow's ports.
    pub ports: Ports,
}

impl Packet {
    /// No packet: what stands in a packet's place until there is one.
    pub const NOTHING: Self = Self {
        family: Family::V4,
        protocol: 0,
        is_error: false,
        length: 0,
        largest: 0,
        source: Address::NONE,
        destination: Address::NONE,
        ports: Ports {
            source: [0; 2],
            destination: [0; 2],
        },
    };

    /// A packet with these headers, which is not to be cut.
    #[inline(always)]
    pub fn of(ip: &Ip, transport: &Transport) -> Self {
        Self {
            family: ip.family,
            protocol: transport.protocol,
            is_error: transport.is_error,
            length: ip.length,
            largest: ip.length,
            source: ip.source,
            destination: ip.destination,
            ports: transport.ports,
        }
    }

    /// Completes a packet of a guest whose IP header stands at `at` and has been judged: its transport header, and what
    /// the kernel would still do to it.
    #[inline(always)]
    pub(crate) fn sent(
        frame: &impl Frame,
        at: usize,
        ip: &Ip,
        metadata: &Metadata,
    ) -> Result<Self, DropReason> {
        let exact = at as u32 + ip.length == frame.length();
        Self::behind(frame, at, ip, metadata, |gso, protocol, transport| {
            gso.check(ip, protocol, transport, exact)
        })
    }

    /// The same for a packet from another host. A segmentation request here is the kernel's own work, or the sender's,
    /// whose program has judged it: it says how large the packet's parts are, and no more.
    #[inline(always)]
    pub(crate) fn arrived(
        frame: &impl Frame,
        at: usize,
        ip: &Ip,
        metadata: &Metadata,
    ) -> Result<Self, DropReason> {
        Self::behind(frame, at, ip, metadata, |gso, _, transport| {
            Ok(gso.part(ip, transport))
        })
    }

    #[inline(always)]
    fn behind(
        frame: &impl Frame,
        at: usize,
        ip: &Ip,
        metadata: &Metadata,
        largest: impl FnOnce(Gso, u8, &Transport) -> Result<u32, DropReason>,
    ) -> Result<Self, DropReason> {
        let transport_at = at + ip.family.header();
        let transport = Transport::at(frame, transport_at, ip)?;
        let protocol = ip.protocol_again(frame, transport_at);
        metadata.checksum.check(transport_at as u32, protocol)?;
        let whole = Self::of(ip, &transport);
        match metadata.gso {
            None => Ok(whole),
            Some(gso) => Ok(Self {
                largest: largest(gso, protocol, &transport)?,
                ..whole
            }),
        }
    }

    /// Bytes of a guest's frame that belong to the packet; what stands behind them is not sent on.
    #[inline(always)]
    pub fn frame_length(&self) -> u32 {
        ethernet::LENGTH as u32 + self.length
    }
}
