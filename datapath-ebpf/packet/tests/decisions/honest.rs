//! Honest frames of both families and the straight lines of the programs, with values in place of maps.
use etherparse::{ArpEthIpv4Packet, ArpOperation, EtherType, Ethernet2Header, PacketBuilder};
use pairgate_abi::{
    CARRIES_ALL, Carries, DropReason, GATEWAY_MAC, GRANTS, Grant, Handle, InEntry, OWN_ADDRESSES, OutEntry,
    Settings, SkbLayout, TapEntry,
};
use pairgate_packet::{
    Bytes, Metadata, Packet,
    address::wide,
    arp, ethernet, grant,
    ip::Family,
    nd, outer, pair, receiver,
    sender::{self, Said},
};

pub const GUEST_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x11];
pub const GUEST: [u8; 4] = [10, 77, 0, 11];
pub const PEER: [u8; 4] = [10, 77, 0, 21];
pub const GUEST6: [u8; 16] = v6(0x11);
pub const PEER6: [u8; 16] = v6(0x21);
/// A second address of the guest.
pub const SECOND: [u8; 4] = [198, 51, 100, 9];
pub const HOST: [u8; 4] = [192, 0, 2, 1];
pub const PEER_HOST: [u8; 4] = [192, 0, 2, 2];
pub const HOST6: [u8; 16] = underlay6(1);
pub const PEER_HOST6: [u8; 16] = underlay6(2);
pub const PORT: u16 = 4789;
pub const NOW: u64 = 1_000;

