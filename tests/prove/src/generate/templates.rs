//! A valid frame of every kind that a guest's machine may send, built by a library that knows nothing of our programs.
//!
//! All are from the first guest to its first peer; whoever uses one puts the addresses of others in.
use crate::world::{
    Link,
    content::{self, Peer},
};
use anyhow::Result;
use etherparse::{
    ArpEthIpv4Packet, ArpOperation, EtherType, Ethernet2Header, IpFragOffset, IpNumber, Ipv4Header,
    Ipv6Header, TcpHeader, UdpHeader,
};
use pairgate_abi::{GATEWAY_MAC, SERVER_V4};
use pairgate_packet::{address, ip::Family};

/// A valid frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// What it is.
    pub name: String,
    /// Family of its packet; none if it is of another protocol.
    pub family: Option<Family>,
    /// Whether it goes from a guest to a peer, so that addresses of others may be put in.
    pub is_addressed: bool,
    /// Its bytes.
    pub frame: Vec<u8>,
}

/// How much stands behind the headers: nothing, odd, an ordinary request, and sizes around what pairs carry and what
/// is held.
const SIZES: [usize; 11] = [0, 1, 7, 18, 32, 64, 256, 1340, 1372, 1380, 2034];
/// How many of them stand for most frames.
const SMALL: usize = 6;

/// Every valid frame.
pub fn all() -> Result<Vec<Template>> {
    let mut all = Vec::new();
    for family in [Family::V4, Family::V6] {
        for (at, size) in SIZES.into_iter().enumerate() {
            for (name, protocol, segment) in segments(family, size)? {
                if at < SMALL || matches!(name, "udp" | "tcp" | "ping") {
                    let frame = packet(
                        family,
                        protocol,
                        &segment,
                        content::address(family, Peer::All.last()),
                    )?;
                    all.push(addressed(format!("{name} with {size} bytes"), family, frame));
                }
            }
        }
        extended(family, &mut all)?;
    }
    others(&mut all)?;
    discovery(&mut all)?;
    configuration(&mut all)?;
    Ok(all)
}

fn addressed(name: String, family: Family, frame: Vec<u8>) -> Template {
    Template {
        name: format!("{family:?} {name}"),
        family: Some(family),
        is_addressed: true,
        frame,
    }
}

fn fixed(name: &str, family: Option<Family>, frame: Vec<u8>) -> Template {
    Template {
        name: name.to_owned(),
        family,
        is_addressed: false,
        frame,
    }
}

/// Transport headers with a payload: (name, protocol, bytes).
fn segments(family: Family, size: usize) -> Result<Vec<(&'static str, u8, Vec<u8>)>> {
    let payload = vec![0x5a; size];
    let udp = UdpHeader {
        source_port: 40_000,
        destination_port: 53,
        length: (8 + size) as u16,
        checksum: 0x1234,
    };
    let tcp = TcpHeader::new(40_000, 443, 7, 1000);
    let mut optional = tcp.clone();
    optional.set_options_raw(&[2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 1, 0])?;
    let with = |header: &[u8]| [header, &payload].concat();
    let (icmp, request, reply, unreachable) = if family == Family::V4 {
        (1, 8, 0, 3)
    } else {
        (58, 128, 129, 1)
    };
    let mut all = vec![
        ("udp", 17, with(&udp.to_bytes())),
        ("tcp", 6, with(&tcp.to_bytes())),
        ("tcp with options", 6, with(&optional.to_bytes())),
        (
            "sctp",
            132,
            with(&[0x9c, 0x40, 1, 0xbb, 0, 0, 0, 0, 1, 2, 3, 4, 1, 0, 0, 20]),
        ),
        ("ping", icmp, with(&[request, 0, 0, 0, 0, 1, 0, 1])),
        ("answer to a ping", icmp, with(&[reply, 0, 0, 0, 0, 1, 0, 1])),
        ("icmp error", icmp, with(&quoting(family, unreachable)?)),
        ("icmp of another type", icmp, with(&[13, 0, 0, 0, 0, 1, 0, 1])),
    ];
    for (name, protocol) in [
        ("igmp", 2),
        ("ip in ip", 4),
        ("ipv6 in ip", 41),
        ("gre", 47),
        ("no next header", 59),
        ("ospf", 89),
        ("vrrp", 112),
        ("udp-lite", 136),
        ("protocol 255", 255),
        ("icmp of the other family", 59 - icmp),
    ] {
        all.push((name, protocol, with(&[0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0])));
    }
    Ok(all)
}

