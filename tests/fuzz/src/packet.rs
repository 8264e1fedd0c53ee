//! The decision crate: frames of all three ways in.

use crate::{frames, icmp, world};
use arbitrary::Unstructured;
use pairgate_abi::{GATEWAY_MAC, OutEntry, TapEntry};
use pairgate_packet::{
    Bytes, Checksum, Metadata, Packet,
    address::{Address, wide},
    arp, early, ethernet, grant,
    ip::Family,
    nd, outer, pair, receiver,
    sender::{self, Said},
};

pub(crate) fn from_tap(data: &[u8]) {
    let mut u = Unstructured::new(data);
    if let Ok(metadata) = frames::metadata(&mut u) {
        judge(u.take_rest(), &metadata);
    }
}

pub(crate) fn from_tap_built(data: &[u8]) {
    let mut u = Unstructured::new(data);
    if let (Ok(metadata), Ok(frame)) = (frames::metadata(&mut u), frames::from_guest(&mut u)) {
        judge(&frame, &metadata);
    }
}

/// The whole way of a guest's frame, with values in place of maps.
fn judge(frame: &[u8], metadata: &Metadata) {
    let tap = world::tap();
    match sender::check(&Bytes(frame), metadata, &tap) {
        Err(_) => {}
        Ok(Said::Arp) => answer_arp(frame, &tap),
        Ok(Said::Neighbour) => answer_neighbour(frame, &tap),
        Ok(Said::Question(length)) => assert!(
            14 + length as usize <= frame.len().min(pairgate_abi::QUESTION_BYTES),
            "the agent is asked with more than there is"
        ),
        Ok(Said::Packet(packet)) => {
            check_sent(frame, metadata, &packet);
            let key = pair::key(5, &packet);
            assert_eq!(
                (key.source, key.destination),
                (packet.source.bytes(), packet.destination.bytes())
            );
            let refused = pair::check(&tap, &packet, None, u64::MAX, world::NOW_NS);
            assert!(refused.is_err(), "a packet without a pair passes");
            // An MTU that many packets exceed.
            icmp::answer_too_big(frame, metadata, &packet, 68 + u16::from(packet.ports.source[1]));
            icmp::answer_too_big(frame, metadata, &packet, 1280);
            for underlay in [Family::V4, Family::V6] {
                travel(frame, metadata, &packet, underlay);
            }
        }
    }
}

fn answer_arp(frame: &[u8], tap: &TapEntry) {
    let Ok(question) = arp::Question::of(&Bytes(frame), tap) else {
        return;
    };
    let mut reply = [0; arp::FRAME];
    question.reply(tap, &mut reply);
    assert_eq!(
        reply[..12],
        [world::GUEST_MAC, GATEWAY_MAC].concat(),
        "answered to somebody else"
    );
    assert_eq!(
        reply[38..42],
        world::GUEST,
        "answered to an address that is not the guest's"
    );
    assert_ne!(
        reply[28..32],
        world::GUEST,
        "the guest's own address is said to be taken"
    );
}

fn answer_neighbour(frame: &[u8], tap: &TapEntry) {
    let Ok(question) = nd::Question::of(&Bytes(frame), tap) else {
        return;
    };
    let mut reply = [0; nd::FRAME];
    question.reply(tap, &mut reply);
    assert_eq!(
        reply[..12],
        [world::GUEST_MAC, GATEWAY_MAC].concat(),
        "answered to somebody else"
    );
    assert!(question.asker.is_link_local() || question.asker.bytes() == world::GUEST6);
    assert_eq!(
        question.target.bytes()[..8],
        world::GUEST6[..8],
        "an address of another network"
    );
    assert_ne!(question.target.bytes(), world::GUEST6);
}

/// Addresses, length and protocol of a frame's packet as another parser sees them.
fn parsed(frame: &[u8]) -> ([u8; 16], [u8; 16], usize, u8) {
    if frame[12..14] == ethernet::IPV4 {
        let ip = etherparse::Ipv4HeaderSlice::from_slice(&frame[14..]).unwrap();
        assert!(!ip.is_fragmenting_payload(), "a fragment passes");
        assert_eq!(ip.ihl(), 5, "options pass");
        let length = usize::from(ip.total_len());
        (wide(ip.source()), wide(ip.destination()), length, ip.protocol().0)
    } else {
        assert_eq!(frame[12..14], ethernet::IPV6, "neither IPv4 nor IPv6 passes");
        let ip = etherparse::Ipv6HeaderSlice::from_slice(&frame[14..]).unwrap();
        let next = ip.next_header();
        assert!(
            !next.is_ipv6_ext_header_value(),
            "an extension header passes: {next:?}"
        );
        let length = 40 + usize::from(ip.payload_length());
        (ip.source(), ip.destination(), length, next.0)
    }
}

