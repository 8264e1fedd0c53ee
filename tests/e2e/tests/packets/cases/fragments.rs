//! Fragments of every form. None is carried: nobody on the way could tell which conversation a later one belongs to,
//! and the guests' packets fit (the pair's MTU is told to them).
use super::table::{Case, dies, pair, v4, v6};

/// IPv6's fragment header: offset in units of 8 bytes, more to come, identification 7.
macro_rules! fragment {
    ($frame:expr, $offset:expr, $more:expr) => {{
        let word: u16 = ($offset << 3) | $more;
        let [high, low] = word.to_be_bytes();
        $frame.extended(44, &[0, 0, high, low, 0, 0, 0, 7])
    }};
}

#[rustfmt::skip] // one case, one line
pub(crate) fn cases() -> Vec<Case> {
    let cut = dies("fragment");
    let extension = dies("extension_header");
    vec![
        pair("fragment: the first", (|s| s.udp().ip(6, &[0x20, 0]), cut), (|s| fragment!(s.udp(), 0, 1), cut)),
        pair("fragment: one in the middle", (|s| s.udp().ip(6, &[0x20, 3]), cut), (|s| fragment!(s.udp(), 3, 1), cut)),
        pair("fragment: the last", (|s| s.udp().ip(6, &[0x00, 3]), cut), (|s| fragment!(s.udp(), 3, 0), cut)),
        v4("fragment: the last, do not fragment", |s| s.udp().ip(6, &[0x40, 3]), cut),
        v4("fragment: the first, do not fragment", |s| s.udp().ip(6, &[0x60, 0]), cut),
        v4("fragment: the first, with the reserved bit", |s| s.udp().ip(6, &[0xa0, 0]), cut),
        v6("fragment: atomic, a whole packet in one", |s| fragment!(s.udp(), 0, 0), cut),
        v6("fragment: its reserved bits", |s| s.udp().extended(44, &[0, 0xff, 0, 6, 0, 0, 0, 7]), cut),
        pair("fragment: the smallest offset", (|s| s.udp().ip(6, &[0, 1]), cut), (|s| fragment!(s.udp(), 1, 0), cut)),
        pair("fragment: overlaps a first one's ports", (|s| s.tcp().ip(6, &[0, 1]), cut), (|s| fragment!(s.tcp(), 1, 0), cut)),
        pair("fragment: the largest offset", (|s| s.udp().ip(6, &[0x1f, 0xff]), cut), (|s| fragment!(s.udp(), 0x1fff, 0), cut)),
        pair("fragment: ends past 65535, the ping of death", (|s| s.echo(1).ip(6, &[0x1f, 0xff]), cut), (|s| fragment!(s.echo(1), 0x1fff, 0), cut)),
        pair("fragment: a first one too small for its ports", (|s| s.of(6, &[0x9c; 3]).ip(6, &[0x20, 0]), cut), (|s| fragment!(s.of(6, &[0x9c; 3]), 0, 1), cut)),
        pair("fragment: a first one of eight bytes of TCP", (|s| s.of(6, &[0x50; 8]).ip(6, &[0x20, 0]), cut), (|s| fragment!(s.of(6, &[0x50; 8]), 0, 1), cut)),
        pair("fragment: a first one with TCP's flags cut off", (|s| s.of(6, &[0x50; 13]).ip(6, &[0x20, 0]), cut), (|s| fragment!(s.of(6, &[0x50; 13]), 0, 1), cut)),
        pair("fragment: not the last, and of an odd length", (|s| s.datagram(1, 2, &[1; 13]).ip(6, &[0x20, 1]), cut), (|s| fragment!(s.datagram(1, 2, &[1; 13]), 1, 1), cut)),
        pair("fragment: empty", (|s| s.of(17, &[]).ip(6, &[0, 5]), cut), (|s| fragment!(s.of(17, &[]), 5, 0), cut)),
        pair("fragment: of a ping", (|s| s.echo(1).ip(6, &[0x20, 0]), cut), (|s| fragment!(s.echo(1), 0, 1), cut)),
        pair("fragment: of an unknown protocol", (|s| s.of(200, &[1; 16]).ip(6, &[0x20, 0]), cut), (|s| fragment!(s.of(200, &[1; 16]), 0, 1), cut)),
        v6("fragment: of a router's advertisement", |s| fragment!(s.icmp(9, 134, 0, &[0; 12]), 0, 1), cut),
        v6("fragment: of a neighbour's advertisement, atomic", |s| fragment!(s.icmp(9, 136, 0, &[0; 24]), 0, 0), cut),
        v6("fragment: two headers", |s| fragment!(fragment!(s.udp(), 0, 0), 0, 0), cut),
        v6("fragment: behind hop-by-hop options", |s| fragment!(s.udp(), 0, 1).extended(0, &[0, 0, 1, 4, 0, 0, 0, 0]), extension),
        v6("fragment: before hop-by-hop options", |s| fragment!(s.udp().extended(0, &[0, 0, 1, 4, 0, 0, 0, 0]), 0, 1), cut),
        v6("fragment: behind a routing header", |s| fragment!(s.udp(), 0, 1).extended(43, &[0, 0, 4, 0, 0, 0, 0, 0]), extension),
        v6("fragment: a header announced and not there", |s| s.of(44, &[]), cut),
        v6("fragment: half a header", |s| s.of(44, &[17, 0, 0, 1]), cut),
    ]
}
