//! Every drop reason: which decision gives it, and a frame that gets it; or why no decision here can.
//!
//! The fine table, with every variant of every lie, runs on the loaded programs in `tests/e2e`. This one runs
//! anywhere and proves that no reason is a dead word.

use crate::honest::{
    ENTRY_IN, ENTRY_OUT, GUEST_MAC, GUEST6, NOW, PEER, PEER6, TAP, arp, from_guest, from_guest6, from_peer,
    judge_tap, judge_uplink, solicitation, with,
};
use pairgate_abi::{CARRIES_GRANTS, CARRIES_REPLIES, DROP_REASONS, DropReason, Handle, InEntry, OutEntry};
use pairgate_packet::{Bytes, Checksum, Metadata, address::Address, delivered, pair, receiver};

/// Who can give a reason.
enum Giver {
    /// A decision of this crate, shown on a frame.
    Decision(Result<(), DropReason>),
    /// The programs: they cannot find a map entry, a helper failed, or a map says so.
    Program,
}

#[rustfmt::skip] // one reason, one line
fn giver(reason: DropReason) -> Giver {
    use Giver::{Decision, Program};
    let plain = Metadata::PLAIN;
    let tap = |frame: &[u8], metadata| Decision(judge_tap(frame, metadata, Some(&ENTRY_OUT), NOW + 1).map(drop));
    let entry = |entry: Option<&OutEntry>, lease| Decision(judge_tap(&from_guest(), plain, entry, lease).map(drop));
    let uplink = |frame: &[u8], metadata, entry: Option<&InEntry>, lease| {
        Decision(judge_uplink(frame, metadata, entry, lease).map(drop))
    };
    let lie = Metadata { checksum: Checksum::Partial { start: 26, offset: 0 }, ..plain };
    let only_web = crate::honest::carries(CARRIES_GRANTS, &[(6, 443, 443)]);
    let arriving = from_peer();
    match reason {
        DropReason::TooShort => tap(&from_guest()[..33], plain),
        DropReason::BadHeader => tap(&with(from_guest(), 14, &[0x46]), plain),
        DropReason::Ethertype => tap(&with(from_guest(), 12, &[0x88, 0x47]), plain),
        DropReason::Vlan => tap(&from_guest(), Metadata { vlan: true, ..plain }),
        DropReason::Offload => tap(&from_guest(), lie),
        DropReason::SpoofedMac => tap(&with(from_guest(), 6, &[2; 6]), plain),
        DropReason::SpoofedAddress => tap(&with(from_guest(), 26, &PEER), plain),
        DropReason::SpoofedArp => tap(&with(arp(PEER), 28, &PEER), plain),
        DropReason::SpoofedNd => tap(&with(solicitation(PEER6), 22, &PEER6), plain),
        DropReason::Fragment => tap(&with(from_guest6(), 20, &[44]), plain),
        DropReason::ExtensionHeader => tap(&with(from_guest6(), 20, &[0]), plain),
        DropReason::Multicast => tap(&with(from_guest(), 30, &[224, 0, 0, 1]), plain),
        DropReason::NoPair => entry(None, NOW + 1),
        DropReason::Grant => entry(Some(&OutEntry { carries: only_web, ..ENTRY_OUT }), NOW + 1),
        DropReason::Expired => entry(Some(&OutEntry { deadline_ns: NOW, ..ENTRY_OUT }), NOW + 1),
        DropReason::Lease => entry(Some(&ENTRY_OUT), NOW),
        DropReason::TooBig => entry(Some(&OutEntry { mtu: 27, ..ENTRY_OUT }), NOW + 1),
        DropReason::Internal => entry(Some(&OutEntry { dst_host: [0x20; 16], ..ENTRY_OUT }), NOW + 1),
        DropReason::Handle => uplink(&arriving, plain, None, NOW + 1),
        DropReason::Outer => uplink(&with(arriving, 26, &[9; 4]), plain, Some(&ENTRY_IN), NOW + 1),
        DropReason::Inner => uplink(&with(arriving, 76, &[9; 4]), plain, Some(&ENTRY_IN), NOW + 1),
        DropReason::NotDelivered => Decision(delivered::check(&Bytes(&for_guest()), &TAP, 1, 2).map(drop)),
        DropReason::NoState | DropReason::NextHop | DropReason::Room | DropReason::Denied | DropReason::HoldFull => {
            Program
        }
    }
}

#[test]
fn every_reason_is_given_by_the_decision_that_it_names() {
    for reason in DROP_REASONS {
        if let Giver::Decision(result) = giver(*reason) {
            assert_eq!(
                result,
                Err(*reason),
                "{} is a word that no packet can get here",
                reason.word()
            );
        }
    }
}

