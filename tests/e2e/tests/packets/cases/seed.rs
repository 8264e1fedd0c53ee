//! The valid frames that every line of the tables begins with, and the changes that make one of them another case.
use crate::{
    frames::{arp_for, solicitation},
    world::{GATEWAY, GUEST_MAC},
};
use etherparse::{EtherType, Ethernet2Header, IpNumber, Ipv4Header, Ipv6Header, PacketBuilder};
use pairgate_abi::FlowKey;
use pairgate_packet::{
    address::{narrow, wide},
    ip::Family,
};

/// From whom to whom, in the form of the contract; the family is that of the addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed {
    pub(crate) from: [u8; 16],
    pub(crate) to: [u8; 16],
}

/// A frame that remembers its family, so that its parts have names.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(super) family: Family,
    pub(crate) bytes: Vec<u8>,
}

macro_rules! built {
    ($seed:expr, |$step:ident| $rest:expr, $payload:expr) => {{
        let (start, mut bytes) = (PacketBuilder::ethernet2(GUEST_MAC, GATEWAY), Vec::new());
        let payload: &[u8] = $payload;
        match $seed.v4() {
            Some((from, to)) => {
                let $step = start.ipv4(from, to, 64);
                $rest.write(&mut bytes, payload).unwrap();
            }
            None => {
                let $step = start.ipv6($seed.from, $seed.to, 64);
                $rest.write(&mut bytes, payload).unwrap();
            }
        }
        $seed.frame(bytes)
    }};
}

impl Seed {
    fn v4(self) -> Option<([u8; 4], [u8; 4])> {
        Some((narrow(&self.from)?, narrow(&self.to)?))
    }

    fn frame(self, bytes: Vec<u8>) -> Frame {
        let family = Family::of(&self.from);
        Frame { family, bytes }
    }

    /// The same, the other way.
    pub(crate) fn back(self) -> Self {
        Self {
            from: self.to,
            to: self.from,
        }
    }

    /// To whom, as an address to put somewhere else.
    pub(crate) fn receiver(self) -> Both {
        Both {
            four: narrow(&self.to).unwrap_or_default(),
            six: self.to,
        }
    }

    /// A datagram of 10 bytes to port 53.
    pub(crate) fn udp(self) -> Frame {
        self.datagram(40_000, 53, b"hello peer")
    }

    pub(crate) fn datagram(self, from: u16, to: u16, payload: &[u8]) -> Frame {
        built!(self, |ip| ip.udp(from, to), payload)
    }

    /// A datagram in an IP packet of so many bytes.
    pub(crate) fn sized(self, length: usize) -> Frame {
        let headers = if self.v4().is_some() { 28 } else { 48 };
        self.datagram(40_000, 53, &vec![7; length - headers])
    }

    /// The first segment of a TCP stream, to port 80.
    pub(crate) fn tcp(self) -> Frame {
        built!(self, |ip| ip.tcp(40_000, 80, 7, 1000).syn(), &[])
    }

    /// A segment with eight bytes of payload and no flag but ACK.
    pub(crate) fn segment(self, from: u16, to: u16) -> Frame {
        built!(self, |ip| ip.tcp(from, to, 7, 1000).ack(9), b"8 bytes!")
    }

    /// A segment with so many bytes, all of a stream's order.
    pub(crate) fn stream(self, length: usize) -> Frame {
        let payload: Vec<u8> = (0..length).map(|at| (at / 3) as u8).collect();
        built!(self, |ip| ip.tcp(40_000, 80, 7, 1000).ack(9), &payload)
    }

    /// An echo request with this identifier.
    pub(crate) fn echo(self, identifier: u16) -> Frame {
        let [high, low] = identifier.to_be_bytes();
        self.icmp(8, 128, 0, &[high, low, 0, 1, 0x55, 0x55, 0x55, 0x55])
    }

    /// A message of the family's own ICMP: the type in each family, the code, and what follows the checksum.
    pub(crate) fn icmp(self, four: u8, six: u8, code: u8, rest: &[u8]) -> Frame {
        let first = rest[..4].try_into().unwrap();
        let (start, mut bytes) = (PacketBuilder::ethernet2(GUEST_MAC, GATEWAY), Vec::new());
        match self.v4() {
            Some((from, to)) => start
                .ipv4(from, to, 64)
                .icmpv4_raw(four, code, first)
                .write(&mut bytes, &rest[4..]),
            None => start
                .ipv6(self.from, self.to, 64)
                .icmpv6_raw(six, code, first)
                .write(&mut bytes, &rest[4..]),
        }
        .unwrap();
        self.frame(bytes)
    }