/// An error about a datagram that the peer is said to have sent.
fn quoting(family: Family, kind: u8) -> Result<Vec<u8>> {
    let peer = content::address(family, Peer::All.last());
    let own = content::address(family, content::last(Link::Guest));
    let mut bytes = vec![kind, 1, 0, 0, 0, 0, 0, 0];
    write_ip(&mut bytes, family, 17, 8, (peer, own))?;
    bytes.extend([0, 53, 0x9c, 0x40, 0, 8, 0, 0]);
    Ok(bytes)
}

fn write_ip(
    bytes: &mut Vec<u8>,
    family: Family,
    protocol: u8,
    payload: usize,
    (source, destination): ([u8; 16], [u8; 16]),
) -> Result<()> {
    match family {
        Family::V4 => {
            let narrow = |[.., a, b, c, d]: [u8; 16]| [a, b, c, d];
            let addresses = (narrow(source), narrow(destination));
            let mut ip = Ipv4Header::new(payload as u16, 64, IpNumber(protocol), addresses.0, addresses.1)?;
            ip.header_checksum = ip.calc_header_checksum();
            ip.write(bytes)?;
        }
        Family::V6 => Ipv6Header {
            payload_length: payload as u16,
            next_header: IpNumber(protocol),
            hop_limit: 64,
            source,
            destination,
            ..Ipv6Header::default()
        }
        .write(bytes)?,
    }
    Ok(())
}

fn ethernet(destination: [u8; 6], kind: u16) -> Vec<u8> {
    Ethernet2Header {
        source: content::mac(Link::Guest),
        destination,
        ether_type: EtherType(kind),
    }
    .to_bytes()
    .to_vec()
}

fn packet(family: Family, protocol: u8, segment: &[u8], to: [u8; 16]) -> Result<Vec<u8>> {
    let mut frame = ethernet(GATEWAY_MAC, if family == Family::V4 { 0x0800 } else { 0x86dd });
    let own = content::address(family, content::last(Link::Guest));
    write_ip(&mut frame, family, protocol, segment.len(), (own, to))?;
    frame.extend(segment);
    Ok(frame)
}

/// Fragments, options, extension headers, and what wants to reach everyone.
fn extended(family: Family, all: &mut Vec<Template>) -> Result<()> {
    let peer = content::address(family, Peer::All.last());
    let [(_, protocol, segment), ..] = &segments(family, 32)?[..] else {
        return Ok(());
    };
    let whole = packet(family, *protocol, segment, peer)?;
    let mut add = |name: &str, frame: Vec<u8>| all.push(addressed(name.to_owned(), family, frame));
    let padded = [&whole[..], &[0; 9]].concat();
    add("udp with padding", padded);
    if family == Family::V4 {
        let own = [10, 77, 0, content::last(Link::Guest)];
        for (name, more, offset) in [
            ("first fragment", true, 0),
            ("middle fragment", true, 185),
            ("last fragment", false, 185),
        ] {
            let to = [10, 77, 0, Peer::All.last()];
            let mut ip = Ipv4Header::new(segment.len() as u16, 64, IpNumber(*protocol), own, to)?;
            ip.more_fragments = more;
            ip.fragment_offset = IpFragOffset::try_new(offset)?;
            let mut frame = ethernet(GATEWAY_MAC, 0x0800);
            ip.write(&mut frame)?;
            frame.extend(segment);
            add(name, frame);
        }
        let mut options = [&whole[..34], &[7, 3, 4, 0], &whole[34..]].concat();
        options[14] = 0x46;
        options[17] += 4;
        add("record route", options);
    } else {
        for (name, kind) in [
            ("hop by hop", 0),
            ("routing", 43),
            ("fragment", 44),
            ("destination options", 60),
            ("authentication", 51),
            ("mobility", 135),
            ("encrypted", 50),
        ] {
            let segment = [&[*protocol, 0, 1, 4, 0, 0, 0, 0], &segment[..]].concat();
            add(name, packet(family, kind, &segment, peer)?);
        }
    }
    Ok(())
}

