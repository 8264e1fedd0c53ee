//! Frames as honest machines send them, built by a library that knows nothing of our programs, and what our
//! programs must make of them.
use crate::world::{
    GATEWAY, GUEST, GUEST_MAC, HOST, NEIGHBOUR_MAC, PEER, PEER_HOST, PORT, in_handle, out_handle,
};
use etherparse::{
    ArpEthIpv4Packet, ArpOperation, EtherType, Ethernet2Header, IpFragOffset, IpNumber, Ipv4Header,
    PacketBuilder, UdpHeader,
};
use pairgate_abi::Handle;

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

/// A packet on the underlay under a handle, from `port` of one host to another.
pub(crate) fn underlay(
    macs: ([u8; 6], [u8; 6]),
    hosts: ([u8; 4], [u8; 4]),
    port: u16,
    handle: Handle,
    inner: &[u8],
) -> Vec<u8> {
    let payload = 8 + inner.len();
    let mut ip = Ipv4Header::new(payload as u16 + 8, 64, IpNumber::UDP, hosts.0, hosts.1).unwrap();
    ip.dont_fragment = true;
    ip.identification = 0;
    ip.fragment_offset = IpFragOffset::ZERO;
    ip.header_checksum = ip.calc_header_checksum();
    let udp = UdpHeader {
        source_port: port,
        destination_port: PORT,
        length: payload as u16 + 8,
        checksum: 0,
    };
    let mut frame = ethernet(macs.0, macs.1, EtherType::IPV4);
    ip.write(&mut frame).unwrap();
    udp.write(&mut frame).unwrap();
    let (group, vni) = (handle.group(), handle.vni());
    frame.extend([0x88, 0, group[0], group[1], vni[0], vni[1], vni[2], 0]);
    frame.extend(inner);
    frame
}

/// What `from_tap` must make of the guest's `frame`, with the flow port that it chose.
pub(crate) fn wrapped(frame: &[u8], port: u16) -> Vec<u8> {
    let mut inner = ethernet(GATEWAY, GATEWAY, EtherType::IPV4);
    inner.extend(&frame[ETHERNET..]);
    // The outer Ethernet header is written later, with the neighbour's address; until then it is the guest's.
    underlay(
        (GUEST_MAC, GATEWAY),
        (HOST, PEER_HOST),
        port,
        out_handle(),
        &inner,
    )
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
pub(crate) fn arriving(uplink: [u8; 6], inner: &[u8]) -> Vec<u8> {
    underlay(
        (NEIGHBOUR_MAC, uplink),
        (PEER_HOST, HOST),
        50_000,
        in_handle(),
        inner,
    )
}

/// What the guest must get of `inner`.
pub(crate) fn delivered(inner: &[u8]) -> Vec<u8> {
    let mut frame = ethernet(GATEWAY, GUEST_MAC, EtherType::IPV4);
    frame.extend(&inner[ETHERNET..]);
    frame
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