#[test]
fn honest_frames_pass_so_that_the_table_above_proves_something() {
    let metadata = Metadata::PLAIN;
    for frame in [from_guest(), from_guest6()] {
        assert!(judge_tap(&frame, metadata, Some(&ENTRY_OUT), NOW + 1).is_ok());
    }
    for question in [arp(PEER), solicitation(PEER6)] {
        assert!(
            judge_tap(&question, metadata, None, 0).is_ok(),
            "a question needs neither pair nor lease"
        );
    }
    assert!(judge_uplink(&from_peer(), metadata, Some(&ENTRY_IN), NOW + 1).is_ok());
    assert!(delivered::check(&Bytes(&for_guest()), &TAP, 2, 2).is_ok());
    assert_eq!((TAP.mac, TAP.addresses[1]), (GUEST_MAC, GUEST6));
}

#[test]
fn at_the_very_instant_of_a_deadline_it_has_passed() {
    let plain = Metadata::PLAIN;
    for (deadline, lease, expected) in [
        (NOW + 1, NOW + 1, None),
        (NOW, NOW + 1, Some(DropReason::Expired)),
        (NOW + 1, NOW, Some(DropReason::Lease)),
        (NOW, NOW, Some(DropReason::Expired)),
        (0, u64::MAX, Some(DropReason::Expired)),
        (u64::MAX, 0, Some(DropReason::Lease)),
    ] {
        let (out, pair) = (
            OutEntry {
                deadline_ns: deadline,
                ..ENTRY_OUT
            },
            InEntry {
                deadline_ns: deadline,
                ..ENTRY_IN
            },
        );
        let sent = judge_tap(&from_guest(), plain, Some(&out), lease).err();
        let got = judge_uplink(&from_peer(), plain, Some(&pair), lease).err();
        assert_eq!(
            (sent, got),
            (expected, expected),
            "deadline {deadline}, lease {lease}, now {NOW}"
        );
    }
}

#[test]
fn a_refusal_and_a_full_tap_end_where_they_say() {
    assert!(pair::is_refused(Some(NOW + 1), NOW));
    assert!(
        !pair::is_refused(Some(NOW), NOW),
        "a refusal that has ended still stands"
    );
    assert!(!pair::is_refused(None, NOW));
    assert!(pair::has_room(63, 0) && !pair::has_room(64, 0) && pair::has_room(64, 1));
    assert!(
        pair::has_room(3, 9),
        "a count that the agent set back locks the tap for ever"
    );
    assert!(
        pair::can_be_held(2062, false) && !pair::can_be_held(2063, false) && !pair::can_be_held(60, true)
    );
}

#[test]
fn a_pair_of_replies_lets_nothing_begin() {
    let replies = crate::honest::carries(CARRIES_REPLIES, &[]);
    let entry = InEntry {
        carries: replies,
        ..ENTRY_IN
    };
    assert_eq!(
        judge_uplink(&from_peer(), Metadata::PLAIN, Some(&entry), NOW + 1),
        Err(DropReason::Grant)
    );
    let unknown = InEntry {
        carries: crate::honest::carries(9, &[]),
        ..ENTRY_IN
    };
    assert_eq!(
        judge_uplink(&from_peer(), Metadata::PLAIN, Some(&unknown), NOW + 1),
        Err(DropReason::Grant),
        "a kind that nobody knows carries something"
    );
}

fn for_guest() -> Vec<u8> {
    with(from_peer(), 0, &GUEST_MAC)
}

#[test]
fn what_is_for_another_guest_is_not_delivered_whoever_sent_it() {
    for frame in [
        with(for_guest(), 5, &[GUEST_MAC[5] ^ 1]),
        vec![0xff; 60],
        Vec::new(),
        GUEST_MAC[..5].to_vec(),
    ] {
        assert_eq!(
            delivered::check(&Bytes(&frame), &TAP, 2, 2),
            Err(DropReason::NotDelivered),
            "an entry that has outlived its guest would deliver to whoever has its tap's number now"
        );
    }
}

#[test]
fn while_nobody_has_chosen_a_mark_nothing_is_delivered() {
    for mark in [0, 1, u32::MAX] {
        assert_eq!(
            delivered::check(&Bytes(&for_guest()), &TAP, mark, 0),
            Err(DropReason::NoState),
            "an unmarked frame would count as delivered by us"
        );
    }
}

#[test]
fn a_frame_with_flags_beside_its_group_has_no_handle_of_ours_when_the_device_has_taken_it_apart() {
    let peer = Address::of(&ENTRY_IN.src_host);
    let handle = |vni, group| receiver::from_device(vni, group, peer, peer).handle;
    assert_eq!(Some(handle(7, 8)), Handle::new(7, 8));
    for (vni, group) in [
        (7, 8 | 1 << 16),
        (7, 8 | 1 << 19),
        (7, 8 | 1 << 22),
        (7, 8 | 1 << 24),
        (7 | 1 << 24, 8),
    ] {
        assert_eq!(
            handle(vni, group),
            Handle::from_wire([0; 3], [0; 2]),
            "{vni:#x} {group:#x}"
        );
    }
}
