//! Segmentation (GSO): what a guest may leave to the kernel, and every lie about it. Through real taps, because a test
//! run cannot say what is to be cut.
use crate::{
    checksums::{checksum_is_right, finished, transport_at, unfinished},
    device::{GSO_ECN, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, GSO_UFO, Vnet, taps_know},
    frames::{INNER, arp_for, padded, ping, solicitation, tcp, tcp6, udp_to, udp6_to, with},
    world::{MTU, PEER, PEER6, SLOT, World},
};
use nix::errno::Errno;
use std::time::Duration;

/// Frames cross taps within the sender's own call.
const SILENCE: Duration = Duration::from_millis(2);

/// A TCP segment of either family with so much payload, its checksum left to the kernel.
fn stream(six: bool, payload: usize) -> Vec<u8> {
    let mut frame = if six { tcp6() } else { tcp() };
    let headers = frame.len();
    frame[if six { 67 } else { 47 }] = 0x10; // no SYN: such a one is not cut
    frame.extend((0..payload).map(|at| at as u8));
    let (at, length) = if six {
        (18, headers + payload - 54)
    } else {
        (16, headers + payload - 14)
    };
    unfinished(with(frame, at, &(length as u16).to_be_bytes()), 16)
}

fn datagrams(six: bool, payload: usize) -> Vec<u8> {
    let bytes: Vec<u8> = (0..payload).map(|at| at as u8).collect();
    let frame = if six {
        udp6_to(PEER6, (40_000, 53), &bytes)
    } else {
        udp_to(PEER, &bytes)
    };
    unfinished(frame, 6)
}

/// The header that asks for segments of a frame, truthfully.
fn honest(frame: &[u8], gso_type: u8, gso_size: u16) -> Vnet {
    let start = transport_at(frame) as u16;
    let (offset, header) = if gso_type == GSO_UDP_L4 { (6, 8) } else { (16, 20) };
    Vnet {
        gso_type,
        gso_size,
        header_length: start + header,
        ..Vnet::partial(start, offset)
    }
}

/// Lets the guest send, and returns the one word under which it was counted; none if the kernel itself says no.
fn says(world: &World, vnet: Vnet, frame: &[u8]) -> Option<&'static str> {
    let before = world.counts();
    match world.guest.send(vnet, frame) {
        Ok(()) => {}
        Err(Errno::EINVAL) => return None,
        Err(error) => panic!("{error}"),
    }
    match world.counts().since(&before)[..] {
        [(SLOT, "from_tap", word, 1)] => Some(word),
        // The guest is told.
        [(SLOT, "from_tap", "too_big", 1), (SLOT, "to_tap", "passed", 1)] => Some("too_big"),
        ref other => panic!("{other:?}"),
    }
}

/// The inner packets that leave, each under an Ethernet header, and every one checked for itself.
fn leaving(world: &World, ethertype: [u8; 2]) -> Vec<Vec<u8>> {
    let ours = |frame: &[u8]| frame[12..14] == [8, 0] && frame.len() > INNER + 34;
    let mut inner = Vec::new();
    while let Some((vnet, frame)) = world.uplink.receive(SILENCE, ours) {
        assert_eq!(vnet.gso_type, 0, "this uplink takes no segments");
        let frame = finished(vnet, frame);
        assert_eq!(frame[40..42], [0, 0], "an outer checksum");
        let total = u16::from_be_bytes([frame[16], frame[17]]) as usize;
        assert_eq!(total, frame.len() - 14, "the outer length of a segment");
        assert_eq!(frame[INNER + 12..INNER + 14], ethertype);
        inner.push(frame[INNER..].to_vec());
    }
    inner
}

#[test]
fn what_a_guest_leaves_to_be_cut_leaves_in_packets_that_fit_with_right_checksums() {
    let world = World::running();
    for (what, six, gso_type, frame, gso_size) in [
        ("a stream", false, GSO_TCPV4, stream(false, 5_000), 1000_u16),
        (
            "a stream with a congestion mark",
            false,
            GSO_TCPV4 | GSO_ECN,
            stream(false, 5_000),
            1000,
        ),
        (
            "a stream of full segments",
            false,
            GSO_TCPV4,
            stream(false, 30_000),
            MTU - 40,
        ),
        (
            "a stream of the smallest segments",
            false,
            GSO_TCPV4,
            stream(false, 5_000),
            256,
        ),
        ("an IPv6 stream", true, GSO_TCPV6, stream(true, 5_000), MTU - 60),
        ("datagrams", false, GSO_UDP_L4, datagrams(false, 5_000), 1000),
        (
            "as many datagrams as may be",
            false,
            GSO_UDP_L4,
            datagrams(false, 1_280),
            10,
        ),
        (
            "IPv6 datagrams",
            true,
            GSO_UDP_L4,
            datagrams(true, 5_000),
            MTU - 48,
        ),
    ] {
        if !taps_know(gso_type, what) {
            continue;
        }
        let at = transport_at(&frame);
        let headers = at + if gso_type == GSO_UDP_L4 { 8 } else { 20 };
        assert_eq!(
            says(&world, honest(&frame, gso_type, gso_size), &frame),
            Some("passed"),
            "{what}"
        );
        let ethertype = if six { [0x86, 0xdd] } else { [8, 0] };
        let packets = leaving(&world, ethertype);
        let payload = frame.len() - headers;
        assert_eq!(packets.len(), payload.div_ceil(gso_size as usize), "{what}");
        let mut together: Vec<u8> = Vec::new();
        for packet in &packets {
            assert!(
                packet.len() - 14 <= MTU as usize,
                "{what}: {} bytes",
                packet.len()
            );
            assert!(checksum_is_right(packet), "{what}: {packet:02x?}");
            assert_eq!(packet[at..at + 4], frame[at..at + 4], "{what}: other ports");
            together.extend(&packet[headers..]);
        }
        assert_eq!(
            together,
            frame[headers..],
            "{what}: other bytes, or in another order"
        );
    }
}

