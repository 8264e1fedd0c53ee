//! TCP, UDP and SCTP: headers that do not fit their packet die, and so does a UDP length that is not its payload's.
//! What they say to each other is the guests' own affair: flags, numbers, windows, checksums pass as they are.
use super::table::{CARRIED, Case, both, dies};

pub(crate) fn cases() -> Vec<Case> {
    [tcp(), udp(), others()].into_iter().flatten().collect()
}

#[rustfmt::skip] // one case, one line
fn tcp() -> Vec<Case> {
    let short = dies("too_short");
    let wrong = dies("bad_header");
    vec![
        both("TCP: a start", |s| s.tcp(), CARRIED),
        both("TCP: an answer to a start", |s| s.tcp().body(13, &[0x12]), CARRIED),
        both("TCP: data", |s| s.segment(40_000, 80), CARRIED),
        both("TCP: an end", |s| s.tcp().body(13, &[0x11]), CARRIED),
        both("TCP: a reset", |s| s.tcp().body(13, &[0x04]), CARRIED),
        both("TCP: no flag", |s| s.tcp().body(13, &[0]), CARRIED),
        both("TCP: every flag", |s| s.tcp().body(13, &[0xff]), CARRIED),
        both("TCP: a start and an end at once", |s| s.tcp().body(13, &[0x03]), CARRIED),
        both("TCP: lit up like a tree", |s| s.tcp().body(13, &[0x29]), CARRIED),
        both("TCP: urgent, and nothing is", |s| s.tcp().body(13, &[0x20]).body(18, &[0, 0]), CARRIED),
        both("TCP: urgent past the end", |s| s.tcp().body(13, &[0x38]).body(18, &[0xff, 0xff]), CARRIED),
        both("TCP: congestion bits of a start", |s| s.tcp().body(13, &[0xc2]), CARRIED),
        both("TCP: reserved bits", |s| s.tcp().body(12, &[0x5f]), CARRIED),
        both("TCP: a window of 0", |s| s.segment(1, 2).body(14, &[0, 0]), CARRIED),
        both("TCP: a window of 65535", |s| s.segment(1, 2).body(14, &[0xff, 0xff]), CARRIED),
        both("TCP: sequence numbers about to wrap", |s| s.segment(1, 2).body(4, &[0xff; 8]), CARRIED),
        both("TCP: a wrong checksum", |s| s.segment(1, 2).body(16, &[1, 2]), CARRIED),
        both("TCP: a checksum of 0", |s| s.segment(1, 2).body(16, &[0, 0]), CARRIED),
        both("TCP: from port 0", |s| s.segment(0, 80), CARRIED),
        both("TCP: to port 0", |s| s.segment(40_000, 0), CARRIED),
        both("TCP: to the port it comes from", |s| s.segment(80, 80), CARRIED),
        both("TCP: between the highest ports", |s| s.segment(65_535, 65_535), CARRIED),
        both("TCP: a start with data", |s| s.segment(1, 2).body(13, &[2]), CARRIED),
        both("TCP: four bytes of options", |s| s.segment(1, 2).body(12, &[0x60]).body(20, &[2, 4, 5, 0xb4]), CARRIED),
        both("TCP: options to the packet's end", |s| s.segment(1, 2).body(12, &[0x70]).body(20, &[1; 8]), CARRIED),
        both("TCP: an option of length 0", |s| s.segment(1, 2).body(12, &[0x70]).body(20, &[8, 0, 0, 0, 0, 0, 0, 0]), CARRIED),
        both("TCP: an option that runs past the header", |s| s.segment(1, 2).body(12, &[0x70]).body(20, &[8, 40, 0, 0, 0, 0, 0, 0]), CARRIED),
        both("TCP: an MD5 signature", |s| s.of(6, &[&[0; 12][..], &[0xa0, 2, 0, 1, 0, 0, 0, 0, 19, 18], &[7; 16], &[1, 1]].concat()), CARRIED),
        both("TCP: the fast open cookie", |s| s.of(6, &[&[0; 12][..], &[0x80, 2, 0, 1, 0, 0, 0, 0, 34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1], b"data"].concat()), CARRIED),
        both("TCP: window scale, selective acknowledgement, timestamps", |s| s.of(6, &[&[0; 12][..], &[0xa0, 2, 0, 1, 0, 0, 0, 0, 2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7]].concat()), CARRIED),
        both("TCP: a segment's size of 0 announced", |s| s.of(6, &[&[0; 12][..], &[0x60, 2, 0, 1, 0, 0, 0, 0, 2, 4, 0, 0]].concat()), CARRIED),
        both("TCP: one word of options more than there are bytes", |s| s.segment(1, 2).body(12, &[0x80]), short),
        both("TCP: options, and nothing behind the header", |s| s.tcp().body(12, &[0x60]), short),
        both("TCP: the longest header, past the packet", |s| s.tcp().body(12, &[0xf0]), short),
        both("TCP: the longest header", |s| s.of(6, &[0xf0; 60]), CARRIED),
        both("TCP: the longest header, one byte short", |s| s.of(6, &[0xf0; 59]), short),
        both("TCP: options, and the frame's padding in their place", |s| s.tcp().body(12, &[0x60]).padded(4), short),
        both("TCP: a header of 0 bytes", |s| s.tcp().body(12, &[0x00]), wrong),
        both("TCP: a header of 4 bytes", |s| s.tcp().body(12, &[0x10]), wrong),
        both("TCP: a header of 16 bytes", |s| s.tcp().body(12, &[0x40]), wrong),
        both("TCP: no byte of it", |s| s.of(6, &[]), short),
        both("TCP: ports and nothing else", |s| s.of(6, &[0x50; 4]), short),
        both("TCP: eight bytes", |s| s.of(6, &[0x50; 8]), short),
        both("TCP: thirteen bytes, no flags", |s| s.of(6, &[0x50; 13]), short),
        both("TCP: nineteen bytes", |s| s.of(6, &[0x50; 19]), short),
        both("TCP: twenty bytes", |s| s.of(6, &[0x50; 20]), CARRIED),
    ]
}