    /// The number of the family's own ICMP.
    pub(crate) fn icmp_number(self) -> u8 {
        if self.v4().is_some() { 1 } else { 58 }
    }

    /// A packet of any protocol.
    pub(crate) fn of(self, protocol: u8, payload: &[u8]) -> Frame {
        let ether_type = match self.v4() {
            Some(_) => EtherType::IPV4,
            None => EtherType::IPV6,
        };
        let mut bytes = Ethernet2Header {
            source: GUEST_MAC,
            destination: GATEWAY,
            ether_type,
        }
        .to_bytes()
        .to_vec();
        bytes.extend(self.ip(protocol, payload));
        self.frame(bytes)
    }

    /// The guest's question for the MAC address of an address.
    pub(crate) fn ask(self, target: Both) -> Frame {
        match self.v4() {
            Some(_) => self.frame(arp_for(target.four)),
            None => self.frame(solicitation(target.six)),
        }
    }

    /// The same without an Ethernet header, as it stands inside of other packets.
    pub(crate) fn ip(self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.v4() {
            Some((from, to)) => {
                let length = payload.len() as u16;
                let mut ip = Ipv4Header::new(length, 64, IpNumber(protocol), from, to).unwrap();
                ip.header_checksum = ip.calc_header_checksum();
                ip.write(&mut bytes).unwrap();
            }
            None => Ipv6Header {
                payload_length: payload.len() as u16,
                next_header: IpNumber(protocol),
                hop_limit: 64,
                source: self.from,
                destination: self.to,
                ..Ipv6Header::default()
            }
            .write(&mut bytes)
            .unwrap(),
        }
        bytes.extend(payload);
        bytes
    }
}

impl Frame {
    pub(super) fn body_at(&self) -> usize {
        14 + self.family.header()
    }

