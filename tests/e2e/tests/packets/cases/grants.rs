//! What a pair carries. The sender's host passes what the grant names, and what may be an answer because it comes from
//! a port that the grant names; the receiver's host passes what the grant names, and answers to what its own guest
//! has opened.
use super::{
    addresses::NEIGHBOUR,
    table::{CARRIED, Case, HELD, Outcomes, PASSES, Setup, both, dies, differ, pair, v6},
};
use crate::pairs::carries;
use pairgate_abi::{CARRIES_ALL, CARRIES_ALL_NOTED, CARRIES_GRANTS, CARRIES_REPLIES};

const REFUSED: Outcomes = ["grant"; 3];
/// It may be an answer, says the sender's host; it answers nothing, says the receiver's.
const NO_QUESTION: Outcomes = [PASSES, "grant", "grant"];

fn web(now: &mut Setup) {
    now.carries = carries(CARRIES_GRANTS, &[(6, 443, 443)]);
}

fn range(now: &mut Setup) {
    now.carries = carries(CARRIES_GRANTS, &[(17, 1000, 2000)]);
}

fn pings(now: &mut Setup) {
    now.carries = carries(CARRIES_GRANTS, &[(1, 0, 0), (58, 0, 0)]);
}

/// Sixteen entries, the most there are.
fn many(now: &mut Setup) {
    let entries: Vec<_> = (0..16).map(|at| (6, 1000 + at * 10, 1004 + at * 10)).collect();
    now.carries = carries(CARRIES_GRANTS, &entries);
}

/// Port 53 of TCP and UDP.
fn names(now: &mut Setup) {
    now.carries = carries(CARRIES_GRANTS, &[(6, 53, 53), (17, 53, 53)]);
}

fn replies(now: &mut Setup) {
    now.carries = carries(CARRIES_REPLIES, &[]);
}

pub(crate) fn cases() -> Vec<Case> {
    [ports(), protocols(), edges(), answers(), only_replies(), forms()]
        .into_iter()
        .flatten()
        .collect()
}

#[rustfmt::skip] // one case, one line
fn ports() -> Vec<Case> {
    vec![
        both("grant: its port", |s| s.segment(40_000, 443), CARRIED).when(web),
        both("grant: its port, a start", |s| s.tcp().body(2, &[1, 0xbb]), CARRIED).when(web),
        both("grant: its port, a reset", |s| s.tcp().body(2, &[1, 0xbb]).body(13, &[4]), CARRIED).when(web),
        both("grant: one below its port", |s| s.segment(40_000, 442), REFUSED).when(web),
        both("grant: one above its port", |s| s.segment(40_000, 444), REFUSED).when(web),
        both("grant: its port, bytes swapped", |s| s.segment(40_000, 0xbb01), REFUSED).when(web),
        both("grant: its port, of another protocol", |s| s.datagram(40_000, 443, b"x"), REFUSED).when(web),
        both("grant: its port, of SCTP", |s| s.of(132, &[0x9c, 0x40, 1, 0xbb, 0, 0, 0, 0, 0, 0, 0, 0]), REFUSED).when(web),
        both("grant: from its port to its port", |s| s.segment(443, 443), CARRIED).when(web),
        both("grant: port 0", |s| s.segment(40_000, 0), REFUSED).when(web),
        both("grant: port 65535", |s| s.segment(40_000, 65_535), REFUSED).when(web),
        both("grant: the first of its ports", |s| s.datagram(40_000, 1000, b"x"), CARRIED).when(range),
        both("grant: in the midst of its ports", |s| s.datagram(40_000, 1500, b"x"), CARRIED).when(range),
        both("grant: the last of its ports", |s| s.datagram(40_000, 2000, b"x"), CARRIED).when(range),
        both("grant: one below its ports", |s| s.datagram(40_000, 999, b"x"), REFUSED).when(range),
        both("grant: one above its ports", |s| s.datagram(40_000, 2001, b"x"), REFUSED).when(range),
        both("grant: all ports, the lowest", |s| s.datagram(7, 0, b"x"), CARRIED).when(|now| now.carries = carries(CARRIES_GRANTS, &[(17, 0, 65_535)])),
        both("grant: all ports, the highest", |s| s.datagram(7, 65_535, b"x"), CARRIED).when(|now| now.carries = carries(CARRIES_GRANTS, &[(17, 0, 65_535)])),
        both("grant: port 0 alone", |s| s.datagram(7, 0, b"x"), CARRIED).when(|now| now.carries = carries(CARRIES_GRANTS, &[(17, 0, 0)])),
        both("grant: port 0 alone, and another", |s| s.datagram(7, 1, b"x"), REFUSED).when(|now| now.carries = carries(CARRIES_GRANTS, &[(17, 0, 0)])),
        both("grant: the first of sixteen", |s| s.segment(40_000, 1000), CARRIED).when(many),
        both("grant: the last of sixteen", |s| s.segment(40_000, 1154), CARRIED).when(many),
        both("grant: between two of sixteen", |s| s.segment(40_000, 1005), REFUSED).when(many),
        both("grant: behind the last of sixteen", |s| s.segment(40_000, 1155), REFUSED).when(many),
        both("grant: SCTP's port", |s| s.of(132, &[0, 9, 0x0b, 0x59, 0, 0, 0, 0, 0, 0, 0, 0]), CARRIED).when(|now| now.carries = carries(CARRIES_GRANTS, &[(132, 2905, 2905)])),
        both("grant: SCTP, another port", |s| s.of(132, &[0, 9, 0x0b, 0x5a, 0, 0, 0, 0, 0, 0, 0, 0]), REFUSED).when(|now| now.carries = carries(CARRIES_GRANTS, &[(132, 2905, 2905)])),
    ]
}

