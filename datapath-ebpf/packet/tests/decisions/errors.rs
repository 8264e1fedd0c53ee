//! ICMP errors: which pass, of whom, and under which grants.

use crate::honest::{
    ALL, ENTRY_IN, ENTRY_OUT, GUEST, GUEST_MAC, GUEST6, NOW, PEER, PEER6, SETTINGS, TAP, carried, carries,
    datagram, for_ipv6, judge_tap, judge_uplink, v6, with,
};
use etherparse::PacketBuilder;
use pairgate_abi::{
    CARRIES_ALL_NOTED, CARRIES_GRANTS, CARRIES_REPLIES, Carries, DropReason, GATEWAY_MAC, OutEntry,
};
use pairgate_packet::{
    Bytes, Metadata, Packet, grant,
    ip::Family,
    receiver,
    sender::{self, Said},
    transport::{ICMP, ICMPV6, UDP},
};

/// An ICMP message with this body behind its first eight bytes, from the guest to its peer or the other way.
fn message(family: Family, from_guest: bool, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let ethernet = PacketBuilder::ethernet2(GUEST_MAC, GATEWAY_MAC);
    match (family, from_guest) {
        (Family::V4, true) => ethernet.ipv4(GUEST, PEER, 64),
        (Family::V4, false) => ethernet.ipv4(PEER, GUEST, 64),
        (Family::V6, true) => ethernet.ipv6(GUEST6, PEER6, 64),
        (Family::V6, false) => ethernet.ipv6(PEER6, GUEST6, 64),
    }
    .icmpv4_raw(kind, 1, [0; 4])
    .write(&mut frame, body)
    .unwrap();
    if family == Family::V6 {
        frame[20] = ICMPV6;
    }
    frame
}

/// The packet of a frame, without its Ethernet header.
fn packet(frame: Vec<u8>) -> Vec<u8> {
    frame[14..].to_vec()
}

/// The error of that kind about a datagram from port 1 of the one end to port 2 of the other.
fn error(family: Family, from_guest: bool, kind: u8) -> Vec<u8> {
    message(
        family,
        from_guest,
        kind,
        &packet(datagram(family, !from_guest, (1, 2), b"what was sent")),
    )
}

fn sent(frame: &[u8]) -> Result<Packet, DropReason> {
    match sender::check(&Bytes(frame), &Metadata::PLAIN, &TAP)? {
        Said::Packet(packet) => Ok(packet),
        other => panic!("{other:?}"),
    }
}

/// The packet that arrives from the peer.
fn arrived(frame: &[u8]) -> Result<Packet, DropReason> {
    let (entry, inner) = match frame[12] {
        8 => (ENTRY_IN, carried(&SETTINGS, frame)),
        _ => (for_ipv6(ENTRY_IN), carried(&SETTINGS, frame)),
    };
    receiver::check_inner(&Bytes(&inner), &Metadata::PLAIN, 50, &entry, NOW + 1, NOW)
}

fn error_kinds(family: Family) -> Vec<u8> {
    match family {
        Family::V4 => vec![3, 4, 11, 12],
        Family::V6 => (0..128).collect(),
    }
}

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

#[test]
fn an_error_is_a_packet_of_the_flow_that_it_is_about() {
    for family in FAMILIES {
        for kind in error_kinds(family) {
            for packet in [
                sent(&error(family, true, kind)).unwrap(),
                arrived(&error(family, false, kind)).unwrap(),
            ] {
                assert!(packet.is_error, "{family:?} {kind}");
                let ports = (packet.ports.source, packet.ports.destination);
                assert_eq!((packet.protocol, ports), (UDP, ([0, 2], [0, 1])), "{kind}");
            }
        }
        let other = if family == Family::V4 { 13 } else { 128 };
        assert!(!sent(&error(family, true, other)).unwrap().is_error);
    }
}

/// One thing after the other is wrong with what the error carries. Wrong if one passes: a peer could make a guest give up
/// its conversations with others.
#[test]
fn an_error_about_what_its_receiver_has_not_sent_to_its_sender_dies() {
    for (family, source, destination) in [(Family::V4, 12, 16), (Family::V6, 8, 24)] {
        let body_at = if family == Family::V4 { 42 } else { 62 };
        let (kind, protocol) = if family == Family::V4 { (3, 9) } else { (1, 6) };
        for from_guest in [true, false] {
            let good = error(family, from_guest, kind);
            let judged = |frame: &[u8]| if from_guest { sent(frame) } else { arrived(frame) };
            assert!(judged(&good).is_ok());
            let inside = |at: usize, bytes: &[u8]| with(good.clone(), body_at + at, bytes);
            let stranger = match family {
                Family::V4 => vec![10, 77, 0, 99],
                Family::V6 => v6(99).to_vec(),
            };
            let own = packet(datagram(family, from_guest, (1, 2), b"what was sent"));
            for (what, frame) in [
                ("another's packet", inside(source, &stranger)),
                ("a packet to another", inside(destination, &stranger)),
                ("the sender's own packet", message(family, from_guest, kind, &own)),
                (
                    "another version",
                    inside(0, &[if family == Family::V4 { 0x60 } else { 0x45 }]),
                ),
                (
                    "an error",
                    with(
                        inside(protocol, &[good[if family == Family::V4 { 23 } else { 20 }]]),
                        body_at + if family == Family::V4 { 20 } else { 40 },
                        &[kind],
                    ),
                ),
            ] {
                assert_eq!(judged(&frame), Err(DropReason::Inner), "{family:?}: {what}");
            }
            let own_lie = match family {
                Family::V4 => [
                    inside(0, &[0x46]),
                    inside(6, &[0x20]),
                    inside(7, &[1]),
                    with(inside(9, &[ICMP]), body_at + 20, &[5]),
                ],
                Family::V6 => [
                    inside(6, &[44]),
                    inside(6, &[0]),
                    inside(6, &[43]),
                    inside(6, &[60]),
                ],
            };
            for frame in own_lie {
                assert_eq!(
                    judged(&frame),
                    Err(DropReason::Inner),
                    "{family:?}: no guest sends this"
                );
            }
            let header = if family == Family::V4 { 20 } else { 40 };
            let part = &packet(datagram(family, !from_guest, (1, 2), b""))[..header + 7];
            let short = if from_guest {
                DropReason::TooShort
            } else {
                DropReason::Inner
            };
            let cut = message(family, from_guest, kind, part);
            assert_eq!(judged(&cut), Err(short));
            if from_guest {
                // What is missing stands behind the packet, where nothing belongs to it.
                assert_eq!(judged(&[&cut[..], &[0; 8]].concat()), Err(short));
            }
        }
    }
}

