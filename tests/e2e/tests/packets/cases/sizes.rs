//! Frames of every size that is the edge of something, and tags where the kernel keeps them beside the bytes.
use super::{
    addresses::NEIGHBOUR,
    seed::{Frame, Seed},
    table::{NOTHING, Outcomes, PASSES},
    wired::{REFUSED, Wired, both, differ},
};
use crate::device::Vnet;

/// From a guest; too short to be for anybody.
const fn guests(word: &'static str) -> Outcomes {
    [word, NOTHING, NOTHING]
}

fn plain(frame: Frame) -> (Vnet, Frame) {
    (Vnet::default(), frame)
}

fn first(frame: Frame, length: usize) -> (Vnet, Frame) {
    let short = frame.bytes.len() - length;
    plain(frame.short_of(short))
}

/// So many bytes of IP header are there.
fn header(s: Seed, bytes: usize) -> (Vnet, Frame) {
    first(s.segment(1, 2), 14 + bytes)
}

#[rustfmt::skip] // one case, one line
pub(crate) fn cases() -> Vec<Wired> {
    vec![
        both("frame of 0 bytes", |s| first(s.udp(), 0), guests(REFUSED)),
        both("frame of 1 byte", |s| first(s.udp(), 1), guests(REFUSED)),
        both("frame of 6 bytes: a MAC address", |s| first(s.udp(), 6), guests(REFUSED)),
        both("frame of 12 bytes: both MAC addresses", |s| first(s.udp(), 12), guests(REFUSED)),
        both("frame of 13 bytes: one short of a header", |s| first(s.udp(), 13), guests(REFUSED)),
        both("frame of 14 bytes: its type, and nothing of that", |s| first(s.udp(), 14), guests("too_short")),
        both("frame of 14 bytes: ARP, and nothing of it", |s| first(s.udp().kind(0x0806), 14), guests("too_short")),
        both("frame of 14 bytes: an unknown type", |s| first(s.udp().kind(0x88cc), 14), guests("ethertype")),
        both("frame of 14 bytes: a length", |s| first(s.udp().kind(0), 14), guests("ethertype")),
        both("frame of 15 bytes", |s| first(s.udp(), 15), guests("too_short")),
        differ("frame: one byte short of an IP header", |s| header(s, if s.icmp_number() == 1 { 19 } else { 39 }), guests("too_short"), guests("too_short")),
        differ("frame: an IP header, and nothing behind it", |s| header(s, if s.icmp_number() == 1 { 20 } else { 40 }), guests("bad_header"), guests("bad_header")),
        differ("frame: half an IP header", |s| header(s, if s.icmp_number() == 1 { 10 } else { 20 }), guests("too_short"), guests("too_short")),
        both("frame of 15 bytes: of another's MAC", |s| first(s.udp().eth(6, &[2; 6]), 15), guests("spoofed_mac")),
        both("frame: as large as the wire's", |s| plain(s.sized(1400)), [PASSES; 3]),
        both("frame of 9000 bytes", |s| plain(s.sized(8986)), ["too_big"; 3]),
        both("frame of 20000 bytes", |s| plain(s.sized(19_986)), ["too_big"; 3]),
        both("frame of 60000 bytes", |s| plain(s.sized(59_986)), ["too_big"; 3]),
        both("frame of 20000 bytes: in a pair that would carry it", |s| plain(s.sized(19_986)), ["room", PASSES, PASSES]).when(|now| now.mtu = 65_535),
        both("frame of 60000 bytes: in a pair that would carry it", |s| plain(s.sized(59_986)), ["room", PASSES, PASSES]).when(|now| now.mtu = 65_535),
        both("frame of 6000 bytes: its headers in another piece", |s| (Vnet { header_length: 14, ..Vnet::default() }, s.sized(5986)), [PASSES; 3]).when(|now| now.mtu = 9000),
        both("frame of 6000 bytes: its headers in another piece, from another", |s| (Vnet { header_length: 14, ..Vnet::default() }, s.sized(5986).source(NEIGHBOUR)), ["spoofed_address", "inner", "spoofed_address"]).when(|now| now.mtu = 9000),
        both("frame with a tag beside its bytes", |s| plain(s.udp().tagged(&[0x81, 0, 0, 5])), ["vlan", "inner", "vlan"]),
        both("frame with VLAN 0 beside its bytes", |s| plain(s.udp().tagged(&[0x81, 0, 0, 0])), ["vlan", "inner", "vlan"]),
        both("frame with a priority beside its bytes", |s| plain(s.udp().tagged(&[0x81, 0, 0xe0, 0])), ["vlan", "inner", "vlan"]),
        both("frame with a service tag beside its bytes", |s| plain(s.udp().tagged(&[0x88, 0xa8, 0, 5])), ["vlan", "inner", "vlan"]),
        both("frame with a tag beside its bytes, and one in them", |s| plain(s.udp().tagged(&[0x81, 0, 0, 5]).tagged(&[0x88, 0xa8, 0, 6])), ["vlan", "inner", "vlan"]),
        both("frame with a tag beside its bytes, and ARP", |s| plain(s.ask(s.receiver()).tagged(&[0x81, 0, 0, 5])), ["vlan", "inner", "vlan"]),
        both("frame with a tag, and nothing behind it", |s| first(s.udp().tagged(&[0x81, 0, 0, 5]), 16), guests(REFUSED)),
        both("frame with half a tag", |s| first(s.udp().tagged(&[0x81, 0, 0, 5]), 15), guests(REFUSED)),
    ]
}
