//! Frames as honest machines send them, built by a library that knows nothing of our programs, and what our
//! programs must make of them.
use crate::{
    pairs::{in_handle, out_handle},
    world::{GATEWAY, GUEST, GUEST_MAC, GUEST6, NEIGHBOUR_MAC, PEER, PEER6, PORT, World, six},
};
use etherparse::{
    ArpEthIpv4Packet, ArpOperation, EtherType, Ethernet2Header, Icmpv4Type, Icmpv6Type, IpFragOffset,
    IpNumber, Ipv4Header, Ipv6Header, PacketBuilder, UdpHeader, icmpv4,
};
use pairgate_abi::Handle;
use pairgate_packet::address::{narrow, wide};

pub(crate) const ETHERNET: usize = 14;
pub(crate) const IP: usize = ETHERNET + 20;
/// Where the inner Ethernet header of a frame on the underlay starts.
pub(crate) const INNER: usize = 50;
/// Where the inner packet starts.
pub(crate) const INNER_IP: usize = INNER + ETHERNET;

/// A datagram from the guest to a peer.
pub(crate) fn udp_to(peer: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(GUEST_MAC, GATEWAY)
        .ipv4(GUEST, peer, 64)
        .udp(40_000, 53)
        .write(&mut frame, payload)
        .unwrap();
    frame
}

pub(crate) fn udp() -> Vec<u8> {
    udp_to(PEER, b"hello peer")
}

pub(crate) fn tcp() -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(GUEST_MAC, GATEWAY)
        .ipv4(GUEST, PEER, 64)
        .tcp(40_000, 80, 7, 1000)
        .syn()
        .write(&mut frame, &[])
        .unwrap();
    frame
}

pub(crate) fn ping() -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(GUEST_MAC, GATEWAY)
        .ipv4(GUEST, PEER, 64)
        .icmpv4_echo_request(1, 1)
        .write(&mut frame, &[0x55; 24])
        .unwrap();
    frame
}

/// A packet of any protocol from the guest to its peer.
pub(crate) fn protocol(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = Ipv4Header::new(payload.len() as u16, 64, IpNumber(number), GUEST, PEER).unwrap();
    header.header_checksum = header.calc_header_checksum();
    let mut frame = ethernet(GUEST_MAC, GATEWAY, EtherType::IPV4);
    header.write(&mut frame).unwrap();
    frame.extend(payload);
    frame
}

pub(crate) fn ethernet(source: [u8; 6], destination: [u8; 6], ether_type: EtherType) -> Vec<u8> {
    Ethernet2Header {
        source,
        destination,
        ether_type,
    }
    .to_bytes()
    .to_vec()
}

/// The guest's question for an address.
pub(crate) fn arp_for(target: [u8; 4]) -> Vec<u8> {
    arp(ArpOperation::REQUEST, GUEST_MAC, GUEST, target)
}

pub(crate) fn arp(operation: ArpOperation, mac: [u8; 6], sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let packet = ArpEthIpv4Packet {
        operation,
        sender_mac: mac,
        sender_ipv4: sender,
        target_mac: [0; 6],
        target_ipv4: target,
    };
    let mut frame = ethernet(GUEST_MAC, [0xff; 6], EtherType::ARP);
    frame.extend(packet.to_bytes());
    frame
}

/// The gateway's answer, as the guest must see it.
pub(crate) fn arp_answer(target: [u8; 4]) -> Vec<u8> {
    let packet = ArpEthIpv4Packet {
        operation: ArpOperation::REPLY,
        sender_mac: GATEWAY,
        sender_ipv4: target,
        target_mac: GUEST_MAC,
        target_ipv4: GUEST,
    };
    let mut frame = ethernet(GATEWAY, GUEST_MAC, EtherType::ARP);
    frame.extend(packet.to_bytes());
    frame
}

/// A packet on an IPv4 underlay under a handle, from `port` of one host to another.
pub(crate) fn underlay(
    macs: ([u8; 6], [u8; 6]),
    hosts: ([u8; 4], [u8; 4]),
    port: u16,
    handle: Handle,
    inner: &[u8],
) -> Vec<u8> {
    underlay_of(macs, (wide(hosts.0), wide(hosts.1)), port, handle, inner)
}