/// What leaves a tap is one whole packet of the guest's own, and nothing outside its bytes can change that.
fn check_sent(frame: &[u8], metadata: &Metadata, packet: &Packet) {
    assert!(!metadata.vlan, "a tag passes");
    assert_eq!(frame[..12], [GATEWAY_MAC, world::GUEST_MAC].concat());
    let (source, destination, length, protocol) = parsed(frame);
    assert!(
        [wide(world::GUEST), world::GUEST6].contains(&source),
        "a foreign source passes"
    );
    assert_eq!(
        (source, destination),
        (packet.source.bytes(), packet.destination.bytes())
    );
    assert_eq!((length, protocol), (packet.length as usize, packet.protocol));
    assert!(14 + length <= frame.len(), "more passes than there is");
    if let Checksum::Partial { start, offset } = metadata.checksum {
        let at = ethernet::LENGTH + packet.family.header();
        let field = match protocol {
            6 => 16,
            17 => 6,
            other => panic!("a half-done checksum of protocol {other} passes"),
        };
        assert_eq!(
            (start as usize, offset),
            (at, field),
            "the kernel would write elsewhere"
        );
    }
    if let Some(gso) = metadata.gso {
        assert_ne!(metadata.checksum, Checksum::Finished);
        assert_eq!(frame.len(), 14 + length, "stray bytes would be cut into segments");
        assert!(packet.length.div_ceil(gso.size) <= 257, "too many packets of one");
    } else {
        assert_eq!(packet.largest, packet.length);
    }
}

/// Encapsulated here, it is ours over there, and the same packet.
fn travel(frame: &[u8], metadata: &Metadata, packet: &Packet, underlay: Family) {
    let out = world::entry_out(underlay);
    let Ok(entry) = pair::check(&world::tap(), packet, Some(&out), u64::MAX, world::NOW_NS) else {
        return;
    };
    grant::sends(&entry.carries, packet).unwrap();
    let Some(sent) = wrapped(frame, packet, entry, underlay) else {
        return;
    };
    let settings = world::settings(underlay, 2);
    let ours = outer::ours(&Bytes(&sent), &settings, underlay).unwrap();
    assert!(outer::ours(&Bytes(&sent), &world::settings(underlay, 3), underlay).is_none());
    receiver::check_form(&ours).unwrap();
    let pair = world::entry_in(underlay, packet.source.bytes(), packet.destination.bytes());
    assert_eq!(ours.handle, world::HANDLE);
    let pair = receiver::check_outer(&ours, Some(&pair)).unwrap();
    let checksum = match metadata.checksum {
        Checksum::Finished => Checksum::Finished,
        Checksum::Partial { start, offset } => Checksum::Partial {
            // The kernel moves it with the bytes.
            start: start + u32::try_from(outer::length(underlay)).unwrap(),
            offset,
        },
    };
    let metadata = Metadata {
        checksum,
        ..*metadata
    };
    let at = outer::inner_at(underlay);
    let arrived = receiver::check_inner(&Bytes(&sent), &metadata, at, pair, u64::MAX, world::NOW_NS).unwrap();
    // What is still to be cut says of how large parts it is made, and no part is larger than the whole.
    let whole = Packet {
        largest: packet.largest.min(packet.length),
        ..*packet
    };
    assert_eq!(arrived, whole, "what arrives is not what was sent");
    grant::receives(&pair.carries, &arrived).unwrap();
}

/// The frame on the underlay; none if the packet leaves no room for its length.
fn wrapped(frame: &[u8], packet: &Packet, entry: &OutEntry, underlay: Family) -> Option<Vec<u8>> {
    let mut sent = [&[0x02; 12][..], &underlay.ethertype()].concat();
    match underlay {
        Family::V4 => {
            let mut header = [0; outer::LENGTH_V4];
            outer::header_v4(packet, entry, &mut header).ok()?;
            let ip = etherparse::Ipv4HeaderSlice::from_slice(&header)
                .unwrap()
                .to_header();
            assert_eq!(
                ip.calc_header_checksum(),
                ip.header_checksum,
                "the underlay would drop it"
            );
            sent.extend(header);
        }
        Family::V6 => {
            let mut header = [0; outer::LENGTH_V6];
            outer::header_v6(packet, entry, &mut header).ok()?;
            sent.extend(header);
        }
    }
    sent.extend(&frame[ethernet::LENGTH..packet.frame_length() as usize]);
    Some(sent)
}

pub(crate) fn from_uplink(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let (Ok(metadata), Ok(underlay)) = (frames::metadata(&mut u), frames::family(&mut u)) else {
        return;
    };
    arrive(u.take_rest(), &metadata, underlay);
}

pub(crate) fn from_uplink_built(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let _ = build_arrival(&mut u).map(|(frame, metadata, underlay)| arrive(&frame, &metadata, underlay));
}

