//! IPv6 extension headers: none is carried, in any chain, whatever stands behind it; also the two that IPv4 knows as
//! plain protocols (AH and ESP). What IPv4 calls the same number is a protocol like any other.
use super::{
    addresses::NEIGHBOUR,
    table::{CARRIED, Case, dies, differ, pair, v6},
};

const NOTHING: [u8; 8] = [0, 0, 1, 4, 0, 0, 0, 0];

#[rustfmt::skip] // one case, one line
pub(crate) fn cases() -> Vec<Case> {
    let refused = dies("extension_header");
    vec![
        v6("extension: hop-by-hop options", |s| s.udp().extended(0, &NOTHING), refused),
        v6("extension: destination options", |s| s.udp().extended(60, &NOTHING), refused),
        v6("extension: routing, type 0", |s| s.udp().extended(43, &[0, 2, 0, 1, 0, 0, 0, 0, 0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x66]), refused),
        v6("extension: routing, type 0, nothing left to visit", |s| s.udp().extended(43, &[0, 0, 0, 0, 0, 0, 0, 0]), refused),
        v6("extension: routing, type 2, a mobile node's", |s| s.udp().extended(43, &[0, 2, 2, 1, 0, 0, 0, 0, 0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x66]), refused),
        v6("extension: routing, type 3, RPL's", |s| s.udp().extended(43, &[0, 0, 3, 0, 0, 0, 0, 0]), refused),
        v6("extension: routing, type 4, segments", |s| s.udp().extended(43, &[0, 2, 4, 1, 0, 0, 0, 0, 0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x66]), refused),
        v6("extension: routing, of an unknown type", |s| s.udp().extended(43, &[0, 0, 254, 9, 0, 0, 0, 0]), refused),
        pair("extension: authentication", (|s| s.of(51, &[17, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0]), CARRIED), (|s| s.udp().extended(51, &[0, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), refused)),
        differ("extension: encrypted payload", |s| s.of(50, &[0, 0, 0, 1, 0, 0, 0, 1, 9, 9, 9, 9]), CARRIED, refused),
        differ("extension: mobility", |s| s.of(135, &[59, 0, 5, 0, 0, 0, 0, 0]), CARRIED, refused),
        differ("extension: host identity", |s| s.of(139, &[59, 4, 1, 0x11, 0, 0, 0, 0]), CARRIED, refused),
        differ("extension: shim6", |s| s.of(140, &NOTHING), CARRIED, refused),
        differ("extension: experiment 253", |s| s.of(253, &NOTHING), CARRIED, refused),
        differ("extension: experiment 254", |s| s.of(254, &NOTHING), CARRIED, refused),
        v6("extension: no next header", |s| s.of(59, &[]), CARRIED),
        v6("extension: no next header, and bytes behind it", |s| s.of(59, &[1; 40]), CARRIED),
        v6("extension: hop-by-hop options, and no next header", |s| s.of(59, &[]).extended(0, &NOTHING), refused),
        v6("chain: the whole of the recommended order", |s| s.udp().extended(60, &NOTHING).extended(43, &[0, 0, 4, 0, 0, 0, 0, 0]).extended(60, &NOTHING).extended(0, &NOTHING), refused),
        v6("chain: hop-by-hop options twice", |s| s.udp().extended(0, &NOTHING).extended(0, &NOTHING), refused),
        v6("chain: hop-by-hop options that are not first", |s| s.udp().extended(0, &NOTHING).extended(60, &NOTHING), refused),
        v6("chain: eight headers", |s| (0..8).fold(s.udp(), |frame, _| frame.extended(60, &NOTHING)), refused),
        v6("chain: a hundred headers", |s| (0..100).fold(s.udp(), |frame, _| frame.extended(60, &NOTHING)), refused),
        v6("chain: a header that says it is 2048 bytes long", |s| s.udp().extended(60, &[0, 255, 1, 4, 0, 0, 0, 0]), refused),
        v6("chain: ends in the middle of a header", |s| s.of(0, &[17, 0]), refused),
        v6("chain: announced, and nothing behind it", |s| s.of(60, &[]), refused),
        v6("chain: an unknown next header behind options", |s| s.of(200, &[1; 8]).extended(60, &NOTHING), refused),
        v6("options: a giant packet", |s| s.udp().extended(0, &[0, 0, 0xc2, 4, 0, 1, 0, 0]).ip(4, &[0, 0]), refused),
        v6("options: a giant packet that says its length twice", |s| s.udp().extended(0, &[0, 0, 0xc2, 4, 0, 0, 0, 18]), refused),
        v6("options: of length 0", |s| s.udp().extended(0, &[0, 0, 0x1e, 0, 0, 0, 0, 0]), refused),
        v6("options: a tunnel's limit", |s| s.udp().extended(60, &[0, 0, 4, 1, 4, 1, 1, 0]), refused),
        v6("options: a mobile node's home", |s| s.udp().extended(60, &[0, 2, 1, 2, 0, 0, 201, 16, 0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x66]), refused),
        v6("hidden: a router's advertisement behind hop-by-hop options", |s| s.icmp(9, 134, 0, &[0; 12]).extended(0, &NOTHING), refused),
        v6("hidden: a router's advertisement behind destination options", |s| s.icmp(9, 134, 0, &[0; 12]).extended(60, &NOTHING), refused),
        v6("hidden: a neighbour's advertisement behind destination options", |s| s.icmp(9, 136, 0, &[0; 24]).extended(60, &NOTHING), refused),
        v6("hidden: a redirect behind a routing header", |s| s.icmp(9, 137, 0, &[0; 36]).extended(43, &[0, 0, 4, 0, 0, 0, 0, 0]), refused),
        v6("hidden: a foreign source before options", |s| s.udp().extended(0, &NOTHING).source(NEIGHBOUR), dies("spoofed_address")),
    ]
}
