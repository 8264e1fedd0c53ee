//! What arrives on the uplink, by its outer header: field by field, over an underlay of each family, with a packet of
//! each family inside. Whatever is not exactly ours is the host's and stays as it came; what is ours and not as its
//! handle's pair is dies.
use super::{
    course::{Course, FOREIGN_MARK, Way},
    seed::Frame,
    table::{PASSES, Setup},
};
use crate::{
    frames::{arriving_under, delivered},
    pairs::{in_handle, in_handle6},
    run::{DROP, NEXT, REDIRECT},
    world::SLOT,
    xdp::check_beside,
};
use pairgate_agent::datapath::Program;
use pairgate_packet::ip::Family;

/// What becomes of a frame, and in which slot it is counted.
type Outcome = (&'static str, u32);
type Make = fn(Frame) -> Frame;

const OURS: Outcome = (PASSES, SLOT);
const NOT_OURS: Outcome = ("not ours", 0);

/// Its handle is known: its guest's slot counts it.
const fn dies(reason: &'static str) -> Outcome {
    (reason, SLOT)
}

/// Nobody's.
const fn stray(reason: &'static str) -> Outcome {
    (reason, 0)
}

pub(crate) struct Outer {
    pub(crate) name: &'static str,
    four: Option<(Make, Outcome)>,
    six: Option<(Make, Outcome)>,
}

impl Outer {
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = &'static str> {
        [self.four, self.six]
            .into_iter()
            .flatten()
            .map(|(_, outcome)| outcome.0)
    }
}

fn both(name: &'static str, make: Make, outcome: Outcome) -> Outer {
    pair(name, (make, outcome), (make, outcome))
}

fn pair(name: &'static str, four: (Make, Outcome), six: (Make, Outcome)) -> Outer {
    Outer {
        name,
        four: Some(four),
        six: Some(six),
    }
}

fn v4(name: &'static str, make: Make, outcome: Outcome) -> Outer {
    Outer {
        name,
        four: Some((make, outcome)),
        six: None,
    }
}

fn v6(name: &'static str, make: Make, outcome: Outcome) -> Outer {
    Outer {
        name,
        four: None,
        six: Some((make, outcome)),
    }
}

/// Runs the line over the course's underlay, with a packet of each family inside.
pub(crate) fn run(course: &mut Course, case: &Outer) {
    let (line, underlay) = if course.world.host.is_ipv4() {
        (case.four, Family::V4)
    } else {
        (case.six, Family::V6)
    };
    let Some((make, (outcome, slot))) = line else {
        return;
    };
    for (family, handle) in [(Family::V4, in_handle()), (Family::V6, in_handle6())] {
        let what = format!("{}, {family:?} over {underlay:?}", case.name);
        let outcome = course.arrives(outcome, family);
        course.set(&Setup::default(), family, Way::UplinkToTap);
        let inner = Way::UplinkToTap.seed(family).udp();
        let good = arriving_under(&course.world, handle, &inner.bytes);
        let sent = make(Frame::over(underlay, good.clone())).bytes;
        let ran = course.through(Program::FromUplink, course.world.uplink.index(), &sent, (0, 0));
        let moved = course.moved();
        let (action, frame, mark) = match outcome {
            PASSES => (
                REDIRECT,
                Some(delivered(&inner.bytes)),
                course.world.loaded.mark(),
            ),
            "not ours" => (NEXT, Some(sent), FOREIGN_MARK),
            _ => (DROP, None, FOREIGN_MARK),
        };
        let counted = if outcome == PASSES { "passed" } else { outcome };
        let counts = if action == NEXT {
            vec![]
        } else {
            vec![(slot, "from_uplink", counted, 1)]
        };
        assert_eq!(moved, counts, "{what}");
        assert_eq!(ran.action, action, "{what}");
        assert_eq!(ran.mark, mark, "{what}: the guard before a guest goes by it");
        if let Some(frame) = frame {
            assert_eq!(ran.frame, frame, "{what}: other bytes than it should have");
        }
        check_beside(
            &mut course.world,
            &make(Frame::over(underlay, good)).bytes,
            outcome,
            slot,
            &what,
        );
        let _counted = course.moved();
    }
}

