//! The IP header, field by field. Fields of the same meaning stand in one line: the type of service and the traffic
//! class, the time to live and the hop limit, the total length and the payload length.
//!
//! What is not judged, because it makes nobody believe anything and every receiver judges it for itself: type of service
//! and traffic class, identification, "reserved" and DF bits, time to live, IPv4's header checksum, flow label.
use super::table::{CARRIED, Case, Outcomes, PASSES, both, dies, pair, v4, v6};

/// What stands behind a packet is left behind at the guest's own host, and nobody's program sends it.
const PADDED: Outcomes = [PASSES, "inner", PASSES];

#[rustfmt::skip] // one case, one line
pub(crate) fn cases() -> Vec<Case> {
    [forms(), lengths(), carried(), options()].into_iter().flatten().collect()
}

#[rustfmt::skip] // one case, one line
fn forms() -> Vec<Case> {
    vec![
        pair("version: 0", (|s| s.udp().ip(0, &[0x05]), dies("bad_header")), (|s| s.udp().ip(0, &[0x00]), dies("bad_header"))),
        pair("version: the other family's", (|s| s.udp().ip(0, &[0x65]), dies("bad_header")), (|s| s.udp().ip(0, &[0x40]), dies("bad_header"))),
        pair("version: the other family's, and its own header length", (|s| s.udp().ip(0, &[0x60]), dies("bad_header")), (|s| s.udp().ip(0, &[0x45]), dies("bad_header"))),
        pair("version: 5, the stream protocol", (|s| s.udp().ip(0, &[0x55]), dies("bad_header")), (|s| s.udp().ip(0, &[0x50]), dies("bad_header"))),
        pair("version: 7", (|s| s.udp().ip(0, &[0x75]), dies("bad_header")), (|s| s.udp().ip(0, &[0x70]), dies("bad_header"))),
        pair("version: 15", (|s| s.udp().ip(0, &[0xf5]), dies("bad_header")), (|s| s.udp().ip(0, &[0xf0]), dies("bad_header"))),
        v4("header length: 0", |s| s.udp().ip(0, &[0x40]), dies("bad_header")),
        v4("header length: 4", |s| s.udp().ip(0, &[0x41]), dies("bad_header")),
        v4("header length: 16, one word short", |s| s.udp().ip(0, &[0x44]), dies("bad_header")),
        v4("header length: 24, and the payload taken for options", |s| s.udp().ip(0, &[0x46]), dies("bad_header")),
        v4("header length: 40, past the frame", |s| s.udp().ip(0, &[0x4a]), dies("bad_header")),
        v4("header length: 60, past the frame", |s| s.udp().ip(0, &[0x4f]), dies("bad_header")),
    ]
}

