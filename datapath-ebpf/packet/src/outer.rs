//! How a packet travels between hosts: the one module that knows the wire.
//!
//! ```text
//!  0          14               34                  42                        50               64
//!  | Ethernet | IPv4, DF, 64   | UDP, sum 0        | 88 00 GG GG VV VV VV 00 | Ethernet       | IPv4 …
//!  |          | host to host   | flow port to ours | VXLAN: group, network   | (no authority) |
//! ```
//! VXLAN (RFC 7348) with the group policy extension; group and network identifier together are the handle.
//! The UDP checksum is 0 (RFC 7348 §5; the inner packet has its own).
use crate::{
    Frame,
    arp::put,
    ethernet::{self, Ethernet},
    ipv4,
    pair::narrow,
    sender::Packet,
    transport::UDP,
};
use pairgate_abi::{DropReason, GATEWAY_MAC, Handle, OutEntry, Settings};

/// Bytes that encapsulation puts between the Ethernet header and the inner packet.
pub const LENGTH: usize = ipv4::LENGTH + 8 + 8 + ethernet::LENGTH;
/// Bytes up to the end of the VXLAN header: what tells ours from the host's own.
pub const READ: usize = ethernet::LENGTH + ipv4::LENGTH + 8 + 8;
/// VXLAN flags: a network identifier (I) and a group (G) are given, nothing else.
const FLAGS: u8 = 0x88;
const TIME_TO_LIVE: u8 = 64;
const DO_NOT_FRAGMENT: u8 = 0x40;
const UDP_AT: usize = ethernet::LENGTH + ipv4::LENGTH;
const VXLAN_AT: usize = UDP_AT + 8;

/// What a frame on the underlay says about itself, once it is known to be ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    /// Source of the outer IP header.
    pub source: [u8; 4],
    /// Destination of the outer IP header: this host.
    pub destination: [u8; 4],
    /// True if the UDP checksum is 0, as we send it.
    pub checksum_is_zero: bool,
    /// The handle.
    pub handle: Handle,
}

/// The outer header for a packet: everything between the Ethernet header, which the underlay's neighbour
/// entry supplies, and the inner IP packet.
///
/// Refuses (`internal`) an entry whose host addresses are not IPv4: the agent writes no such entry here.
#[inline(always)]
pub fn header(packet: &Packet, entry: &OutEntry) -> Result<[u8; LENGTH], DropReason> {
    let (Some(source), Some(destination)) = (narrow(&entry.src_host), narrow(&entry.dst_host)) else {
        return Err(DropReason::Internal);
    };
    // The sum cannot overflow: an entry's MTU leaves room for the header, or this refuses.
    let Some(total) = packet.ipv4.total.checked_add(LENGTH as u16) else {
        return Err(DropReason::TooBig);
    };
    let udp = total - ipv4::LENGTH as u16;
    let mut header = [0; LENGTH];
    put(&mut header, 0, [0x45, 0]);
    put(&mut header, 2, total.to_be_bytes());
    put(&mut header, 6, [DO_NOT_FRAGMENT, 0, TIME_TO_LIVE, UDP]);
    put(
        &mut header,
        10,
        checksum(total, source, destination).to_be_bytes(),
    );
    put(&mut header, 12, source);
    put(&mut header, 16, destination);
    put(&mut header, 20, flow_port(packet).to_be_bytes());
    put(&mut header, 22, entry.port);
    put(&mut header, 24, udp.to_be_bytes());
    put(&mut header, 28, [FLAGS, 0]);
    put(&mut header, 30, entry.handle.group());
    put(&mut header, 32, entry.handle.vni());
    let inner = Ethernet {
        destination: GATEWAY_MAC,
        source: GATEWAY_MAC,
        ethertype: ethernet::IPV4,
    };
    put(&mut header, 36, inner.bytes());
    Ok(header)
}

/// Checksum of our outer IPv4 header (RFC 1071): its constant words and those that vary.
#[inline(always)]
fn checksum(total: u16, source: [u8; 4], destination: [u8; 4]) -> u16 {
    let constant = 0x4500 + ((DO_NOT_FRAGMENT as u32) << 8) + ((TIME_TO_LIVE as u32) << 8) + UDP as u32;
    let (s, d) = (u32::from_be_bytes(source), u32::from_be_bytes(destination));
    let sum = constant + total as u32 + (s >> 16) + (s & 0xffff) + (d >> 16) + (d & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    !(((sum >> 16) + (sum & 0xffff)) as u16)
}

/// Source port of the outer UDP header: a function of the inner flow and of nothing else, so that the
/// underlay spreads flows over its links and queues but keeps each flow in order. In the dynamic range
/// (RFC 6335), as RFC 7348 asks.
#[inline(always)]
pub fn flow_port(packet: &Packet) -> u16 {
    let (p, i) = (&packet.ports, &packet.ipv4);
    let addresses = (u32::from_be_bytes(i.source) as u64) << 32 | u32::from_be_bytes(i.destination) as u64;
    let ports = u32::from_be_bytes([p.source[0], p.source[1], p.destination[0], p.destination[1]]);
    // Multiply and fold, twice: cheap, and every input bit reaches the 14 that are used.
    let mut hash = addresses ^ ((ports as u64) << 8 | i.protocol as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ hash >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash = (hash ^ hash >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    0xc000 | ((hash >> 48) as u16 & 0x3fff)
}

/// Tells whether a frame on the uplink is ours, by its own bytes: IPv4 without options or fragment bits, to
/// this host, UDP to our port, both lengths exactly the frame's, VXLAN with our flags and nothing reserved
/// set. Everything else is the host's, whatever it looks like.
#[inline(always)]
pub fn ours(frame: &impl Frame, settings: &Settings) -> Option<Outer> {
    if frame.read(12)? != ethernet::IPV4 {
        return None;
    }
    let ip: [u8; ipv4::LENGTH] = frame.read(ethernet::LENGTH)?;
    let destination = [ip[16], ip[17], ip[18], ip[19]];
    let fragment = u16::from_be_bytes([ip[6], ip[7]]) & 0x3fff;
    if ip[0] != 0x45 || ip[9] != UDP || fragment != 0 || narrow(&settings.host)? != destination {
        return None;
    }
    let udp: [u8; 8] = frame.read(UDP_AT)?;
    let total = u16::from_be_bytes([ip[2], ip[3]]) as u32;
    let payload = u16::from_be_bytes([udp[4], udp[5]]) as u32;
    let length = frame.length();
    if [udp[2], udp[3]] != settings.port
        || total + ethernet::LENGTH as u32 != length
        || payload + UDP_AT as u32 != length
    {
        return None;
    }
    let vxlan: [u8; 8] = frame.read(VXLAN_AT)?;
    if vxlan[0] != FLAGS || vxlan[1] != 0 || vxlan[7] != 0 {
        return None;
    }
    Some(Outer {
        source: [ip[12], ip[13], ip[14], ip[15]],
        destination,
        checksum_is_zero: [udp[6], udp[7]] == [0, 0],
        handle: Handle::from_wire([vxlan[4], vxlan[5], vxlan[6]], [vxlan[2], vxlan[3]]),
    })
}
