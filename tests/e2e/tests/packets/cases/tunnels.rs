//! Tunnels and protocols that hosts, routers and switches listen to, as packets of a pair: a pair of everything carries
//! every protocol above IP, and nobody on the way looks inside. To anybody else they go nowhere.
use super::{
    addresses::{NEIGHBOUR, THIS_HOST},
    seed::{four, six},
    table::{CARRIED, Case, HELD, Outcomes, both, dies, pair, v4},
};

/// No entry leads to a host's address.
const ASKED: Outcomes = [HELD, "inner", HELD];

#[rustfmt::skip] // one case, one line
pub(crate) fn cases() -> Vec<Case> {
    vec![
        v4("protocol: 0", |s| s.of(0, &[1; 8]), CARRIED),
        both("protocol: IGMP", |s| s.of(2, &[0x16, 0, 0, 0, 224, 0, 0, 251]), CARRIED),
        both("protocol: the first gateway protocol", |s| s.of(3, &[1; 8]), CARRIED),
        both("protocol: RSVP", |s| s.of(46, &[0x10; 8]), CARRIED),
        both("protocol: EIGRP", |s| s.of(88, &[2; 20]), CARRIED),
        both("protocol: OSPF", |s| s.of(89, &[2; 24]), CARRIED),
        both("protocol: PIM", |s| s.of(103, &[0x20; 8]), CARRIED),
        both("protocol: VRRP", |s| s.of(112, &[0x21; 8]), CARRIED),
        both("protocol: IS-IS over IP", |s| s.of(124, &[0x83; 8]), CARRIED),
        both("protocol: 143, Ethernet", |s| s.of(143, &[0x02; 34]), CARRIED),
        both("protocol: 255", |s| s.of(255, &[1; 8]), CARRIED),
        pair("protocol: the other family's ICMP", (|s| s.of(58, &[128, 0, 0, 0, 0, 1, 0, 1]), CARRIED), (|s| s.of(1, &[8, 0, 0, 0, 0, 1, 0, 1]), CARRIED)),
        pair("protocol: the other family's ICMP, seven bytes", (|s| s.of(58, &[128; 7]), dies("too_short")), (|s| s.of(1, &[8; 7]), dies("too_short"))),
        v4("protocol: neighbour discovery in IPv4", |s| s.of(58, &[136, 0, 0, 0, 0x60, 0, 0, 0, 0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x66]), CARRIED),
        both("tunnel: IPv4 in it", |s| s.of(4, &s.back().ip(17, &[0; 8])), CARRIED),
        both("tunnel: IPv4 in it, from another", |s| s.of(4, &[0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0, 10, 77, 0, 66, 10, 77, 0, 21]), CARRIED),
        both("tunnel: IPv6 in it", |s| s.of(41, &[0x60; 40]), CARRIED),
        both("tunnel: half a header in it", |s| s.of(4, &[0x45; 9]), CARRIED),
        both("tunnel: GRE", |s| s.of(47, &[0, 0, 8, 0, 0x45, 0, 0, 20]), CARRIED),
        both("tunnel: GRE with Ethernet in it", |s| s.of(47, &[0, 0, 0x65, 0x58, 2, 2, 2, 2, 2, 2]), CARRIED),
        both("tunnel: GRE, cut", |s| s.of(47, &[0, 0]), CARRIED),
        both("tunnel: EtherIP", |s| s.of(97, &[0x30, 0, 2, 2, 2, 2, 2, 2]), CARRIED),
        both("tunnel: IPComp", |s| s.of(108, &[17, 0, 0, 2]), CARRIED),
        both("tunnel: L2TP", |s| s.of(115, &[0, 0, 0, 1, 9, 9]), CARRIED),
        both("tunnel: MPLS in IP", |s| s.of(137, &[0, 1, 1, 64]), CARRIED),
        both("tunnel: VXLAN to its peer", |s| s.datagram(50_000, 4789, &[8, 0, 0, 0, 0, 0, 1, 0, 2, 2]), CARRIED),
        both("tunnel: VXLAN in ours to its peer", |s| s.datagram(50_000, 4789, &[0x88, 0, 0x0d, 0x0e, 0x0a, 0x0b, 0x0c, 0]), CARRIED),
        both("tunnel: Geneve to its peer", |s| s.datagram(50_000, 6081, &[0, 0, 0x65, 0x58, 0, 0, 1, 0]), CARRIED),
        both("tunnel: WireGuard to its peer", |s| s.datagram(51_820, 51_820, &[1, 0, 0, 0]), CARRIED),
        both("tunnel: GTP to its peer", |s| s.datagram(2152, 2152, &[0x30, 0xff, 0, 0]), CARRIED),
        pair("tunnel: VXLAN to the peer host", (|s| s.datagram(50_000, 4789, &[0x88, 0, 0x0d, 0x0e, 0x0a, 0x0b, 0x0c, 0]).destination(four(192, 0, 2, 2)), ASKED),
            (|s| s.datagram(50_000, 4789, &[0x88, 0, 0x0d, 0x0e, 0x0a, 0x0b, 0x0c, 0]).destination(six("2001:db8:0:1::2")), ASKED)),
        pair("tunnel: VXLAN to its own host", (|s| s.datagram(50_000, 4789, &[0x88, 0, 0x0d, 0x0e, 0x0a, 0x0b, 0x0c, 0]).destination(four(192, 0, 2, 1)), ASKED),
            (|s| s.datagram(50_000, 4789, &[0x88, 0, 0x0d, 0x0e, 0x0a, 0x0b, 0x0c, 0]).destination(six("2001:db8:0:1::1")), ASKED)),
        pair("tunnel: IPv4 in it to the peer host", (|s| s.of(4, &[0x45; 20]).destination(four(192, 0, 2, 2)), ASKED), (|s| s.of(4, &[0x45; 20]).destination(six("2001:db8:0:1::2")), ASKED)),
        both("tunnel: from another's address", |s| s.of(47, &[0; 8]).source(NEIGHBOUR), dies("spoofed_address")),
        both("daemon: BFD, one hop away", |s| s.datagram(49_152, 3784, &[0x20; 24]).hops(255), CARRIED),
        both("daemon: BFD over several hops", |s| s.datagram(49_152, 4784, &[0x20; 24]), CARRIED),
        both("daemon: BFD to its host", |s| s.datagram(49_152, 3784, &[0x20; 24]).hops(255).destination(THIS_HOST), ASKED),
        both("daemon: BGP to its host", |s| s.segment(40_000, 179).destination(THIS_HOST), ASKED),
        both("daemon: LISP control to its host", |s| s.datagram(4342, 4342, &[0x80; 12]).destination(THIS_HOST), ASKED),
        both("daemon: the agent's port of its host", |s| s.segment(40_000, 7444).destination(THIS_HOST), ASKED),
        both("daemon: the registry's port of its host", |s| s.segment(40_000, 7443).destination(THIS_HOST), ASKED),
        both("daemon: DHCP, a server's answer to its peer", |s| s.datagram(67, 68, &[2, 1, 6, 0]), dies("spoofed_nd")),
        both("daemon: DHCPv6, a server's answer to its peer", |s| s.datagram(547, 546, &[2, 0, 0, 1]), dies("spoofed_nd")),
        both("daemon: DHCP, an answer to its peer from any port", |s| s.datagram(1234, 68, &[2, 1, 6, 0]), dies("spoofed_nd")),
        both("daemon: DHCPv6, an answer to its peer from any port", |s| s.datagram(1234, 546, &[2, 0, 0, 1]), dies("spoofed_nd")),
        pair("daemon: DHCP, a server's answer to everybody", (|s| s.datagram(67, 68, &[2, 1, 6, 0]).destination(four(255, 255, 255, 255)), dies("multicast")),
            (|s| s.datagram(547, 546, &[2, 0, 0, 1]).destination(six("ff02::1")), dies("multicast"))),
        pair("daemon: IGMP or MLD to all routers", (|s| s.of(2, &[0x17, 0, 0, 0, 224, 0, 0, 251]).destination(four(224, 0, 0, 2)), dies("multicast")),
            (|s| s.icmp(9, 132, 0, &[0; 20]).destination(six("ff02::2")), dies("multicast"))),
        pair("daemon: OSPF to its group", (|s| s.of(89, &[2; 24]).destination(four(224, 0, 0, 5)), dies("multicast")), (|s| s.of(89, &[3; 24]).destination(six("ff02::5")), dies("multicast"))),
        pair("daemon: VRRP to its group", (|s| s.of(112, &[0x21; 8]).destination(four(224, 0, 0, 18)), dies("multicast")), (|s| s.of(112, &[0x31; 8]).destination(six("ff02::12")), dies("multicast"))),
    ]
}
