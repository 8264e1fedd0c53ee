//! What a guest asks about its own configuration: what is taken for a question, and what dies as one.

use crate::honest::{GUEST, GUEST_MAC, GUEST6, PEER, TAP, udp, udp6, with};
use etherparse::PacketBuilder;
use pairgate_abi::{DropReason, GATEWAY_MAC, QUESTION_BYTES, SERVER_V4};
use pairgate_packet::{
    Bytes, Checksum, Gso, Metadata,
    sender::{self, Said},
};

const LOCAL: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 0x11];
const ALL_SERVERS: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2];
const ALL_ROUTERS: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
const STRANGER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x66];
const EVERYBODY: [u8; 6] = [0xff; 6];
/// Where the UDP header stands, and the message behind it.
const UDP: usize = 34;
const MESSAGE: usize = 42;
const UDP6: usize = 54;
/// Where a solicitation's option stands.
const OPTION: usize = 62;

type Line = (&'static str, Vec<u8>, Result<usize, DropReason>);

/// The bytes of the question, behind its Ethernet header.
fn said(frame: &[u8], metadata: Metadata) -> Result<usize, DropReason> {
    match sender::check(&Bytes(frame), &metadata, &TAP)? {
        Said::Question(length) => Ok(length as usize),
        other => panic!("no question: {other:?}"),
    }
}

fn check(lines: Vec<Line>) {
    for (what, frame, expected) in lines {
        assert_eq!(said(&frame, Metadata::PLAIN), expected, "{what}");
    }
}

/// What a client says, with so much behind its fixed part.
fn discover(options: usize) -> Vec<u8> {
    let mut message = vec![0; 240 + options];
    message[..8].copy_from_slice(&[1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef]);
    message[28..34].copy_from_slice(&GUEST_MAC);
    message[236..240].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
    udp((GUEST_MAC, EVERYBODY), ([0; 4], [255; 4]), (68, 67), &message)
}

fn renew() -> Vec<u8> {
    let message = discover(0)[MESSAGE..].to_vec();
    udp((GUEST_MAC, GATEWAY_MAC), (GUEST, SERVER_V4), (68, 67), &message)
}

#[test]
fn of_dhcpv4_only_a_clients_own_question_is_one() {
    let most = QUESTION_BYTES - MESSAGE - 240;
    let put = |at: usize, bytes: &[u8]| with(discover(0), at, bytes);
    let short = udp((GUEST_MAC, EVERYBODY), ([0; 4], [255; 4]), (68, 67), &[1; 239]);
    check(vec![
        ("to everybody", discover(0), Ok(268)),
        ("with options", discover(60), Ok(328)),
        ("to its server", renew(), Ok(268)),
        (
            "as much as a client says",
            discover(most),
            Ok(QUESTION_BYTES - 14),
        ),
        ("one byte more", discover(most + 1), Err(DropReason::TooBig)),
        (
            "under the gateway's MAC",
            with(discover(0), 0, &GATEWAY_MAC),
            Ok(268),
        ),
        (
            "under another's MAC",
            with(discover(0), 0, &STRANGER_MAC),
            Err(DropReason::BadHeader),
        ),
        (
            "from a peer",
            with(discover(0), 26, &PEER),
            Err(DropReason::SpoofedAddress),
        ),
        ("without its cookie", short, Err(DropReason::TooShort)),
        (
            "its length lies",
            put(UDP + 4, &[0, 9]),
            Err(DropReason::BadHeader),
        ),
        (
            "its packet's length lies",
            put(16, &[0xff; 2]),
            Err(DropReason::BadHeader),
        ),
        ("an answer", put(MESSAGE, &[2]), Err(DropReason::BadHeader)),
        (
            "of another medium",
            put(MESSAGE + 1, &[2]),
            Err(DropReason::BadHeader),
        ),
        (
            "of longer addresses",
            put(MESSAGE + 2, &[7]),
            Err(DropReason::BadHeader),
        ),
        (
            "by a relay's hands",
            put(MESSAGE + 3, &[1]),
            Err(DropReason::BadHeader),
        ),
        ("for a relay", put(MESSAGE + 27, &[1]), Err(DropReason::BadHeader)),
        (
            "for another's hardware",
            put(MESSAGE + 28, &STRANGER_MAC),
            Err(DropReason::SpoofedMac),
        ),
        (
            "for hardware one bit off",
            put(MESSAGE + 33, &[0x10]),
            Err(DropReason::SpoofedMac),
        ),
    ]);
}

/// Wrong if it fails: the agent would be asked by what is none of its business, or not by what is.
#[test]
fn what_is_no_question_of_dhcpv4_goes_the_way_of_its_kind() {
    let variants = |frame: fn() -> Vec<u8>| {
        [
            ("a first fragment", with(frame(), 20, &[0x20])),
            ("a later fragment", with(frame(), 21, &[0x01])),
            ("with options of IP", with(frame(), 14, &[0x46])),
            ("by TCP", with(frame(), 23, &[6])),
            ("to another port", with(frame(), 37, &[66])),
            ("from another port", with(frame(), 35, &[69])),
            ("to a peer", with(frame(), 30, &PEER)),
        ]
    };
    for (what, frame) in variants(|| discover(0)) {
        let judged = sender::check(&Bytes(&frame), &Metadata::PLAIN, &TAP);
        assert_eq!(judged, Err(DropReason::Multicast), "{what}, to everybody");
    }
    for ((what, frame), expected) in variants(renew).into_iter().zip([
        Some(DropReason::Fragment),
        Some(DropReason::Fragment),
        Some(DropReason::BadHeader),
        None,
        None,
        None,
        None,
    ]) {
        let judged = sender::check(&Bytes(&frame), &Metadata::PLAIN, &TAP);
        assert_eq!(judged.err(), expected, "{what}");
        assert!(!matches!(judged, Ok(Said::Question(_))), "{what}");
    }
    let whole = with(renew(), 20, &[0x40]);
    assert_eq!(said(&whole, Metadata::PLAIN), Ok(268), "may it be cut or not");
}

fn dhcpv6(source: [u8; 16], message: &[u8]) -> Vec<u8> {
    let group = [0x33, 0x33, 0, 1, 0, 2];
    udp6((GUEST_MAC, group), (source, ALL_SERVERS), (546, 547), message)
}

#[test]
fn of_dhcpv6_only_what_clients_say_is_one() {
    let solicit = || dhcpv6(LOCAL, &[1, 0, 0, 7, 0, 1]);
    let most = QUESTION_BYTES - UDP6 - 8;
    check(vec![
        ("a question", solicit(), Ok(54)),
        ("the least", dhcpv6(LOCAL, &[1, 0, 0, 7]), Ok(52)),
        (
            "one byte less, and stray bytes behind it",
            [dhcpv6(LOCAL, &[1, 0, 0]), vec![0; 9]].concat(),
            Err(DropReason::TooShort),
        ),
        (
            "one byte less",
            dhcpv6(LOCAL, &[1, 0, 0]),
            Err(DropReason::TooShort),
        ),
        (
            "under the gateway's MAC",
            with(solicit(), 0, &GATEWAY_MAC),
            Ok(54),
        ),
        (
            "under another's MAC",
            with(solicit(), 0, &STRANGER_MAC),
            Err(DropReason::BadHeader),
        ),
        (
            "its packet's length lies",
            with(solicit(), 18, &[0xff; 2]),
            Err(DropReason::BadHeader),
        ),
        (
            "from its own address",
            dhcpv6(GUEST6, &[1; 4]),
            Err(DropReason::SpoofedAddress),
        ),
        (
            "its length lies",
            with(solicit(), UDP6 + 4, &[0, 9]),
            Err(DropReason::BadHeader),
        ),
        (
            "as much as a client says",
            dhcpv6(LOCAL, &vec![1; most]),
            Ok(QUESTION_BYTES - 14),
        ),
        (
            "one byte more",
            dhcpv6(LOCAL, &vec![1; most + 1]),
            Err(DropReason::TooBig),
        ),
    ]);
    let of_clients = [1, 3, 4, 5, 6, 8, 9, 11];
    for kind in 0..=u8::MAX {
        let expected = match of_clients.contains(&kind) {
            true => Ok(52),
            false => Err(DropReason::BadHeader),
        };
        let frame = dhcpv6(LOCAL, &[kind, 0, 0, 7]);
        assert_eq!(said(&frame, Metadata::PLAIN), expected, "type {kind}");
    }
    for (what, frame) in [
        ("by TCP", with(solicit(), 20, &[6])),
        ("to another port", with(solicit(), UDP6 + 3, &[0x24])),
        ("from another port", with(solicit(), UDP6 + 1, &[0x24])),
        ("to another group", with(solicit(), 53, &[3])),
    ] {
        let judged = sender::check(&Bytes(&frame), &Metadata::PLAIN, &TAP);
        assert_eq!(judged, Err(DropReason::Multicast), "{what}");
    }
}

fn to_routers(source: [u8; 16], option: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(GUEST_MAC, [0x33, 0x33, 0, 0, 0, 2])
        .ipv6(source, ALL_ROUTERS, 255)
        .icmpv6_raw(133, 0, [0; 4])
        .write(&mut frame, option)
        .unwrap();
    frame
}

#[test]
fn of_solicitations_only_the_links_own_is_one() {
    let own = [&[1, 1][..], &GUEST_MAC].concat();
    let ask = || to_routers(LOCAL, &own);
    let spoofed = Err(DropReason::SpoofedNd);
    let most = QUESTION_BYTES - OPTION;
    let cut = |bytes| ask()[..bytes].to_vec();
    let filled = |length| to_routers(LOCAL, &[&own[..], &vec![0; length - 8]].concat());
    check(vec![
        ("a question", ask(), Ok(56)),
        ("without its MAC in it", to_routers(LOCAL, &[]), Ok(48)),
        ("from nobody yet", to_routers([0; 16], &[]), Ok(48)),
        (
            "with another option",
            to_routers(LOCAL, &[14, 1, 1, 2, 3, 4, 5, 6]),
            Ok(56),
        ),
        (
            "with a long one",
            to_routers(LOCAL, &[[14, 2].as_slice(), &[0; 14]].concat()),
            Ok(64),
        ),
        ("under the gateway's MAC", with(ask(), 0, &GATEWAY_MAC), Ok(56)),
        (
            "under another's MAC",
            with(ask(), 0, &STRANGER_MAC),
            Err(DropReason::BadHeader),
        ),
        (
            "IP of another version",
            with(ask(), 14, &[0x40]),
            Err(DropReason::BadHeader),
        ),
        (
            "from beyond the link",
            with(ask(), 21, &[254]),
            Err(DropReason::BadHeader),
        ),
        (
            "longer than its frame",
            with(ask(), 18, &[0, 17]),
            Err(DropReason::BadHeader),
        ),
        (
            "of seven bytes",
            with(ask(), 18, &[0, 7]),
            Err(DropReason::TooShort),
        ),
        ("cut within its header", cut(61), Err(DropReason::TooShort)),
        (
            "half of an option",
            with(cut(OPTION + 4), 18, &[0, 12]),
            Err(DropReason::TooShort),
        ),
        ("with a code", with(ask(), 55, &[1]), spoofed),
        ("from its own address", to_routers(GUEST6, &own), spoofed),
        ("an option of no length", with(ask(), OPTION + 1, &[0]), spoofed),
        (
            "a MAC of 14 bytes",
            to_routers(LOCAL, &[[1, 2].as_slice(), &[0; 14]].concat()),
            spoofed,
        ),
        (
            "another's MAC in it",
            with(ask(), OPTION + 2, &STRANGER_MAC),
            spoofed,
        ),
        ("as much as a client says", filled(most), Ok(QUESTION_BYTES - 14)),
        ("one byte more", filled(most + 1), Err(DropReason::TooBig)),
    ]);
    for (what, frame) in [
        ("an answer", with(ask(), 54, &[134])),
        ("to all nodes", with(ask(), 53, &[1])),
    ] {
        let judged = sender::check(&Bytes(&frame), &Metadata::PLAIN, &TAP);
        assert_eq!(judged, Ok(Said::Neighbour), "{what}: as neighbour discovery");
    }
}

/// Wrong if it fails: the kernel would write into a question after it was judged, or make many of it.
#[test]
fn a_question_leaves_nothing_to_the_kernel_but_its_own_checksum() {
    let partial = |start, offset| Metadata {
        checksum: Checksum::Partial { start, offset },
        ..Metadata::PLAIN
    };
    let cut = |start, kind| Metadata {
        gso: Some(Gso { size: 300, kind }),
        ..partial(start, 6)
    };
    let solicit = dhcpv6(LOCAL, &[1, 0, 0, 7]);
    for (frame, at) in [(discover(0), UDP as u32), (solicit, UDP6 as u32)] {
        let length = frame.len() - 14;
        assert_eq!(said(&frame, partial(at, 6)), Ok(length));
        for (start, offset) in [(at, 16), (at, 5), (at + 1, 6), (at - 1, 6), (26, 0)] {
            let judged = said(&frame, partial(start, offset));
            assert_eq!(judged, Err(DropReason::Offload), "{start} {offset}");
        }
        assert_eq!(said(&frame, cut(at, Gso::UDP_L4)), Err(DropReason::Offload));
    }
    let ask = to_routers(LOCAL, &[]);
    assert_eq!(said(&ask, partial(54, 2)), Err(DropReason::Offload));
}