#[test]
fn messages_of_routers_come_from_no_guest_and_reach_none() {
    let datagram = packet(datagram(Family::V4, false, (1, 2), b""));
    for kind in [5, 9, 10] {
        let frame = message(Family::V4, true, kind, &datagram);
        assert_eq!(sent(&frame), Err(DropReason::SpoofedNd), "{kind}");
        let frame = message(Family::V4, false, kind, &datagram);
        assert_eq!(arrived(&frame), Err(DropReason::Inner), "{kind}");
    }
}

/// `grants` are (protocol, first port, last port) of the pair; `what` is what its receiver may get without a question.
#[test]
fn grants_judge_an_error_as_a_packet_of_its_flow() {
    let of = |kind, entries: &[(u8, u16, u16)]| carries(kind, entries);
    // The error is about a datagram from the guest's port 1 to the peer's port 2.
    let error = arrived(&error(Family::V4, false, 3)).unwrap();
    let question = grant::answered(&error);
    assert_eq!(
        (question.own_port, question.peer_port, question.protocol),
        ([0, 1], [0, 2], UDP)
    );
    let admitted = |carries: &Carries| grant::receives(carries, &error);
    use grant::Admission::{Granted, IfAnswer};
    assert_eq!(admitted(&ALL), Ok(Granted));
    assert_eq!(admitted(&of(CARRIES_ALL_NOTED, &[])), Ok(Granted));
    // The peer may talk to this port: then it may say what became of the answers from it.
    assert_eq!(admitted(&of(CARRIES_GRANTS, &[(UDP, 1, 1)])), Ok(Granted));
    for entries in [&[(UDP, 2, 2)][..], &[(ICMP, 0, 0)], &[(6, 1, 1)]] {
        assert_eq!(
            admitted(&of(CARRIES_GRANTS, entries)),
            Ok(IfAnswer),
            "{entries:?}"
        );
    }
    assert_eq!(admitted(&of(CARRIES_REPLIES, &[])), Ok(IfAnswer));
}

#[test]
fn an_error_opens_nothing_and_needs_no_grant_of_its_own() {
    let error = error(Family::V4, true, 3);
    let packet = sent(&error).unwrap();
    let (udp, icmp) = ([(UDP, 2, 2)], [(ICMP, 0, 0)]);
    for (carries, expected) in [
        (ALL, Ok(grant::Note::Nothing)),
        (carries(CARRIES_ALL_NOTED, &[]), Ok(grant::Note::Nothing)),
        (carries(CARRIES_REPLIES, &[]), Ok(grant::Note::Nothing)),
        (carries(CARRIES_GRANTS, &[(UDP, 1, 1)]), Ok(grant::Note::Nothing)),
        (carries(CARRIES_GRANTS, &udp), Ok(grant::Note::Nothing)),
        (carries(CARRIES_GRANTS, &icmp), Err(DropReason::Grant)),
    ] {
        assert_eq!(grant::sends(&carries, &packet), expected, "{carries:?}");
    }
    let entry = OutEntry {
        carries: carries(CARRIES_GRANTS, &udp),
        ..ENTRY_OUT
    };
    assert!(judge_tap(&error, Metadata::PLAIN, Some(&entry), NOW + 1).is_ok());
    let arriving = carried(&SETTINGS, &self::error(Family::V4, false, 3));
    assert!(judge_uplink(&arriving, Metadata::PLAIN, Some(&ENTRY_IN), NOW + 1).is_ok());
}

/// Wrong if it fails: an error about something that is no conversation passes as one of a conversation.
#[test]
fn what_an_error_is_about_may_be_of_any_protocol_but_no_error_itself() {
    for (family, own) in [(Family::V4, ICMP), (Family::V6, ICMPV6)] {
        let about = |protocol: u8, body: [u8; 8]| {
            let mut inside = packet(datagram(family, false, (1, 2), b""));
            let at = inside.len() - 8;
            inside[at..].copy_from_slice(&body);
            let field = if family == Family::V4 { 9 } else { 6 };
            inside[field] = protocol;
            sent(&message(family, true, 3, &inside)).map(|packet| packet.protocol)
        };
        assert_eq!(about(200, [7; 8]), Ok(200), "{family:?}");
        let echo = if family == Family::V4 { 8 } else { 128 };
        assert_eq!(about(own, [echo, 0, 0, 0, 0, 7, 0, 1]), Ok(own), "{family:?}");
        let inner = Err(DropReason::Inner);
        let kinds: &[u8] = match family {
            Family::V4 => &[3, 4, 5, 9, 10, 11, 12],
            Family::V6 => &[1, 2, 3, 4, 127, 133, 134, 135, 136, 137],
        };
        for kind in kinds {
            assert_eq!(
                about(own, [*kind, 0, 0, 0, 0, 0, 0, 0]),
                inner,
                "{family:?} {kind}"
            );
        }
    }
}
