//! Everything that stands in the maps of the small host: guests, pairs of every kind both ways, refusals and
//! conversations.
use super::{Device, Kind, Link, Links};
use pairgate_abi::{
    CARRIES_ALL, CARRIES_ALL_NOTED, CARRIES_GRANTS, CARRIES_REPLIES, Carries, FlowKey, GATEWAY_MAC, GRANTS,
    Grant, Handle, InEntry, NextHop, OWN_ADDRESSES, OutEntry, OutKey, TapEntry,
};
use pairgate_packet::{
    Bytes, Metadata,
    address::wide,
    grant,
    ip::Family,
    sender::{self, Said},
};

/// The host's underlay addresses.
pub const HOST: [u8; 4] = [192, 0, 2, 1];
/// The same over IPv6.
pub const HOST6: [u8; 16] = host_six(1);
/// UDP port of the underlay.
pub const PORT: u16 = 4789;
/// MAC address of the next machine on the underlay.
pub const NEIGHBOUR_MAC: [u8; 6] = [0x02, 0, 0, 0, 0x99, 0x02];
/// An instant that does not come.
pub const FOREVER: u64 = u64::MAX / 2;
/// An instant long past.
pub const PAST: u64 = 1;
/// Largest inner packet of most pairs.
pub const MTU: u16 = 1400;

/// `2001:db8:0:1::<last>`.
pub const fn host_six(last: u8) -> [u8; 16] {
    [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, last]
}

