//! Address questions: ARP, and the neighbour solicitations that are its like in IPv6, side by side. The tap itself
//! answers what its own guest may ask, and nothing of it goes any further; from another host none is believed.
use super::{
    addresses::{GROUP, NEIGHBOUR, OWN},
    seed::{four, six},
    table::{ANSWERED, Case, Outcomes, both, dies, differ, pair, v4, v6},
};
use crate::world::{GATEWAY, GUEST_MAC, GUEST6, NEXT_DOOR_MAC};

const YES: Outcomes = [ANSWERED, "inner", ANSWERED];
const ARP: Outcomes = dies("spoofed_arp");
const ND: Outcomes = dies("spoofed_nd");

pub(crate) fn cases() -> Vec<Case> {
    [asked(), names(), targets(), arp(), discovery()]
        .into_iter()
        .flatten()
        .collect()
}

#[rustfmt::skip] // one case, one line
fn asked() -> Vec<Case> {
    vec![
        both("question: for its peer", |s| s.ask(s.receiver()), YES),
        both("question: for an address that nobody has", |s| s.ask(NEIGHBOUR), YES),
        both("question: with padding behind it", |s| s.ask(s.receiver()).padded(18), YES),
        both("question: with 1000 bytes behind it", |s| s.ask(s.receiver()).padded(1000), YES),
        pair("question: to the gateway alone", (|s| s.ask(s.receiver()).eth(0, &GATEWAY), YES), (|s| s.ask(s.receiver()).eth(0, &GATEWAY).destination(s.receiver()), YES)),
        both("question: to a neighbour's MAC", |s| s.ask(s.receiver()).eth(0, &NEXT_DOOR_MAC), dies("bad_header")),
        both("question: to its own MAC", |s| s.ask(s.receiver()).eth(0, &GUEST_MAC), dies("bad_header")),
        pair("question: to a group of another family", (|s| s.ask(s.receiver()).eth(0, &[0x33, 0x33, 0, 0, 0, 1]), dies("multicast")), (|s| s.ask(s.receiver()).eth(0, &[1, 0, 0x5e, 0, 0, 1]), dies("multicast"))),
        both("question: from another's MAC", |s| s.ask(s.receiver()).eth(6, &NEXT_DOOR_MAC), dies("spoofed_mac")),
        both("question: in a tag", |s| s.ask(s.receiver()).tagged(&[0x81, 0, 0, 0]), dies("vlan")),
        differ("question: over the tap's budget", |s| s.ask(s.receiver()), ["multicast", "inner", "multicast"], ND).when(|now| now.answered_enough = true),
        both("question: and no lease", |s| s.ask(s.receiver()), YES).when(|now| now.lease = Some(-1)),
        both("question: on nobody's tap", |s| s.ask(s.receiver()), ["no_state", "inner", "no_state"]).when(|now| now.tap_known = false),
        both("question: to be cut into segments", |s| s.ask(s.receiver()), ["offload", "inner", "offload"]).when(|now| now.gso = (1400, 2)),
    ]
}

