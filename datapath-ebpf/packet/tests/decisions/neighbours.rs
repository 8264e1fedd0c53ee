//! Questions for addresses: which are answered, and with what.

use crate::honest::{GUEST, GUEST_MAC, GUEST6, PEER, PEER6, SECOND, TAP, arp, solicitation, v6, with};
use pairgate_abi::{DropReason, GATEWAY_LINK_LOCAL, GATEWAY_MAC, OutEntry};
use pairgate_packet::{
    Bytes, Frame, Metadata,
    address::wide,
    arp, icmp, nd, pair,
    sender::{self, Said},
};

const STRANGER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x66];
const LOCAL: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 0x11];

#[test]
fn of_arp_a_guests_own_question_is_answered_and_nothing_else() {
    let ask = || arp(PEER);
    let spoofed = Err(DropReason::SpoofedArp);
    let multicast = Err(DropReason::Multicast);
    for (what, frame, expected) in [
        ("a question", ask(), Ok(())),
        ("to the gateway alone", with(ask(), 0, &GATEWAY_MAC), Ok(())),
        (
            "to another",
            with(ask(), 0, &STRANGER_MAC),
            Err(DropReason::BadHeader),
        ),
        ("cut", ask()[..41].to_vec(), Err(DropReason::TooShort)),
        (
            "cut within its Ethernet header",
            ask()[..13].to_vec(),
            Err(DropReason::TooShort),
        ),
        (
            "of another medium",
            with(ask(), 15, &[6]),
            Err(DropReason::BadHeader),
        ),
        (
            "of longer addresses",
            with(ask(), 19, &[5]),
            Err(DropReason::BadHeader),
        ),
        ("an answer", with(ask(), 21, &[2]), spoofed),
        ("from another's hardware", with(ask(), 22, &STRANGER_MAC), spoofed),
        (
            "from hardware one bit off",
            with(ask(), 27, &[GUEST_MAC[5] ^ 1]),
            spoofed,
        ),
        ("from another's address", with(ask(), 28, &PEER), spoofed),
        ("from its second address", with(ask(), 28, &SECOND), Ok(())),
        ("for its own address", arp(GUEST), multicast),
        ("for its second address", arp(SECOND), multicast),
        ("a probe for duplicates", with(arp(GUEST), 28, &[0; 4]), multicast),
        ("a probe for another's address", with(ask(), 28, &[0; 4]), spoofed),
        (
            "for its own address, from another's",
            with(arp(GUEST), 28, &PEER),
            spoofed,
        ),
        ("outside of its network", arp([10, 78, 0, 1]), multicast),
    ] {
        let judged = arp::Question::of(&Bytes(&frame), &TAP).map(drop);
        assert_eq!(judged, expected, "{what}");
    }
    let mut reply = [0xee; arp::FRAME];
    let question = arp::Question::of(&Bytes(&ask()), &TAP).unwrap();
    question.reply(&TAP, &mut reply);
    let expected = [
        &GUEST_MAC[..],
        &GATEWAY_MAC,
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2],
        &GATEWAY_MAC,
        &PEER,
        &GUEST_MAC,
        &GUEST,
    ];
    assert_eq!(reply[..], expected.concat());
}

#[test]
fn of_neighbour_discovery_a_guests_own_question_is_answered_and_nothing_else() {
    let ask = || solicitation(PEER6);
    let spoofed = Err(DropReason::SpoofedNd);
    let short = Err(DropReason::TooShort);
    let bad = Err(DropReason::BadHeader);
    let multicast = Err(DropReason::Multicast);
    for (what, frame, expected) in [
        ("a question", ask(), Ok(())),
        ("to the gateway alone", with(ask(), 0, &GATEWAY_MAC), Ok(())),
        ("to another", with(ask(), 0, &STRANGER_MAC), bad),
        ("to a group of another kind", with(ask(), 1, &[0]), multicast),
        (
            "to a MAC that only ends like a group's",
            with(ask(), 0, &[0x32]),
            bad,
        ),
        ("from an address of the link", with(ask(), 22, &LOCAL), Ok(())),
        ("from another's address", with(ask(), 22, &PEER6), spoofed),
        ("from an IPv4 address", with(ask(), 22, &wide(GUEST)), spoofed),
        ("from nobody", with(ask(), 22, &[0; 16]), spoofed),
        ("for its own address", solicitation(GUEST6), spoofed),
        ("for the router", solicitation(GATEWAY_LINK_LOCAL), Ok(())),
        ("for another address of the link", solicitation(LOCAL), spoofed),
        ("outside of its network", solicitation([0x20; 16]), spoofed),
        ("for an IPv4 address", solicitation(wide(PEER)), spoofed),
        ("to the address itself", with(ask(), 38, &PEER6), Ok(())),
        ("to another group", with(ask(), 53, &[0x22]), spoofed),
        ("from beyond the link", with(ask(), 21, &[254]), bad),
        ("IP of another version", with(ask(), 14, &[0x40]), bad),
        ("longer than its frame", with(ask(), 18, &[0, 33]), bad),
        ("without its option", with(ask(), 18, &[0, 24]), Ok(())),
        ("of 23 bytes", with(ask(), 18, &[0, 23]), short),
        ("cut within the address", ask()[..77].to_vec(), short),
        ("an answer", with(ask(), 54, &[136]), spoofed),
        ("with a code", with(ask(), 55, &[1]), spoofed),
        (
            "with another's MAC in it",
            with(ask(), 80, &STRANGER_MAC),
            spoofed,
        ),
        ("with a long MAC in it", with(ask(), 79, &[2]), spoofed),
        ("with another option", with(ask(), 78, &[14]), Ok(())),
        ("without a byte", ask()[..54].to_vec(), spoofed),
        ("cut within its Ethernet header", ask()[..13].to_vec(), short),
    ] {
        let judged = nd::Question::of(&Bytes(&frame), &TAP).map(drop);
        assert_eq!(judged, expected, "{what}");
    }
}