pub(crate) fn cases() -> Vec<Outer> {
    [link(), ip(), hosts(), udp(), vxlan(), handles(), inside()]
        .into_iter()
        .flatten()
        .collect()
}

#[rustfmt::skip] // one case, one line
fn link() -> Vec<Outer> {
    vec![
        both("outer: as a peer host sends it", |f| f, OURS),
        both("outer MAC: to another machine", |f| f.eth(0, &[2, 9, 9, 9, 9, 9]), NOT_OURS),
        both("outer MAC: to everybody", |f| f.eth(0, &[0xff; 6]), NOT_OURS),
        both("outer MAC: to a group", |f| f.eth(0, &[0x33, 0x33, 0, 0, 0, 1]), NOT_OURS),
        both("outer MAC: from anybody", |f| f.eth(6, &[2, 8, 8, 8, 8, 8]), OURS),
        both("outer MAC: from a group", |f| f.eth(6, &[0xff; 6]), OURS),
        pair("outer type: the other family's", (|f| f.kind(0x86dd), NOT_OURS), (|f| f.kind(0x0800), NOT_OURS)),
        both("outer type: ARP", |f| f.kind(0x0806), NOT_OURS),
        both("outer type: a length", |f| f.kind(64), NOT_OURS),
        both("outer type: MPLS", |f| f.kind(0x8847), NOT_OURS),
        both("outer tag: in the bytes", |f| f.tagged(&[0x81, 0, 0, 5]), NOT_OURS),
        both("outer tag: VLAN 0 in the bytes", |f| f.tagged(&[0x81, 0, 0, 0]), NOT_OURS),
        both("outer frame: one byte behind the packet", |f| f.padded(1), NOT_OURS),
        both("outer frame: one byte short of the packet", |f| f.short_of(1), NOT_OURS),
        both("outer frame: ends with its VXLAN header", |f| f.cut_to(16), NOT_OURS),
        both("outer frame: ends within its VXLAN header", |f| f.cut_to(15), NOT_OURS),
        both("outer frame: ends with its UDP header", |f| f.cut_to(8), NOT_OURS),
        both("outer frame: ends within its UDP header", |f| f.cut_to(7), NOT_OURS),
        both("outer frame: ends with its IP header", |f| f.cut_to(0), NOT_OURS),
    ]
}

