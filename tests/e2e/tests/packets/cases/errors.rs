//! ICMP errors: each is judged as a packet of the conversation that the packet inside it belongs to, which must have
//! gone from the error's receiver to its sender. It needs no grant of its own, and opens nothing.
use super::{
    addresses::{GROUP, NEIGHBOUR},
    seed::{Frame, Seed},
    table::{CARRIED, Case, HELD, Outcomes, PASSES, Setup, both, dies, differ, pair},
};
use crate::pairs::carries;
use pairgate_abi::{CARRIES_GRANTS, CARRIES_REPLIES};

/// Nobody believes it, here or there.
const UNBELIEVED: Outcomes = ["inner"; 3];
const REFUSED: Outcomes = ["grant"; 3];
/// It may be about an answer, says the sender's host; it is about nothing that was asked, says the receiver's.
const NO_QUESTION: Outcomes = [PASSES, "grant", "grant"];

/// An error by type and code in each family, with four bytes of its own and what it is about.
fn error(s: Seed, v4: (u8, u8), v6: (u8, u8), own: [u8; 4], about: &[u8]) -> Frame {
    let code = if s.icmp_number() == 1 { v4.1 } else { v6.1 };
    s.icmp(v4.0, v6.0, code, &[&own, about].concat())
}

/// "Nobody listens there", about this.
fn unreachable(s: Seed, about: &[u8]) -> Frame {
    error(s, (3, 3), (1, 4), [0; 4], about)
}

/// The same about a frame's packet.
fn about(s: Seed, frame: Frame) -> Frame {
    unreachable(s, &frame.bytes[14..])
}

/// The same about the first bytes of the other's datagram, so many behind its IP header.
fn about_first(s: Seed, bytes: i32) -> Frame {
    let inside = s.back().udp();
    let end = (inside.body_at() as i32 + bytes) as usize;
    unreachable(s, &inside.bytes[14..end])
}

fn web(now: &mut Setup) {
    now.carries = carries(CARRIES_GRANTS, &[(6, 443, 443)]);
}

fn pings(now: &mut Setup) {
    now.carries = carries(CARRIES_GRANTS, &[(1, 0, 0), (58, 0, 0)]);
}

fn replies(now: &mut Setup) {
    now.carries = carries(CARRIES_REPLIES, &[]);
}

pub(crate) fn cases() -> Vec<Case> {
    [kinds(), insides(), others(), granted()]
        .into_iter()
        .flatten()
        .collect()
}

#[rustfmt::skip] // one case, one line
fn kinds() -> Vec<Case> {
    vec![
        both("error: nobody at the port", |s| about(s, s.back().udp()), CARRIED),
        both("error: no way to the network", |s| error(s, (3, 0), (1, 0), [0; 4], &s.back().udp().bytes[14..]), CARRIED),
        both("error: forbidden", |s| error(s, (3, 13), (1, 1), [0; 4], &s.back().udp().bytes[14..]), CARRIED),
        both("error: too big", |s| error(s, (3, 4), (2, 0), [0, 0, 5, 0], &s.back().udp().bytes[14..]), CARRIED),
        both("error: too big for an MTU of 0", |s| error(s, (3, 4), (2, 0), [0; 4], &s.back().udp().bytes[14..]), CARRIED),
        both("error: out of hops", |s| error(s, (11, 0), (3, 0), [0; 4], &s.back().udp().bytes[14..]), CARRIED),
        both("error: not put together in time", |s| error(s, (11, 1), (3, 1), [0; 4], &s.back().udp().bytes[14..]), CARRIED),
        both("error: a bad header", |s| error(s, (12, 0), (4, 0), [0; 4], &s.back().udp().bytes[14..]), CARRIED),
        both("error: of an unknown code", |s| error(s, (3, 255), (1, 255), [0; 4], &s.back().udp().bytes[14..]), CARRIED),
        both("error: source quench, or of an unknown type", |s| error(s, (4, 0), (100, 0), [0; 4], &s.back().udp().bytes[14..]), CARRIED),
        both("error: its own bytes all ones", |s| error(s, (3, 3), (1, 4), [0xff; 4], &s.back().udp().bytes[14..]), CARRIED),
        both("error: a wrong checksum", |s| about(s, s.back().udp()).body(2, &[1, 2]), CARRIED),
        both("error: padding behind it", |s| about(s, s.back().udp()).padded(9), [PASSES, "inner", PASSES]),
    ]
}