/// A frame of which no more is read than programs have at hand.
struct Within<'a>(&'a [u8]);

impl Frame for Within<'_> {
    fn length(&self) -> u32 {
        self.0.len() as u32
    }

    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        assert!(
            at + N <= nd::READ,
            "{N} bytes at {at} are not at hand in a program"
        );
        Bytes(self.0).read(at)
    }
}

#[test]
fn no_more_of_a_question_is_read_than_is_at_hand() {
    let ask = solicitation(PEER6);
    assert!(nd::Question::of(&Within(&ask), &TAP).is_ok());
}

/// Wrong if it fails: some guests' stacks would drop the answer, those whose addresses happen to sum up to a second
/// carry.
#[test]
fn checksums_of_answers_are_right_for_every_end_of_an_address() {
    for last in 0..=u16::MAX {
        let mut target = PEER6;
        target[14..].copy_from_slice(&last.to_be_bytes());
        if target == GUEST6 {
            continue;
        }
        let question = nd::Question::of(&Bytes(&solicitation(target)), &TAP).unwrap();
        let mut reply = [0; nd::FRAME];
        question.reply(&TAP, &mut reply);
        let pseudo = [&reply[22..54], &[0, 0, 0, 32, 0, 0, 0, 58]].concat();
        let words = pseudo.iter().chain(&reply[54..]).copied().collect::<Vec<u8>>();
        let sum: u32 = words
            .as_chunks::<2>()
            .0
            .iter()
            .map(|word| u32::from(u16::from_be_bytes(*word)))
            .sum();
        // RFC 1071: with the checksum in its place the sum is all ones.
        assert_eq!((sum >> 16) + (sum & 0xffff), 0xffff, "{last:#x}");
    }
}

/// Wrong if it fails: a question is answered while the kernel would still write into it or make many of it.
#[test]
fn a_question_for_an_address_goes_to_the_tap_itself() {
    for (frame, expected) in [(arp(PEER), Said::Arp), (solicitation(PEER6), Said::Neighbour)] {
        let judged = sender::check(&Bytes(&frame), &Metadata::PLAIN, &TAP);
        assert_eq!(judged, Ok(expected));
    }
}

/// Where no entry was found, the registry is not asked about what no pair can be.
#[test]
fn nobody_is_asked_about_destinations_that_cannot_be_peers() {
    let none = None::<&OutEntry>;
    for (to, expected) in [
        (GUEST, DropReason::BadHeader),
        (SECOND, DropReason::BadHeader),
        ([10, 77, 0, 255], DropReason::Multicast),
        ([10, 77, 0, 254], DropReason::NoPair),
        (PEER, DropReason::NoPair),
    ] {
        let frame = crate::honest::udp((GUEST_MAC, GATEWAY_MAC), (GUEST, to), (1, 2), b"x");
        let Ok(Said::Packet(packet)) = sender::check(&Bytes(&frame), &Metadata::PLAIN, &TAP) else {
            panic!("{to:?}");
        };
        let judged = pair::check(&TAP, &packet, none, u64::MAX, 0).map(drop);
        assert_eq!(judged, Err(expected), "{to:?}");
    }
    let frame = crate::honest::udp6((GUEST_MAC, GATEWAY_MAC), (GUEST6, v6(0x77)), (1, 2), b"x");
    assert!(matches!(
        sender::check(&Bytes(&frame), &Metadata::PLAIN, &TAP),
        Ok(Said::Packet(_))
    ));
}

#[test]
fn only_icmp_has_errors() {
    for kind in 0..=u8::MAX {
        assert_eq!(icmp::is_error(1, kind), [3, 4, 11, 12].contains(&kind));
        assert_eq!(icmp::is_error(58, kind), kind < 128);
        for protocol in [0, 6, 17, 57, 59, 132, 255] {
            assert!(!icmp::is_error(protocol, kind), "{protocol} {kind}");
        }
        assert_eq!(icmp::is_of_routers(1, kind), [5, 9, 10].contains(&kind));
        assert!(!icmp::is_of_routers(58, kind));
    }
}

#[test]
fn nothing_is_read_beyond_the_bytes_that_there_are() {
    let frame = Bytes(&[1, 2, 3]);
    assert_eq!(frame.read(1), Some([2, 3]));
    assert_eq!(frame.read::<2>(2), None);
    assert_eq!(frame.read::<1>(usize::MAX), None);
    assert_eq!(frame.read::<8>(usize::MAX - 3), None);
}
