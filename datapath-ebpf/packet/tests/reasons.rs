//! Every drop reason: which decision gives it, and a frame that gets it; or why no decision here can.
//!
//! The fine table, with every variant of every lie, runs on the loaded programs in `tests/e2e`. This one runs
//! anywhere and proves that no reason is a dead word.

mod honest;

use honest::{
    ENTRY_IN, ENTRY_OUT, GUEST, GUEST_MAC, NOW, PEER, SETTINGS, TAP, arp, from_guest, judge_tap,
    judge_uplink, with,
};
use pairgate_abi::{DROP_REASONS, DropReason, InEntry, OutEntry};
use pairgate_packet::{Checksum, Metadata, delivered};

/// Who can give a reason.
enum Giver {
    /// A decision of this crate, shown on a frame.
    Decision(Result<(), DropReason>),
    /// The programs, which cannot find a map entry or whose helper failed.
    Program,
    /// Something that comes later: IPv6, refusals kept in the map, grants with ports, held packets.
    Later,
}

#[rustfmt::skip] // one reason, one line
fn giver(reason: DropReason) -> Giver {
    use Giver::{Decision, Later, Program};
    let plain = Metadata::PLAIN;
    let tap = |frame: &[u8], metadata| Decision(judge_tap(frame, metadata, Some(&ENTRY_OUT), NOW + 1).map(drop));
    let entry = |entry: Option<&OutEntry>, lease| Decision(judge_tap(&from_guest(), plain, entry, lease).map(drop));
    let uplink = |frame: &[u8], metadata, entry: Option<&InEntry>, lease| {
        Decision(judge_uplink(frame, metadata, entry, lease).map(drop))
    };
    let lie = Metadata { checksum: Checksum::Partial { start: 26, offset: 0 }, ..plain };
    let arriving = honest::from_peer();
    match reason {
        DropReason::TooShort => tap(&from_guest()[..33], plain),
        DropReason::BadHeader => tap(&with(from_guest(), 14, &[0x46]), plain),
        DropReason::Ethertype => tap(&with(from_guest(), 12, &[0x86, 0xdd]), plain),
        DropReason::Vlan => tap(&from_guest(), Metadata { vlan: true, ..plain }),
        DropReason::Offload => tap(&from_guest(), lie),
        DropReason::SpoofedMac => tap(&with(from_guest(), 6, &[2; 6]), plain),
        DropReason::SpoofedAddress => tap(&with(from_guest(), 26, &PEER), plain),
        DropReason::SpoofedArp => tap(&with(arp(PEER), 28, &PEER), plain),
        DropReason::Fragment => tap(&with(from_guest(), 20, &[0x20, 0]), plain),
        DropReason::Multicast => tap(&with(from_guest(), 30, &[224, 0, 0, 1]), plain),
        DropReason::NoPair => entry(None, NOW + 1),
        DropReason::Expired => entry(Some(&OutEntry { deadline_ns: NOW, ..ENTRY_OUT }), NOW + 1),
        DropReason::Lease => entry(Some(&ENTRY_OUT), NOW),
        DropReason::TooBig => entry(Some(&OutEntry { mtu: 27, ..ENTRY_OUT }), NOW + 1),
        DropReason::Internal => entry(Some(&OutEntry { dst_host: [0x20; 16], ..ENTRY_OUT }), NOW + 1),
        DropReason::Handle => uplink(&arriving, plain, None, NOW + 1),
        DropReason::Outer => uplink(&with(arriving, 26, &[9; 4]), plain, Some(&ENTRY_IN), NOW + 1),
        DropReason::Inner => uplink(&with(arriving, 76, &[9; 4]), plain, Some(&ENTRY_IN), NOW + 1),
        DropReason::NotDelivered => Decision(delivered::check(1, 2).map(drop)),
        DropReason::NoState | DropReason::NextHop | DropReason::Room => Program,
        DropReason::SpoofedNd | DropReason::ExtensionHeader | DropReason::Denied
        | DropReason::Grant | DropReason::HoldFull => Later,
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
    assert!(judge_tap(&from_guest(), metadata, Some(&ENTRY_OUT), NOW + 1).is_ok());
    assert!(
        judge_tap(&arp(PEER), metadata, None, 0).is_ok(),
        "a question needs neither pair nor lease"
    );
    assert!(judge_uplink(&honest::from_peer(), metadata, Some(&ENTRY_IN), NOW + 1).is_ok());
    assert!(delivered::check(2, 2).is_ok());
    assert_eq!((TAP.mac, TAP.ipv4, SETTINGS.mark), (GUEST_MAC, GUEST, 2));
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
        let got = judge_uplink(&honest::from_peer(), plain, Some(&pair), lease).err();
        assert_eq!(
            (sent, got),
            (expected, expected),
            "deadline {deadline}, lease {lease}, now {NOW}"
        );
    }
}

#[test]
fn while_nobody_has_chosen_a_mark_nothing_is_delivered() {
    for mark in [0, 1, u32::MAX] {
        assert_eq!(
            delivered::check(mark, 0),
            Err(DropReason::NoState),
            "an unmarked frame would count as delivered by us"
        );
    }
}