#[rustfmt::skip] // one case, one line
fn udp() -> Vec<Case> {
    let short = dies("too_short");
    let wrong = dies("bad_header");
    vec![
        both("UDP: a datagram", |s| s.udp(), CARRIED),
        both("UDP: empty", |s| s.datagram(1, 2, b""), CARRIED),
        both("UDP: one byte", |s| s.datagram(1, 2, b"x"), CARRIED),
        both("UDP: from port 0", |s| s.datagram(0, 53, b"x"), CARRIED),
        both("UDP: to port 0", |s| s.datagram(40_000, 0, b"x"), CARRIED),
        both("UDP: between the highest ports", |s| s.datagram(65_535, 65_535, b"x"), CARRIED),
        both("UDP: no checksum", |s| s.udp().body(6, &[0, 0]), CARRIED),
        both("UDP: a wrong checksum", |s| s.udp().body(6, &[1, 2]), CARRIED),
        both("UDP: a checksum of all ones", |s| s.udp().body(6, &[0xff, 0xff]), CARRIED),
        both("UDP length: 0", |s| s.udp().body(4, &[0, 0]), wrong),
        both("UDP length: 7, below its header's", |s| s.udp().body(4, &[0, 7]), wrong),
        both("UDP length: its header's alone", |s| s.udp().body(4, &[0, 8]), wrong),
        both("UDP length: one short of the packet", |s| s.udp().body(4, &[0, 17]), wrong),
        both("UDP length: one over the packet", |s| s.udp().body(4, &[0, 19]), wrong),
        both("UDP length: one over the packet, and there is padding", |s| s.udp().body(4, &[0, 19]).padded(1), wrong),
        both("UDP length: 65535", |s| s.udp().body(4, &[0xff, 0xff]), wrong),
        both("UDP length: bytes swapped", |s| s.udp().body(4, &[18, 0]), wrong),
        both("UDP: no byte of it", |s| s.of(17, &[]), short),
        both("UDP: ports and nothing else", |s| s.of(17, &[0, 1, 0, 2]), short),
        both("UDP: seven bytes", |s| s.of(17, &[0, 1, 0, 2, 0, 7, 0]), short),
        both("UDP: eight bytes", |s| s.of(17, &[0, 1, 0, 2, 0, 8, 0, 0]), CARRIED),
    ]
}

#[rustfmt::skip] // one case, one line
fn others() -> Vec<Case> {
    let short = dies("too_short");
    vec![
        both("SCTP: a start", |s| s.of(132, &[0, 1, 0, 2, 0, 0, 0, 0, 9, 9, 9, 9, 1, 0, 0, 20, 0, 0, 0, 1, 0, 0, 16, 0, 0, 1, 0, 1, 0, 0, 0, 1]), CARRIED),
        both("SCTP: an abort", |s| s.of(132, &[0, 1, 0, 2, 0, 0, 0, 7, 9, 9, 9, 9, 6, 0, 0, 4]), CARRIED),
        both("SCTP: a header alone", |s| s.of(132, &[0, 1, 0, 2, 0, 0, 0, 0, 9, 9, 9, 9]), CARRIED),
        both("SCTP: between ports 0", |s| s.of(132, &[0; 16]), CARRIED),
        both("SCTP: a chunk that runs past the packet", |s| s.of(132, &[0, 1, 0, 2, 0, 0, 0, 0, 9, 9, 9, 9, 0, 3, 0xff, 0xff]), CARRIED),
        both("SCTP: no byte of it", |s| s.of(132, &[]), short),
        both("SCTP: eleven bytes", |s| s.of(132, &[0; 11]), short),
        both("SCTP: data and a heartbeat in one", |s| s.of(132, &[0, 1, 0, 2, 0, 0, 0, 7, 9, 9, 9, 9, 0, 3, 0, 20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 4, 0, 0, 8, 0, 1, 0, 4]), CARRIED),
        both("SCTP: a wrong checksum", |s| s.of(132, &[0, 1, 0, 2, 0, 0, 0, 7, 1, 2, 3, 4, 4, 0, 0, 4]), CARRIED),
        both("SCTP: ports and nothing else", |s| s.of(132, &[0, 1, 0, 2]), short),
        both("UDP-Lite", |s| s.of(136, &[0, 1, 0, 2, 0, 8, 0, 0]), CARRIED),
        both("UDP-Lite: half a header", |s| s.of(136, &[0, 1]), CARRIED),
        both("DCCP", |s| s.of(33, &[0, 1, 0, 2, 3, 0, 0, 0, 0, 0, 0, 1]), CARRIED),
    ]
}