/// 18 bytes of UDP behind the header.
#[rustfmt::skip] // one case, one line
fn lengths() -> Vec<Case> {
    vec![
        pair("length: 0", (|s| s.udp().ip(2, &[0, 0]), dies("bad_header")), (|s| s.udp().ip(4, &[0, 0]), dies("too_short"))),
        v4("length: 1", |s| s.udp().ip(2, &[0, 1]), dies("bad_header")),
        v4("length: one below the header's", |s| s.udp().ip(2, &[0, 19]), dies("bad_header")),
        pair("length: the header alone", (|s| s.udp().ip(2, &[0, 20]), dies("too_short")), (|s| s.udp().ip(4, &[0, 0]), dies("too_short"))),
        pair("length: one byte of payload", (|s| s.udp().ip(2, &[0, 21]), dies("too_short")), (|s| s.udp().ip(4, &[0, 1]), dies("too_short"))),
        pair("length: one short of the UDP header", (|s| s.udp().ip(2, &[0, 27]), dies("too_short")), (|s| s.udp().ip(4, &[0, 7]), dies("too_short"))),
        pair("length: the UDP header alone, which says more", (|s| s.udp().ip(2, &[0, 28]), dies("bad_header")), (|s| s.udp().ip(4, &[0, 8]), dies("bad_header"))),
        pair("length: one short of the packet", (|s| s.udp().ip(2, &[0, 37]), dies("bad_header")), (|s| s.udp().ip(4, &[0, 17]), dies("bad_header"))),
        pair("length: one over the frame", (|s| s.udp().ip(2, &[0, 39]), dies("bad_header")), (|s| s.udp().ip(4, &[0, 19]), dies("bad_header"))),
        pair("length: a payload's where the total belongs, or the other way", (|s| s.udp().ip(2, &[0, 18]), dies("bad_header")), (|s| s.udp().ip(4, &[0, 58]), dies("bad_header"))),
        pair("length: bytes swapped", (|s| s.udp().ip(2, &[38, 0]), dies("bad_header")), (|s| s.udp().ip(4, &[18, 0]), dies("bad_header"))),
        pair("length: 32768, a sign bit", (|s| s.udp().ip(2, &[0x80, 0]), dies("bad_header")), (|s| s.udp().ip(4, &[0x80, 0]), dies("bad_header"))),
        pair("length: 65535", (|s| s.udp().ip(2, &[0xff, 0xff]), dies("bad_header")), (|s| s.udp().ip(4, &[0xff, 0xff]), dies("bad_header"))),
        both("frame: one byte short of its packet", |s| s.udp().short_of(1), dies("bad_header")),
        both("frame: ends with its transport header", |s| s.udp().short_of(10), dies("bad_header")),
        both("frame: ends with its IP header", |s| s.udp().short_of(18), dies("bad_header")),
        both("frame: one byte behind its packet", |s| s.udp().padded(1), PADDED),
        both("frame: Ethernet's padding behind a small packet", |s| s.of(200, &[1]).padded(25), PADDED),
        both("frame: 1000 bytes behind its packet", |s| s.udp().padded(1000), PADDED),
        both("frame: padding behind an empty payload", |s| s.of(200, &[]).padded(26), PADDED),
        both("payload: none", |s| s.of(200, &[]), CARRIED),
        both("payload: one byte", |s| s.of(200, &[7]), CARRIED),
        both("payload: an odd number of bytes", |s| s.datagram(1, 2, &[7; 33]), CARRIED),
    ]
}

#[rustfmt::skip] // one case, one line
fn carried() -> Vec<Case> {
    vec![
        pair("class: expedited forwarding", (|s| s.udp().ip(1, &[0xb8]), CARRIED), (|s| s.udp().ip(0, &[0x6b, 0x80]), CARRIED)),
        pair("class: scavenger", (|s| s.udp().ip(1, &[0x20]), CARRIED), (|s| s.udp().ip(0, &[0x62, 0x00]), CARRIED)),
        pair("class: network control", (|s| s.udp().ip(1, &[0xc0]), CARRIED), (|s| s.udp().ip(0, &[0x6c, 0x00]), CARRIED)),
        pair("congestion: capable", (|s| s.udp().ip(1, &[0x02]), CARRIED), (|s| s.udp().ip(0, &[0x60, 0x20]), CARRIED)),
        pair("congestion: met", (|s| s.udp().ip(1, &[0x03]), CARRIED), (|s| s.udp().ip(0, &[0x60, 0x30]), CARRIED)),
        pair("class: all ones", (|s| s.udp().ip(1, &[0xff]), CARRIED), (|s| s.udp().ip(0, &[0x6f, 0xf0]), CARRIED)),
        v4("identification: 0", |s| s.udp().ip(4, &[0, 0]), CARRIED),
        v4("identification: 65535", |s| s.udp().ip(4, &[0xff, 0xff]), CARRIED),
        v6("flow label: 1", |s| s.udp().ip(1, &[0, 0, 1]), CARRIED),
        v6("flow label: all ones", |s| s.udp().ip(1, &[0x0f, 0xff, 0xff]), CARRIED),
        v4("flags: none", |s| s.udp().ip(6, &[0, 0]), CARRIED),
        v4("flags: do not fragment", |s| s.udp().ip(6, &[0x40, 0]), CARRIED),
        v4("flags: reserved", |s| s.udp().ip(6, &[0x80, 0]), CARRIED),
        v4("flags: reserved and do not fragment", |s| s.udp().ip(6, &[0xc0, 0]), CARRIED),
        pair("time to live: 0", (|s| s.udp().ip(8, &[0]), CARRIED), (|s| s.udp().ip(7, &[0]), CARRIED)),
        pair("time to live: 1", (|s| s.udp().ip(8, &[1]), CARRIED), (|s| s.udp().ip(7, &[1]), CARRIED)),
        pair("time to live: 255", (|s| s.udp().ip(8, &[255]), CARRIED), (|s| s.udp().ip(7, &[255]), CARRIED)),
        v4("header checksum: one off", |s| { let bytes = s.udp().bytes; let low = bytes[25]; s.udp().ip(10, &[bytes[24], low ^ 1]) }, CARRIED),
        v4("header checksum: 0", |s| s.udp().ip(10, &[0, 0]), CARRIED),
        v4("header checksum: all ones", |s| s.udp().ip(10, &[0xff, 0xff]), CARRIED),
    ]
}