/// What our own program sends, with a few bytes changed, and cut or grown.
fn build_arrival(u: &mut Unstructured<'_>) -> arbitrary::Result<(Vec<u8>, Metadata, Family)> {
    let (underlay, inner) = (frames::family(u)?, frames::family(u)?);
    let metadata = frames::metadata(u)?;
    let changes: [(u8, u8); 3] = u.arbitrary()?;
    let count = u.int_in_range(0..=3_usize)?;
    let grown = u.int_in_range(-3..=3_isize)?;
    let mut frame = [&GATEWAY_MAC[..], &world::GUEST_MAC, &inner.ethertype()].concat();
    frame.extend(frames::packet(u, inner, true)?);
    let (source, destination) = world::ends(inner);
    let packet = Packet {
        family: inner,
        length: u32::try_from(frame.len() - ethernet::LENGTH).unwrap(),
        source: Address::of(&source),
        destination: Address::of(&destination),
        ..Packet::NOTHING
    };
    let sent = wrapped(&frame, &packet, &world::entry_out(underlay), underlay);
    let mut sent = sent.ok_or(arbitrary::Error::IncorrectFormat)?;
    for (at, value) in &changes[..count] {
        if let Some(byte) = sent.get_mut(usize::from(*at)) {
            *byte = *value;
        }
    }
    sent.resize(sent.len().saturating_add_signed(grown), 0x5a);
    Ok((sent, metadata, underlay))
}

/// The whole way of a frame from the underlay, for each of the two families that the pair could be of.
fn arrive(frame: &[u8], metadata: &Metadata, underlay: Family) {
    let settings = world::settings(underlay, 2);
    let Some(ours) = outer::ours(&Bytes(frame), &settings, underlay) else {
        return;
    };
    let (source, destination, length, _) = parsed(frame);
    assert_eq!((source, destination), (ours.source.bytes(), settings.host));
    assert_eq!(14 + length, frame.len(), "stray bytes are ours");
    assert!(outer::big_cell(&ours) < pairgate_abi::limits::BIG_CELLS);
    if receiver::check_form(&ours).is_err() {
        return;
    }
    for family in [Family::V4, Family::V6] {
        let (from, to) = world::ends(family);
        let pair = world::entry_in(underlay, from, to);
        let Ok(pair) = receiver::check_outer(&ours, Some(&pair)) else {
            continue;
        };
        let early = early::dies(&ours, Some(pair), || false);
        assert_eq!(early, None, "the driver takes what would be judged");
        assert_eq!(source, pair.src_host, "another host's frame passes");
        deliver(frame, metadata, outer::inner_at(underlay), pair);
    }
}

pub(crate) fn from_vxlan(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let (Ok(metadata), Ok(vni), Ok(group)) = (frames::metadata(&mut u), u.arbitrary(), u.arbitrary()) else {
        return;
    };
    let hosts = [2, 1].map(|last| Address::of(&world::host(Family::V4, last)));
    let said = receiver::from_device(vni, group, hosts[1], hosts[0]);
    let expected = if vni >> 24 == 0 && group >> 16 == 0 {
        (vni, group)
    } else {
        (0, 0)
    };
    assert_eq!((said.handle.vni_number(), said.handle.group_number()), expected);
    let frame = u.take_rest();
    for family in [Family::V4, Family::V6] {
        let (from, to) = world::ends(family);
        deliver(frame, &metadata, 0, &world::entry_in(Family::V4, from, to));
    }
}

/// What reaches the guest has the addresses of its handle, and nothing stands behind it.
fn deliver(frame: &[u8], metadata: &Metadata, at: usize, pair: &pairgate_abi::InEntry) {
    let checked = receiver::check_inner(&Bytes(frame), metadata, at, pair, u64::MAX, world::NOW_NS);
    let Ok(packet) = checked else {
        return;
    };
    let late = receiver::check_inner(&Bytes(frame), metadata, at, pair, u64::MAX, pair.deadline_ns);
    assert!(late.is_err(), "it passes at its deadline");
    let mut delivered = receiver::delivery(pair.mac, packet.family).to_vec();
    delivered.extend(&frame[at + ethernet::LENGTH..]);
    let (source, destination, length, protocol) = parsed(&delivered);
    assert_eq!(
        (source, destination),
        (pair.src_addr, pair.dst_addr),
        "another pair's packet passes"
    );
    assert_eq!(
        (delivered.len(), protocol),
        (14 + length, packet.protocol),
        "stray bytes reach the guest"
    );
    let is_whole = packet.largest == packet.length;
    assert!(is_whole || (metadata.gso.is_some() && packet.largest < packet.length));
    if packet.family == Family::V6 && protocol == 58 {
        assert!(
            !(133..=137).contains(&delivered[54]),
            "neighbour discovery reaches the guest"
        );
    }
}