/// `fd77::<last>`.
pub const fn six(last: u8) -> [u8; 16] {
    [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

/// `10.77.0.<last>`, as the contract has it.
pub const fn four(last: u8) -> [u8; 16] {
    wide([10, 77, 0, last])
}

/// The address of a family that ends in this byte.
pub const fn address(family: Family, last: u8) -> [u8; 16] {
    match family {
        Family::V4 => four(last),
        Family::V6 => six(last),
    }
}

/// This host on the underlay, or another one.
pub const fn host(family: Family, last: u8) -> [u8; 16] {
    match family {
        Family::V4 => wide([192, 0, 2, last]),
        Family::V6 => host_six(last),
    }
}

/// Last byte of a guest's first address in each family.
pub const fn last(tap: Link) -> u8 {
    match tap {
        Link::Door => 12,
        Link::Many => 13,
        Link::Beyond => 14,
        Link::Guest | Link::Nobody | Link::Uplink => 11,
    }
}

/// MAC address of a guest.
pub const fn mac(tap: Link) -> [u8; 6] {
    [0x02, 0, 0, 0, 0, last(tap)]
}

/// Counter slot of a guest.
pub const fn slot(tap: Link) -> u32 {
    match tap {
        Link::Guest => 7,
        Link::Door => 8,
        Link::Many => 1023,
        Link::Beyond => 5000,
        Link::Nobody | Link::Uplink => 0,
    }
}

/// What a guest may say.
pub fn tap(tap: Link) -> TapEntry {
    let at = last(tap);
    let mut owned = vec![(four(at), 96 + 24), (six(at), 64)];
    if tap == Link::Many {
        // The network of one of them ends inside another's; one is the end of a link of two, one alone.
        owned.extend([
            (wide([10, 78, 3, at]), 96 + 22),
            (wide([172, 16, 0, 0]), 96 + 31),
            (wide([100, 64, 0, 9]), 128),
            (host_six(0x80 | at), 64),
            ([0xfe; 16], 0),
            (wide([9, 9, 9, 9]), 0),
        ]);
    }
    let mut entry = TapEntry {
        mac: mac(tap),
        count: owned.len() as u8,
        reserved: 0,
        addresses: [[0; 16]; OWN_ADDRESSES],
        prefixes: [0; OWN_ADDRESSES],
        slot: slot(tap),
    };
    for (at, (address, prefix)) in owned.into_iter().enumerate() {
        (entry.addresses[at], entry.prefixes[at]) = (address, prefix);
    }
    entry
}

/// What a guest's pair to an address is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// It carries everything.
    All,
    /// Everything, and notes it.
    Noted,
    /// Some ports and protocols.
    Ports,
    /// Replies.
    Replies,
    /// It has ended.
    Expired,
    /// It has ended, and the registry has refused another one.
    ExpiredRefused,
    /// To a host that no way leads to.
    Lost,
    /// It carries tiny packets only.
    Small,
    /// Of a kind that nobody knows.
    Odd,
    /// It has as many grants as there can be, and says that it has more.
    Full,
    /// To another guest of this host, everything.
    DoorAll,
    /// To another guest of this host, some ports and protocols.
    DoorPorts,
    /// To another guest of this host, replies.
    DoorReplies,
    /// To another guest of this host, and it has ended.
    DoorExpired,
    /// Its hosts are not of the underlay's family.
    WrongFamily,
    /// None, and the registry has refused it a moment ago.
    Refused,
    /// None, and the registry has refused it long ago.
    RefusedOnce,
    /// None.
    Unknown,
}

impl Peer {
    /// Every kind.
    pub const ALL: [Self; 18] = [
        Self::All,
        Self::Noted,
        Self::Ports,
        Self::Replies,
        Self::Expired,
        Self::ExpiredRefused,
        Self::Lost,
        Self::Small,
        Self::Odd,
        Self::Full,
        Self::DoorAll,
        Self::DoorPorts,
        Self::DoorReplies,
        Self::DoorExpired,
        Self::WrongFamily,
        Self::Refused,
        Self::RefusedOnce,
        Self::Unknown,
    ];

    /// Last byte of its address.
    pub const fn last(self) -> u8 {
        21 + self as u8
    }

    fn carries(self) -> Carries {
        let ports = [
            (1, 0, 0),
            (6, 443, 443),
            (17, 1000, 2000),
            (58, 0, 0),
            (132, 443, 443),
        ];
        match self {
            Self::Noted => carries(CARRIES_ALL_NOTED, &[]),
            Self::Ports | Self::DoorPorts => carries(CARRIES_GRANTS, &ports),
            Self::Replies | Self::DoorReplies => carries(CARRIES_REPLIES, &[]),
            Self::Odd => carries(9, &ports),
            Self::Full => {
                let many: Vec<_> = (0..GRANTS as u16).map(|n| (17, 100 * n, 100 * n + 53)).collect();
                Carries {
                    count: 255,
                    ..carries(CARRIES_GRANTS, &many)
                }
            }
            Self::All
            | Self::Expired
            | Self::ExpiredRefused
            | Self::Lost
            | Self::Small
            | Self::DoorAll
            | Self::DoorExpired
            | Self::WrongFamily
            | Self::Refused
            | Self::RefusedOnce
            | Self::Unknown => carries(CARRIES_ALL, &[]),
        }
    }

    const fn deadline_ns(self) -> u64 {
        if matches!(self, Self::Expired | Self::ExpiredRefused | Self::DoorExpired) {
            PAST
        } else {
            FOREVER
        }
    }
}

fn carries(kind: u8, entries: &[(u8, u16, u16)]) -> Carries {
    let mut grants = [Grant::default(); GRANTS];
    for (grant, (protocol, first, last)) in grants.iter_mut().zip(entries) {
        (grant.protocol, grant.first, grant.last) = (*protocol, *first, *last);
    }
    Carries {
        kind,
        count: entries.len() as u8,
        reserved: [0; 2],
        grants,
    }
}

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// Every pair that a guest of this host may send on.
pub fn pairs_out(kind: Kind, links: &Links) -> Vec<(OutKey, OutEntry)> {
    let mut pairs = Vec::new();
    for (sender, family) in Link::TAPS
        .into_iter()
        .flat_map(|tap| FAMILIES.map(|family| (tap, family)))
    {
        for peer in Peer::ALL {
            if matches!(peer, Peer::Refused | Peer::RefusedOnce | Peer::Unknown) {
                continue;
            }
            let key = OutKey {
                source: address(family, last(sender)),
                destination: address(family, peer.last()),
                tap: links.index(sender),
            };
            pairs.push((key, out_entry(kind, links, sender, peer, pairs.len() as u32)));
        }
    }
    pairs
}

fn out_entry(kind: Kind, links: &Links, sender: Link, peer: Peer, number: u32) -> OutEntry {
    let mut entry = OutEntry {
        deadline_ns: peer.deadline_ns(),
        used_ns: 0,
        pair_id: u64::from(number) + 1,
        handle: handle(0x01_0200 + number),
        src_host: host(kind.underlay, 1),
        dst_host: host(kind.underlay, if peer == Peer::Lost { 3 } else { 2 }),
        port: PORT.to_be_bytes(),
        mtu: if peer == Peer::Small { 60 } else { MTU },
        src_generation: 1,
        dst_generation: 1,
        local_tap: 0,
        local_slot: 0,
        local_mac: [0; 6],
        reserved: [0; 2],
        carries: peer.carries(),
        src_vm: [1; 16],
        dst_vm: [2; 16],
    };
    if matches!(
        peer,
        Peer::DoorAll | Peer::DoorPorts | Peer::DoorReplies | Peer::DoorExpired
    ) {
        let door = if sender == Link::Door {
            Link::Many
        } else {
            Link::Door
        };
        entry.local_tap = links.index(door);
        entry.local_slot = slot(door);
        entry.local_mac = mac(door);
    }
    if peer == Peer::WrongFamily {
        // There is a way to the host, so that the address itself is looked at.
        entry.src_host = match kind.underlay {
            Family::V4 => HOST6,
            Family::V6 => wide(HOST),
        };
    }
    entry
}

/// A handle that may be given; `number` is below 2^24.
pub fn handle(number: u32) -> Handle {
    let [_, a, b, c] = number.to_be_bytes();
    Handle::from_wire([a, b, c], [0x0d, 0x0e])
}

/// What makes a pair that is received on another than the first.
pub const ARRIVING: [Peer; 8] = [
    Peer::All,
    Peer::Noted,
    Peer::Ports,
    Peer::Replies,
    Peer::Expired,
    Peer::Lost,
    Peer::Odd,
    Peer::Full,
];

/// The handle of the pair from this peer to a guest.
pub fn in_handle(receiver: Link, family: Family, peer: Peer) -> Handle {
    let family = u32::from(family == Family::V6);
    handle(0x0a_0b00 + receiver as u32 * 64 + family * 32 + peer as u32)
}

/// Every pair that a guest of this host may receive on.
pub fn pairs_in(kind: Kind, links: &Links) -> Vec<(Handle, InEntry)> {
    let mut pairs = Vec::new();
    for (receiver, family) in Link::TAPS
        .into_iter()
        .flat_map(|tap| FAMILIES.map(|family| (tap, family)))
    {
        for peer in ARRIVING {
            let entry = InEntry {
                deadline_ns: peer.deadline_ns(),
                used_ns: 0,
                pair_id: 1000 + pairs.len() as u64,
                src_host: host(kind.underlay, 2),
                // One is bound to an address that this host had once.
                dst_host: host(kind.underlay, if peer == Peer::Lost { 3 } else { 1 }),
                src_addr: address(family, peer.last()),
                dst_addr: address(family, last(receiver)),
                tap: links.index(receiver),
                mac: mac(receiver),
                mtu: if peer == Peer::Odd { 60 } else { MTU },
                reserved: [0; 4],
                slot: slot(receiver),
                src_generation: 1,
                dst_generation: 1,
                carries: peer.carries(),
                src_vm: [2; 16],
                dst_vm: [1; 16],
            };
            pairs.push((in_handle(receiver, family, peer), entry));
        }
    }
    pairs
}

/// The ways to other hosts.
pub fn next_hops(kind: Kind, links: &Links) -> Vec<([u8; 16], NextHop)> {
    let neighbour = host(kind.underlay, 2);
    let interface = links.index(Link::Uplink);
    vec![(neighbour, NextHop { interface, neighbour })]
}

/// What the registry has refused, and until when.
pub fn refused(links: &Links) -> Vec<(OutKey, u64)> {
    let mut refused = Vec::new();
    for (sender, family) in Link::TAPS
        .into_iter()
        .flat_map(|tap| FAMILIES.map(|family| (tap, family)))
    {
        for (peer, until) in [
            (Peer::Refused, FOREVER),
            (Peer::ExpiredRefused, FOREVER),
            (Peer::RefusedOnce, PAST),
        ] {
            let key = OutKey {
                source: address(family, last(sender)),
                destination: address(family, peer.last()),
                tap: links.index(sender),
            };
            refused.push((key, until));
        }
    }
    refused
}

/// Conversations that guests have begun before the first packet: (slot, conversation, whether it is long over).
pub fn conversations() -> Vec<(u32, FlowKey, bool)> {
    let mut flows = Vec::new();
    let all = [Link::Guest, Link::Door, Link::Many].into_iter();
    for (tap, family) in all.flat_map(|tap| FAMILIES.map(|family| (tap, family))) {
        let ping = if family == Family::V4 { 1 } else { 58 };
        for (protocol, own_port, peer_port, is_over) in [
            (17, 40_000, 53, false),
            (6, 40_000, 80, false),
            (17, 40_001, 53, true),
            (6, 40_001, 80, true),
            (ping, 0, 0, false),
            (ping, 1, 0, false),
            (ping, 2, 0, true),
        ] {
            let mut add = |own: u8, peer: u8| {
                if let Some(key) = opened(family, (own, peer), protocol, (own_port, peer_port)) {
                    flows.push((slot(tap), key, is_over));
                }
            };
            add(last(tap), Peer::Replies.last());
            add(last(tap), Peer::Ports.last());
            if tap == Link::Door {
                // A guest next door is reached under the address of the pair, not one of its own.
                add(Peer::DoorReplies.last(), last(Link::Guest));
            }
        }
    }
    flows
}

/// The conversation that a datagram, or an ICMP question with the first port as its identifier, begins.
fn opened(family: Family, hosts: (u8, u8), protocol: u8, ports: (u16, u16)) -> Option<FlowKey> {
    let mut frame = datagram(family, hosts, protocol, ports);
    let segment = 14 + family.header();
    if matches!(protocol, 1 | 58) {
        frame[segment..segment + 4].copy_from_slice(&[if protocol == 1 { 8 } else { 128 }, 0, 0, 0]);
        frame[segment + 4..segment + 6].copy_from_slice(&ports.0.to_be_bytes());
    }
    let mut sender = tap(Link::Guest);
    sender.addresses[0] = address(family, hosts.0);
    match sender::check(&Bytes(&frame), &Metadata::PLAIN, &sender) {
        Ok(Said::Packet(packet)) => Some(grant::opened(&packet)),
        Ok(Said::Arp | Said::Neighbour | Said::Question(_)) | Err(_) => None,
    }
}

/// A datagram of any protocol from the first guest's MAC address, between two addresses by their last bytes, with a
/// header that holds for TCP, UDP, SCTP and ICMP alike.
pub fn datagram(family: Family, (own, peer): (u8, u8), protocol: u8, ports: (u16, u16)) -> Vec<u8> {
    let mut frame = vec![0; 14 + family.header() + 32];
    frame[..6].copy_from_slice(&GATEWAY_MAC);
    frame[6..12].copy_from_slice(&mac(Link::Guest));
    frame[12..14].copy_from_slice(&family.ethertype());
    match family {
        Family::V4 => {
            frame[14..24].copy_from_slice(&[0x45, 0, 0, 52, 0, 1, 0, 0, 64, protocol]);
            frame[26..30].copy_from_slice(&four(own)[12..]);
            frame[30..34].copy_from_slice(&four(peer)[12..]);
        }
        Family::V6 => {
            frame[14..22].copy_from_slice(&[0x60, 0, 0, 0, 0, 32, protocol, 64]);
            frame[22..38].copy_from_slice(&six(own));
            frame[38..54].copy_from_slice(&six(peer));
        }
    }
    let segment = 14 + family.header();
    frame[segment..segment + 2].copy_from_slice(&ports.0.to_be_bytes());
    frame[segment + 2..segment + 4].copy_from_slice(&ports.1.to_be_bytes());
    frame[segment + 5] = 32;
    frame[segment + 12] = 0x50;
    frame
}

/// What stands in every cell of `BIG` that no packet has written.
pub const fn idle_big(kind: Kind) -> u64 {
    match kind.device {
        Device::None | Device::Idle => 0,
        Device::Busy => FOREVER,
    }
}

/// What `vxlan` is in the settings: any interface will do, none is asked to.
pub fn device(kind: Kind, links: &Links) -> u32 {
    match kind.device {
        Device::None => 0,
        Device::Idle | Device::Busy => links.index(Link::Uplink),
    }
}