#[rustfmt::skip] // one case, one line
fn protocols() -> Vec<Case> {
    vec![
        both("grant: pings", |s| s.echo(7), CARRIED).when(pings),
        both("grant: pings, an answer to none", |s| s.icmp(0, 129, 0, &[0, 7, 0, 1]), CARRIED).when(pings),
        both("grant: pings, and a datagram", |s| s.udp(), REFUSED).when(pings),
        both("grant: ports, and a ping", |s| s.echo(7), REFUSED).when(web),
        pair("grant: the other family's pings", (|s| s.echo(7), REFUSED), (|s| s.echo(7), REFUSED)).when(|now| now.carries = carries(CARRIES_GRANTS, &[(17, 0, 65_535)])),
        both("grant: GRE", |s| s.of(47, &[0; 8]), CARRIED).when(|now| now.carries = carries(CARRIES_GRANTS, &[(47, 0, 0)])),
        both("grant: GRE, and IPv4 in IP", |s| s.of(4, &[0x45; 20]), REFUSED).when(|now| now.carries = carries(CARRIES_GRANTS, &[(47, 0, 0)])),
        both("grant: ports, and GRE", |s| s.of(47, &[0; 8]), REFUSED).when(web),
        both("grant: ports, and an unknown protocol", |s| s.of(200, &[0; 8]), REFUSED).when(web),
        both("grant: ports, and UDP-Lite", |s| s.of(136, &[0x9c, 0x40, 1, 0xbb, 0, 8, 0, 0]), REFUSED).when(web),
        differ("grant: ESP, which IPv6 does not carry", |s| s.of(50, &[0; 16]), CARRIED, dies("extension_header")).when(|now| now.carries = carries(CARRIES_GRANTS, &[(50, 0, 0)])),
        v6("grant: pings, and a neighbour's advertisement", |s| s.icmp(0, 136, 0, &[0; 20]).hops(255), ["spoofed_nd", "inner", "spoofed_nd"]).when(pings),
        v6("grant: pings, and a redirect", |s| s.icmp(0, 137, 0, &[0; 36]).hops(255), ["spoofed_nd", "inner", "spoofed_nd"]).when(pings),
        pair("grant: its port, in a fragment", (|s| s.segment(1, 443).ip(6, &[0x20, 0]), dies("fragment")), (|s| s.segment(1, 443).extended(44, &[0, 0, 0, 1, 0, 0, 0, 7]), dies("fragment"))).when(web),
    ]
}