#[rustfmt::skip] // one case, one line
fn ip() -> Vec<Outer> {
    vec![
        pair("outer version: the other family's", (|f| f.ip(0, &[0x65]), NOT_OURS), (|f| f.ip(0, &[0x40]), NOT_OURS)),
        pair("outer version: 0", (|f| f.ip(0, &[0x05]), NOT_OURS), (|f| f.ip(0, &[0]), NOT_OURS)),
        v4("outer header length: 24, options", |f| f.ip(0, &[0x46]), NOT_OURS),
        v4("outer header length: 16", |f| f.ip(0, &[0x44]), NOT_OURS),
        v4("outer header length: 0", |f| f.ip(0, &[0x40]), NOT_OURS),
        pair("outer class: changed on the way", (|f| f.ip(1, &[0xb8]), OURS), (|f| f.ip(0, &[0x6b, 0x80]), OURS)),
        pair("outer congestion: met on the way", (|f| f.ip(1, &[3]), OURS), (|f| f.ip(0, &[0x60, 0x30]), OURS)),
        v6("outer flow label: set on the way", |f| f.ip(1, &[0x0f, 0xff, 0xff]), OURS),
        both("outer length: one short of the frame", |f| f.ip_length(-1), NOT_OURS),
        both("outer length: one over the frame", |f| f.ip_length(1), NOT_OURS),
        pair("outer length: 0", (|f| f.ip(2, &[0, 0]), NOT_OURS), (|f| f.ip(4, &[0, 0]), NOT_OURS)),
        pair("outer length: 65535", (|f| f.ip(2, &[0xff, 0xff]), NOT_OURS), (|f| f.ip(4, &[0xff, 0xff]), NOT_OURS)),
        v4("outer identification: any", |f| f.ip(4, &[0xab, 0xcd]), OURS),
        v4("outer flags: may be fragmented", |f| f.ip(6, &[0, 0]), OURS),
        v4("outer flags: reserved", |f| f.ip(6, &[0xc0, 0]), OURS),
        pair("outer fragment: the first", (|f| f.ip(6, &[0x20, 0]), NOT_OURS), (|f| f.extended(44, &[0, 0, 0, 1, 0, 0, 0, 7]), NOT_OURS)),
        pair("outer fragment: a later one", (|f| f.ip(6, &[0, 9]), NOT_OURS), (|f| f.extended(44, &[0, 0, 0, 72, 0, 0, 0, 7]), NOT_OURS)),
        v4("outer fragment: a later one, do not fragment", |f| f.ip(6, &[0x40, 1]), NOT_OURS),
        v6("outer fragment: atomic", |f| f.extended(44, &[0, 0, 0, 0, 0, 0, 0, 7]), NOT_OURS),
        pair("outer time to live: 0", (|f| f.ip(8, &[0]), OURS), (|f| f.ip(7, &[0]), OURS)),
        pair("outer time to live: 1", (|f| f.ip(8, &[1]), OURS), (|f| f.ip(7, &[1]), OURS)),
        pair("outer time to live: 255", (|f| f.ip(8, &[255]), OURS), (|f| f.ip(7, &[255]), OURS)),
        pair("outer protocol: TCP", (|f| f.ip(9, &[6]), NOT_OURS), (|f| f.ip(6, &[6]), NOT_OURS)),
        pair("outer protocol: UDP-Lite", (|f| f.ip(9, &[136]), NOT_OURS), (|f| f.ip(6, &[136]), NOT_OURS)),
        pair("outer protocol: GRE", (|f| f.ip(9, &[47]), NOT_OURS), (|f| f.ip(6, &[47]), NOT_OURS)),
        pair("outer protocol: 0", (|f| f.ip(9, &[0]), NOT_OURS), (|f| f.ip(6, &[0]), NOT_OURS)),
        v6("outer extension: hop-by-hop options", |f| f.extended(0, &[0, 0, 1, 4, 0, 0, 0, 0]), NOT_OURS),
        v6("outer extension: destination options", |f| f.extended(60, &[0, 0, 1, 4, 0, 0, 0, 0]), NOT_OURS),
        v6("outer extension: segments to visit", |f| f.extended(43, &[0, 0, 4, 0, 0, 0, 0, 0]), NOT_OURS),
        v4("outer options: router alert", |f| f.options(&[148, 4, 0, 0]), NOT_OURS),
        v4("outer options: a source route", |f| f.options(&[131, 7, 4, 192, 0, 2, 9, 0]), NOT_OURS),
        v4("outer header checksum: wrong", |f| f.ip(10, &[1, 2]), OURS),
    ]
}

