//! Honest frames and the straight lines of the programs, with values in place of maps.
use etherparse::{ArpEthIpv4Packet, ArpOperation, EtherType, Ethernet2Header, PacketBuilder};
use pairgate_abi::{DropReason, GATEWAY_MAC, Handle, InEntry, OutEntry, Settings, SkbLayout, TapEntry};
use pairgate_packet::{
    Bytes, Metadata, outer, pair, receiver,
    sender::{self, Said},
};

pub const GUEST_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x11];
pub const GUEST: [u8; 4] = [10, 77, 0, 11];
pub const PEER: [u8; 4] = [10, 77, 0, 21];
pub const HOST: [u8; 4] = [192, 0, 2, 1];
pub const PEER_HOST: [u8; 4] = [192, 0, 2, 2];
pub const PORT: u16 = 4789;
pub const NOW: u64 = 1_000;

pub const TAP: TapEntry = TapEntry {
    mac: GUEST_MAC,
    ipv4_prefix: 24,
    reserved: 0,
    ipv4: GUEST,
    slot: 1,
};

pub const SETTINGS: Settings = Settings {
    mark: 2,
    uplink: 1,
    host: wide(HOST),
    port: PORT.to_be_bytes(),
    reserved: [0; 2],
    skb: SkbLayout {
        ip_summed: 0,
        ip_summed_shift: 0,
        head: 0,
        data: 0,
        csum_start: 0,
    },
};

pub const ENTRY_OUT: OutEntry = OutEntry {
    deadline_ns: NOW + 1,
    used_ns: 0,
    pair_id: 1,
    handle: Handle::from_wire([1, 2, 3], [4, 5]),
    src_host: wide(HOST),
    dst_host: wide(PEER_HOST),
    port: PORT.to_be_bytes(),
    mtu: 1400,
    src_generation: 1,
    dst_generation: 1,
    reserved: 0,
    src_vm: [1; 16],
    dst_vm: [2; 16],
};

pub const ENTRY_IN: InEntry = InEntry {
    deadline_ns: NOW + 1,
    used_ns: 0,
    pair_id: 2,
    src_host: wide(PEER_HOST),
    dst_host: wide(HOST),
    src_addr: wide(PEER),
    dst_addr: wide(GUEST),
    tap: 5,
    mac: GUEST_MAC,
    reserved: [0; 2],
    slot: 1,
    src_generation: 1,
    dst_generation: 1,
    src_vm: [2; 16],
    dst_vm: [1; 16],
};

pub const fn wide(a: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a[0], a[1], a[2], a[3]]
}

pub fn udp(
    macs: ([u8; 6], [u8; 6]),
    addresses: ([u8; 4], [u8; 4]),
    ports: (u16, u16),
    payload: &[u8],
) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(macs.0, macs.1)
        .ipv4(addresses.0, addresses.1, 64)
        .udp(ports.0, ports.1)
        .write(&mut frame, payload)
        .unwrap();
    frame
}

/// A datagram from the guest to its peer.
pub fn from_guest() -> Vec<u8> {
    udp(
        (GUEST_MAC, GATEWAY_MAC),
        (GUEST, PEER),
        (40_000, 53),
        b"hello peer",
    )
}

/// The guest's question for an address.
pub fn arp(target: [u8; 4]) -> Vec<u8> {
    let header = Ethernet2Header {
        source: GUEST_MAC,
        destination: [0xff; 6],
        ether_type: EtherType::ARP,
    };
    let packet = ArpEthIpv4Packet {
        operation: ArpOperation::REQUEST,
        sender_mac: GUEST_MAC,
        sender_ipv4: GUEST,
        target_mac: [0; 6],
        target_ipv4: target,
    };
    [header.to_bytes().to_vec(), packet.to_bytes().to_vec()].concat()
}

/// The peer host's frame with a datagram for the guest.
pub fn from_peer() -> Vec<u8> {
    let inner = udp(
        ([0xaa; 6], [0xbb; 6]),
        (PEER, GUEST),
        (53, 40_000),
        b"hello guest",
    );
    let vxlan = [vec![0x88, 0, 4, 5, 1, 2, 3, 0], inner].concat();
    let frame = udp(([2; 6], [4; 6]), (PEER_HOST, HOST), (50_000, PORT), &vxlan);
    with(frame, 40, &[0, 0])
}

pub fn with(mut frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

/// The straight line of `from_tap`: the frame that leaves, without the neighbour's addresses.
pub fn judge_tap(
    frame: &[u8],
    metadata: Metadata,
    entry: Option<&OutEntry>,
    lease_ns: u64,
) -> Result<Vec<u8>, DropReason> {
    match sender::check(&Bytes(frame), &metadata, &TAP)? {
        Said::Question(question) => Ok(question.reply(&TAP).to_vec()),
        Said::Packet(packet) => {
            let entry = pair::check(&packet, entry, lease_ns, NOW)?;
            let header = outer::header(&packet, entry)?;
            Ok([&frame[..14], &header, &frame[14..packet.frame_length() as usize]].concat())
        }
    }
}

/// The straight line of `from_uplink`; nothing for a frame that is the host's.
pub fn judge_uplink(
    frame: &[u8],
    metadata: Metadata,
    entry: Option<&InEntry>,
    lease_ns: u64,
) -> Result<Option<Vec<u8>>, DropReason> {
    let Some(outer) = outer::ours(&Bytes(frame), &SETTINGS) else {
        return Ok(None);
    };
    receiver::check_carriage(&Bytes(frame), &metadata, &outer)?;
    let entry = receiver::check(&Bytes(frame), &outer, entry, lease_ns, NOW)?;
    Ok(Some([&receiver::delivery(entry), &frame[64..]].concat()))
}