/// Several entries side by side, and numbers at the ends of their range.
#[rustfmt::skip] // one case, one line
fn edges() -> Vec<Case> {
    vec![
        both("grant: one port of two protocols, TCP", |s| s.segment(1, 53), CARRIED).when(names),
        both("grant: one port of two protocols, UDP", |s| s.udp(), CARRIED).when(names),
        both("grant: one port of two protocols, SCTP", |s| s.of(132, &[0, 1, 0, 53, 0, 0, 0, 0, 0, 0, 0, 0]), REFUSED).when(names),
        both("grant: one port of two protocols, neither", |s| s.datagram(1, 54, b"x"), REFUSED).when(names),
        both("grant: the end of one range and the start of the next, below", |s| s.segment(1, 100), CARRIED).when(|now| now.carries = carries(CARRIES_GRANTS, &[(6, 50, 100), (6, 101, 150)])),
        both("grant: the end of one range and the start of the next, above", |s| s.segment(1, 101), CARRIED).when(|now| now.carries = carries(CARRIES_GRANTS, &[(6, 50, 100), (6, 101, 150)])),
        both("grant: the highest port alone", |s| s.segment(1, 65_535), CARRIED).when(|now| now.carries = carries(CARRIES_GRANTS, &[(6, 65_535, 65_535)])),
        both("grant: the highest port alone, one below", |s| s.segment(1, 65_534), REFUSED).when(|now| now.carries = carries(CARRIES_GRANTS, &[(6, 65_535, 65_535)])),
        both("grant: protocol 255", |s| s.of(255, &[1; 4]), CARRIED).when(|now| now.carries = carries(CARRIES_GRANTS, &[(255, 0, 0)])),
        both("grant: protocol 255, and 254's number of ports", |s| s.of(200, &[1; 4]), REFUSED).when(|now| now.carries = carries(CARRIES_GRANTS, &[(255, 0, 65_535)])),
        differ("grant: protocol 0", |s| s.of(0, &[1; 8]), CARRIED, dies("extension_header")).when(|now| now.carries = carries(CARRIES_GRANTS, &[(0, 0, 0)])),
        both("grant: a protocol without ports, whose entry has some", |s| s.of(47, &[0; 8]), CARRIED).when(|now| now.carries = carries(CARRIES_GRANTS, &[(47, 7, 9)])),
        differ("grant: ICMP of IPv4 alone", |s| s.echo(7), CARRIED, REFUSED).when(|now| now.carries = carries(CARRIES_GRANTS, &[(1, 0, 0)])),
        differ("grant: ICMP of IPv6 alone", |s| s.echo(7), REFUSED, CARRIED).when(|now| now.carries = carries(CARRIES_GRANTS, &[(58, 0, 0)])),
        both("grant: TCP's own port, cut short", |s| s.of(6, &[0, 1, 1, 0xbb, 0, 0, 0, 0]), dies("too_short")).when(web),
        both("grant: its port, by a UDP length that lies", |s| s.datagram(1, 1500, b"x").body(4, &[0, 0]), dies("bad_header")).when(range),
        both("grant: its port, from another's address", |s| s.segment(1, 443).source(NEIGHBOUR), dies("spoofed_address")).when(web),
        both("grant: its port, in a tag", |s| s.segment(1, 443).tagged(&[0x81, 0, 0, 5]), dies("vlan")).when(web),
        both("grant: its port, and the pair has ended", |s| s.segment(1, 443), [HELD, "expired", HELD]).when(|now| { web(now); now.deadline = Some(-1); }),
        both("grant: another port, and the pair has ended", |s| s.segment(1, 444), [HELD, "expired", HELD]).when(|now| { web(now); now.deadline = Some(-1); }),
    ]
}