#[rustfmt::skip] // one case, one line
fn names() -> Vec<Case> {
    vec![
        pair("asker: another guest", (|s| s.ask(s.receiver()).raw(28, &[10, 77, 0, 66]), ARP), (|s| s.ask(s.receiver()).source(NEIGHBOUR), ND)),
        pair("asker: its peer", (|s| s.ask(s.receiver()).raw(28, &s.receiver().four), ARP), (|s| s.ask(s.receiver()).source(s.receiver()), ND)),
        pair("asker: nobody, a probe for another's address", (|s| s.ask(NEIGHBOUR).raw(28, &[0; 4]), ARP), (|s| s.ask(NEIGHBOUR).source(six("::")), ND)),
        pair("asker: nobody, a probe for its own", (|s| s.ask(OWN).raw(28, &[0; 4]), dies("multicast")), (|s| s.ask(OWN).source(six("::")), ND)),
        pair("asker: a group", (|s| s.ask(s.receiver()).raw(28, &[224, 0, 0, 1]), ARP), (|s| s.ask(s.receiver()).source(GROUP), ND)),
        pair("asker: loopback", (|s| s.ask(s.receiver()).raw(28, &[127, 0, 0, 1]), ARP), (|s| s.ask(s.receiver()).source(six("::1")), ND)),
        pair("asker: link-local", (|s| s.ask(s.receiver()).raw(28, &[169, 254, 0, 11]), ARP), (|s| s.ask(s.receiver()).source(six("fe80::b")), YES)),
        v6("asker: its IPv4 address, mapped", |s| s.ask(s.receiver()).source(six("::ffff:10.77.0.11")), ND),
        pair("asker: another's MAC inside", (|s| s.ask(s.receiver()).raw(22, &NEXT_DOOR_MAC), ARP), (|s| s.ask(s.receiver()).raw(80, &NEXT_DOOR_MAC), ND)),
        pair("asker: the gateway's MAC inside", (|s| s.ask(s.receiver()).raw(22, &GATEWAY), ARP), (|s| s.ask(s.receiver()).raw(80, &GATEWAY), ND)),
        pair("asker: a group's MAC inside", (|s| s.ask(s.receiver()).raw(22, &[0xff; 6]), ARP), (|s| s.ask(s.receiver()).raw(80, &[0xff; 6]), ND)),
        pair("asker: no MAC inside", (|s| s.ask(s.receiver()).raw(22, &[0; 6]), ARP), (|s| s.ask(s.receiver()).raw(80, &[0; 6]), ND)),
        pair("asker: announces itself", (|s| s.ask(OWN), dies("multicast")), (|s| s.icmp(0, 136, 0, &[&[0x20, 0, 0, 0], &GUEST6[..]].concat()).hops(255).eth(0, &[0x33, 0x33, 0, 0, 0, 1]).destination(GROUP), ND)),
        pair("asker: announces another", (|s| s.ask(NEIGHBOUR).raw(28, &[10, 77, 0, 66]), ARP), (|s| s.icmp(0, 136, 0, &[&[0x20, 0, 0, 0], &NEIGHBOUR.six[..]].concat()).hops(255).eth(0, &[0x33, 0x33, 0, 0, 0, 1]).destination(GROUP), ND)),
    ]
}

#[rustfmt::skip] // one case, one line
fn targets() -> Vec<Case> {
    vec![
        differ("target: itself, in no hurry", |s| s.ask(OWN).padded(1), dies("multicast"), ND),
        pair("target: outside of its network", (|s| s.ask(four(10, 78, 0, 1)), dies("multicast")), (|s| s.ask(six("fd78::1")), ND)),
        pair("target: the host", (|s| s.ask(four(192, 0, 2, 1)), dies("multicast")), (|s| s.ask(six("2001:db8:0:1::1")), ND)),
        pair("target: link-local", (|s| s.ask(four(169, 254, 0, 1)), dies("multicast")), (|s| s.ask(six("fe80::1")), ND)),
        pair("target: the metadata service", (|s| s.ask(four(169, 254, 169, 254)), dies("multicast")), (|s| s.ask(six("fd00:ec2::254")), ND)),
        pair("target: a group", (|s| s.ask(four(224, 0, 0, 1)), dies("multicast")), (|s| s.ask(six("ff02::1")), ND)),
        pair("target: nobody", (|s| s.ask(four(0, 0, 0, 0)), dies("multicast")), (|s| s.ask(six("::")), ND)),
        pair("target: loopback", (|s| s.ask(four(127, 0, 0, 1)), dies("multicast")), (|s| s.ask(six("::1")), ND)),
        pair("target: its network's first address", (|s| s.ask(four(10, 77, 0, 0)), YES), (|s| s.ask(six("fd77::")), YES)),
        v4("target: its network's broadcast", |s| s.ask(four(10, 77, 0, 255)), YES),
        v6("target: the last of its network", |s| s.ask(six("fd77::ffff:ffff:ffff:ffff")), YES),
        v6("target: an IPv4 address, mapped", |s| s.ask(six("::ffff:10.77.0.21")), ND),
    ]
}

