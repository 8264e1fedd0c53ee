//! What a guest's virtio-net header says, true or not: a checksum left to the kernel, segments to be cut, and lies about
//! both. What the kernel itself does not believe, it refuses before any program sees it.
use super::{
    addresses::NEIGHBOUR,
    seed::{Frame, Seed},
    table::{CARRIED, NOTHING, Outcomes, dies},
    wired::{REFUSED, Wired, both, differ},
};
use crate::{
    checksums::unfinished,
    device::{GSO_ECN, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, GSO_UFO, Vnet},
};

/// Kernels differ in what they believe; no program believes it.
const UNTRUE: &str = "refused or offload";
/// Kernels before 6.2 know nothing of datagrams to be cut.
const CUT: &str = "passes or refused";
const LIE: Outcomes = ["offload"; 3];
const NO: Outcomes = [REFUSED; 3];

/// Segments come from guests; what arrives big from a wire goes another way (`big`, `segments`).
const fn cut(word: &'static str) -> Outcomes {
    [word, NOTHING, word]
}

/// The checksum of TCP (16) or UDP (6) is left to the kernel.
fn left(frame: Frame, field: u16) -> (Vnet, Frame) {
    let start = frame.body_at() as u16;
    let bytes = unfinished(frame.bytes.clone(), field.into());
    (Vnet::partial(start, field), Frame { bytes, ..frame })
}

/// The sum begins `from` bytes from the transport header, and goes `offset` bytes behind that.
fn lies(frame: Frame, from: i16, offset: u16) -> (Vnet, Frame) {
    let start = (frame.body_at() as u16).wrapping_add_signed(from);
    (Vnet::partial(start, offset), frame)
}

/// A stream of 4000 bytes to be cut into pieces of `size`.
fn stream(s: Seed, size: u16) -> (Vnet, Frame) {
    let kind = if s.icmp_number() == 1 {
        GSO_TCPV4
    } else {
        GSO_TCPV6
    };
    let (vnet, frame) = left(s.stream(4000), 16);
    (
        Vnet {
            gso_type: kind,
            gso_size: size,
            header_length: vnet.checksum_start + 20,
            ..vnet
        },
        frame,
    )
}

/// Datagrams of `size` each, `length` bytes in all.
fn datagrams(s: Seed, length: usize, size: u16) -> (Vnet, Frame) {
    let payload: Vec<u8> = (0..length).map(|at| at as u8).collect();
    let (vnet, frame) = left(s.datagram(7, 9, &payload), 6);
    (
        Vnet {
            gso_type: GSO_UDP_L4,
            gso_size: size,
            header_length: vnet.checksum_start + 8,
            ..vnet
        },
        frame,
    )
}

fn but((vnet, frame): (Vnet, Frame), change: fn(&mut Vnet)) -> (Vnet, Frame) {
    let mut vnet = vnet;
    change(&mut vnet);
    (vnet, frame)
}

pub(crate) fn cases() -> Vec<Wired> {
    [checksums(), segments(), kinds()].into_iter().flatten().collect()
}

#[rustfmt::skip] // one case, one line
fn checksums() -> Vec<Wired> {
    vec![
        both("checksum: done by the guest", |s| (Vnet::default(), s.udp()), CARRIED),
        both("checksum: left to the kernel, of a datagram", |s| left(s.udp(), 6), CARRIED),
        both("checksum: left to the kernel, of a segment", |s| left(s.segment(1, 2), 16), CARRIED),
        both("checksum: found right by somebody", |s| (Vnet { flags: 2, ..Vnet::default() }, s.udp()), CARRIED),
        both("checksum: left to the kernel, and stray bytes", |s| { let (vnet, frame) = left(s.udp(), 6); (vnet, frame.padded(9)) }, ["passes", "inner", "passes"]),
        both("checksum: from the source address on", |s| lies(s.udp(), -8, 0), LIE),
        both("checksum: over the MAC addresses", |s| (Vnet::partial(0, 0), s.udp()), [UNTRUE; 3]),
        both("checksum: from one byte before the header", |s| lies(s.udp(), -1, 7), LIE),
        both("checksum: from one byte behind the header's start", |s| lies(s.udp(), 1, 5), LIE),
        both("checksum: into the ports", |s| lies(s.udp(), 0, 0), LIE),
        both("checksum: into the payload", |s| lies(s.udp(), 0, 12), LIE),
        both("checksum: of TCP at UDP's place", |s| lies(s.segment(1, 2), 0, 6), LIE),
        both("checksum: of UDP at TCP's place", |s| lies(s.udp(), 0, 16), LIE),
        both("checksum: of a ping", |s| lies(s.echo(7), 0, 2), LIE),
        both("checksum: of SCTP", |s| lies(s.of(132, &[0; 20]), 0, 8), LIE),
        both("checksum: of an unknown protocol", |s| lies(s.of(200, &[0; 20]), 0, 6), LIE),
        both("checksum: of a question", |s| (Vnet::partial(34, 2), s.ask(s.receiver())), dies("offload")),
        both("checksum: left to the kernel, from another's address", |s| { let (vnet, frame) = left(s.udp(), 6); (vnet, frame.source(NEIGHBOUR)) }, dies("spoofed_address")),
        both("checksum: from behind the frame", |s| (Vnet::partial(2000, 0), s.udp()), NO),
        both("checksum: into what is behind the frame", |s| lies(s.udp(), 0, 2000), NO),
        both("checksum: half of it behind the frame", |s| lies(s.udp(), 0, 17), NO),
        both("checksum: from the end of the world", |s| (Vnet::partial(0xffff, 0xffff), s.udp()), NO),
        both("checksum: flags that nobody knows", |s| (Vnet { flags: 0x80, ..Vnet::default() }, s.udp()), CARRIED),
    ]
}