#[rustfmt::skip] // one case, one line
fn hosts() -> Vec<Outer> {
    let other = dies("outer");
    vec![
        pair("outer source: another host", (|f| f.ip(12, &[192, 0, 2, 3]), other), (|f| f.ip(23, &[3]), other)),
        pair("outer source: this host", (|f| f.ip(12, &[192, 0, 2, 1]), other), (|f| f.ip(23, &[1]), other)),
        pair("outer source: loopback", (|f| f.ip(12, &[127, 0, 0, 1]), other), (|f| f.ip(8, &[0; 15]).ip(23, &[1]), other)),
        pair("outer source: nobody", (|f| f.ip(12, &[0; 4]), other), (|f| f.ip(8, &[0; 16]), other)),
        pair("outer source: a group", (|f| f.ip(12, &[224, 0, 0, 1]), other), (|f| f.ip(8, &[0xff, 2]), other)),
        v4("outer source: everybody", |f| f.ip(12, &[255; 4]), other),
        v6("outer source: the peer host's IPv4 address, mapped", |f| f.ip(8, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 2]), other),
        v6("outer source: link-local", |f| f.ip(8, &[0xfe, 0x80, 0, 0, 0, 0, 0, 0]), other),
        pair("outer destination: another address of this host", (|f| f.ip(16, &[192, 0, 2, 77]), NOT_OURS), (|f| f.ip(39, &[77]), NOT_OURS)),
        pair("outer destination: the peer host", (|f| f.ip(16, &[192, 0, 2, 2]), NOT_OURS), (|f| f.ip(39, &[2]), NOT_OURS)),
        pair("outer destination: loopback", (|f| f.ip(16, &[127, 0, 0, 1]), NOT_OURS), (|f| f.ip(24, &[0; 15]).ip(39, &[1]), NOT_OURS)),
        pair("outer destination: a group", (|f| f.ip(16, &[224, 0, 0, 1]), NOT_OURS), (|f| f.ip(24, &[0xff, 2]), NOT_OURS)),
        v4("outer destination: everybody", |f| f.ip(16, &[255; 4]), NOT_OURS),
        v4("outer destination: its network's broadcast", |f| f.ip(16, &[192, 0, 2, 255]), NOT_OURS),
        v6("outer destination: this host's IPv4 address, mapped", |f| f.ip(24, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1]), NOT_OURS),
        both("outer hosts: turned round", |f| f.hosts_turned(), NOT_OURS),
    ]
}

#[rustfmt::skip] // one case, one line
fn udp() -> Vec<Outer> {
    vec![
        both("outer port: from 0", |f| f.body(0, &[0, 0]), OURS),
        both("outer port: from 65535", |f| f.body(0, &[0xff, 0xff]), OURS),
        both("outer port: from ours", |f| f.body(0, &[0x12, 0xb5]), OURS),
        both("outer port: to one above ours", |f| f.body(2, &[0x12, 0xb6]), NOT_OURS),
        both("outer port: to one below ours", |f| f.body(2, &[0x12, 0xb4]), NOT_OURS),
        both("outer port: to ours, bytes swapped", |f| f.body(2, &[0xb5, 0x12]), NOT_OURS),
        both("outer port: to Linux's old one for VXLAN", |f| f.body(2, &[0x21, 0x18]), NOT_OURS),
        both("outer port: to 0", |f| f.body(2, &[0, 0]), NOT_OURS),
        both("outer UDP length: 0", |f| f.body(4, &[0, 0]), NOT_OURS),
        both("outer UDP length: its header's alone", |f| f.body(4, &[0, 8]), NOT_OURS),
        both("outer UDP length: one short", |f| f.udp_length(-1), NOT_OURS),
        both("outer UDP length: one over", |f| f.udp_length(1), NOT_OURS),
        both("outer UDP length: 65535", |f| f.body(4, &[0xff, 0xff]), NOT_OURS),
        both("outer checksum: any", |f| f.body(6, &[1, 2]), stray("outer")),
        both("outer checksum: 1", |f| f.body(6, &[0, 1]), stray("outer")),
        both("outer checksum: all ones, a computed 0", |f| f.body(6, &[0xff, 0xff]), stray("outer")),
        both("outer checksum: any, and an unknown handle", |f| f.body(6, &[1, 2]).body(12, &[1, 1, 1]), stray("outer")),
    ]
}

