//! ICMP errors, built: those that the guest and its peers send, and those that the program answers the guest with.

use crate::{frames, world};
use arbitrary::{Result, Unstructured};
use etherparse::{IpHeaders, Ipv4HeaderSlice, NetSlice, SlicedPacket, TransportSlice};
use pairgate_abi::{FlowKey, GATEWAY_MAC};
use pairgate_packet::{
    Bytes, Checksum, Metadata, Packet, grant,
    ip::Family,
    receiver,
    sender::{self, Said},
    too_big,
};

const ETHERNET: usize = 14;

/// One error, about a packet that its receiver may have sent, with a few faults in it.
struct Built {
    family: Family,
    /// The guest sends it; otherwise a peer does.
    by_guest: bool,
    /// The whole frame.
    error: Vec<u8>,
    /// The packet that it was made of, as a whole frame.
    about: Vec<u8>,
}

pub(crate) fn icmp_error_built(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok(built) = build(&mut u) else {
        return;
    };
    let Some(error) = judged(&built.error, built.family, built.by_guest) else {
        return;
    };
    let header = built.family.header();
    let (protocol, kind) = (
        built.error[ETHERNET + next_at(built.family)],
        built.error[ETHERNET + header],
    );
    let is_error = match protocol {
        1 => matches!(kind, 3 | 4 | 11 | 12),
        58 => kind < 128,
        _ => false,
    };
    assert_eq!(error.is_error, is_error, "{kind} of protocol {protocol}");
    if !is_error {
        return;
    }
    let quoted = &built.error[ETHERNET + header + 8..];
    check_quoted(&error, quoted);
    // What its receiver really has sent has opened the flow that the error is judged by.
    let whole = built.about[ETHERNET..].starts_with(&quoted[..header + 8]);
    if let Some(about) = whole
        .then(|| judged(&built.about, built.family, !built.by_guest))
        .flatten()
    {
        assert_eq!(flow(&grant::answered(&error)), flow(&grant::opened(&about)));
    }
}

/// A flow without what a guest's and a peer's table write differently.
fn flow(key: &FlowKey) -> ([u8; 16], [u8; 16], [u8; 2], [u8; 2], u8) {
    (key.own, key.peer, key.own_port, key.peer_port, key.protocol)
}

/// Where the header of a family names the protocol behind it.
fn next_at(family: Family) -> usize {
    match family {
        Family::V4 => 9,
        Family::V6 => 6,
    }
}

/// The packet in a frame of the guest, or in one for it.
fn judged(frame: &[u8], family: Family, by_guest: bool) -> Option<Packet> {
    if by_guest {
        return match sender::check(&Bytes(frame), &Metadata::PLAIN, &world::tap()) {
            Ok(Said::Packet(packet)) => Some(packet),
            _ => None,
        };
    }
    let (guest, peer) = world::ends(family);
    let entry = world::entry_in(Family::V4, peer, guest);
    receiver::check_inner(
        &Bytes(frame),
        &Metadata::PLAIN,
        0,
        &entry,
        u64::MAX,
        world::NOW_NS,
    )
    .ok()
}

/// The packet inside as another parser sees it: it went the other way, and the flow is its own.
fn check_quoted(error: &Packet, quoted: &[u8]) {
    let (source, destination, protocol, body) = match error.family {
        Family::V4 => {
            let ip = Ipv4HeaderSlice::from_slice(quoted).unwrap();
            assert!(!ip.is_fragmenting_payload() && ip.ihl() == 5);
            let wide = pairgate_packet::address::wide;
            (
                wide(ip.source()),
                wide(ip.destination()),
                ip.protocol().0,
                &quoted[20..],
            )
        }
        Family::V6 => {
            let ip = etherparse::Ipv6HeaderSlice::from_slice(quoted).unwrap();
            assert!(!ip.next_header().is_ipv6_ext_header_value());
            (ip.source(), ip.destination(), ip.next_header().0, &quoted[40..])
        }
    };
    assert_eq!(
        (source, destination, protocol),
        (error.destination.bytes(), error.source.bytes(), error.protocol),
        "about a packet of somebody else"
    );
    match protocol {
        6 | 17 => assert_eq!(
            (error.ports.destination, error.ports.source),
            ([body[0], body[1]], [body[2], body[3]])
        ),
        1 => assert!(!matches!(body[0], 3 | 4 | 5 | 9..=12), "an error about an error"),
        58 => assert!(
            body[0] >= 128 && !(133..=137).contains(&body[0]),
            "an error about an error"
        ),
        _ => {}
    }
}