#[rustfmt::skip] // one case, one line
fn arp() -> Vec<Case> {
    let form = dies("bad_header");
    let short = dies("too_short");
    vec![
        v4("ARP: a target MAC in the question", |s| s.ask(s.receiver()).raw(32, &[9; 6]), YES),
        v4("ARP: a reply, even a true one", |s| s.ask(s.receiver()).raw(20, &[0, 2]), ARP),
        v4("ARP: a reply to the gateway", |s| s.ask(s.receiver()).raw(20, &[0, 2]).eth(0, &GATEWAY), ARP),
        v4("ARP: a reply for another", |s| s.ask(s.receiver()).raw(20, &[0, 2]).raw(28, &[10, 77, 0, 66]), ARP),
        v4("ARP: a reply that announces itself", |s| s.ask(OWN).raw(20, &[0, 2]), ARP),
        v4("ARP: opcode 0", |s| s.ask(s.receiver()).raw(20, &[0, 0]), ARP),
        v4("ARP: a reverse question", |s| s.ask(s.receiver()).raw(20, &[0, 3]), ARP),
        v4("ARP: an inverse question", |s| s.ask(s.receiver()).raw(20, &[0, 8]), ARP),
        v4("ARP: a refusal of ATM's", |s| s.ask(s.receiver()).raw(20, &[0, 10]), ARP),
        v4("ARP: a question's opcode, bytes swapped", |s| s.ask(s.receiver()).raw(20, &[1, 0]), ARP),
        v4("ARP: opcode 65535", |s| s.ask(s.receiver()).raw(20, &[0xff, 0xff]), ARP),
        v4("ARP: hardware 0", |s| s.ask(s.receiver()).raw(14, &[0, 0]), form),
        v4("ARP: hardware of IEEE 802", |s| s.ask(s.receiver()).raw(14, &[0, 6]), form),
        v4("ARP: hardware 65535", |s| s.ask(s.receiver()).raw(14, &[0xff, 0xff]), form),
        v4("ARP: for IPv6", |s| s.ask(s.receiver()).raw(16, &[0x86, 0xdd]), form),
        v4("ARP: for ARP", |s| s.ask(s.receiver()).raw(16, &[8, 6]), form),
        v4("ARP: MAC addresses of no byte", |s| s.ask(s.receiver()).raw(18, &[0]), form),
        v4("ARP: MAC addresses of eight bytes", |s| s.ask(s.receiver()).raw(18, &[8]), form),
        v4("ARP: MAC addresses of 255 bytes", |s| s.ask(s.receiver()).raw(18, &[255]), form),
        v4("ARP: addresses of no byte", |s| s.ask(s.receiver()).raw(19, &[0]), form),
        v4("ARP: addresses of 16 bytes", |s| s.ask(s.receiver()).raw(19, &[16]), form),
        v4("ARP: one byte short", |s| s.ask(s.receiver()).short_of(1), short),
        v4("ARP: ends before the target", |s| s.ask(s.receiver()).short_of(10), short),
        v4("ARP: ends with its form", |s| s.ask(s.receiver()).short_of(20), short),
        v4("ARP: one byte of it", |s| s.ask(s.receiver()).short_of(27), short),
        v4("ARP: one byte short, to a neighbour", |s| s.ask(s.receiver()).short_of(1).eth(0, &NEXT_DOOR_MAC), form),
        v4("ARP: as broadcast to 01:80:c2", |s| s.ask(s.receiver()).eth(0, &[1, 0x80, 0xc2, 0, 0, 0]), dies("multicast")),
    ]
}