#[rustfmt::skip] // one case, one line
fn vxlan() -> Vec<Outer> {
    vec![
        both("VXLAN flags: no group (G)", |f| f.body(8, &[0x08]), NOT_OURS),
        both("VXLAN flags: no network (I)", |f| f.body(8, &[0x80]), NOT_OURS),
        both("VXLAN flags: none", |f| f.body(8, &[0x00]), NOT_OURS),
        both("VXLAN flags: all", |f| f.body(8, &[0xff]), NOT_OURS),
        both("VXLAN flags: bit 0, operations (O)", |f| f.body(8, &[0x89]), NOT_OURS),
        both("VXLAN flags: bit 1", |f| f.body(8, &[0x8a]), NOT_OURS),
        both("VXLAN flags: bit 2, another protocol (P)", |f| f.body(8, &[0x8c]), NOT_OURS),
        both("VXLAN flags: bit 4, a version", |f| f.body(8, &[0x98]), NOT_OURS),
        both("VXLAN flags: bit 5, a version", |f| f.body(8, &[0xa8]), NOT_OURS),
        both("VXLAN flags: bit 6", |f| f.body(8, &[0xc8]), NOT_OURS),
        both("VXLAN policy: do not learn (D)", |f| f.body(9, &[0x40]), NOT_OURS),
        both("VXLAN policy: applied already (A)", |f| f.body(9, &[0x08]), NOT_OURS),
        both("VXLAN policy: its lowest reserved bit", |f| f.body(9, &[0x01]), NOT_OURS),
        both("VXLAN policy: its highest reserved bit", |f| f.body(9, &[0x80]), NOT_OURS),
        both("VXLAN policy: all", |f| f.body(9, &[0xff]), NOT_OURS),
        both("VXLAN last byte: 1", |f| f.body(15, &[1]), NOT_OURS),
        both("VXLAN last byte: 128", |f| f.body(15, &[0x80]), NOT_OURS),
        both("VXLAN last byte: another protocol's number", |f| f.body(15, &[3]), NOT_OURS),
        both("VXLAN: nothing of it, zeros", |f| f.body(8, &[0; 8]), NOT_OURS),
    ]
}

#[rustfmt::skip] // one case, one line
fn handles() -> Vec<Outer> {
    let unknown = stray("handle");
    vec![
        both("handle: zeros", |f| f.body(10, &[0; 5]), unknown),
        both("handle: ones", |f| f.body(10, &[0xff; 5]), unknown),
        both("handle: no group", |f| f.body(10, &[0, 0]), unknown),
        both("handle: a group of ones", |f| f.body(10, &[0xff, 0xff]), unknown),
        both("handle: no network", |f| f.body(12, &[0; 3]), unknown),
        both("handle: a network of ones", |f| f.body(12, &[0xff; 3]), unknown),
        both("handle: one bit of the group off", |f| f.body(11, &[0x0f]), unknown),
        both("handle: the highest bit of the group off", |f| f.body(10, &[0x8d]), unknown),
        both("handle: the highest bit of the network off", |f| f.body(12, &[0x8a]), unknown),
        both("handle: group's bytes swapped", |f| f.body(10, &[0x0e, 0x0d]), unknown),
        both("handle: network's bytes turned round", |f| f.body(12, &[0x0c, 0x0b, 0x0a]), unknown),
        both("handle: the one that this host sends under", |f| f.body(10, &[4, 5, 1, 2, 3]), unknown),
        both("handle: of a pair with another peer", |f| f.body(14, &[0x0f]), dies("inner")),
        both("handle: of the same pair's other family", |f| f.other_family(), dies("inner")),
        both("handle: of an address that this host had once", |f| f.body(10, &[0x6b, 0x2f, 0x5c, 0x71, 0xe3]), dies("outer")),
    ]
}

