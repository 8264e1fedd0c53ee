//! What the agent reads from the kernel: ring records and netlink messages.

use crate::{frames, world};
use arbitrary::Unstructured;
use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice, checksum::Sum16BitWords};
use netlink_packet_route::RouteNetlinkMessage;
use pairgate_abi::{EVENT_MISS, Event, HELD_BYTES, Held};
use pairgate_agent::{
    adopt::{Adoption, TapPattern},
    hold::HeldFrame,
    net::{read_address, read_link, read_next_hop},
    news::Look,
};
use pairgate_packet::{Bytes, Checksum, Metadata, address, ip::Family, pair, sender};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use std::net::IpAddr;
use zerocopy::FromBytes;

pub(crate) fn ring_records(data: &[u8]) {
    if let Ok((event, _)) = Event::read_from_prefix(data) {
        let _ = pairgate_token::address_from_bytes(event.source);
        let _ = (event.handle.vni_number(), event.handle.group_number());
    }
    let mut record = [0; size_of::<Held>()];
    let length = data.len().min(record.len());
    record[..length].copy_from_slice(&data[..length]);
    if let Ok(record) = Held::read_from_bytes(&record) {
        read(&record);
    }
}

/// What is read of a record is a packet of the addresses that the record names.
fn read(record: &Held) -> Option<HeldFrame> {
    let held = HeldFrame::read(record)?;
    let packet = held.packet_bytes();
    assert_eq!(packet.len(), held.packet.length as usize);
    assert!(
        packet.len() + 14 <= record.length as usize,
        "more is sent than was held"
    );
    let (source, destination) = match held.packet.family {
        Family::V4 => {
            let ip = Ipv4HeaderSlice::from_slice(packet).unwrap();
            (address::wide(ip.source()), address::wide(ip.destination()))
        }
        Family::V6 => {
            let ip = Ipv6HeaderSlice::from_slice(packet).unwrap();
            (ip.source(), ip.destination())
        }
    };
    assert_eq!((source, destination), (record.source, record.destination));
    Some(held)
}

pub(crate) fn held_built(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let (Ok(metadata), Ok(frame)) = (frames::metadata(&mut u), frames::from_guest(&mut u)) else {
        return;
    };
    let Ok(sender::Said::Packet(packet)) = sender::check(&Bytes(&frame), &metadata, &world::tap()) else {
        return;
    };
    let length = packet.frame_length();
    if !pair::can_be_held(length, metadata.gso.is_some()) {
        return;
    }
    let record = record(&frame[..length as usize], &metadata, &pair::key(7, &packet));
    let held = read(&record);
    assert!(held.is_some(), "a packet that may be held cannot be read");
    if let (Some(held), Checksum::Partial { .. }) = (held, metadata.checksum) {
        check_finished(&frame, held);
    }
}

/// As the program writes it.
fn record(frame: &[u8], metadata: &Metadata, key: &pairgate_abi::OutKey) -> Held {
    let (checksum_start, checksum_offset) = match metadata.checksum {
        Checksum::Finished => (0, 0),
        Checksum::Partial { start, offset } => (u16::try_from(start).unwrap(), offset),
    };
    let mut bytes = [0; HELD_BYTES];
    bytes[..frame.len()].copy_from_slice(frame);
    Held {
        kind: EVENT_MISS,
        tap: key.tap,
        slot: 1,
        length: u32::try_from(frame.len()).unwrap(),
        source: key.source,
        destination: key.destination,
        at_ns: 5,
        checksum_start,
        checksum_offset,
        reserved: [0; 6],
        frame: bytes,
    }
}

/// The sum that stood in the place of the checksum was the pseudo header's if the guest was honest: with that one in
/// its place the finished checksum must be the one that another library computes.
fn check_finished(frame: &[u8], held: HeldFrame) {
    let header = held.packet.family.header();
    let protocol = held.packet.protocol;
    let mut honest = frame[..held.packet.frame_length() as usize].to_vec();
    let field = 14 + header + if protocol == 6 { 16 } else { 6 };
    let sum = pseudo_sum(&held, &honest);
    honest[field..field + 2].copy_from_slice(&sum.to_be_bytes());
    let start = u32::try_from(14 + header).unwrap();
    let offset = if protocol == 6 { 16 } else { 6 };
    let metadata = Metadata {
        checksum: Checksum::Partial { start, offset },
        ..Metadata::PLAIN
    };
    let finished = HeldFrame::read(&record(&honest, &metadata, &held.key)).unwrap();
    let (_, body) = finished.packet_bytes().split_at(header);
    let at = field - 14 - header;
    let said = u16::from_be_bytes([body[at], body[at + 1]]);
    // Over the bytes as they are: a header that was read and written again would have lost its reserved bits.
    let (without, behind) = (&body[..at], &body[at + 2..]);
    let right = Sum16BitWords::new()
        .add_2bytes(sum.to_be_bytes())
        .add_slice(without)
        .add_slice(behind)
        .ones_complement();
    let right = u16::from_be_bytes(right.to_ne_bytes());
    // Zero and all ones are the same sum; what is written is all ones.
    assert_eq!(
        said,
        if right == 0 { 0xffff } else { right },
        "the guest's peer would drop it"
    );
}

/// Sum of the pseudo header (RFC 9293, section 3.1; RFC 8200, section 8.1), folded, not inverted.
fn pseudo_sum(held: &HeldFrame, frame: &[u8]) -> u16 {
    let (addresses, length) = match held.packet.family {
        Family::V4 => (&frame[26..34], frame.len() - 34),
        Family::V6 => (&frame[22..54], frame.len() - 54),
    };
    let words = addresses
        .as_chunks::<2>()
        .0
        .iter()
        .map(|word| u32::from(u16::from_be_bytes(*word)));
    let mut sum = words.sum::<u32>() + u32::try_from(length).unwrap() + u32::from(held.packet.protocol);
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    u16::try_from(sum).unwrap()
}

pub(crate) fn netlink(data: &[u8]) {
    let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(data) else {
        return;
    };
    let patterns: Vec<TapPattern> = ["vnet*", "tap-web1"]
        .iter()
        .flat_map(|text| text.parse())
        .collect();
    let adoption = Adoption {
        patterns,
        uplink: "up0".to_owned(),
    };
    let _ = Look::at(&message, 2, &adoption);
    let NetlinkPayload::InnerMessage(message) = message.payload else {
        return;
    };
    if let RouteNetlinkMessage::NewLink(link) = message {
        let _ = read_link(link);
    } else if let RouteNetlinkMessage::NewAddress(address) = message {
        let _ = read_address(address);
    } else if let RouteNetlinkMessage::NewRoute(route) = message {
        for to in [IpAddr::from([192, 0, 2, 2]), IpAddr::from(world::PEER6)] {
            if let Ok(hop) = read_next_hop(route.clone(), to, 2) {
                assert_eq!(hop.interface, 2, "a way that does not leave by the uplink");
            }
        }
    }
}
