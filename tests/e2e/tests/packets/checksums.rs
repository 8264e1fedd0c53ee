//! Checksums as the devices and stacks at both ends know them, in both families.
use crate::device::{NEEDS_CHECKSUM, Vnet};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};

/// True if the transport checksum of a packet is right.
pub(crate) fn checksum_is_right(frame: &[u8]) -> bool {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let v4 = match &packet.net {
        Some(NetSlice::Ipv4(ip)) => Some((ip.header().source(), ip.header().destination())),
        _ => None,
    };
    let v6 = match &packet.net {
        Some(NetSlice::Ipv6(ip)) => Some((ip.header().source(), ip.header().destination())),
        _ => None,
    };
    match packet.transport {
        Some(TransportSlice::Udp(udp)) => {
            let (header, payload) = (udp.to_header(), udp.payload());
            let right = match (v4, v6) {
                (Some((from, to)), _) => header.calc_checksum_ipv4_raw(from, to, payload).unwrap(),
                (None, Some((from, to))) => header.calc_checksum_ipv6_raw(from, to, payload).unwrap(),
                (None, None) => panic!("no IP"),
            };
            right == header.checksum
        }
        Some(TransportSlice::Tcp(tcp)) => {
            let (header, payload) = (tcp.to_header(), tcp.payload());
            let right = match (v4, v6) {
                (Some((from, to)), _) => header.calc_checksum_ipv4_raw(from, to, payload).unwrap(),
                (None, Some((from, to))) => header.calc_checksum_ipv6_raw(from, to, payload).unwrap(),
                (None, None) => panic!("no IP"),
            };
            right == header.checksum
        }
        Some(TransportSlice::Icmpv4(icmp)) => {
            icmp.icmp_type().calc_checksum(icmp.payload()) == icmp.checksum()
        }
        Some(TransportSlice::Icmpv6(icmp)) => match v6 {
            Some((from, to)) => icmp.is_checksum_valid(from, to),
            None => panic!("no IPv6"),
        },
        other => panic!("no transport with a checksum: {other:?}"),
    }
}

/// What a device does that takes over an unfinished checksum.
pub(crate) fn finished(vnet: Vnet, mut frame: Vec<u8>) -> Vec<u8> {
    if vnet.flags & NEEDS_CHECKSUM != 0 {
        let (start, offset) = (vnet.checksum_start as usize, vnet.checksum_offset as usize);
        let sum = folded(frame[start..].chunks(2).map(word).sum());
        frame[start + offset..start + offset + 2].copy_from_slice(&(!sum).to_be_bytes());
    }
    frame
}

/// Where the transport header of a packet without options stands.
pub(crate) fn transport_at(frame: &[u8]) -> usize {
    if frame[12..14] == [8, 0] { 34 } else { 54 }
}

/// A frame whose transport checksum holds only the sum of the pseudo-header, as a guest with checksum offload
/// hands it over.
pub(crate) fn unfinished(mut frame: Vec<u8>, field: usize) -> Vec<u8> {
    let at = transport_at(&frame);
    let (addresses, protocol) = if at == 34 {
        (26, frame[23])
    } else {
        (22, frame[20])
    };
    let length = (frame.len() - at) as u32;
    let sum: u32 = frame[addresses..at].chunks(2).map(word).sum();
    let sum = folded(sum + u32::from(protocol) + length);
    frame[at + field..at + field + 2].copy_from_slice(&sum.to_be_bytes());
    frame
}

fn word(bytes: &[u8]) -> u32 {
    u32::from(u16::from_be_bytes([bytes[0], bytes.get(1).copied().unwrap_or(0)]))
}

fn folded(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}
