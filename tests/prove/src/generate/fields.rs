//! Header fields by name: what can be broken in a frame, one at a time.
use pairgate_packet::ip::Family;

/// A field of a header. Fields that share a byte have a mask; all others are whole bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Such as `ip.protocol`.
    pub name: &'static str,
    /// Where it starts, in bytes from the frame's start.
    pub at: usize,
    /// How long it is, in bytes.
    pub length: usize,
    /// The bits of its bytes that are its own.
    pub mask: u8,
}

const fn whole(name: &'static str, at: usize, length: usize) -> Field {
    Field {
        name,
        at,
        length,
        mask: 0xff,
    }
}

const fn part(name: &'static str, at: usize, mask: u8) -> Field {
    Field {
        name,
        at,
        length: 1,
        mask,
    }
}

/// The Ethernet header.
pub const ETHERNET: &[Field] = &[
    whole("ethernet.destination", 0, 6),
    whole("ethernet.source", 6, 6),
    whole("ethernet.type", 12, 2),
];

const IPV4: &[Field] = &[
    part("ip.version", 0, 0xf0),
    part("ip.header_length", 0, 0x0f),
    whole("ip.type_of_service", 1, 1),
    whole("ip.length", 2, 2),
    whole("ip.identification", 4, 2),
    part("ip.flags", 6, 0xe0),
    part("ip.offset_high", 6, 0x1f),
    whole("ip.offset_low", 7, 1),
    whole("ip.time_to_live", 8, 1),
    whole("ip.protocol", 9, 1),
    whole("ip.checksum", 10, 2),
    whole("ip.source", 12, 4),
    whole("ip.destination", 16, 4),
];

const IPV6: &[Field] = &[
    part("ip.version", 0, 0xf0),
    part("ip.class", 1, 0xf0),
    part("ip.label", 1, 0x0f),
    whole("ip.payload_length", 4, 2),
    whole("ip.next_header", 6, 1),
    whole("ip.hop_limit", 7, 1),
    whole("ip.source", 8, 16),
    whole("ip.source_first", 8, 2),
    whole("ip.source_last", 23, 1),
    whole("ip.destination", 24, 16),
    whole("ip.destination_first", 24, 2),
    whole("ip.destination_last", 39, 1),
];

const TCP: &[Field] = &[
    whole("tcp.source", 0, 2),
    whole("tcp.destination", 2, 2),
    whole("tcp.sequence", 4, 4),
    whole("tcp.acknowledgement", 8, 4),
    part("tcp.header_length", 12, 0xf0),
    whole("tcp.flags", 13, 1),
    whole("tcp.window", 14, 2),
    whole("tcp.checksum", 16, 2),
    whole("tcp.urgent", 18, 2),
];

const UDP: &[Field] = &[
    whole("udp.source", 0, 2),
    whole("udp.destination", 2, 2),
    whole("udp.length", 4, 2),
    whole("udp.checksum", 6, 2),
];

const SCTP: &[Field] = &[
    whole("sctp.source", 0, 2),
    whole("sctp.destination", 2, 2),
    whole("sctp.tag", 4, 4),
    whole("sctp.checksum", 8, 4),
    whole("sctp.chunk_type", 12, 1),
    whole("sctp.chunk_length", 14, 2),
];

const ICMP: &[Field] = &[
    whole("icmp.type", 0, 1),
    whole("icmp.code", 1, 1),
    whole("icmp.checksum", 2, 2),
    whole("icmp.identifier", 4, 2),
    whole("icmp.sequence", 6, 2),
];

/// What follows an error's own header: a header that is quoted, or a discovery's target and option.
const ICMP_BODY: &[Field] = &[
    whole("icmp.body_first", 8, 1),
    whole("icmp.body_length", 10, 2),
    whole("icmp.target", 8, 16),
    whole("icmp.target_last", 23, 1),
    whole("icmp.option_type", 24, 1),
    whole("icmp.option_length", 25, 1),
    whole("icmp.option", 26, 6),
];

const EXTENSION: &[Field] = &[
    whole("extension.next", 0, 1),
    whole("extension.length", 1, 1),
    whole("extension.data", 2, 2),
];

const ARP: &[Field] = &[
    whole("arp.hardware", 0, 2),
    whole("arp.protocol", 2, 2),
    whole("arp.hardware_length", 4, 1),
    whole("arp.protocol_length", 5, 1),
    whole("arp.operation", 6, 2),
    whole("arp.sender_mac", 8, 6),
    whole("arp.sender", 14, 4),
    whole("arp.target_mac", 18, 6),
    whole("arp.target", 24, 4),
];

const VXLAN: &[Field] = &[
    whole("outer.udp.source", 0, 2),
    whole("outer.udp.destination", 2, 2),
    whole("outer.udp.length", 4, 2),
    whole("outer.udp.checksum", 6, 2),
    whole("vxlan.flags", 8, 1),
    whole("vxlan.flags_low", 9, 1),
    whole("vxlan.group", 10, 2),
    whole("vxlan.network", 12, 3),
    whole("vxlan.network_last", 14, 1),
    whole("vxlan.reserved", 15, 1),
];

fn shifted(fields: &[Field], by: usize) -> impl Iterator<Item = Field> {
    fields.iter().map(move |field| Field {
        at: field.at + by,
        ..*field
    })
}

/// The fields of a frame whose Ethernet header stands at `at`, as far as its own bytes announce them.
pub fn of(frame: &[u8], at: usize) -> Vec<Field> {
    let mut fields: Vec<Field> = shifted(ETHERNET, at).collect();
    let ip = at + 14;
    match frame.get(at + 12..ip) {
        Some([0x08, 0x00]) => {
            fields.extend(shifted(IPV4, ip));
            fields.extend(transport(frame.get(ip + 9), ip + 20));
        }
        Some([0x86, 0xdd]) => {
            fields.extend(shifted(IPV6, ip));
            fields.extend(transport(frame.get(ip + 6), ip + 40));
        }
        Some([0x08, 0x06]) => fields.extend(shifted(ARP, ip)),
        _ => {}
    }
    fields.retain(|field| field.at + field.length <= frame.len());
    fields
}

/// The fields of a frame on the underlay: both headers.
pub fn of_wrapped(frame: &[u8], underlay: Family) -> Vec<Field> {
    let udp = 14 + underlay.header();
    let outer = if underlay == Family::V4 { IPV4 } else { IPV6 };
    let mut fields: Vec<Field> = ETHERNET.to_vec();
    fields.extend(shifted(outer, 14));
    fields.extend(shifted(VXLAN, udp));
    fields.extend(of(frame, udp + 16));
    fields.retain(|field| field.at + field.length <= frame.len());
    fields
}

fn transport(protocol: Option<&u8>, at: usize) -> Vec<Field> {
    match protocol {
        Some(6) => shifted(TCP, at).collect(),
        Some(17) => shifted(UDP, at).collect(),
        Some(132) => shifted(SCTP, at).collect(),
        Some(1 | 58) => shifted(ICMP, at).chain(shifted(ICMP_BODY, at)).collect(),
        Some(0 | 43 | 44 | 60 | 135) => shifted(EXTENSION, at).collect(),
        _ => Vec::new(),
    }
}
