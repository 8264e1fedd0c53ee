//! One valid packet, and everything the host can know or not know when it comes: the pair, its time and size, the
//! host's lease, refusals, what is held already, the way to the peer host.
use super::{
    addresses::{GROUP, NEIGHBOUR},
    table::{CARRIED, Case, HELD, NOTHING, Outcomes, PASSES, both, dies},
};
use crate::pairs::carries;
use pairgate_abi::CARRIES_GRANTS;

const SECOND: i64 = 1_000_000_000;
const ENDED: Outcomes = [HELD, "expired", HELD];
/// Only a sender asks.
const ASKED: Outcomes = [HELD, NOTHING, HELD];

/// The sender alone is refused.
const fn sender(reason: &'static str) -> Outcomes {
    [reason, NOTHING, reason]
}

pub(crate) fn cases() -> Vec<Case> {
    [times(), sizes(), absences(), orders()]
        .into_iter()
        .flatten()
        .collect()
}

#[rustfmt::skip] // one case, one line
fn times() -> Vec<Case> {
    vec![
        both("deadline: in ten seconds", |s| s.udp(), CARRIED).when(|now| now.deadline = Some(10 * SECOND)),
        both("deadline: this very instant", |s| s.udp(), ENDED).when(|now| now.deadline = Some(0)),
        both("deadline: a nanosecond ago", |s| s.udp(), ENDED).when(|now| now.deadline = Some(-1)),
        both("deadline: at boot", |s| s.udp(), ENDED).when(|now| now.deadline = Some(i64::MIN)),
        both("deadline: passed, for a stream", |s| s.segment(1, 2), ENDED).when(|now| now.deadline = Some(-SECOND)),
        both("deadline: passed, for a ping", |s| s.echo(7), ENDED).when(|now| now.deadline = Some(-SECOND)),
        both("deadline: passed, and larger than can be held", |s| s.sized(2049), ["expired"; 3]).when(|now| now.deadline = Some(-1)),
        both("deadline: passed, and refused since", |s| s.udp(), ["denied", "expired", "denied"]).when(|now| { now.deadline = Some(-1); now.refused = Some(10 * SECOND); }),
        both("deadline: passed, and asked often enough", |s| s.udp(), ["expired"; 3]).when(|now| { now.deadline = Some(-1); now.asked_enough = true; }),
        both("deadline: passed, and as much held as may be", |s| s.udp(), ["hold_full", "expired", "hold_full"]).when(|now| { now.deadline = Some(-1); now.held = 64; }),
        both("lease: for ten seconds", |s| s.udp(), CARRIED).when(|now| now.lease = Some(10 * SECOND)),
        both("lease: ends this very instant", |s| s.udp(), ["lease"; 3]).when(|now| now.lease = Some(0)),
        both("lease: ended a nanosecond ago", |s| s.udp(), ["lease"; 3]).when(|now| now.lease = Some(-1)),
        both("lease: never given", |s| s.udp(), ["lease"; 3]).when(|now| now.lease = Some(i64::MIN)),
        both("lease: ended, for a stream", |s| s.segment(1, 2), ["lease"; 3]).when(|now| now.lease = Some(-1)),
        both("lease: ended, and so has the pair", |s| s.udp(), ENDED).when(|now| { now.lease = Some(-1); now.deadline = Some(-1); }),
        both("lease: ended, and the packet is too large", |s| s.sized(1401), ["lease"; 3]).when(|now| now.lease = Some(-1)),
    ]
}

#[rustfmt::skip] // one case, one line
fn sizes() -> Vec<Case> {
    let big = ["too_big"; 3];
    vec![
        both("size: exactly the pair's", |s| s.sized(1400), CARRIED),
        both("size: one byte more than the pair's", |s| s.sized(1401), big),
        both("size: one byte less than the pair's", |s| s.sized(1399), CARRIED),
        both("size: more than the pair's by its padding alone", |s| s.sized(1400).padded(9), [PASSES, "inner", PASSES]),
        both("size: twice the pair's", |s| s.sized(2800), big),
        both("size: one more than the least of IPv6", |s| s.sized(1281), big).when(|now| now.mtu = 1280),
        both("size: exactly the least of IPv6", |s| s.sized(1280), CARRIED).when(|now| now.mtu = 1280),
        both("size: a pair of none", |s| s.of(200, &[]), big).when(|now| now.mtu = 0),
        both("size: a pair of 65535", |s| s.sized(3000), CARRIED).when(|now| now.mtu = 65_535),
    ]
}