/// Behind the outer header: what the tables of packets cannot say, because there is no packet.
#[rustfmt::skip] // one case, one line
fn inside() -> Vec<Outer> {
    let wrong = dies("inner");
    vec![
        both("inside: nothing", |f| f.carrying(&[]), wrong),
        both("inside: one byte", |f| f.carrying(&[2]), wrong),
        both("inside: one short of an Ethernet header", |f| f.carrying(&[2; 13]), wrong),
        both("inside: an Ethernet header, and no packet", |f| f.carrying(&[2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 8, 0]), wrong),
        both("inside: one byte of IPv4", |f| f.carrying(&[2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 8, 0, 0x45]), wrong),
        both("inside: one byte of IPv6", |f| f.carrying(&[2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0x86, 0xdd, 0x60]), wrong),
        both("inside: one short of the packet, and the outer lengths fit", |f| f.shorter(1), wrong),
        both("inside: one byte behind the packet, and the outer lengths fit", |f| f.longer(1), wrong),
        both("inside: the other family's type", |f| f.other_type(), wrong),
        both("inside: ARP's type", |f| f.body(28, &[8, 6]), wrong),
        both("inside: a tag", |f| f.body(28, &[0x81, 0]), wrong),
        both("inside: a tunnel's own frame once more", |f| { let own = f.bytes.clone(); f.carrying(&own) }, wrong),
        both("inside: zeros", |f| f.carrying(&[0; 60]), wrong),
        both("inside: ones", |f| f.carrying(&[0xff; 60]), wrong),
    ]
}

impl Frame {
    /// A frame on the underlay.
    fn over(underlay: Family, bytes: Vec<u8>) -> Self {
        Self {
            family: underlay,
            bytes,
        }
    }

    /// Ends so many bytes behind the IP header, and no header knows of it.
    fn cut_to(mut self, bytes: usize) -> Self {
        self.bytes.truncate(self.body_at() + bytes);
        self
    }

    /// Changes the IP length by so much.
    fn ip_length(self, by: i16) -> Self {
        let at = if self.family == Family::V4 { 2 } else { 4 };
        let was = u16::from_be_bytes([self.bytes[14 + at], self.bytes[15 + at]]);
        self.ip(at, &was.wrapping_add_signed(by).to_be_bytes())
    }

    /// Changes the UDP length by so much.
    fn udp_length(self, by: i16) -> Self {
        let at = self.body_at() + 4;
        let was = u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]]);
        self.body(4, &was.wrapping_add_signed(by).to_be_bytes())
    }

    /// Another inner frame, with outer lengths that fit it.
    fn carrying(mut self, inner: &[u8]) -> Self {
        let (body, was) = (self.body_at(), self.bytes.len());
        self.bytes.truncate(body + 16);
        self.bytes.extend(inner);
        let by = self.bytes.len() as i16 - was as i16;
        self.ip_length(by).udp_length(by)
    }

    fn shorter(self, by: usize) -> Self {
        let inner = self.bytes[self.body_at() + 16..self.bytes.len() - by].to_vec();
        self.carrying(&inner)
    }

    fn longer(self, by: usize) -> Self {
        let inner = [&self.bytes[self.body_at() + 16..], &vec![0x5a; by]].concat();
        self.carrying(&inner)
    }

    /// Source and destination of the outer header have changed places.
    fn hosts_turned(self) -> Self {
        let (from, to) = if self.family == Family::V4 {
            (12..16, 16..20)
        } else {
            (8..24, 24..40)
        };
        let ip = self.bytes[14..].to_vec();
        self.ip(from.start, &ip[to.clone()]).ip(to.start, &ip[from])
    }

    /// The last byte of the handles of the two families of one pair: 0x0c and 0x0e.
    fn other_family(self) -> Self {
        let last = self.bytes[self.body_at() + 14];
        self.body(14, &[last ^ 2])
    }

    fn other_type(self) -> Self {
        let is_v4 = self.bytes[self.body_at() + 28] == 8;
        self.body(28, if is_v4 { &[0x86, 0xdd] } else { &[8, 0] })
    }
}