#[rustfmt::skip] // one case, one line
fn answers() -> Vec<Case> {
    vec![
        both("answer: to nothing", |s| s.segment(443, 40_000), NO_QUESTION).when(web),
        both("answer: to what was opened", |s| s.segment(443, 40_000), CARRIED).when(|now| { web(now); now.opened = Some(|s| s.segment(40_000, 443)); }),
        both("answer: to another port", |s| s.segment(443, 40_001), NO_QUESTION).when(|now| { web(now); now.opened = Some(|s| s.segment(40_000, 443)); }),
        both("answer: from another port", |s| s.segment(444, 40_000), REFUSED).when(|now| { web(now); now.opened = Some(|s| s.segment(40_000, 443)); }),
        both("answer: by another protocol", |s| s.datagram(1000, 40_000, b"x"), NO_QUESTION).when(|now| { range(now); now.opened = Some(|s| s.segment(40_000, 1000)); }),
        both("answer: ports not turned round", |s| s.segment(40_000, 443), CARRIED).when(|now| { web(now); now.opened = Some(|s| s.segment(40_000, 443)); }),
        both("answer: of a datagram", |s| s.datagram(2000, 7, b"x"), CARRIED).when(|now| { range(now); now.opened = Some(|s| s.datagram(7, 2000, b"q")); }),
        both("answer: of SCTP", |s| s.of(132, &[0x0b, 0x59, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0]), CARRIED).when(|now| { now.carries = carries(CARRIES_GRANTS, &[(132, 2905, 2905)]); now.opened = Some(|s| s.of(132, &[0, 9, 0x0b, 0x59, 0, 0, 0, 0, 0, 0, 0, 0])); }),
        both("answer: a start from the granted port", |s| s.tcp().body(0, &[1, 0xbb, 0x9c, 0x40]), NO_QUESTION).when(web),
        both("answer: an end", |s| s.tcp().body(0, &[1, 0xbb, 0x9c, 0x40]).body(13, &[0x11]), CARRIED).when(|now| { web(now); now.opened = Some(|s| s.segment(40_000, 443)); }),
        both("answer: a reset", |s| s.tcp().body(0, &[1, 0xbb, 0x9c, 0x40]).body(13, &[4]), CARRIED).when(|now| { web(now); now.opened = Some(|s| s.segment(40_000, 443)); }),
        both("answer: to port 0", |s| s.segment(443, 0), CARRIED).when(|now| { web(now); now.opened = Some(|s| s.segment(0, 443)); }),
        both("answer: to what was opened towards another", |s| s.segment(443, 40_000), NO_QUESTION).when(|now| { web(now); now.opened = Some(|s| s.segment(40_000, 443).destination(NEIGHBOUR)); }),
        both("answer: to what another has opened", |s| s.segment(443, 40_000), NO_QUESTION).when(|now| { web(now); now.opened = Some(|s| s.segment(40_000, 443).source(NEIGHBOUR)); }),
        both("answer: and the lease has ended", |s| s.segment(443, 40_000), ["lease"; 3]).when(|now| { web(now); now.lease = Some(-1); now.opened = Some(|s| s.segment(40_000, 443)); }),
        both("answer: and the pair has ended", |s| s.segment(443, 40_000), [HELD, "expired", HELD]).when(|now| { web(now); now.deadline = Some(-1); now.opened = Some(|s| s.segment(40_000, 443)); }),
        both("answer: to what is granted anyway", |s| s.segment(443, 443), CARRIED).when(|now| { web(now); now.opened = Some(|s| s.segment(443, 443)); }),
    ]
}

