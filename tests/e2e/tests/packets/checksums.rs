//! Checksums as the devices and stacks at both ends know them.
use crate::{
    device::{NEEDS_CHECKSUM, Vnet},
    frames::{ETHERNET, IP},
};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};

/// True if the transport checksum of an IPv4 packet is right.
pub(crate) fn checksum_is_right(frame: &[u8]) -> bool {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(NetSlice::Ipv4(ip)) = packet.net else {
        panic!("not IPv4")
    };
    let (source, destination) = (ip.header().source(), ip.header().destination());
    match packet.transport {
        Some(TransportSlice::Udp(udp)) => {
            let header = udp.to_header();
            header
                .calc_checksum_ipv4_raw(source, destination, udp.payload())
                .unwrap()
                == header.checksum
        }
        Some(TransportSlice::Tcp(tcp)) => {
            let header = tcp.to_header();
            header
                .calc_checksum_ipv4_raw(source, destination, tcp.payload())
                .unwrap()
                == header.checksum
        }
        other => panic!("no transport with a checksum: {other:?}"),
    }
}

/// What a device does that takes over an unfinished checksum.
pub(crate) fn finished(vnet: Vnet, mut frame: Vec<u8>) -> Vec<u8> {
    if vnet.flags & NEEDS_CHECKSUM != 0 {
        let (start, offset) = (vnet.checksum_start as usize, vnet.checksum_offset as usize);
        let mut sum: u32 = 0;
        for pair in frame[start..].chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        frame[start + offset..start + offset + 2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    }
    frame
}

/// A frame whose transport checksum holds only the sum of the pseudo-header, as a guest with checksum offload
/// hands it over.
pub(crate) fn unfinished(mut frame: Vec<u8>, field: usize) -> Vec<u8> {
    let length = (frame.len() - IP) as u32;
    let words = |bytes: &[u8]| u32::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    let addresses = ETHERNET + 12;
    let mut sum = u32::from(frame[ETHERNET + 9]) + length;
    for at in (addresses..addresses + 8).step_by(2) {
        sum += words(&frame[at..]);
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    frame[IP + field..IP + field + 2].copy_from_slice(&(sum as u16).to_be_bytes());
    frame
}
