//! Frames as liars write them: every field is the caller's, and well-formed all the same.

use anyhow::{Context, Result};
use etherparse::{ArpHardwareId, ArpOperation, ArpPacket, EtherType, PacketBuilder};
use std::net::Ipv4Addr;

/// Where hosts receive the overlay.
const OVERLAY_PORT: u16 = 4789;
/// VXLAN flags: an identifier and a group policy are there.
const FLAGS: u8 = 0x88;
/// From the start of an outer frame to its UDP checksum.
const OUTER_CHECKSUM: usize = 14 + 20 + 6;

/// Who a frame says that it is from and for.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    pub source_mac: [u8; 6],
    pub destination_mac: [u8; 6],
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
}

/// A UDP datagram.
pub fn udp(ends: Ends, ports: (u16, u16), payload: &[u8]) -> Result<Vec<u8>> {
    let builder = PacketBuilder::ethernet2(ends.source_mac, ends.destination_mac)
        .ipv4(ends.source.octets(), ends.destination.octets(), 64)
        .udp(ports.0, ports.1);
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder
        .write(&mut frame, payload)
        .context("cannot write a UDP frame")?;
    Ok(frame)
}

/// An ARP reply to everybody: `claimed` is at the sender's MAC.
pub fn arp_claim(ends: Ends, claimed: Ipv4Addr) -> Result<Vec<u8>> {
    let claim = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        ArpOperation::REPLY,
        &ends.source_mac,
        &claimed.octets(),
        &ends.destination_mac,
        &ends.destination.octets(),
    )
    .context("cannot write an ARP packet")?;
    let builder = PacketBuilder::ethernet2(ends.source_mac, ends.destination_mac).arp(claim);
    let mut frame = Vec::with_capacity(builder.size());
    builder.write(&mut frame).context("cannot write an ARP frame")?;
    Ok(frame)
}

/// An overlay frame around `inner`, under this handle; the outer UDP checksum is 0, as hosts write it.
pub fn overlay(outer: Ends, source_port: u16, handle: (u32, u16), inner: &[u8]) -> Result<Vec<u8>> {
    let (vni, group) = handle;
    let mut payload = vec![FLAGS, 0];
    payload.extend(group.to_be_bytes());
    payload.extend((vni << 8).to_be_bytes());
    payload.extend(inner);
    let mut frame = udp(outer, (source_port, OVERLAY_PORT), &payload)?;
    frame[OUTER_CHECKSUM..OUTER_CHECKSUM + 2].fill(0);
    Ok(frame)
}

/// The handle of an overlay frame, if it looks like one.
pub fn handle_of(frame: &[u8]) -> Option<(u32, u16)> {
    let vxlan = frame.get(OUTER_CHECKSUM + 2..OUTER_CHECKSUM + 10)?;
    let port = frame.get(36..38)?;
    let is_overlay =
        frame.get(12..14)? == [8, 0] && *frame.get(23)? == 17 && port == OVERLAY_PORT.to_be_bytes();
    let vni = u32::from_be_bytes([0, vxlan[4], vxlan[5], vxlan[6]]);
    (is_overlay && vxlan[0] == FLAGS).then_some((vni, u16::from_be_bytes([vxlan[2], vxlan[3]])))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDS: Ends = Ends {
        source_mac: [2, 0, 0, 0, 0, 1],
        destination_mac: [2, 0, 0, 0, 0, 2],
        source: Ipv4Addr::new(192, 0, 2, 1),
        destination: Ipv4Addr::new(192, 0, 2, 2),
    };

    #[test]
    fn a_forged_overlay_frame_reads_like_a_real_one() {
        let inner = udp(ENDS, (1, 2), b"inner").unwrap();
        let frame = overlay(ENDS, 50_000, (0x0012_3456, 0x789a), &inner).unwrap();
        assert_eq!(handle_of(&frame), Some((0x0012_3456, 0x789a)));
        assert_eq!(&frame[OUTER_CHECKSUM..OUTER_CHECKSUM + 2], [0, 0]);
        assert_eq!(&frame[50..], inner);
        let parsed = etherparse::SlicedPacket::from_ethernet(&frame).unwrap();
        assert!(parsed.net.is_some() && parsed.transport.is_some());
    }

    #[test]
    fn what_is_no_overlay_has_no_handle() {
        assert_eq!(handle_of(&udp(ENDS, (1, 2), b"xxxxxxxxxxxx").unwrap()), None);
        assert_eq!(handle_of(&arp_claim(ENDS, ENDS.source).unwrap()), None);
        assert_eq!(handle_of(&[]), None);
    }
}