#[test]
fn segmentation_requests_that_lie_are_refused() {
    let world = World::running();
    let (v4, v6) = (stream(false, 5_000), stream(true, 5_000));
    let (u4, u6) = (datagrams(false, 5_000), datagrams(true, 5_000));
    let bare = |frame: &[u8], gso_type| Vnet {
        flags: 0,
        ..honest(frame, gso_type, 1000)
    };
    let misplaced = Vnet {
        checksum_start: 26,
        ..honest(&v4, GSO_TCPV4, 1000)
    };
    for (what, vnet, frame, word) in [
        (
            "segments of 255 bytes",
            honest(&v4, GSO_TCPV4, 255),
            &v4,
            "offload",
        ),
        (
            "IPv6 segments of 1 byte",
            honest(&v6, GSO_TCPV6, 1),
            &v6,
            "offload",
        ),
        ("129 datagrams", honest(&u4, GSO_UDP_L4, 39), &u4, "offload"),
        ("129 IPv6 datagrams", honest(&u6, GSO_UDP_L4, 39), &u6, "offload"),
        (
            "datagrams of one byte",
            honest(&u4, GSO_UDP_L4, 1),
            &u4,
            "offload",
        ),
        (
            "a fragmented datagram",
            honest(&u4, GSO_UFO, 1000),
            &u4,
            "offload",
        ),
        (
            "IPv6 segments of IPv4",
            honest(&v4, GSO_TCPV6, 1000),
            &v4,
            "offload",
        ),
        (
            "IPv4 segments of IPv6",
            honest(&v6, GSO_TCPV4, 1000),
            &v6,
            "offload",
        ),
        (
            "TCP segments of UDP",
            Vnet {
                checksum_offset: 16,
                ..honest(&u4, GSO_TCPV4, 1000)
            },
            &u4,
            "offload",
        ),
        (
            "datagrams of TCP",
            Vnet {
                checksum_offset: 6,
                ..honest(&v4, GSO_UDP_L4, 1000)
            },
            &v4,
            "offload",
        ),
        ("a sum elsewhere", misplaced, &v4, "offload"),
        ("a finished stream", bare(&v4, GSO_TCPV4), &v4, "offload"),
        ("finished datagrams", bare(&u4, GSO_UDP_L4), &u4, "offload"),
        (
            "stray bytes behind a stream",
            honest(&v4, GSO_TCPV4, 1000),
            &padded(v4.clone(), 7),
            "offload",
        ),
        (
            "segments of a ping",
            honest(&ping(), GSO_TCPV4, 1000),
            &ping(),
            "offload",
        ),
        (
            "a segmented question",
            honest(&arp_for(PEER), GSO_UDP_L4, 4),
            &arp_for(PEER),
            "offload",
        ),
        (
            "a segmented solicitation",
            honest(&solicitation(PEER6), GSO_UDP_L4, 4),
            &solicitation(PEER6),
            "offload",
        ),
        (
            "segments one byte too long",
            honest(&v4, GSO_TCPV4, MTU - 39),
            &v4,
            "too_big",
        ),
        (
            "IPv6 segments one byte too long",
            honest(&v6, GSO_TCPV6, MTU - 59),
            &v6,
            "too_big",
        ),
        (
            "datagrams one byte too long",
            honest(&u4, GSO_UDP_L4, MTU - 27),
            &u4,
            "too_big",
        ),
        (
            "segments of 65535 bytes",
            honest(&v4, GSO_TCPV4, u16::MAX),
            &v4,
            "too_big",
        ),
        (
            "segments from another MAC",
            honest(&v4, GSO_TCPV4, 1000),
            &with(v4.clone(), 6, &[2; 6]),
            "spoofed_mac",
        ),
        (
            "segments from another",
            honest(&v4, GSO_TCPV4, 1000),
            &with(v4.clone(), 26, &PEER),
            "spoofed_address",
        ),
    ] {
        // The kernel may say no by itself, or take a request for segments that are longer than the whole for none.
        if let Some(said) = says(&world, vnet, frame) {
            assert_eq!(said, word, "{what}");
        } else {
            println!("{what}: the kernel says no");
        }
        let left = world.uplink.receive(SILENCE, |frame| frame[12..14] == [8, 0]);
        assert_eq!(left, None, "{what}: it left all the same");
    }
}