#[rustfmt::skip] // one case, one line
fn absences() -> Vec<Case> {
    vec![
        both("no pair", |s| s.udp(), ASKED).when(|now| now.paired = false),
        both("no pair, for a stream", |s| s.tcp(), ASKED).when(|now| now.paired = false),
        both("no pair, for a ping", |s| s.echo(7), ASKED).when(|now| now.paired = false),
        both("no pair, for an unknown protocol", |s| s.of(200, &[1; 9]), ASKED).when(|now| now.paired = false),
        both("no pair, and stray bytes, which are not held", |s| s.udp().padded(7), ASKED).when(|now| now.paired = false),
        both("no pair, and as large as can be held", |s| s.sized(2048), ASKED).when(|now| now.paired = false),
        both("no pair, and larger than can be held", |s| s.sized(2049), sender("no_pair")).when(|now| now.paired = false),
        both("no pair, and as large as can be held, with padding", |s| s.sized(2048).padded(100), ASKED).when(|now| now.paired = false),
        both("no pair, and one place left", |s| s.udp(), ASKED).when(|now| { now.paired = false; now.held = 63; }),
        both("no pair, and as much held as may be", |s| s.udp(), sender("hold_full")).when(|now| { now.paired = false; now.held = 64; }),
        both("no pair, larger than can be held, and no place", |s| s.sized(2049), sender("no_pair")).when(|now| { now.paired = false; now.held = 64; }),
        both("no pair, and asked often enough", |s| s.udp(), sender("no_pair")).when(|now| { now.paired = false; now.asked_enough = true; }),
        both("no pair, and no lease", |s| s.udp(), ASKED).when(|now| { now.paired = false; now.lease = Some(-1); }),
        both("no pair, and no way to anybody", |s| s.udp(), ASKED).when(|now| { now.paired = false; now.reachable = false; }),
        both("refused: for ten seconds", |s| s.udp(), sender("denied")).when(|now| { now.paired = false; now.refused = Some(10 * SECOND); }),
        both("refused: larger than can be held", |s| s.sized(2049), sender("denied")).when(|now| { now.paired = false; now.refused = Some(10 * SECOND); }),
        both("refused: until now", |s| s.udp(), ASKED).when(|now| { now.paired = false; now.refused = Some(0); }),
        both("refused: and asked often enough", |s| s.udp(), sender("denied")).when(|now| { now.paired = false; now.asked_enough = true; now.refused = Some(10 * SECOND); }),
        both("refused: and allowed since", |s| s.udp(), CARRIED).when(|now| now.refused = Some(10 * SECOND)),
        both("no way to the peer host", |s| s.udp(), ["next_hop", PASSES, PASSES]).when(|now| now.reachable = false),
        both("no way to the peer host, for a stream", |s| s.segment(1, 2), ["next_hop", PASSES, PASSES]).when(|now| now.reachable = false),
        both("nobody's tap", |s| s.udp(), ["no_state", PASSES, "no_state"]).when(|now| now.tap_known = false),
        both("nobody's tap, and another's MAC", |s| s.udp().eth(6, &[2; 6]), ["no_state", PASSES, "no_state"]).when(|now| now.tap_known = false),
        both("nobody's tap, and a tag", |s| s.udp().tagged(&[0x81, 0, 0, 5]), ["no_state", "inner", "no_state"]).when(|now| now.tap_known = false),
        both("nobody's tap, and no lease", |s| s.udp(), ["no_state", "lease", "no_state"]).when(|now| { now.tap_known = false; now.lease = Some(-1); }),
        both("an entry whose hosts are of the other family", |s| s.udp(), ["internal", PASSES, PASSES]).when(|now| now.other_underlay = true),
        both("segments: of 1400 bytes, unfinished by nobody", |s| s.segment(1, 2), ["offload"; 3]).when(|now| now.gso = (1400, 2)),
        both("segments: of 1 byte", |s| s.segment(1, 2), ["offload"; 3]).when(|now| now.gso = (1, 0)),
        both("segments: of 65535 bytes", |s| s.segment(1, 2), ["offload"; 3]).when(|now| now.gso = (65_535, 0)),
        both("segments: two of no size", |s| s.segment(1, 2), ["offload"; 3]).when(|now| now.gso = (0, 2)),
        both("segments: of a ping", |s| s.echo(7), ["offload"; 3]).when(|now| now.gso = (8, 2)),
        both("segments: one, which is none", |s| s.segment(1, 2), CARRIED).when(|now| now.gso = (0, 1)),
    ]
}

