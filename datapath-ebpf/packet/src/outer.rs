//! How a packet travels between hosts: the one module that knows the wire.
//!
//! ```text
//!  0          14                34/54               42/62                     50/70            64/84
//!  | Ethernet | IPv4, DF, 64    | UDP, sum 0        | 88 00 GG GG VV VV VV 00 | Ethernet       | IP …
//!  |          | or IPv6, 64     | flow port to ours | VXLAN: group, network   | (no authority) |
//! ```
//! VXLAN (RFC 7348) with the group policy extension; group and network identifier together are the handle.
//! The UDP checksum is 0 (RFC 7348 §5, RFC 6935; the inner packet has its own).
use crate::{
    Frame, Packet,
    address::Address,
    ethernet::{self, Ethernet},
    ip::{Family, piece, put},
    transport::UDP,
};
use pairgate_abi::{DropReason, GATEWAY_MAC, Handle, OutEntry, Settings, limits::BIG_CELLS};

/// Bytes of UDP, VXLAN and inner Ethernet header, which follow the outer IP header.
const TAIL: usize = 8 + 8 + ethernet::LENGTH;
/// Bytes that encapsulation over IPv4 puts between the Ethernet header and the inner packet.
pub const LENGTH_V4: usize = Family::V4.header() + TAIL;
/// Bytes that encapsulation over IPv6 puts there.
pub const LENGTH_V6: usize = Family::V6.header() + TAIL;
/// VXLAN flags: a network identifier (I) and a group (G) are given, nothing else.
const FLAGS: u8 = 0x88;
const TIME_TO_LIVE: u8 = 64;
const DO_NOT_FRAGMENT: u8 = 0x40;

/// Bytes that encapsulation adds.
#[inline(always)]
pub const fn length(underlay: Family) -> usize {
    underlay.header() + TAIL
}

/// Where the inner Ethernet header of a frame on the underlay stands: behind the VXLAN header, which is what tells
/// ours from the host's own.
#[inline(always)]
pub const fn inner_at(underlay: Family) -> usize {
    ethernet::LENGTH + underlay.header() + 8 + 8
}

/// What a frame on the underlay says about itself, once it is known to be ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    /// Source of the outer IP header.
    pub source: Address,
    /// Destination of the outer IP header: this host.
    pub destination: Address,
    /// Source port of the outer UDP header, which tells flows apart; 0 if it is not known any more.
    pub flow_port: [u8; 2],
    /// True if the UDP checksum is 0, as we send it.
    pub checksum_is_zero: bool,
    /// The handle.
    pub handle: Handle,
}

/// Writes the outer header for a packet over IPv4 into zeros: everything between the Ethernet header, which the
/// underlay's neighbour entry supplies, and the inner IP packet.
///
/// Refuses (`internal`) an entry whose host addresses are not IPv4: the agent writes no such entry here. And
/// a packet that leaves no room for a length that counts the headers too (`too_big`): some guests ask for
/// segments of so much at once.
#[inline(always)]
pub fn header_v4(packet: &Packet, entry: &OutEntry, header: &mut [u8; LENGTH_V4]) -> Result<(), DropReason> {
    let hosts = (
        Address::of(&entry.src_host).ipv4(),
        Address::of(&entry.dst_host).ipv4(),
    );
    let (Some(source), Some(destination)) = hosts else {
        return Err(DropReason::Internal);
    };
    let total = announced(packet.length + LENGTH_V4 as u32)?;
    put(header, 0, [0x45, 0]);
    put(header, 2, total.to_be_bytes());
    put(header, 6, [DO_NOT_FRAGMENT, 0, TIME_TO_LIVE, UDP]);
    put(header, 10, checksum(total, source, destination).to_be_bytes());
    put(header, 12, source);
    put(header, 16, destination);
    tail(header, 20, packet, entry, total - 20);
    Ok(())
}

/// The same over IPv6.
#[inline(always)]
pub fn header_v6(packet: &Packet, entry: &OutEntry, header: &mut [u8; LENGTH_V6]) -> Result<(), DropReason> {
    if Address::of(&entry.src_host).is_ipv4() || Address::of(&entry.dst_host).is_ipv4() {
        return Err(DropReason::Internal);
    }
    let payload = announced(packet.length + TAIL as u32)?;
    put(header, 0, [0x60]);
    put(header, 4, payload.to_be_bytes());
    put(header, 6, [UDP, TIME_TO_LIVE]);
    put(header, 8, entry.src_host);
    put(header, 24, entry.dst_host);
    tail(header, 40, packet, entry, payload);
    Ok(())
}

#[inline(always)]
fn announced(length: u32) -> Result<u16, DropReason> {
    if length > u16::MAX as u32 {
        return Err(DropReason::TooBig);
    }
    Ok(length as u16)
}

