//! Source and destination addresses, by class. A guest's own are the only source; no class is special because it is
//! never special on a wire (multicast, loopback, "this network") or because it belongs to somebody (all others need
//! an entry, and without one the registry is asked). A peer host's packet has the two addresses of its handle.
use super::{
    seed::{Both, four, six},
    table::{Case, HELD, Outcomes, both, dies, pair, v4, v6},
};
use crate::world::{GUEST, GUEST6, HOST, HOST6, NEXT_DOOR, PEER_HOST, PEER_HOST6, six as six_of};

/// Another address of the guests' network.
pub(crate) const NEIGHBOUR: Both = Both {
    four: [10, 77, 0, 66],
    six: six_of([0, 0, 0, 0x66]),
};
/// All nodes.
pub(crate) const GROUP: Both = Both {
    four: [224, 0, 0, 1],
    six: [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
};
pub(crate) const OWN: Both = Both {
    four: GUEST,
    six: GUEST6,
};
pub(crate) const THIS_HOST: Both = Both {
    four: HOST,
    six: HOST6,
};
const OTHER_HOST: Both = Both {
    four: PEER_HOST,
    six: PEER_HOST6,
};

/// No entry: the registry is asked. From a peer host: not what the handle is bound to.
const ASKED: Outcomes = [HELD, "inner", HELD];

pub(crate) fn cases() -> Vec<Case> {
    [sources(), destinations()].into_iter().flatten().collect()
}

#[rustfmt::skip] // one case, one line
fn sources() -> Vec<Case> {
    let spoofed = dies("spoofed_address");
    vec![
        both("source: another guest's", |s| s.udp().source(NEIGHBOUR), spoofed),
        both("source: its peer's", |s| s.udp().source(s.receiver()), spoofed),
        both("source: the host's", |s| s.udp().source(THIS_HOST), spoofed),
        both("source: the peer host's", |s| s.udp().source(OTHER_HOST), spoofed),
        both("source: the guest's next door", |s| s.udp().source(Both { four: NEXT_DOOR, six: six_of(NEXT_DOOR) }), spoofed),
        pair("source: one bit off its own", (|s| s.udp().source(four(10, 77, 0, 10)), spoofed), (|s| s.udp().source(six("fd77::a")), spoofed)),
        pair("source: its own, in another network", (|s| s.udp().source(four(10, 78, 0, 11)), spoofed), (|s| s.udp().source(six("fd77:0:0:1::b")), spoofed)),
        pair("source: unspecified", (|s| s.udp().source(four(0, 0, 0, 0)), spoofed), (|s| s.udp().source(six("::")), dies("bad_header"))),
        pair("source: loopback", (|s| s.udp().source(four(127, 0, 0, 1)), spoofed), (|s| s.udp().source(six("::1")), dies("bad_header"))),
        pair("source: a group", (|s| s.udp().source(four(224, 0, 0, 1)), spoofed), (|s| s.udp().source(six("ff02::1")), spoofed)),
        v4("source: the limited broadcast", |s| s.udp().source(four(255, 255, 255, 255)), spoofed),
        v4("source: its network's broadcast", |s| s.udp().source(four(10, 77, 0, 255)), spoofed),
        v4("source: its network's first address", |s| s.udp().source(four(10, 77, 0, 0)), spoofed),
        pair("source: link-local", (|s| s.udp().source(four(169, 254, 0, 11)), spoofed), (|s| s.udp().source(six("fe80::b")), spoofed)),
        pair("source: the metadata service's", (|s| s.udp().source(four(169, 254, 169, 254)), spoofed), (|s| s.udp().source(six("fd00:ec2::254")), spoofed)),
        v4("source: of class E", |s| s.udp().source(four(240, 0, 0, 1)), spoofed),
        v6("source: its IPv4 address, mapped", |s| s.udp().source(six("::ffff:10.77.0.11")), dies("bad_header")),
        v6("source: its IPv4 address, compatible", |s| s.udp().source(six("::10.77.0.11")), dies("bad_header")),
        v6("source: its IPv4 address, translated", |s| s.udp().source(six("64:ff9b::10.77.0.11")), spoofed),
        v6("source: its IPv4 address, by 6to4", |s| s.udp().source(six("2002:a4d:b::1")), spoofed),
        v6("source: Teredo", |s| s.udp().source(six("2001::1")), spoofed),
        v6("source: site-local", |s| s.udp().source(six("fec0::b")), spoofed),
    ]
}

#[rustfmt::skip] // one case, one line
fn destinations() -> Vec<Case> {
    let flood = dies("multicast");
    let nowhere = dies("bad_header");
    vec![
        both("destination: a neighbour without a pair", |s| s.udp().destination(NEIGHBOUR), ASKED),
        both("destination: itself", |s| s.udp().destination(s.back().receiver()), dies("bad_header")),
        both("destination: the host", |s| s.udp().destination(THIS_HOST), ASKED),
        both("destination: the peer host", |s| s.udp().destination(OTHER_HOST), ASKED),
        pair("destination: outside of its network", (|s| s.udp().destination(four(198, 51, 100, 1)), ASKED), (|s| s.udp().destination(six("2001:db8::1")), ASKED)),
        pair("destination: its network's first address, the subnet's routers", (|s| s.udp().destination(four(10, 77, 0, 0)), ASKED), (|s| s.udp().destination(six("fd77::")), ASKED)),
        pair("destination: unspecified", (|s| s.udp().destination(four(0, 0, 0, 0)), flood), (|s| s.udp().destination(six("::")), nowhere)),
        v4("destination: of network 0", |s| s.udp().destination(four(0, 0, 0, 9)), nowhere),
        pair("destination: loopback", (|s| s.udp().destination(four(127, 0, 0, 1)), nowhere), (|s| s.udp().destination(six("::1")), nowhere)),
        v4("destination: the end of loopback", |s| s.udp().destination(four(127, 255, 255, 254)), nowhere),
        v4("destination: the limited broadcast", |s| s.udp().destination(four(255, 255, 255, 255)), flood),
        v4("destination: its network's broadcast", |s| s.udp().destination(four(10, 77, 0, 255)), flood),
        v4("destination: another network's broadcast", |s| s.udp().destination(four(10, 78, 0, 255)), ASKED),
        v4("destination: of class E", |s| s.udp().destination(four(240, 0, 0, 1)), nowhere),
        v4("destination: one below the limited broadcast", |s| s.udp().destination(four(255, 255, 255, 254)), nowhere),
        v4("destination: one below the groups", |s| s.udp().destination(four(223, 255, 255, 255)), ASKED),
        pair("destination: all nodes", (|s| s.udp().destination(four(224, 0, 0, 1)), flood), (|s| s.udp().destination(six("ff02::1")), flood)),
        pair("destination: all routers", (|s| s.udp().destination(four(224, 0, 0, 2)), flood), (|s| s.udp().destination(six("ff02::2")), flood)),
        pair("destination: mDNS", (|s| s.udp().destination(four(224, 0, 0, 251)), flood), (|s| s.udp().destination(six("ff02::fb")), flood)),
        pair("destination: LLMNR", (|s| s.udp().destination(four(224, 0, 0, 252)), flood), (|s| s.udp().destination(six("ff02::1:3")), flood)),
        pair("destination: SSDP", (|s| s.udp().destination(four(239, 255, 255, 250)), flood), (|s| s.udp().destination(six("ff05::c")), flood)),
        pair("destination: a source-specific group", (|s| s.udp().destination(four(232, 1, 2, 3)), flood), (|s| s.udp().destination(six("ff3e::1")), flood)),
        pair("destination: the last group", (|s| s.udp().destination(four(239, 255, 255, 255)), flood), (|s| s.udp().destination(six("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")), flood)),
        v6("destination: a group of the node alone", |s| s.udp().destination(six("ff01::1")), flood),
        v6("destination: a group of the world", |s| s.udp().destination(six("ff0e::1")), flood),
        v6("destination: a group of no scope", |s| s.udp().destination(six("ff00::1")), flood),
        v6("destination: its own solicited-node group", |s| s.udp().destination(six("ff02::1:ff00:b")), flood),
        pair("destination: link-local", (|s| s.udp().destination(four(169, 254, 0, 1)), ASKED), (|s| s.udp().destination(six("fe80::1")), ASKED)),
        pair("destination: the metadata service", (|s| s.udp().destination(four(169, 254, 169, 254)), ASKED), (|s| s.udp().destination(six("fd00:ec2::254")), ASKED)),
        pair("destination: documentation", (|s| s.udp().destination(four(203, 0, 113, 1)), ASKED), (|s| s.udp().destination(six("2001:db8:ffff::1")), ASKED)),
        pair("destination: shared address space", (|s| s.udp().destination(four(100, 64, 0, 1)), ASKED), (|s| s.udp().destination(six("fc00::1")), ASKED)),
        pair("destination: discarded anyway", (|s| s.udp().destination(four(192, 0, 0, 8)), ASKED), (|s| s.udp().destination(six("100::1")), ASKED)),
        v6("destination: its peer's IPv4 address, mapped", |s| s.udp().destination(six("::ffff:10.77.0.21")), nowhere),
        v6("destination: its peer's IPv4 address, compatible", |s| s.udp().destination(six("::10.77.0.21")), nowhere),
        v6("destination: its peer's IPv4 address, translated", |s| s.udp().destination(six("64:ff9b::10.77.0.21")), ASKED),
        v6("destination: its peer's IPv4 address, by 6to4", |s| s.udp().destination(six("2002:a4d:15::1")), ASKED),
        v6("destination: ISATAP", |s| s.udp().destination(six("fd77::5efe:10.77.0.21")), ASKED),
        v6("destination: site-local", |s| s.udp().destination(six("fec0::1")), ASKED),
    ]
}