/// Two faults at once: which word is counted is part of the contract, because a person looks for the cause by it.
#[rustfmt::skip] // one case, one line
fn orders() -> Vec<Case> {
    vec![
        both("order: a tag before another's MAC", |s| s.udp().eth(6, &[2; 6]).tagged(&[0x81, 0, 0, 5]), dies("vlan")),
        both("order: a tag before segments", |s| s.udp().tagged(&[0x81, 0, 0, 5]), ["vlan", "inner", "vlan"]).when(|now| now.gso = (1400, 2)),
        both("order: segments before another's MAC", |s| s.udp().eth(6, &[2; 6]), ["offload"; 3]).when(|now| now.gso = (1400, 2)),
        both("order: another's MAC before an unknown type", |s| s.udp().eth(6, &[2; 6]).kind(0x88cc), dies("spoofed_mac")),
        both("order: an unknown type before a group's MAC", |s| s.udp().eth(0, &[1, 0, 0, 0, 0, 1]).kind(0x88cc), dies("ethertype")),
        both("order: a group's MAC before a bad header", |s| s.udp().eth(0, &[0xff; 6]).ip(0, &[0x10]), dies("multicast")),
        both("order: a bad header before a foreign source", |s| s.udp().source(NEIGHBOUR).ip(0, &[0x10]), dies("bad_header")),
        both("order: a foreign source before a group", |s| s.udp().source(NEIGHBOUR).destination(GROUP), dies("spoofed_address")),
        both("order: a group before a short transport", |s| s.of(17, &[0; 7]).destination(GROUP), dies("multicast")),
        both("order: a short transport before no pair", |s| s.of(17, &[0; 7]), sender("too_short")).when(|now| now.paired = false),
        both("order: a bad transport before an ended pair", |s| s.udp().body(4, &[0, 0]), dies("bad_header")).when(|now| now.deadline = Some(-1)),
        both("order: a bad header before an ended pair", |s| s.udp().ip(0, &[0x10]), dies("bad_header")).when(|now| now.deadline = Some(-1)),
        both("order: another's MAC before an ended lease", |s| s.udp().eth(6, &[2; 6]), ["spoofed_mac", "lease", "spoofed_mac"]).when(|now| now.lease = Some(-1)),
        both("order: an unknown type before an ended lease", |s| s.udp().kind(0x88cc), dies("ethertype")).when(|now| now.lease = Some(-1)),
        both("order: a foreign source before an ended lease", |s| s.udp().source(NEIGHBOUR), dies("spoofed_address")).when(|now| now.lease = Some(-1)),
        both("order: a group before an ended lease", |s| s.udp().destination(GROUP), dies("multicast")).when(|now| now.lease = Some(-1)),
        both("order: a short transport before a grant of nothing", |s| s.of(17, &[0; 7]), dies("too_short")).when(|now| now.carries = carries(CARRIES_GRANTS, &[])),
        both("order: an ended pair before its size", |s| s.sized(1401), [HELD, "expired", HELD]).when(|now| now.deadline = Some(-1)),
        both("order: an ended pair before the grant", |s| s.udp(), ENDED).when(|now| { now.deadline = Some(-1); now.carries = carries(CARRIES_GRANTS, &[]); }),
        both("order: segments before a bad transport", |s| s.udp().body(4, &[0, 0]), ["offload", "inner", "offload"]).when(|now| now.gso = (1400, 2)),
        both("order: segments before a bad header", |s| s.segment(1, 2).ip(0, &[0x10]), ["offload", "inner", "offload"]).when(|now| now.gso = (1400, 2)),
        both("order: size before the grant", |s| s.sized(1401), ["too_big"; 3]).when(|now| now.carries = carries(CARRIES_GRANTS, &[])),
        both("order: the lease before the grant", |s| s.udp(), ["lease"; 3]).when(|now| { now.lease = Some(-1); now.carries = carries(CARRIES_GRANTS, &[]); }),
        both("order: the grant before the way", |s| s.udp(), ["grant"; 3]).when(|now| { now.reachable = false; now.carries = carries(CARRIES_GRANTS, &[]); }),
        both("order: size before the way", |s| s.sized(1401), ["too_big"; 3]).when(|now| now.reachable = false),
        both("order: the way before an entry of the other family", |s| s.udp(), ["next_hop", PASSES, PASSES]).when(|now| { now.reachable = false; now.other_underlay = true; }),
    ]
}