fn build(u: &mut Unstructured<'_>) -> Result<Built> {
    let (family, by_guest) = (frames::family(u)?, u.arbitrary::<bool>()?);
    let kind = match family {
        Family::V4 => *u.choose(&[3, 11, 12, 4, 5, 8])?,
        Family::V6 => *u.choose(&[1, 2, 3, 4, 100, 128])?,
    };
    let kind = if u.ratio(1, 10)? { u.arbitrary()? } else { kind };
    let head = [&[kind][..], &u.arbitrary::<[u8; 7]>()?].concat();
    let about = frames::packet(u, family, !by_guest)?;
    let quoted = if u.ratio(1, 3)? {
        u.int_in_range(0..=about.len())?
    } else {
        about.len()
    };
    let about_frame = [&ethernet(family, !by_guest)[..], &about].concat();
    let payload = [&head, &about[..quoted]].concat();
    let total = u16::try_from(family.header() + payload.len()).unwrap_or(u16::MAX);
    let (guest, peer) = world::ends(family);
    let (from, to) = if by_guest { (guest, peer) } else { (peer, guest) };
    let mut error = ethernet(family, by_guest);
    match family {
        Family::V4 => {
            error.extend([0x45, 0]);
            error.extend(total.to_be_bytes());
            error.extend([0, 1, 0x40, 0, 64, 1, 0, 0]);
            error.extend([&from[12..], &to[12..]].concat());
        }
        Family::V6 => {
            error.extend([0x60, 0, 0, 0]);
            error.extend((total - 40).to_be_bytes());
            error.extend([58, 64]);
            error.extend([from, to].concat());
        }
    }
    error.extend(payload);
    for _ in 0..u.int_in_range(0..=2_u8)? {
        let at = u.int_in_range(0..=error.len() - 1)?;
        error[at] = u.arbitrary()?;
    }
    Ok(Built {
        family,
        by_guest,
        error,
        about: about_frame,
    })
}

/// As the guest writes it, or as it stands in front of what is taken apart.
fn ethernet(family: Family, by_guest: bool) -> Vec<u8> {
    let (to, from) = if by_guest {
        (GATEWAY_MAC, world::GUEST_MAC)
    } else {
        (world::GUEST_MAC, GATEWAY_MAC)
    };
    [&to[..], &from, &family.ethertype()].concat()
}

/// The answer to a guest's packet that is too big for its pair: another parser takes it, with right sums, and it is
/// an error that the peer itself could have sent.
pub(crate) fn answer_too_big(frame: &[u8], metadata: &Metadata, packet: &Packet, mtu: u16) {
    // A guest that claims to want parts larger than its packet is told so too, perhaps in fewer bytes than an error has:
    // it alone hears its own lie.
    let is_larger = packet.length.min(packet.largest) > u32::from(mtu);
    let Some(quoted) = too_big::quoted(packet, mtu).filter(|_| is_larger) else {
        return;
    };
    let cut = &frame[..ETHERNET + quoted as usize];
    let mac = world::GUEST_MAC;
    let headers = match packet.family {
        Family::V4 => too_big::headers_v4(&Bytes(cut), metadata.checksum, mac, packet, mtu).to_vec(),
        Family::V6 => too_big::headers_v6(&Bytes(cut), metadata.checksum, mac, packet, mtu).to_vec(),
    };
    let answer = [&headers, &cut[ETHERNET..]].concat();
    assert_eq!(answer[..12], [mac, GATEWAY_MAC].concat());
    let read = SlicedPacket::from_ethernet(&answer).unwrap();
    let (ip, _) = IpHeaders::from_slice(&answer[ETHERNET..]).unwrap();
    if let IpHeaders::Ipv4(header, _) = &ip {
        assert_eq!(header.calc_header_checksum(), header.header_checksum);
    }
    // The kernel finishes a sum that the guest has left to it after this.
    let finished = metadata.checksum == Checksum::Finished;
    match (&read.net, &read.transport) {
        (Some(NetSlice::Ipv4(_)), Some(TransportSlice::Icmpv4(message))) => {
            assert!(answer.len() <= ETHERNET + 576);
            let header = message.header();
            let sum = header.icmp_type.calc_checksum(message.payload());
            assert!(!finished || sum == header.checksum);
        }
        (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Icmpv6(message))) => {
            assert!(answer.len() <= ETHERNET + 1280);
            let ip = ip.header();
            assert!(!finished || message.is_checksum_valid(ip.source(), ip.destination()));
        }
        _ => panic!("not ICMP"),
    }
    // Neighbour discovery in IPv4 is a packet like any other, but no error about it is believed.
    if (packet.family, packet.protocol) == (Family::V4, 58) {
        return;
    }
    let (guest, peer) = (packet.source.bytes(), packet.destination.bytes());
    let entry = world::entry_in(Family::V4, peer, guest);
    let from_peer = receiver::check_inner(
        &Bytes(&answer),
        &Metadata::PLAIN,
        0,
        &entry,
        u64::MAX,
        world::NOW_NS,
    );
    let Ok(from_peer) = from_peer else {
        panic!("{from_peer:?}: {packet:?} {mtu} {quoted} {answer:02x?}");
    };
    assert!(from_peer.is_error);
    assert_eq!(grant::answered(&from_peer), grant::opened(packet));
}