/// `fd77::<last>`.
pub const fn v6(last: u8) -> [u8; 16] {
    [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

/// `2001:db8:0:1::<last>`.
pub const fn underlay6(last: u8) -> [u8; 16] {
    [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, last]
}

pub const TAP: TapEntry = TapEntry {
    mac: GUEST_MAC,
    count: 3,
    reserved: 0,
    addresses: {
        let mut addresses = [[0; 16]; OWN_ADDRESSES];
        addresses[0] = wide(GUEST);
        addresses[1] = GUEST6;
        addresses[2] = wide(SECOND);
        addresses
    },
    prefixes: [120, 64, 128, 0, 0, 0, 0, 0],
    slot: 1,
};

pub const SETTINGS: Settings = Settings {
    mark: 2,
    uplink: 1,
    vxlan: 9,
    host: wide(HOST),
    port: PORT.to_be_bytes(),
    other_family_by_device: 0,
    reserved: 0,
    skb: SkbLayout {
        ip_summed: 0,
        ip_summed_shift: 0,
        head: 0,
        data: 0,
        csum_start: 0,
        end: 0,
        gso_type: 0,
    },
};

pub const ALL: Carries = carries(CARRIES_ALL, &[]);

/// What a pair carries, with these (protocol, first port, last port).
pub const fn carries(kind: u8, entries: &[(u8, u16, u16)]) -> Carries {
    let mut grants = [Grant {
        protocol: 0,
        reserved: 0,
        first: 0,
        last: 0,
    }; GRANTS];
    let mut at = 0;
    while at < entries.len() {
        grants[at].protocol = entries[at].0;
        grants[at].first = entries[at].1;
        grants[at].last = entries[at].2;
        at += 1;
    }
    Carries {
        kind,
        count: entries.len() as u8,
        reserved: [0; 2],
        grants,
    }
}

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
    local_tap: 0,
    local_slot: 0,
    local_mac: [0; 6],
    reserved: [0; 2],
    carries: ALL,
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
    mtu: 1400,
    reserved: [0; 4],
    slot: 1,
    src_generation: 1,
    dst_generation: 1,
    carries: ALL,
    src_vm: [2; 16],
    dst_vm: [1; 16],
};

/// The same host with an IPv6 underlay.
pub fn over_ipv6() -> (Settings, OutEntry, InEntry) {
    (
        Settings {
            host: HOST6,
            ..SETTINGS
        },
        OutEntry {
            src_host: HOST6,
            dst_host: PEER_HOST6,
            ..ENTRY_OUT
        },
        InEntry {
            src_host: PEER_HOST6,
            dst_host: HOST6,
            ..ENTRY_IN
        },
    )
}

/// The pair's entry for IPv6 guests.
pub fn for_ipv6(entry: InEntry) -> InEntry {
    InEntry {
        src_addr: PEER6,
        dst_addr: GUEST6,
        ..entry
    }
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

pub fn udp6(
    macs: ([u8; 6], [u8; 6]),
    addresses: ([u8; 16], [u8; 16]),
    ports: (u16, u16),
    payload: &[u8],
) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(macs.0, macs.1)
        .ipv6(addresses.0, addresses.1, 64)
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

/// The same over IPv6.
pub fn from_guest6() -> Vec<u8> {
    udp6(
        (GUEST_MAC, GATEWAY_MAC),
        (GUEST6, PEER6),
        (40_000, 53),
        b"hello peer",
    )
}

/// A datagram to or from the guest in either family, with any ports and payload.
pub fn datagram(family: Family, from_guest: bool, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let macs = (GUEST_MAC, GATEWAY_MAC);
    match (family, from_guest) {
        (Family::V4, true) => udp(macs, (GUEST, PEER), ports, payload),
        (Family::V4, false) => udp(macs, (PEER, GUEST), ports, payload),
        (Family::V6, true) => udp6(macs, (GUEST6, PEER6), ports, payload),
        (Family::V6, false) => udp6(macs, (PEER6, GUEST6), ports, payload),
    }
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

/// The guest's question for an IPv6 address, as its kernel asks: to the address's group, with its own MAC.
pub fn solicitation(target: [u8; 16]) -> Vec<u8> {
    let mut group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0];
    group[13..].copy_from_slice(&target[13..]);
    let mut mac = [0x33, 0x33, 0xff, 0, 0, 0];
    mac[3..].copy_from_slice(&target[13..]);
    let body = [&[0; 4], &target[..], &[1, 1], &GUEST_MAC].concat();
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(GUEST_MAC, mac)
        .ipv6(GUEST6, group, 255)
        .icmpv6_raw(135, 0, body[..4].try_into().unwrap())
        .write(&mut frame, &body[4..])
        .unwrap();
    frame
}

/// The peer host's frame with a datagram for the guest.
pub fn from_peer() -> Vec<u8> {
    let inner = udp(
        ([0xaa; 6], [0xbb; 6]),
        (PEER, GUEST),
        (53, 40_000),
        b"hello guest",
    );
    carried(&SETTINGS, &inner)
}

/// The peer host's frame with any inner frame.
pub fn carried(settings: &Settings, inner: &[u8]) -> Vec<u8> {
    let vxlan = [&[0x88, 0, 4, 5, 1, 2, 3, 0], inner].concat();
    let macs = ([2; 6], [4; 6]);
    match Family::of(&settings.host) {
        Family::V4 => with(udp(macs, (PEER_HOST, HOST), (50_000, PORT), &vxlan), 40, &[0, 0]),
        Family::V6 => with(
            udp6(macs, (PEER_HOST6, HOST6), (50_000, PORT), &vxlan),
            60,
            &[0, 0],
        ),
    }
}

pub fn with(mut frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

/// The straight line of `from_tap`: the frame that leaves, without the neighbour's addresses. Answers of the
/// receiving guest's flow table are not asked for: this pair goes to another host.
pub fn judge_tap(
    frame: &[u8],
    metadata: Metadata,
    entry: Option<&OutEntry>,
    lease_ns: u64,
) -> Result<Vec<u8>, DropReason> {
    match sender::check(&Bytes(frame), &metadata, &TAP)? {
        Said::Arp => {
            let mut reply = [0; arp::FRAME];
            arp::Question::of(&Bytes(frame), &TAP)?.reply(&TAP, &mut reply);
            Ok(reply.to_vec())
        }
        Said::Neighbour => {
            let mut reply = [0; nd::FRAME];
            nd::Question::of(&Bytes(frame), &TAP)?.reply(&TAP, &mut reply);
            Ok(reply.to_vec())
        }
        Said::Question(length) => Ok(frame[..ethernet::LENGTH + length as usize].to_vec()), // as the agent gets it
        Said::Packet(packet) => {
            let entry = pair::check(&TAP, &packet, entry, lease_ns, NOW)?;
            grant::sends(&entry.carries, &packet)?;
            let header = wrapping(&packet, entry)?;
            Ok([&frame[..14], &header, &frame[14..packet.frame_length() as usize]].concat())
        }
    }
}

/// The outer header.
pub fn wrapping(packet: &Packet, entry: &OutEntry) -> Result<Vec<u8>, DropReason> {
    match Family::of(&entry.src_host) {
        Family::V4 => {
            let mut header = [0; outer::LENGTH_V4];
            outer::header_v4(packet, entry, &mut header)?;
            Ok(header.to_vec())
        }
        Family::V6 => {
            let mut header = [0; outer::LENGTH_V6];
            outer::header_v6(packet, entry, &mut header)?;
            Ok(header.to_vec())
        }
    }
}

/// The straight line of `from_uplink`; nothing for a frame that is the host's. The guest has opened no flow.
pub fn judge_uplink(
    frame: &[u8],
    metadata: Metadata,
    entry: Option<&InEntry>,
    lease_ns: u64,
) -> Result<Option<Vec<u8>>, DropReason> {
    judge_uplink_of(&SETTINGS, frame, metadata, entry, lease_ns)
}

pub fn judge_uplink_of(
    settings: &Settings,
    frame: &[u8],
    metadata: Metadata,
    entry: Option<&InEntry>,
    lease_ns: u64,
) -> Result<Option<Vec<u8>>, DropReason> {
    let underlay = Family::of(&settings.host);
    let Some(outer) = outer::ours(&Bytes(frame), settings, underlay) else {
        return Ok(None);
    };
    let inner_at = outer::inner_at(underlay);
    receiver::check_form(&outer)?;
    let entry = receiver::check_outer(&outer, entry)?;
    let packet = receiver::check_inner(&Bytes(frame), &metadata, inner_at, entry, lease_ns, NOW)?;
    match grant::receives(&entry.carries, &packet)? {
        grant::Admission::Granted => {}
        grant::Admission::IfAnswer => return Err(DropReason::Grant),
    }
    let header = receiver::delivery(entry.mac, packet.family);
    Ok(Some([&header, &frame[inner_at + ethernet::LENGTH..]].concat()))
}