#[rustfmt::skip] // one case, one line
fn insides() -> Vec<Case> {
    let short = dies("too_short");
    vec![
        both("error: about a segment", |s| about(s, s.back().segment(40_000, 80)), CARRIED),
        both("error: about a ping", |s| about(s, s.back().echo(7)), CARRIED),
        both("error: about an answer to a ping", |s| about(s, s.back().icmp(0, 129, 0, &[0, 7, 0, 1])), CARRIED),
        both("error: about SCTP", |s| about(s, s.back().of(132, &[0; 12])), CARRIED),
        both("error: about an unknown protocol", |s| about(s, s.back().of(200, &[0; 8])), CARRIED),
        both("error: about a large packet, all of it", |s| about(s, s.back().sized(1200)), CARRIED),
        both("error: about the least that it must hold", |s| about_first(s, 8), CARRIED),
        both("error: about one byte less", |s| about_first(s, 7), short),
        both("error: about an IP header alone", |s| about_first(s, 0), short),
        both("error: about half an IP header", |s| about_first(s, -10), short),
        both("error: about nothing", |s| unreachable(s, &[]), short),
        both("error: about one byte less, and padding in its place", |s| about_first(s, 7).padded(40), short),
        differ("error: about a packet of no length", |s| about(s, s.back().udp().ip(if s.icmp_number() == 1 { 2 } else { 4 }, &[0, 0])), UNBELIEVED, CARRIED),
        both("error: about a version that there is not", |s| about(s, s.back().udp().ip(0, &[0x95])), UNBELIEVED),
        pair("error: about the other family", (|s| unreachable(s, &[0x60; 60]), UNBELIEVED), (|s| unreachable(s, &[0x45; 60]), UNBELIEVED)),
        pair("error: about options", (|s| about(s, s.back().udp().options(&[148, 4, 0, 0])), UNBELIEVED), (|s| about(s, s.back().udp().extended(0, &[0, 0, 5, 2, 0, 0, 1, 0])), UNBELIEVED)),
        pair("error: about a first fragment", (|s| about(s, s.back().udp().ip(6, &[0x20, 0])), UNBELIEVED), (|s| about(s, s.back().udp().extended(44, &[0, 0, 0, 1, 0, 0, 0, 7])), UNBELIEVED)),
        pair("error: about a later fragment", (|s| about(s, s.back().udp().ip(6, &[0, 9])), UNBELIEVED), (|s| about(s, s.back().udp().extended(44, &[0, 0, 0, 72, 0, 0, 0, 7])), UNBELIEVED)),
        both("error: about an error", |s| about(s, about(s.back(), s.udp())), UNBELIEVED),
        both("error: about an error that is about its own packet", |s| about(s, about(s.back(), s.back().udp())), UNBELIEVED),
        pair("error: about a redirect", (|s| about(s, s.back().icmp(5, 0, 0, &[0; 32])), UNBELIEVED), (|s| about(s, s.back().icmp(0, 137, 0, &[0; 36])), UNBELIEVED)),
        pair("error: about discovery", (|s| about(s, s.back().icmp(10, 0, 0, &[0; 8])), UNBELIEVED), (|s| about(s, s.back().icmp(0, 135, 0, &[0; 20])), UNBELIEVED)),
    ]
}

/// About what its receiver has not sent here.
#[rustfmt::skip] // one case, one line
fn others() -> Vec<Case> {
    vec![
        both("error: about its own packet", |s| about(s, s.udp()), UNBELIEVED),
        both("error: about what its receiver sent to another", |s| about(s, s.back().udp().destination(NEIGHBOUR)), UNBELIEVED),
        both("error: about what another sent to it", |s| about(s, s.back().udp().source(NEIGHBOUR)), UNBELIEVED),
        both("error: about a packet to a group", |s| about(s, s.back().udp().destination(GROUP)), UNBELIEVED),
        both("error: about a packet between others", |s| about(s, s.back().udp().source(NEIGHBOUR).destination(GROUP)), UNBELIEVED),
        both("error: from another's address", |s| about(s, s.back().udp()).source(NEIGHBOUR), dies("spoofed_address")),
        both("error: to a group", |s| about(s, s.back().udp()).destination(GROUP), dies("multicast")),
        both("error: and the pair has ended", |s| about(s, s.back().udp()), [HELD, "expired", HELD]).when(|now| now.deadline = Some(-1)),
        both("error: and the lease has ended", |s| about(s, s.back().udp()), ["lease"; 3]).when(|now| now.lease = Some(-1)),
    ]
}

#[rustfmt::skip] // one case, one line
fn granted() -> Vec<Case> {
    vec![
        both("error, grant: about what came to the granted port, unasked", |s| about(s, s.back().segment(40_000, 443)), NO_QUESTION).when(web),
        both("error, grant: about what came to the granted port", |s| about(s, s.back().segment(40_000, 443)), CARRIED).when(|now| { web(now); now.opened = Some(|s| s.segment(40_000, 443)); }),
        both("error, grant: about what came from the granted port", |s| about(s, s.back().segment(443, 40_000)), CARRIED).when(web),
        both("error, grant: about other ports", |s| about(s, s.back().segment(1, 2)), REFUSED).when(web),
        both("error, grant: about the port of another protocol", |s| about(s, s.back().datagram(1, 443, b"x")), REFUSED).when(web),
        both("error, grant: about a ping, where ports are granted", |s| about(s, s.back().echo(7)), REFUSED).when(web),
        both("error, grant: about a datagram, where pings are granted", |s| about(s, s.back().udp()), REFUSED).when(pings),
        both("error, grant: about a ping, where pings are granted", |s| about(s, s.back().echo(7)), CARRIED).when(pings),
        both("error, replies: about what was opened", |s| about(s, s.back().segment(40_000, 80)), CARRIED).when(|now| { replies(now); now.opened = Some(|s| s.segment(40_000, 80)); }),
        both("error, replies: about a ping that was sent", |s| about(s, s.back().echo(7)), CARRIED).when(|now| { replies(now); now.opened = Some(|s| s.echo(7)); }),
        both("error, replies: about another ping", |s| about(s, s.back().echo(8)), NO_QUESTION).when(|now| { replies(now); now.opened = Some(|s| s.echo(7)); }),
        both("error, replies: about nothing that was opened", |s| about(s, s.back().segment(40_000, 80)), NO_QUESTION).when(replies),
        both("error, replies: about another port", |s| about(s, s.back().segment(40_001, 80)), NO_QUESTION).when(|now| { replies(now); now.opened = Some(|s| s.segment(40_000, 80)); }),
        both("error, replies: about another protocol", |s| about(s, s.back().datagram(40_000, 80, b"x")), NO_QUESTION).when(|now| { replies(now); now.opened = Some(|s| s.segment(40_000, 80)); }),
        both("error, replies: about the conversation the wrong way round", |s| about(s, s.back().segment(80, 40_000)), NO_QUESTION).when(|now| { replies(now); now.opened = Some(|s| s.segment(40_000, 80)); }),
    ]
}