#[rustfmt::skip] // one case, one line
fn segments() -> Vec<Wired> {
    vec![
        both("cut: a stream by 1000", |s| stream(s, 1000), cut("passes")),
        both("cut: a stream with the congestion bit", |s| but(stream(s, 1000), |v| v.gso_type |= GSO_ECN), cut("passes")),
        differ("cut: a stream into the pair's largest", |s| stream(s, if s.icmp_number() == 1 { 1360 } else { 1340 }), cut("passes"), cut("passes")),
        differ("cut: a stream into one byte more than the pair's largest", |s| stream(s, if s.icmp_number() == 1 { 1361 } else { 1341 }), cut("too_big"), cut("too_big")),
        both("cut: a stream by 256, the least", |s| stream(s, 256), cut("passes")),
        both("cut: a stream by 255", |s| stream(s, 255), cut("offload")),
        both("cut: a stream by 1", |s| stream(s, 1), cut("offload")),
        both("cut: a stream by 0", |s| stream(s, 0), cut(REFUSED)),
        both("cut: a stream by more than it has", |s| stream(s, 65_534), cut("too_big")),
        both("cut: a stream by 65535, the kernel's own sign for something else", |s| stream(s, 65_535), cut("refused or too_big")),
        both("cut: a stream, and stray bytes", |s| { let (vnet, frame) = stream(s, 1000); (vnet, frame.padded(9)) }, cut("offload")),
        both("cut: a stream, and no pair", |s| stream(s, 1000), cut("no_pair")).when(|now| now.paired = false),
        both("cut: a stream, and the pair has ended", |s| stream(s, 1000), cut("expired")).when(|now| now.deadline = Some(-1)),
        both("cut: a stream, and refused", |s| stream(s, 1000), cut("denied")).when(|now| { now.paired = false; now.refused = Some(10_000_000_000); }),
        both("cut: a stream, from another's address", |s| { let (vnet, frame) = stream(s, 1000); (vnet, frame.source(NEIGHBOUR)) }, cut("spoofed_address")),
        both("cut: datagrams of 1000", |s| datagrams(s, 4000, 1000), cut(CUT)),
        both("cut: datagrams, the last one shorter", |s| datagrams(s, 3100, 1000), cut(CUT)),
        both("cut: 128 datagrams, the most", |s| datagrams(s, 1280, 10), cut(CUT)),
        both("cut: 129 datagrams", |s| datagrams(s, 1290, 10), cut(UNTRUE)),
        both("cut: datagrams larger than the pair's", |s| datagrams(s, 4000, 1373), cut("too_big or refused")),
    ]
}

#[rustfmt::skip] // one case, one line
fn kinds() -> Vec<Wired> {
    vec![
        both("cut: headers of no byte", |s| but(stream(s, 1000), |v| v.header_length = 0), cut("passes")),
        both("cut: headers of 14 bytes", |s| but(stream(s, 1000), |v| v.header_length = 14), cut("passes")),
        both("cut: headers longer than the frame", |s| but(stream(s, 1000), |v| v.header_length = 65_535), cut(REFUSED)),
        both("cut: a stream whose checksums nobody would write", |s| but(stream(s, 1000), |v| v.flags = 0), cut(UNTRUE)),
        both("cut: a stream of the other family", |s| but(stream(s, 1000), |v| v.gso_type ^= GSO_TCPV4 ^ GSO_TCPV6), cut(UNTRUE)),
        both("cut: datagrams that are a stream", |s| but(stream(s, 1000), |v| v.gso_type = GSO_UDP_L4), cut(UNTRUE)),
        both("cut: a stream that is datagrams", |s| but(datagrams(s, 4000, 1000), |v| v.gso_type = if v.checksum_start == 34 { GSO_TCPV4 } else { GSO_TCPV6 }), cut(UNTRUE)),
        both("cut: into fragments", |s| but(datagrams(s, 4000, 1000), |v| v.gso_type = GSO_UFO), cut(UNTRUE)),
        both("cut: a kind that nobody knows", |s| but(stream(s, 1000), |v| v.gso_type = 0x0f), cut(REFUSED)),
        both("cut: a ping", |s| but(lies(s.icmp(8, 128, 0, &[7; 3000]), 0, 2), |v| { v.gso_type = GSO_UDP_L4; v.gso_size = 1000; }), cut(UNTRUE)),
        both("cut: a question", |s| but((Vnet::partial(34, 6), s.ask(s.receiver()).padded(2000)), |v| { v.gso_type = GSO_UDP_L4; v.gso_size = 1000; }), cut(UNTRUE)),
        both("cut: an unknown type", |s| but((Vnet::partial(34, 6), s.sized(3000).kind(0x88cc)), |v| { v.gso_type = GSO_UDP_L4; v.gso_size = 1000; }), cut("ethertype or refused")),
        both("cut: with a tag", |s| { let (vnet, frame) = stream(s, 1000); (Vnet { checksum_start: vnet.checksum_start + 4, ..vnet }, frame.tagged(&[0x81, 0, 0, 5])) }, cut("vlan")),
    ]
}