/// The same between hosts of either family.
pub(crate) fn underlay_of(
    macs: ([u8; 6], [u8; 6]),
    hosts: ([u8; 16], [u8; 16]),
    port: u16,
    handle: Handle,
    inner: &[u8],
) -> Vec<u8> {
    let payload = 8 + inner.len();
    let udp = UdpHeader {
        source_port: port,
        destination_port: PORT,
        length: payload as u16 + 8,
        checksum: 0,
    };
    let mut frame;
    if let (Some(source), Some(destination)) = (narrow(&hosts.0), narrow(&hosts.1)) {
        frame = ethernet(macs.0, macs.1, EtherType::IPV4);
        let mut ip = Ipv4Header::new(udp.length, 64, IpNumber::UDP, source, destination).unwrap();
        ip.dont_fragment = true;
        ip.identification = 0;
        ip.fragment_offset = IpFragOffset::ZERO;
        ip.header_checksum = ip.calc_header_checksum();
        ip.write(&mut frame).unwrap();
    } else {
        frame = ethernet(macs.0, macs.1, EtherType::IPV6);
        let ip = Ipv6Header {
            payload_length: udp.length,
            next_header: IpNumber::UDP,
            hop_limit: 64,
            source: hosts.0,
            destination: hosts.1,
            ..Ipv6Header::default()
        };
        ip.write(&mut frame).unwrap();
    }
    udp.write(&mut frame).unwrap();
    let (group, vni) = (handle.group(), handle.vni());
    frame.extend([0x88, 0, group[0], group[1], vni[0], vni[1], vni[2], 0]);
    frame.extend(inner);
    frame
}

/// What `from_tap` must make of the guest's `frame`, with the flow port that it chose.
pub(crate) fn wrapped(world: &World, frame: &[u8], port: u16) -> Vec<u8> {
    let mut inner = ethernet(
        GATEWAY,
        GATEWAY,
        EtherType(u16::from_be_bytes([frame[12], frame[13]])),
    );
    inner.extend(&frame[ETHERNET..]);
    // The outer Ethernet header is written later, with the neighbour's address; until then it is the guest's, with
    // the ethertype of its packet.
    let (here, there) = world.hosts();
    let wrapped = underlay_of((GUEST_MAC, GATEWAY), (here, there), port, out_handle(), &inner);
    with(wrapped, 12, &frame[12..14])
}

/// A datagram from the peer to the guest, with an Ethernet header that has no authority.
pub(crate) fn inner_udp() -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([0xaa; 6], [0xbb; 6])
        .ipv4(PEER, GUEST, 64)
        .udp(53, 40_000)
        .write(&mut frame, b"hello guest")
        .unwrap();
    frame
}

/// The peer host's frame that carries `inner`, as it arrives on the uplink.
pub(crate) fn arriving(world: &World, inner: &[u8]) -> Vec<u8> {
    arriving_under(world, in_handle(), inner)
}

/// The same under another handle.
pub(crate) fn arriving_under(world: &World, handle: Handle, inner: &[u8]) -> Vec<u8> {
    let (here, there) = world.hosts();
    underlay_of(
        (NEIGHBOUR_MAC, world.uplink.mac()),
        (there, here),
        50_000,
        handle,
        inner,
    )
}

/// What the guest must get of `inner`.
pub(crate) fn delivered(inner: &[u8]) -> Vec<u8> {
    let mut frame = ethernet(
        GATEWAY,
        GUEST_MAC,
        EtherType(u16::from_be_bytes([inner[12], inner[13]])),
    );
    frame.extend(&inner[ETHERNET..]);
    frame
}

/// The guest's own frame, turned round: the addresses have changed places.
pub(crate) fn turned(frame: Vec<u8>) -> Vec<u8> {
    if frame[12..14] == [8, 0] {
        let (source, destination) = (frame[26..30].to_vec(), frame[30..34].to_vec());
        with(with(frame, 26, &destination), 30, &source)
    } else {
        let (source, destination) = (frame[22..38].to_vec(), frame[38..54].to_vec());
        with(with(frame, 22, &destination), 38, &source)
    }
}

/// A datagram from the guest to a peer, over IPv6.
pub(crate) fn udp6_to(peer: [u8; 16], ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(GUEST_MAC, GATEWAY)
        .ipv6(GUEST6, peer, 64)
        .udp(ports.0, ports.1)
        .write(&mut frame, payload)
        .unwrap();
    frame
}