/// IPv4 options; what does the same in IPv6 stands in one line with it.
#[rustfmt::skip] // one case, one line
fn options() -> Vec<Case> {
    let refused = dies("bad_header");
    let extension = dies("extension_header");
    vec![
        pair("options: padding alone", (|s| s.udp().options(&[1, 1, 1, 0]), refused), (|s| s.udp().extended(0, &[0, 0, 1, 4, 0, 0, 0, 0]), extension)),
        pair("options: end of the list at once", (|s| s.udp().options(&[0, 0, 0, 0]), refused), (|s| s.udp().extended(0, &[0, 0, 0, 0, 0, 0, 0, 0]), extension)),
        pair("options: router alert", (|s| s.udp().options(&[148, 4, 0, 0]), refused), (|s| s.udp().extended(0, &[0, 0, 5, 2, 0, 0, 1, 0]), extension)),
        v4("options: record route", |s| s.udp().options(&[7, 7, 4, 0, 0, 0, 0, 0]), refused),
        v4("options: loose source route", |s| s.udp().options(&[131, 7, 4, 10, 77, 0, 66, 0]), refused),
        v4("options: strict source route", |s| s.udp().options(&[137, 7, 4, 10, 77, 0, 66, 0]), refused),
        v4("options: timestamp", |s| s.udp().options(&[68, 8, 5, 0, 0, 0, 0, 0]), refused),
        v4("options: traceroute", |s| s.udp().options(&[82, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), refused),
        v4("options: security", |s| s.udp().options(&[130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), refused),
        v4("options: CIPSO", |s| s.udp().options(&[134, 6, 0, 0, 0, 1, 0, 0]), refused),
        v4("options: stream id", |s| s.udp().options(&[136, 4, 0, 1]), refused),
        v4("options: MTU probe", |s| s.udp().options(&[11, 4, 5, 0xdc]), refused),
        pair("options: of an unknown kind", (|s| s.udp().options(&[158, 4, 0, 0]), refused), (|s| s.udp().extended(0, &[0, 0, 0x1e, 4, 0, 0, 0, 0]), extension)),
        pair("options: of an unknown kind that must be understood", (|s| s.udp().options(&[222, 4, 0, 0]), refused), (|s| s.udp().extended(0, &[0, 0, 0xde, 4, 0, 0, 0, 0]), extension)),
        v4("options: one of length 0", |s| s.udp().options(&[7, 0, 0, 0]), refused),
        v4("options: one of length 1", |s| s.udp().options(&[7, 1, 0, 0]), refused),
        pair("options: one that runs past the header", (|s| s.udp().options(&[7, 40, 4, 0]), refused), (|s| s.udp().extended(0, &[0, 0, 1, 40, 0, 0, 0, 0]), extension)),
        v4("options: 40 bytes, the most there can be", |s| s.udp().options(&[1; 40]), refused),
    ]
}