/// Everything that is no packet to a peer.
fn others(all: &mut Vec<Template>) -> Result<()> {
    let own = [10, 77, 0, content::last(Link::Guest)];
    for (name, operation, sender, target) in [
        ("arp question", ArpOperation::REQUEST, own, [10, 77, 0, 1]),
        ("arp answer", ArpOperation::REPLY, own, [10, 77, 0, 1]),
        ("arp probe", ArpOperation::REQUEST, [0; 4], own),
        ("arp announcement", ArpOperation::REQUEST, own, own),
        (
            "arp question for a stranger",
            ArpOperation::REQUEST,
            own,
            [8, 8, 8, 8],
        ),
        (
            "arp question in another's name",
            ArpOperation::REQUEST,
            [10, 77, 0, 21],
            [10, 77, 0, 1],
        ),
        ("reverse arp", ArpOperation(3), own, own),
    ] {
        let packet = ArpEthIpv4Packet {
            operation,
            sender_mac: content::mac(Link::Guest),
            sender_ipv4: sender,
            target_mac: [0; 6],
            target_ipv4: target,
        };
        let frame = [ethernet([0xff; 6], 0x0806), packet.to_bytes().to_vec()].concat();
        all.push(fixed(name, None, [&frame[..], &[0; 18]].concat()));
        all.push(fixed(&format!("{name}, without padding"), None, frame));
    }
    let dhcp = [0, 68, 0, 67, 0, 40, 0, 0]
        .into_iter()
        .chain([1; 32])
        .collect::<Vec<u8>>();
    let mut discover = packet(Family::V4, 17, &dhcp, content::four(1))?;
    discover[..6].fill(0xff);
    discover[26..34].copy_from_slice(&[0, 0, 0, 0, 255, 255, 255, 255]);
    all.push(fixed("dhcp discover", Some(Family::V4), discover));
    for (name, mac, to) in [
        ("mdns", [1, 0, 0x5e, 0, 0, 0xfb], content::four(0)),
        ("broadcast", [0xff; 6], content::four(255)),
    ] {
        let mut frame = packet(Family::V4, 17, &dhcp, to)?;
        frame[..6].copy_from_slice(&mac);
        if name == "mdns" {
            frame[30..34].copy_from_slice(&[224, 0, 0, 251]);
        }
        all.push(fixed(name, Some(Family::V4), frame));
    }
    let groups = [
        ("dhcpv6 solicit", [0, 1, 0, 2]),
        ("mdns over ipv6", [0, 0, 0, 0xfb]),
    ];
    for (name, last) in groups {
        let mut to = [0; 16];
        (to[0], to[1]) = (0xff, 2);
        to[12..].copy_from_slice(&last);
        let mut frame = packet(Family::V6, 17, &[2, 0x22, 2, 0x23, 0, 8, 0, 0], to)?;
        frame[..6].copy_from_slice(&[0x33, 0x33, last[0], last[1], last[2], last[3]]);
        all.push(fixed(name, Some(Family::V6), frame));
    }
    let inner = packet(Family::V4, 17, &dhcp, content::four(Peer::All.last()))?;
    for (name, tags) in [
        ("tagged", &[0x81, 0, 0, 5][..]),
        ("priority tagged", &[0x81, 0, 0xe0, 0]),
        ("twice tagged", &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6]),
        ("old tag", &[0x91, 0, 0, 5]),
    ] {
        all.push(fixed(name, None, [&inner[..12], tags, &inner[12..]].concat()));
    }
    for (name, kind) in [
        ("802.3 with LLC", 38_u16),
        ("eapol", 0x888e),
        ("lldp", 0x88cc),
        ("pppoe", 0x8864),
        ("mpls", 0x8847),
        ("loopback", 0x9000),
        ("precision time", 0x88f7),
        ("ethertype 0", 0),
    ] {
        let frame = [ethernet([1, 0x80, 0xc2, 0, 0, 0], kind), vec![0x42; 46]].concat();
        all.push(fixed(name, None, frame));
    }
    Ok(())
}

