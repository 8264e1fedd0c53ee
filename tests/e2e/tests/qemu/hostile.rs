//! What a hostile guest sends: a frame of every class that pairs do not carry, and virtio-net headers that lie about
//! frames that look honest. Each carries the mark. Numbers such as G7 are those of the attack rows.

use anyhow::Result;
use etherparse::PacketBuilder;
use pairgate_e2e::{DB2, Forge, MARK, WEB1, WEB1_6, seal_ipv4};
use pairgate_lab::plan::GATEWAY_MAC;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A frame, what it is, and the word under which it is counted if only one comes into question.
pub(crate) struct Hostile {
    pub(crate) what: &'static str,
    pub(crate) reason: Option<&'static str>,
    pub(crate) frame: Vec<u8>,
}

/// The all-nodes address (RFC 4291, 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

/// One of each class, from a guest with this MAC. `victim` is a neighbour's MAC; `underlay` a host's address.
pub(crate) fn frames(own: [u8; 6], victim: [u8; 6], underlay: Ipv4Addr) -> Result<Vec<Hostile>> {
    let honest = Forge::honest(own, WEB1, DB2);
    let mut list = Vec::new();
    let mut add = |what, reason, frame| list.push(Hostile { what, reason, frame });
    let udp = honest.udp()?;
    let spoiled = |at: usize, bytes: &[u8]| {
        let mut frame = udp.clone();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        seal_ipv4(&mut frame);
        frame
    };
    add(
        "G1 another's MAC",
        Some("spoofed_mac"),
        Forge {
            mac: victim,
            ..honest
        }
        .udp()?,
    );
    add(
        "G2 another's address",
        Some("spoofed_address"),
        Forge {
            address: DB2,
            ..honest
        }
        .udp()?,
    );
    let nobody = Forge {
        address: Ipv4Addr::UNSPECIFIED,
        ..honest
    };
    add("G2 no address", None, nobody.udp()?);
    add(
        "G3 a claim to another's address",
        Some("spoofed_arp"),
        Forge {
            address: DB2,
            ..honest
        }
        .arp_reply()?,
    );
    let mut odd = honest.arp_reply()?;
    odd[18] = 7;
    add("G4 ARP with addresses of 7 bytes", None, odd);
    for (what, kind) in [
        ("G5 a neighbour advertisement for another", 136),
        ("G7 a router advertisement", 134),
    ] {
        add(what, None, icmpv6(own, WEB1_6, kind)?);
    }
    add(
        "G6 neighbour discovery from a made-up link-local",
        None,
        icmpv6(own, Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99), 136)?,
    );
    add("G9 the answer of a DHCP server", None, served(own, (67, 68))?);
    add("G9 the answer of a DHCPv6 server", None, served_6(own)?);
    add("G10 a first fragment", Some("fragment"), honest.fragment()?);
    add(
        "G10 a later fragment",
        Some("fragment"),
        spoiled(20, &[0x00, 0x08]),
    );
    add("G11 an atomic fragment", None, extended(own, &[44])?);
    add("G12 nine extension headers", None, extended(own, &[60; 9])?);
    add("G12 a routing header", None, extended(own, &[43])?);
    add("G13 a header of 16 bytes", None, spoiled(14, &[0x44]));
    add("G13 a header past the frame", None, spoiled(14, &[0x4f]));
    add("G14 a length past the frame", None, spoiled(16, &[0xff, 0xff]));
    add("G14 a length below the header", None, spoiled(16, &[0, 10]));
    for (what, protocol) in [
        ("IPIP", 4),
        ("6in4", 41),
        ("GRE", 47),
        ("ESP", 50),
        ("SCTP", 132),
        ("protocol 255", 255),
    ] {
        add(what, None, spoiled(23, &[protocol]));
    }
    add("G16 a VLAN tag", Some("vlan"), honest.tagged()?);
    add("G16 a priority tag", Some("vlan"), tagged(&udp, &[0x81, 0, 0, 0]));
    add(
        "G16 QinQ",
        Some("vlan"),
        tagged(&udp, &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6]),
    );
    add("G16 QinQ of old", None, tagged(&udp, &[0x91, 0, 0, 5]));
    add(
        "G16 three tags",
        Some("vlan"),
        tagged(&udp, &[0x81, 0, 0, 1, 0x81, 0, 0, 2, 0x81, 0, 0, 3]),
    );
    add(
        "G17 IPv4 in LLC/SNAP",
        None,
        tagged(&udp, &[0, 80, 0xaa, 0xaa, 3, 0, 0, 0]),
    );
    add(
        "G17 LLC behind a priority tag",
        Some("vlan"),
        tagged(&udp, &[0x81, 0, 0, 0, 0, 80, 0xaa, 0xaa, 3, 0, 0, 0]),
    );
    add("G18 LLDP", Some("ethertype"), honest.lldp());
    for (what, kind) in [
        ("MPLS", 0x8847_u16),
        ("PPPoE", 0x8863),
        ("802.1X", 0x888e),
        ("MACsec", 0x88e5),
        ("pause", 0x8808),
    ] {
        let mut frame = udp.clone();
        frame[12..14].copy_from_slice(&kind.to_be_bytes());
        add(what, Some("ethertype"), frame);
    }
    let all = Forge {
        to: Ipv4Addr::BROADCAST,
        to_mac: [0xff; 6],
        ..honest
    };
    add("G19 a broadcast", Some("multicast"), all.udp()?);
    let mdns = Forge {
        to: Ipv4Addr::new(224, 0, 0, 251),
        to_mac: [1, 0, 0x5e, 0, 0, 251],
        ..honest
    };
    add("G19 a multicast", Some("multicast"), mdns.udp()?);
    add("G19 an echo to all nodes", None, icmpv6(own, WEB1_6, 128)?);
    add(
        "G20 a frame cut off in its header",
        Some("too_short"),
        udp[..30].to_vec(),
    );
    let mut straight = udp.clone();
    straight[..6].copy_from_slice(&victim);
    add("another MAC than the gateway's", Some("bad_header"), straight);
    let vxlan = Forge {
        to: underlay,
        ..honest
    };
    add("G24 to a host of the underlay", None, vxlan.udp()?);
    let mut port = vxlan.udp()?;
    port[36..38].copy_from_slice(&4789_u16.to_be_bytes());
    add("G24 overlay frames of its own", None, port);
    let mut bfd = udp.clone();
    bfd[36..38].copy_from_slice(&3784_u16.to_be_bytes());
    add("G25 BFD", None, bfd);
    add("without a pair", None, udp);
    Ok(list)
}

