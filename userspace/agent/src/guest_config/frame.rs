//! From a guest's frame to its question, and from an answer to a frame. Pure and total.
//!
//! Checksums of questions are not looked at: they came by no wire, and a guest may leave them unfinished.

use super::answer::{Protocol, Silence};
use etherparse::{
    Icmpv6Type, NetSlice, PacketBuilder, SlicedPacket, TransportSlice, icmpv6::RouterAdvertisementHeader,
};
use pairgate_abi::{GATEWAY_LINK_LOCAL, GATEWAY_MAC, SERVER_V4};
use std::net::{Ipv4Addr, Ipv6Addr};

/// What a guest asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    Dhcp4 {
        message: &'a [u8],
    },
    Dhcp6 {
        from: Ipv6Addr,
        message: &'a [u8],
    },
    /// A router solicitation; from `::` if the guest has no address yet.
    Router {
        from: Ipv6Addr,
    },
}

impl Asked<'_> {
    pub fn protocol(&self) -> Protocol {
        match self {
            Self::Dhcp4 { .. } => Protocol::Dhcp4,
            Self::Dhcp6 { .. } => Protocol::Dhcp6,
            Self::Router { .. } => Protocol::Router,
        }
    }
}

/// The asker's MAC address and its question.
pub fn read(frame: &[u8]) -> Result<([u8; 6], Asked<'_>), Silence> {
    const CLIENT_SERVER_V4: (u16, u16) = (dhcproto::v4::CLIENT_PORT, dhcproto::v4::SERVER_PORT);
    const CLIENT_SERVER_V6: (u16, u16) = (dhcproto::v6::CLIENT_PORT, dhcproto::v6::SERVER_PORT);
    let packet = SlicedPacket::from_ethernet(frame).map_err(|_| Silence::Unreadable)?;
    let mac = frame.get(6..12).and_then(|mac| <[u8; 6]>::try_from(mac).ok());
    let mac = mac.ok_or(Silence::Unreadable)?;
    let asked = match (&packet.net, &packet.transport) {
        (Some(NetSlice::Ipv4(_)), Some(TransportSlice::Udp(udp)))
            if (udp.source_port(), udp.destination_port()) == CLIENT_SERVER_V4 =>
        {
            Asked::Dhcp4 {
                message: udp.payload(),
            }
        }
        (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Udp(udp)))
            if (udp.source_port(), udp.destination_port()) == CLIENT_SERVER_V6 =>
        {
            Asked::Dhcp6 {
                from: ip.header().source_addr(),
                message: udp.payload(),
            }
        }
        (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Icmpv6(message)))
            if message.icmp_type() == Icmpv6Type::RouterSolicitation =>
        {
            Asked::Router {
                from: ip.header().source_addr(),
            }
        }
        _ => return Err(Silence::Unreadable),
    };
    Ok((mac, asked))
}

/// A DHCPv4 message for the guest with this MAC address. The frame is for that address alone, whatever the packet is
/// for: nothing else passes the guard of its tap.
pub(super) fn dhcp4(mac: [u8; 6], to: Ipv4Addr, message: &[u8]) -> Result<Vec<u8>, Silence> {
    let packet = PacketBuilder::ethernet2(GATEWAY_MAC, mac)
        .ipv4(SERVER_V4, to.octets(), HOPS)
        .udp(dhcproto::v4::SERVER_PORT, dhcproto::v4::CLIENT_PORT);
    let mut frame = Vec::with_capacity(packet.size(message.len()));
    packet.write(&mut frame, message).map_err(|_| Silence::Unsent)?;
    Ok(frame)
}

/// A DHCPv6 message for the guest's address of the link.
pub(super) fn dhcp6(mac: [u8; 6], to: Ipv6Addr, message: &[u8]) -> Result<Vec<u8>, Silence> {
    let packet = PacketBuilder::ethernet2(GATEWAY_MAC, mac)
        .ipv6(GATEWAY_LINK_LOCAL, to.octets(), HOPS)
        .udp(dhcproto::v6::SERVER_PORT, dhcproto::v6::CLIENT_PORT);
    let mut frame = Vec::with_capacity(packet.size(message.len()));
    packet.write(&mut frame, message).map_err(|_| Silence::Unsent)?;
    Ok(frame)
}

/// A router advertisement; `body` is what stands behind the first eight bytes.
pub(super) fn advertisement(
    mac: [u8; 6],
    to: Ipv6Addr,
    header: RouterAdvertisementHeader,
    body: &[u8],
) -> Result<Vec<u8>, Silence> {
    /// Nobody on the way has changed it (RFC 4861, section 6.1.2).
    const OF_THIS_LINK: u8 = 255;
    let packet = PacketBuilder::ethernet2(GATEWAY_MAC, mac)
        .ipv6(GATEWAY_LINK_LOCAL, to.octets(), OF_THIS_LINK)
        .icmpv6(Icmpv6Type::RouterAdvertisement(header));
    let mut frame = Vec::with_capacity(packet.size(body.len()));
    packet.write(&mut frame, body).map_err(|_| Silence::Unsent)?;
    Ok(frame)
}

const HOPS: u8 = 64;