#[rustfmt::skip] // one case, one line
fn only_replies() -> Vec<Case> {
    vec![
        both("replies: a start", |s| s.tcp(), NO_QUESTION).when(replies),
        both("replies: a datagram", |s| s.udp(), NO_QUESTION).when(replies),
        both("replies: a segment of no conversation", |s| s.segment(80, 40_000), NO_QUESTION).when(replies),
        both("replies: a reset of no conversation", |s| s.tcp().body(13, &[4]), NO_QUESTION).when(replies),
        both("replies: an answer", |s| s.segment(80, 40_000), CARRIED).when(|now| { replies(now); now.opened = Some(|s| s.segment(40_000, 80)); }),
        both("replies: an answer of UDP", |s| s.datagram(53, 40_000, b"a"), CARRIED).when(|now| { replies(now); now.opened = Some(|s| s.udp()); }),
        both("replies: a question in the conversation's ports", |s| s.datagram(40_000, 53, b"q"), NO_QUESTION).when(|now| { replies(now); now.opened = Some(|s| s.udp()); }),
        both("replies: a ping", |s| s.echo(7), NO_QUESTION).when(replies),
        both("replies: an answer to a ping", |s| s.icmp(0, 129, 0, &[0, 7, 0, 1]), CARRIED).when(|now| { replies(now); now.opened = Some(|s| s.echo(7)); }),
        both("replies: an answer to another ping", |s| s.icmp(0, 129, 0, &[0, 8, 0, 1]), NO_QUESTION).when(|now| { replies(now); now.opened = Some(|s| s.echo(7)); }),
        both("replies: an answer to no ping", |s| s.icmp(0, 129, 0, &[0, 7, 0, 1]), NO_QUESTION).when(replies),
        both("replies: a ping under the number of the guest's own", |s| s.echo(7), NO_QUESTION).when(|now| { replies(now); now.opened = Some(|s| s.echo(7)); }),
        both("replies: a protocol without ports, asked", |s| s.of(47, &[0; 8]), CARRIED).when(|now| { replies(now); now.opened = Some(|s| s.of(47, &[0; 8])); }),
        both("replies: a protocol without ports, not asked", |s| s.of(47, &[0; 8]), NO_QUESTION).when(replies),
        both("replies: another protocol without ports", |s| s.of(4, &[0x45; 20]), NO_QUESTION).when(|now| { replies(now); now.opened = Some(|s| s.of(47, &[0; 8])); }),
        both("replies: from a foreign source", |s| s.segment(80, 40_000).source(NEIGHBOUR), dies("spoofed_address")).when(|now| { replies(now); now.opened = Some(|s| s.segment(40_000, 80)); }),
    ]
}

#[rustfmt::skip] // one case, one line
fn forms() -> Vec<Case> {
    vec![
        both("carries: everything", |s| s.of(200, &[0; 8]), CARRIED).when(|now| now.carries = carries(CARRIES_ALL, &[])),
        both("carries: everything, noted", |s| s.segment(1, 2), CARRIED).when(|now| now.carries = carries(CARRIES_ALL_NOTED, &[])),
        both("carries: grants, and there are none", |s| s.segment(1, 2), REFUSED).when(|now| now.carries = carries(CARRIES_GRANTS, &[])),
        both("carries: nothing, a kind of 0", |s| s.segment(1, 2), REFUSED).when(|now| now.carries = carries(0, &[])),
        both("carries: a kind that nobody knows", |s| s.segment(1, 2), REFUSED).when(|now| now.carries = carries(5, &[])),
        both("carries: a kind of 255", |s| s.segment(1, 2), REFUSED).when(|now| now.carries = carries(255, &[])),
        both("carries: an entry behind the count", |s| s.segment(1, 443), REFUSED).when(|now| { web(now); now.carries.count = 0; }),
        both("carries: a count of more entries than there are places", |s| s.segment(1, 444), REFUSED).when(|now| { many(now); now.carries.count = 255; }),
        both("carries: an entry with its ports turned round", |s| s.segment(1, 150), REFUSED).when(|now| now.carries = carries(CARRIES_GRANTS, &[(6, 200, 100)])),
        both("carries: everything, whatever the entries say", |s| s.segment(1, 2), CARRIED).when(|now| { web(now); now.carries.kind = CARRIES_ALL; }),
        both("carries: replies, whatever the entries say", |s| s.segment(1, 443), NO_QUESTION).when(|now| { web(now); now.carries.kind = CARRIES_REPLIES; }),
    ]
}