#[rustfmt::skip] // one case, one line
fn discovery() -> Vec<Case> {
    let form = dies("bad_header");
    vec![
        v6("solicitation: without a MAC in it", |s| s.ask(s.receiver()).short_of(8).ip(4, &[0, 24]), YES),
        v6("solicitation: a MAC of length 0 in it", |s| s.ask(s.receiver()).raw(79, &[0]), ND),
        v6("solicitation: a MAC of length 2 in it", |s| s.ask(s.receiver()).raw(79, &[2]), ND),
        v6("solicitation: a MAC of length 255 in it", |s| s.ask(s.receiver()).raw(79, &[255]), ND),
        v6("solicitation: another option than a MAC", |s| s.ask(s.receiver()).raw(78, &[14, 1]), YES),
        v6("solicitation: another option, of length 0", |s| s.ask(s.receiver()).raw(78, &[14, 0]), YES),
        v6("solicitation: a target's MAC in it", |s| s.ask(s.receiver()).raw(78, &[2, 1]), YES),
        v6("solicitation: half an option", |s| s.ask(s.receiver()).short_of(4).ip(4, &[0, 28]), YES),
        v6("solicitation: its frame ends within the option", |s| s.ask(s.receiver()).short_of(4), form),
        v6("solicitation: its frame ends within the target", |s| s.ask(s.receiver()).short_of(12), dies("too_short")),
        v6("solicitation: its length ends within the target", |s| s.ask(s.receiver()).ip(4, &[0, 23]), dies("too_short")),
        v6("solicitation: a length of 0", |s| s.ask(s.receiver()).ip(4, &[0, 0]), dies("too_short")),
        v6("solicitation: a length over its frame", |s| s.ask(s.receiver()).ip(4, &[0, 33]), form),
        v6("solicitation: a length of 65535", |s| s.ask(s.receiver()).ip(4, &[0xff, 0xff]), form),
        v6("solicitation: forwarded once", |s| s.ask(s.receiver()).hops(254), form),
        v6("solicitation: out of hops", |s| s.ask(s.receiver()).hops(0), form),
        v6("solicitation: a code", |s| s.ask(s.receiver()).body(1, &[1]), ND),
        v6("solicitation: a wrong checksum", |s| s.ask(s.receiver()).body(2, &[1, 2]), YES),
        v6("solicitation: reserved bits", |s| s.ask(s.receiver()).body(4, &[0xff; 4]), YES),
        v6("solicitation: version 4", |s| s.ask(s.receiver()).ip(0, &[0x40]), form),
        v6("solicitation: to all nodes", |s| s.ask(s.receiver()).destination(GROUP), ND),
        v6("solicitation: to another's group", |s| s.ask(s.receiver()).ip(37, &[1, 2, 3]), ND),
        v6("solicitation: to the group's network of another scope", |s| s.ask(s.receiver()).ip(25, &[5]), ND),
        v6("solicitation: to another's address", |s| s.ask(s.receiver()).destination(NEIGHBOUR), ND),
        v6("advertisement: to its gateway, true", |s| s.icmp(0, 136, 0, &[&[0x60, 0, 0, 0], &GUEST6[..]].concat()).hops(255), ND),
        v6("advertisement: to a neighbour's MAC", |s| s.icmp(0, 136, 0, &[0x60; 20]).hops(255).eth(0, &NEXT_DOOR_MAC), form),
        v6("advertisement: a router's, from the link to everybody", |s| s.icmp(0, 134, 0, &[0; 12]).hops(255).source(six("fe80::b")).eth(0, &[0x33, 0x33, 0, 0, 0, 1]).destination(GROUP), ND),
        v6("advertisement: a router's with a prefix in it", |s| s.icmp(0, 134, 0, &[&[64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 3, 4, 64, 0xc0][..], &[0; 28]].concat()).hops(255), ND),
        v6("redirect: to itself", |s| s.icmp(0, 137, 0, &[&[0; 4], &GUEST6[..], &s.to[..]].concat()).hops(255), ND),
        v6("question for routers: with a code", |s| s.icmp(0, 133, 1, &[0; 4]).hops(255).source(six("fe80::b")).eth(0, &[0x33, 0x33, 0, 0, 0, 2]).destination(six("ff02::2")), ND),
        v6("question for routers: with its MAC in it", |s| s.icmp(0, 133, 0, &[0, 0, 0, 0, 1, 1, 2, 0, 0, 0, 0, 0x11]).hops(255).eth(0, &[0x33, 0x33, 0, 0, 0, 2]).destination(six("ff02::2")), ND),
        v6("question for routers: from nobody, to everybody", |s| s.icmp(0, 133, 0, &[0; 4]).hops(255).source(six("::")).eth(0, &[0x33, 0x33, 0, 0, 0, 1]).destination(GROUP), ND),
    ]
}
