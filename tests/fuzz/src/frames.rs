//! Frames made of arbitrary numbers: sound ones with a few faults.

use crate::world::{GUEST, GUEST_MAC, GUEST6, PEER, PEER6};
use arbitrary::{Result, Unstructured};
use pairgate_abi::GATEWAY_MAC;
use pairgate_packet::{Checksum, Gso, Metadata, ip::Family};

/// Longest payload.
const PAYLOAD: usize = 300;

pub(crate) fn family(u: &mut Unstructured<'_>) -> Result<Family> {
    Ok(if u.arbitrary()? { Family::V4 } else { Family::V6 })
}

/// The state of a frame outside its bytes: mostly what honest guests have, now and then anything.
pub(crate) fn metadata(u: &mut Unstructured<'_>) -> Result<Metadata> {
    let checksum = match u.int_in_range(0..=7_u8)? {
        0..=3 => Checksum::Finished,
        4 => Checksum::Partial {
            start: u.arbitrary()?,
            offset: u.arbitrary()?,
        },
        _ => Checksum::Partial {
            start: *u.choose(&[34, 54, 84, 104])?,
            offset: *u.choose(&[6, 16])?,
        },
    };
    let gso = match u.int_in_range(0..=7_u8)? {
        0..=5 => None,
        _ => Some(Gso {
            size: u32::from(u.arbitrary::<u16>()?),
            kind: match u.int_in_range(0..=3_u8)? {
                0 => Gso::TCPV4,
                1 => Gso::TCPV6,
                2 => Gso::UDP_L4,
                _ => u.arbitrary()?,
            },
        }),
    };
    let vlan = u.int_in_range(0..=15_u8)? == 15;
    Ok(Metadata { vlan, gso, checksum })
}

/// A guest's frame: a sound one, then up to three faults in named places, then perhaps cut or grown.
pub(crate) fn from_guest(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let family = family(u)?;
    let mut frame = [&GATEWAY_MAC[..], &GUEST_MAC, &family.ethertype()].concat();
    frame.extend(packet(u, family, true)?);
    for _ in 0..u.int_in_range(0..=3_u8)? {
        fault(u, family, &mut frame)?;
    }
    if u.ratio(1, 4)? {
        let length = u.int_in_range(0..=frame.len() + 4)?;
        frame.resize(length, 0x5a);
    }
    Ok(frame)
}

/// A whole IP packet from the guest to its peer, or back.
pub(crate) fn packet(u: &mut Unstructured<'_>, family: Family, there: bool) -> Result<Vec<u8>> {
    let protocol: u8 = match u.int_in_range(0..=9_u8)? {
        0..=2 => 6,
        3..=5 => 17,
        6 => 1,
        7 => 58,
        8 => 132,
        _ => u.arbitrary()?,
    };
    let length = u.int_in_range(0..=PAYLOAD)?.min(u.len());
    let body = transport(u, protocol, u.peek_bytes(length).unwrap_or_default().to_vec())?;
    let mut packet = Vec::new();
    let total = u16::try_from(family.header() + body.len()).unwrap_or(u16::MAX);
    match family {
        Family::V4 => {
            packet.extend([0x45, 0]);
            packet.extend(total.to_be_bytes());
            packet.extend([0, 1, 0x40, 0, 64, protocol, 0, 0]);
            let (source, destination) = if there { (GUEST, PEER) } else { (PEER, GUEST) };
            packet.extend([source, destination].concat());
        }
        Family::V6 => {
            packet.extend([0x60, 0, 0, 0]);
            packet.extend((total - 40).to_be_bytes());
            packet.extend([protocol, 64]);
            let (source, destination) = if there { (GUEST6, PEER6) } else { (PEER6, GUEST6) };
            packet.extend([source, destination].concat());
        }
    }
    packet.extend(body);
    Ok(packet)
}

/// A transport header that fits, before the payload.
fn transport(u: &mut Unstructured<'_>, protocol: u8, payload: Vec<u8>) -> Result<Vec<u8>> {
    let ports: [u8; 4] = u.arbitrary()?;
    let mut body = ports.to_vec();
    match protocol {
        6 => {
            body.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, 2, 4, 0, 0, 0, 0, 0]);
        }
        17 => {
            let length = u16::try_from(8 + payload.len()).unwrap_or(u16::MAX);
            body.extend(length.to_be_bytes());
            body.extend([0, 0]);
        }
        132 => body.extend([0; 8]),
        _ => body.extend([0; 4]),
    }
    body.extend(payload);
    Ok(body)
}

/// Places that decisions look at, from the frame's first byte, and how many bytes they have.
const PLACES_V4: [(usize, usize); 12] = [
    (0, 6),  // destination MAC
    (6, 6),  // source MAC
    (12, 2), // ethertype
    (14, 1), // version and header length
    (16, 2), // total length
    (20, 2), // fragment
    (23, 1), // protocol
    (26, 4), // source
    (30, 4), // destination
    (34, 1), // type
    (38, 2), // UDP length
    (46, 1), // TCP header length
];
const PLACES_V6: [(usize, usize); 11] = [
    (0, 6),
    (6, 6),
    (12, 2),
    (14, 1),
    (18, 2),  // payload length
    (20, 1),  // next header
    (22, 16), // source
    (38, 16), // destination
    (54, 1),
    (58, 2),
    (66, 1),
];

fn fault(u: &mut Unstructured<'_>, family: Family, frame: &mut [u8]) -> Result<()> {
    let (at, length) = match family {
        Family::V4 => *u.choose(&PLACES_V4)?,
        Family::V6 => *u.choose(&PLACES_V6)?,
    };
    let value: [u8; 16] = u.arbitrary()?;
    if let Some(place) = frame.get_mut(at..at + length) {
        place.copy_from_slice(&value[..length]);
    }
    Ok(())
}