    fn put(mut self, at: usize, bytes: &[u8]) -> Self {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Changes bytes of the Ethernet header.
    pub(crate) fn eth(self, at: usize, bytes: &[u8]) -> Self {
        self.put(at, bytes)
    }

    /// Changes bytes anywhere.
    pub(crate) fn raw(self, at: usize, bytes: &[u8]) -> Self {
        self.put(at, bytes)
    }

    /// Changes the ethertype.
    pub(crate) fn kind(self, ethertype: u16) -> Self {
        self.put(12, &ethertype.to_be_bytes())
    }

    /// Changes bytes of the IP header. IPv4's header checksum stays right unless it is what is changed.
    pub(crate) fn ip(self, at: usize, bytes: &[u8]) -> Self {
        let changed = self.put(14 + at, bytes);
        if changed.family == Family::V6 || at == 10 {
            return changed;
        }
        let sum = header_checksum(&changed.bytes[14..34]);
        changed.put(24, &sum.to_be_bytes())
    }

    /// Changes bytes behind the IP header.
    pub(crate) fn body(self, at: usize, bytes: &[u8]) -> Self {
        let body = self.body_at();
        self.put(body + at, bytes)
    }

    /// Changes the source address.
    pub(crate) fn source(self, address: Both) -> Self {
        match self.family {
            Family::V4 => self.ip(12, &address.four),
            Family::V6 => self.ip(8, &address.six),
        }
    }

    /// Changes the destination address.
    pub(crate) fn destination(self, address: Both) -> Self {
        match self.family {
            Family::V4 => self.ip(16, &address.four),
            Family::V6 => self.ip(24, &address.six),
        }
    }

    /// Changes the time to live, or the hop limit.
    pub(crate) fn hops(self, left: u8) -> Self {
        let at = if self.family == Family::V4 { 8 } else { 7 };
        self.ip(at, &[left])
    }

    /// Puts bytes behind the IP header, and counts them in its length; IPv6's next header becomes `next`, and the
    /// one that it was stands in their first byte.
    pub(crate) fn extended(mut self, next: u8, header: &[u8]) -> Self {
        let (body, was) = (self.body_at(), self.bytes[20]);
        self.bytes.splice(body..body, header.iter().copied());
        self.bytes[body] = was;
        let length = (self.bytes.len() - body) as u16;
        self.ip(4, &length.to_be_bytes()).ip(6, &[next])
    }

    /// IPv4 options behind the header, which says so, in whole words.
    pub(crate) fn options(mut self, options: &[u8]) -> Self {
        self.bytes.splice(34..34, options.iter().copied());
        let (words, length) = (5 + options.len() / 4, (self.bytes.len() - 14) as u16);
        let form = [0x40 | words as u8];
        let changed = self
            .put(16, &length.to_be_bytes())
            .put(14, &form)
            .put(24, &[0, 0]);
        let sum = header_checksum(&changed.bytes[14..34 + options.len()]);
        changed.put(24, &sum.to_be_bytes())
    }

    /// Puts bytes behind the packet, which does not count them.
    pub(crate) fn padded(mut self, bytes: usize) -> Self {
        self.bytes.resize(self.bytes.len() + bytes, 0x5a);
        self
    }

    /// The frame without what stands behind its packet, as far as its header tells how long that is.
    pub(crate) fn packet(&self) -> Vec<u8> {
        let number = |at: usize| {
            self.bytes
                .get(at..at + 2)
                .map_or(0, |b| usize::from(u16::from_be_bytes([b[0], b[1]])))
        };
        let length = match self.family {
            Family::V4 => number(16),
            Family::V6 => 40 + number(18),
        };
        self.bytes[..(14 + length).min(self.bytes.len())].to_vec()
    }

    /// The conversation that the packet opens, as the table of the guest that sends it has it.
    pub(crate) fn flow(&self) -> FlowKey {
        let address = |four: usize, six: usize| match self.family {
            Family::V4 => wide(self.bytes[four..four + 4].try_into().unwrap()),
            Family::V6 => self.bytes[six..six + 16].try_into().unwrap(),
        };
        let (body, protocol) = (&self.bytes[self.body_at()..], self.protocol());
        let port = |at: usize| [body[at], body[at + 1]];
        let (own_port, peer_port) = match (protocol, body[0]) {
            (6 | 17 | 132, _) => (port(0), port(2)),
            (1, 8) | (58, 128) => (port(4), [0; 2]),
            (1, 0) | (58, 129) => ([0; 2], port(4)),
            (1 | 58, kind) => ([0; 2], [0xff, kind]),
            _ => ([0; 2], [0; 2]),
        };
        FlowKey {
            own: address(26, 22),
            peer: address(30, 38),
            own_port,
            peer_port,
            protocol,
            reserved: [0; 3],
        }
    }

    pub(super) fn protocol(&self) -> u8 {
        self.bytes[if self.family == Family::V4 { 23 } else { 20 }]
    }

    /// Takes bytes from the end, and no header knows of it.
    pub(crate) fn short_of(mut self, bytes: usize) -> Self {
        self.bytes.truncate(self.bytes.len() - bytes);
        self
    }

    /// Puts bytes between the MAC addresses and the ethertype.
    pub(crate) fn tagged(mut self, tags: &[u8]) -> Self {
        self.bytes.splice(12..12, tags.iter().copied());
        self
    }
}

/// An address in each family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Both {
    pub(crate) four: [u8; 4],
    pub(crate) six: [u8; 16],
}

/// An IPv4 address, where there is no other.
pub(crate) fn four(a: u8, b: u8, c: u8, d: u8) -> Both {
    Both {
        four: [a, b, c, d],
        six: [0; 16],
    }
}

/// An IPv6 address, as it is written, where there is no other.
pub(crate) fn six(written: &str) -> Both {
    Both {
        four: [0; 4],
        six: written.parse::<std::net::Ipv6Addr>().unwrap().octets(),
    }
}

/// The Internet checksum (RFC 1071) of an IPv4 header, with whatever stands in its own place left out.
fn header_checksum(header: &[u8]) -> u16 {
    let words = header.chunks(2).enumerate().filter(|(at, _)| *at != 5);
    let sum: u32 = words
        .map(|(_, word)| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let sum = (sum >> 16) + (sum & 0xffff);
    !((sum >> 16) + (sum & 0xffff)) as u16
}