/// UDP, VXLAN and inner Ethernet header, from `at` on.
#[inline(always)]
fn tail<const N: usize>(header: &mut [u8; N], at: usize, packet: &Packet, entry: &OutEntry, udp: u16) {
    put(header, at, flow_port(packet).to_be_bytes());
    put(header, at + 2, entry.port);
    put(header, at + 4, udp.to_be_bytes());
    put(header, at + 8, [FLAGS, 0]);
    put(header, at + 10, entry.handle.group());
    put(header, at + 12, entry.handle.vni());
    let inner = Ethernet {
        destination: GATEWAY_MAC,
        source: GATEWAY_MAC,
        ethertype: packet.family.ethertype(),
    };
    put(header, at + 16, inner.bytes());
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

/// Odd numbers without a pattern, for mixing.
const MIX: [u64; 3] = [
    0x9e37_79b9_7f4a_7c15,
    0xd6e8_feb8_6659_fd93,
    0xa076_1d64_78bd_642f,
];

/// Spreads every bit of the input over the output.
#[inline(always)]
fn mix(hash: u64) -> u64 {
    let hash = (hash ^ hash >> 32).wrapping_mul(MIX[1]);
    (hash ^ hash >> 32).wrapping_mul(MIX[1])
}

/// Source port of the outer UDP header: a function of the inner flow and of nothing else, so that the
/// underlay spreads flows over its links and queues but keeps each flow in order. In the dynamic range
/// (RFC 6335), as RFC 7348 asks.
#[inline(always)]
pub fn flow_port(packet: &Packet) -> u16 {
    let p = &packet.ports;
    let ((s_high, s_low), (d_high, d_low)) = (packet.source.halves(), packet.destination.halves());
    let ports = u32::from_be_bytes([p.source[0], p.source[1], p.destination[0], p.destination[1]]);
    // Multiply and fold: cheap, and every input bit reaches the 14 that are used. Three factors, so that
    // parts that change places change the sum.
    let high = s_high.rotate_left(32) ^ d_high;
    let hash = high.wrapping_mul(MIX[2])
        ^ s_low.wrapping_mul(MIX[0])
        ^ d_low.rotate_left(32)
        ^ ((ports as u64) << 8 | packet.protocol as u64).wrapping_mul(MIX[1]);
    0xc000 | ((mix(hash) >> 48) as u16 & 0x3fff)
}

/// The cell of `BIG` for a flow that arrives: by its handle and its port on the underlay.
#[inline(always)]
pub fn big_cell(outer: &Outer) -> u32 {
    let handle = (outer.handle.vni_number() as u64) << 16 | outer.handle.group_number() as u64;
    let flow = (u16::from_be_bytes(outer.flow_port) as u64) << 40;
    (mix((handle | flow).wrapping_mul(MIX[0])) >> 40) as u32 & (BIG_CELLS - 1)
}

/// Tells whether a frame on the uplink is ours, by its own bytes: IPv4 without options or fragment bits, or IPv6
/// without an extension header, to this host, UDP to our port, both lengths exactly the frame's, VXLAN with our
/// flags and nothing reserved set. Everything else is the host's, whatever it looks like.
#[inline(always)]
pub fn ours(frame: &impl Frame, settings: &Settings, underlay: Family) -> Option<Outer> {
    if frame.read(12)? != underlay.ethertype() {
        return None;
    }
    let (source, destination, length) = match underlay {
        Family::V4 => {
            let ip: [u8; 20] = frame.read(ethernet::LENGTH)?;
            let fragment = u16::from_be_bytes([ip[6], ip[7]]) & 0x3fff;
            if ip[0] != 0x45 || ip[9] != UDP || fragment != 0 {
                return None;
            }
            let length = u16::from_be_bytes([ip[2], ip[3]]) as u32;
            (
                Address::of_ipv4(piece(&ip, 12)),
                Address::of_ipv4(piece(&ip, 16)),
                length,
            )
        }
        Family::V6 => {
            let ip: [u8; 40] = frame.read(ethernet::LENGTH)?;
            if ip[0] >> 4 != 6 || ip[6] != UDP {
                return None;
            }
            let length = 40 + u16::from_be_bytes([ip[4], ip[5]]) as u32;
            (Address::of(&piece(&ip, 8)), Address::of(&piece(&ip, 24)), length)
        }
    };
    if destination != Address::of(&settings.host) || ethernet::LENGTH as u32 + length != frame.length() {
        return None;
    }
    let udp_at = ethernet::LENGTH + underlay.header();
    let h: [u8; 16] = frame.read(udp_at)?;
    let payload = u16::from_be_bytes([h[4], h[5]]) as u32;
    if [h[2], h[3]] != settings.port
        || udp_at as u32 + payload != frame.length()
        || h[8] != FLAGS
        || h[9] != 0
        || h[15] != 0
    {
        return None;
    }
    Some(Outer {
        source,
        destination,
        flow_port: [h[0], h[1]],
        checksum_is_zero: [h[6], h[7]] == [0, 0],
        handle: Handle::from_wire([h[12], h[13], h[14]], [h[10], h[11]]),
    })
}
