//! ICMP of both families on a pair that carries everything; errors are in `errors`. What routers say, neighbour discovery
//! (ICMPv6 133 to 137) above all, never crosses: it ends at the tap, and as `inner` at the receiver.
use super::table::{CARRIED, Case, Outcomes, both, dies, pair, v4, v6};

/// Router and neighbour discovery.
const ENDS_HERE: Outcomes = ["spoofed_nd", "inner", "spoofed_nd"];

#[rustfmt::skip] // one case, one line
pub(crate) fn cases() -> Vec<Case> {
    let short = dies("too_short");
    vec![
        both("ICMP: a ping", |s| s.echo(7), CARRIED),
        both("ICMP: a ping with identifier 0", |s| s.echo(0), CARRIED),
        both("ICMP: a ping with identifier 65535", |s| s.echo(65_535), CARRIED),
        both("ICMP: a ping with a code", |s| s.icmp(8, 128, 9, &[0, 1, 0, 1]), CARRIED),
        both("ICMP: a ping with a wrong checksum", |s| s.echo(7).body(2, &[1, 2]), CARRIED),
        both("ICMP: a ping without payload", |s| s.icmp(8, 128, 0, &[0, 1, 0, 1]), CARRIED),
        both("ICMP: an answer to a ping", |s| s.icmp(0, 129, 0, &[0, 7, 0, 1, 0x55]), CARRIED),
        both("ICMP: no byte of it", |s| s.of(s.icmp_number(), &[]), short),
        both("ICMP: its type alone", |s| s.of(s.icmp_number(), &[8]), short),
        both("ICMP: seven bytes", |s| s.of(s.icmp_number(), &[8, 0, 0, 0, 0, 1, 0]), short),
        both("ICMP: of an unknown type", |s| s.icmp(200, 200, 0, &[0; 8]), CARRIED),
        both("ICMP: of type 255", |s| s.icmp(255, 255, 0, &[0; 8]), CARRIED),
        v4("ICMP: source quench about zeros", |s| s.icmp(4, 0, 0, &[0; 32]), dies("inner")),
        v4("ICMP: a redirect", |s| s.icmp(5, 0, 1, &[10, 77, 0, 66, 0x45, 0, 0, 28]), ENDS_HERE),
        v4("ICMP: a router's advertisement", |s| s.icmp(9, 0, 0, &[1, 2, 7, 8, 10, 77, 0, 66, 0, 0, 0, 0]), ENDS_HERE),
        v4("ICMP: a question for routers", |s| s.icmp(10, 0, 0, &[0; 4]), ENDS_HERE),
        v4("ICMP: a question for the time", |s| s.icmp(13, 0, 0, &[0; 16]), CARRIED),
        v4("ICMP: an answer with the time", |s| s.icmp(14, 0, 0, &[0; 16]), CARRIED),
        v4("ICMP: a question for the name of the network", |s| s.icmp(15, 0, 0, &[0; 4]), CARRIED),
        v4("ICMP: a question for the mask", |s| s.icmp(17, 0, 0, &[0; 8]), CARRIED),
        v4("ICMP: an answer with the mask", |s| s.icmp(18, 0, 0, &[0; 8]), CARRIED),
        v4("ICMP: traceroute", |s| s.icmp(30, 0, 0, &[0; 16]), CARRIED),
        v4("ICMP: an extended ping", |s| s.icmp(42, 0, 0, &[0; 16]), CARRIED),
        v6("ICMP: a question for listeners", |s| s.icmp(0, 130, 0, &[0; 20]), CARRIED),
        v6("ICMP: a listener's report", |s| s.icmp(0, 131, 0, &[0; 20]), CARRIED),
        v6("ICMP: a listener is done", |s| s.icmp(0, 132, 0, &[0; 20]), CARRIED),
        v6("ICMP: a report of the second version", |s| s.icmp(0, 143, 0, &[0; 24]), CARRIED),
        v6("ICMP: renumbering of routers", |s| s.icmp(0, 138, 0, &[0; 16]), CARRIED),
        v6("ICMP: a question for a node's names", |s| s.icmp(0, 139, 0, &[0; 16]), CARRIED),
        v6("ICMP: an inverse neighbour solicitation", |s| s.icmp(0, 141, 0, &[0; 20]), CARRIED),
        v6("ICMP: an inverse neighbour advertisement", |s| s.icmp(0, 142, 0, &[0; 20]), CARRIED),
        v6("ICMP: a home agent's discovery", |s| s.icmp(0, 144, 0, &[0; 8]), CARRIED),
        v6("ICMP: a certification path", |s| s.icmp(0, 148, 0, &[0; 8]), CARRIED),
        v6("ICMP: a multicast router's advertisement", |s| s.icmp(0, 151, 0, &[0; 4]), CARRIED),
        v6("ICMP: RPL", |s| s.icmp(0, 155, 0, &[0; 8]), CARRIED),
        v6("ICMP: a duplicate address's request", |s| s.icmp(0, 157, 0, &[0; 28]), CARRIED),
        v6("discovery: a question for routers, to a peer", |s| s.icmp(0, 133, 0, &[0; 4]), ENDS_HERE),
        v6("discovery: a router's advertisement, to a peer", |s| s.icmp(0, 134, 0, &[0; 12]).hops(255), ENDS_HERE),
        v6("discovery: an advertisement of its own address, to a peer", |s| s.icmp(0, 136, 0, &[&[0x60, 0, 0, 0], &s.from[..]].concat()).hops(255), ENDS_HERE),
        v6("discovery: an advertisement of another's address, to a peer", |s| s.icmp(0, 136, 0, &[&[0x60, 0, 0, 0], &s.to[..]].concat()).hops(255), ENDS_HERE),
        v6("discovery: a redirect, to a peer", |s| s.icmp(0, 137, 0, &[0; 36]).hops(255), ENDS_HERE),
        v6("discovery: an advertisement, from afar", |s| s.icmp(0, 136, 0, &[0; 20]), ENDS_HERE),
        v6("discovery: an advertisement of four bytes", |s| s.of(58, &[136, 0, 0, 0]), ENDS_HERE),
        v6("discovery: one below its types", |s| s.icmp(0, 132, 0, &[0; 20]).hops(255), CARRIED),
        pair("discovery: its number in the other family", (|s| s.icmp(136, 0, 0, &[0; 20]), CARRIED), (|s| s.of(1, &[136, 0, 0, 0, 0, 0, 0, 0]), CARRIED)),
    ]
}