fn discovery(all: &mut Vec<Template>) -> Result<()> {
    let own = content::six(content::last(Link::Guest));
    let mut near = [0; 16];
    (near[0], near[1], near[15]) = (0xfe, 0x80, 11);
    let target = content::six(1);
    let mut group = [0; 16];
    (group[0], group[1], group[11], group[12], group[15]) = (0xff, 2, 1, 0xff, 1);
    let option = [&[1, 1][..], &content::mac(Link::Guest)].concat();
    for (name, kind, from, to, option) in [
        ("solicitation", 135, own, group, &option[..]),
        ("solicitation without option", 135, own, group, &[]),
        ("solicitation from the link", 135, near, group, &option),
        ("solicitation to one", 135, own, target, &option),
        ("probe for duplicates", 135, [0; 16], group, &[]),
        ("advertisement", 136, own, target, &option),
        ("router solicitation", 133, near, group, &option),
        ("router advertisement", 134, near, group, &option),
        ("redirect", 137, own, target, &option),
    ] {
        let message = [&[kind, 0, 0, 0, 0, 0, 0, 0], &target[..], option].concat();
        let mut frame = packet(Family::V6, 58, &message, to)?;
        if to == group {
            frame[..6].copy_from_slice(&[0x33, 0x33, 0xff, 0, 0, 1]);
        }
        frame[21] = 255;
        frame[22..38].copy_from_slice(&from);
        all.push(fixed(name, Some(Family::V6), frame));
    }
    Ok(())
}

/// What a guest asks about its own configuration.
fn configuration(all: &mut Vec<Template>) -> Result<()> {
    let mut bootp = vec![0; 8 + 240 + 4];
    bootp[..8].copy_from_slice(&[0, 68, 0, 67, 0, 252, 0, 0]);
    bootp[8..12].copy_from_slice(&[1, 1, 6, 0]);
    bootp[36..42].copy_from_slice(&content::mac(Link::Guest));
    bootp[244..].copy_from_slice(&[99, 130, 83, 99, 53, 1, 1, 255]);
    for (name, to, from) in [
        ("DHCPv4 discovery", [255; 4], [0; 4]),
        (
            "DHCPv4 renewal",
            SERVER_V4,
            [10, 77, 0, content::last(Link::Guest)],
        ),
    ] {
        let mut frame = packet(Family::V4, 17, &bootp, address::wide(to))?;
        if from == [0; 4] {
            frame[..6].copy_from_slice(&[0xff; 6]);
        }
        frame[26..30].copy_from_slice(&from);
        all.push(fixed(name, Some(Family::V4), frame));
    }
    let mut near = [0; 16];
    (near[0], near[1], near[15]) = (0xfe, 0x80, 11);
    let group = |last: [u8; 3]| {
        let mut group = [0; 16];
        (group[0], group[1]) = (0xff, 2);
        group[13..].copy_from_slice(&last);
        group
    };
    let option = [&[1, 1][..], &content::mac(Link::Guest)].concat();
    let solicit = [2, 34, 2, 35, 0, 16, 0, 0, 1, 7, 7, 7, 0, 1, 0, 0];
    let routers = [&[133, 0, 0, 0, 0, 0, 0, 0][..], &option].concat();
    for (name, protocol, to, message) in [
        ("DHCPv6 solicitation", 17, group([1, 0, 2]), &solicit[..]),
        ("question for routers", 58, group([0, 0, 2]), &routers),
    ] {
        let mut frame = packet(Family::V6, protocol, message, to)?;
        frame[..6].copy_from_slice(&[0x33, 0x33, 0, to[13], 0, 2]);
        frame[21] = 255;
        frame[22..38].copy_from_slice(&near);
        all.push(fixed(name, Some(Family::V6), frame));
    }
    Ok(())
}