pub(crate) fn udp6() -> Vec<u8> {
    udp6_to(PEER6, (40_000, 53), b"hello peer")
}

pub(crate) fn tcp6() -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(GUEST_MAC, GATEWAY)
        .ipv6(GUEST6, PEER6, 64)
        .tcp(40_000, 80, 7, 1000)
        .syn()
        .write(&mut frame, &[])
        .unwrap();
    frame
}

pub(crate) fn ping6() -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(GUEST_MAC, GATEWAY)
        .ipv6(GUEST6, PEER6, 64)
        .icmpv6_echo_request(1, 1)
        .write(&mut frame, &[0x55; 24])
        .unwrap();
    frame
}

/// A packet of any protocol from the guest to its peer, over IPv6.
pub(crate) fn protocol6(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = ethernet(GUEST_MAC, GATEWAY, EtherType::IPV6);
    let header = Ipv6Header {
        payload_length: payload.len() as u16,
        next_header: IpNumber(number),
        hop_limit: 64,
        source: GUEST6,
        destination: PEER6,
        ..Ipv6Header::default()
    };
    header.write(&mut frame).unwrap();
    frame.extend(payload);
    frame
}

/// A message of neighbour discovery from the guest.
pub(crate) fn discovery(mac: [u8; 6], addresses: ([u8; 16], [u8; 16]), kind: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(GUEST_MAC, mac)
        .ipv6(addresses.0, addresses.1, 255)
        .icmpv6_raw(kind, 0, body[..4].try_into().unwrap())
        .write(&mut frame, &body[4..])
        .unwrap();
    frame
}

/// The guest's question for an IPv6 address, as its kernel asks: to the address's group, with its own MAC address.
pub(crate) fn solicitation(target: [u8; 16]) -> Vec<u8> {
    let [.., x, y, z] = target;
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, x, y, z];
    let body = [&[0; 4], &target[..], &[1, 1], &GUEST_MAC].concat();
    discovery([0x33, 0x33, 0xff, x, y, z], (GUEST6, group), 135, &body)
}

/// The gateway's answer, as the guest must see it.
pub(crate) fn advertisement(to: [u8; 16], target: [u8; 16]) -> Vec<u8> {
    let body = [&[0x60, 0, 0, 0], &target[..], &[2, 1], &GATEWAY].concat();
    let frame = discovery(GUEST_MAC, (target, to), 136, &body);
    with(frame, 6, &GATEWAY)
}

/// An address of the guests' IPv6 network.
pub(crate) fn near(last: u8) -> [u8; 16] {
    six([0, 0, 0, last])
}

/// What the guest gets for a frame that is larger than a pair carries.
pub(crate) fn too_big(frame: &[u8], mtu: u16) -> Vec<u8> {
    let packet = &frame[ETHERNET..];
    let ethernet = PacketBuilder::ethernet2(GATEWAY, GUEST_MAC);
    let mut answer = Vec::new();
    if frame[12..14] == [8, 0] {
        let (from, to) = (
            packet[16..20].try_into().unwrap(),
            packet[12..16].try_into().unwrap(),
        );
        let needed = icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: mtu };
        ethernet
            .ipv4(from, to, 64)
            .icmpv4(Icmpv4Type::DestinationUnreachable(needed))
            .write(&mut answer, &packet[..packet.len().min(544) / 8 * 8])
            .unwrap();
    } else {
        let (from, to) = (
            packet[24..40].try_into().unwrap(),
            packet[8..24].try_into().unwrap(),
        );
        ethernet
            .ipv6(from, to, 64)
            .icmpv6(Icmpv6Type::PacketTooBig { mtu: mtu.into() })
            .write(&mut answer, &packet[..packet.len().min(1232) / 8 * 8])
            .unwrap();
    }
    answer
}

/// Changes bytes of a frame.
pub(crate) fn with(mut frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

/// Cuts a frame.
pub(crate) fn cut(mut frame: Vec<u8>, length: usize) -> Vec<u8> {
    frame.truncate(length);
    frame
}

/// Puts bytes behind a frame.
pub(crate) fn padded(mut frame: Vec<u8>, bytes: usize) -> Vec<u8> {
    frame.resize(frame.len() + bytes, 0x5a);
    frame
}