/// Frames that look honest behind virtio-net headers (10 bytes) that do not, to somebody without a pair and to the
/// peer. What goes to the peer carries no mark.
pub(crate) fn lies(own: [u8; 6], peer: Ipv4Addr) -> Result<Vec<Vec<u8>>> {
    let marked = Forge::honest(own, WEB1, DB2).udp()?;
    let mut plain = Forge::honest(own, WEB1, peer).udp()?;
    let at = plain.len() - MARK.len();
    plain[at..].fill(0x5a);
    let mut list = Vec::new();
    for gso_type in [0_u8, 1, 3, 4, 5, 0x81, 0xff] {
        for flags in [0_u8, 1, 0xff] {
            for gso_size in [0_u16, 1, 0xffff] {
                for start in [0_u16, 34, 0xffff] {
                    for (offset, header_length) in [(0_u16, 0_u16), (6, 42), (0xffff, 0xffff)] {
                        let mut header = vec![flags, gso_type];
                        for number in [header_length, gso_size, start, offset] {
                            header.extend(number.to_le_bytes());
                        }
                        for frame in [&marked, &plain] {
                            list.push([header.as_slice(), frame].concat());
                        }
                    }
                }
            }
        }
    }
    Ok(list)
}

/// With these bytes between addresses and ethertype.
fn tagged(frame: &[u8], tags: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame.splice(12..12, tags.iter().copied());
    frame
}

/// A message to all nodes whose hop limit is 255, as neighbour discovery wants it (RFC 4861, 7.1).
fn icmpv6(own: [u8; 6], source: Ipv6Addr, kind: u8) -> Result<Vec<u8>> {
    let builder = PacketBuilder::ethernet2(own, ALL_NODES_MAC)
        .ipv6(source.octets(), ALL_NODES.octets(), 255)
        .icmpv6_raw(kind, 0, [0; 4]);
    let mut frame = Vec::new();
    builder.write(&mut frame, MARK)?;
    Ok(frame)
}

fn served(own: [u8; 6], ports: (u16, u16)) -> Result<Vec<u8>> {
    let builder = PacketBuilder::ethernet2(own, [0xff; 6])
        .ipv4(WEB1.octets(), Ipv4Addr::BROADCAST.octets(), 64)
        .udp(ports.0, ports.1);
    let mut frame = Vec::new();
    builder.write(&mut frame, &[&[2, 1, 6, 0], MARK].concat())?;
    Ok(frame)
}

fn served_6(own: [u8; 6]) -> Result<Vec<u8>> {
    let builder = PacketBuilder::ethernet2(own, ALL_NODES_MAC)
        .ipv6(WEB1_6.octets(), ALL_NODES.octets(), 64)
        .udp(547, 546);
    let mut frame = Vec::new();
    builder.write(&mut frame, &[&[2, 0, 0, 1], MARK].concat())?;
    Ok(frame)
}

/// An IPv6 packet to the neighbour without a pair, with these headers of 8 bytes in front of UDP.
fn extended(own: [u8; 6], headers: &[u8]) -> Result<Vec<u8>> {
    let mut payload = Vec::new();
    for at in 0..headers.len() {
        let next = headers.get(at + 1).copied().unwrap_or(17);
        // Padding (RFC 8200, 4.2) in options; the same bytes are type 1 to a routing header, and a fragment's own.
        payload.extend([next, 0, 1, 4, 0, 0, 0, 0]);
    }
    payload.extend([0x0f, 0xa0, 0x0f, 0xa0, 0, 8 + MARK.len() as u8, 0, 0]);
    payload.extend(MARK);
    let mut frame = [&GATEWAY_MAC[..], &own, &[0x86, 0xdd, 0x60, 0, 0, 0]].concat();
    frame.extend((payload.len() as u16).to_be_bytes());
    frame.extend([headers.first().copied().unwrap_or(17), 64]);
    frame.extend(WEB1_6.octets());
    frame.extend(pairgate_e2e::DB2_6.octets());
    frame.extend(payload);
    Ok(frame)
}
