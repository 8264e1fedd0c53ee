//! The Ethernet header: addresses, types, lengths in their place, and tags in the bytes. From another host it has no
//! authority at all but its type.
use super::table::{Case, both, dies, differ, here, v4, v6};
use crate::world::{GATEWAY, GUEST_MAC, NEXT_DOOR_MAC};

const VLAN_5: [u8; 4] = [0x81, 0, 0, 5];

#[rustfmt::skip] // one case, one line
pub(crate) fn cases() -> Vec<Case> {
    [addresses(), types(), lengths(), tags()].into_iter().flatten().collect()
}

#[rustfmt::skip] // one case, one line
fn addresses() -> Vec<Case> {
    vec![
        both("source MAC: another guest's", |s| s.udp().eth(6, &NEXT_DOOR_MAC), here("spoofed_mac")),
        both("source MAC: the gateway's", |s| s.udp().eth(6, &GATEWAY), here("spoofed_mac")),
        both("source MAC: zero", |s| s.udp().eth(6, &[0; 6]), here("spoofed_mac")),
        both("source MAC: broadcast", |s| s.udp().eth(6, &[0xff; 6]), here("spoofed_mac")),
        both("source MAC: its own, as a group's", |s| s.udp().eth(6, &[0x03]), here("spoofed_mac")),
        both("source MAC: its own, as a vendor's", |s| s.udp().eth(6, &[0x00]), here("spoofed_mac")),
        both("source MAC: one bit off in the last byte", |s| s.udp().eth(11, &[0x10]), here("spoofed_mac")),
        both("MACs: the two have changed places", |s| s.udp().eth(0, &GUEST_MAC).eth(6, &GATEWAY), here("spoofed_mac")),
        both("destination MAC: another guest's", |s| s.udp().eth(0, &NEXT_DOOR_MAC), here("bad_header")),
        both("destination MAC: its own", |s| s.udp().eth(0, &GUEST_MAC), here("bad_header")),
        both("destination MAC: zero", |s| s.udp().eth(0, &[0; 6]), here("bad_header")),
        both("destination MAC: the gateway's, one bit off", |s| s.udp().eth(5, &[0x03]), here("bad_header")),
        both("destination MAC: the gateway's, as a group's", |s| s.udp().eth(0, &[0x03]), here("multicast")),
        both("destination MAC: broadcast", |s| s.udp().eth(0, &[0xff; 6]), here("multicast")),
        both("destination MAC: an IPv4 group's", |s| s.udp().eth(0, &[1, 0, 0x5e, 0, 0, 0xfb]), here("multicast")),
        both("destination MAC: an IPv6 group's", |s| s.udp().eth(0, &[0x33, 0x33, 0, 0, 0, 1]), here("multicast")),
        both("destination MAC: bridges'", |s| s.udp().eth(0, &[1, 0x80, 0xc2, 0, 0, 0]), here("multicast")),
        both("destination MAC: Cisco's group", |s| s.udp().eth(0, &[1, 0, 0x0c, 0xcc, 0xcc, 0xcc]), here("multicast")),
        both("destination MAC: a VRRP router's", |s| s.udp().eth(0, &[0, 0, 0x5e, 0, 1, 7]), here("bad_header")),
    ]
}

#[rustfmt::skip] // one case, one line
fn types() -> Vec<Case> {
    vec![
        v4("type: IPv6 over an IPv4 packet", |s| s.segment(1, 2).kind(0x86dd), dies("bad_header")),
        v6("type: IPv4 over an IPv6 packet", |s| s.udp().kind(0x0800), dies("bad_header")),
        both("type: ARP over a packet", |s| s.segment(1, 2).kind(0x0806), dies("bad_header")),
        both("type: RARP", |s| s.udp().kind(0x8035), dies("ethertype")),
        both("type: wake-on-LAN", |s| s.udp().kind(0x0842), dies("ethertype")),
        both("type: stream reservation", |s| s.udp().kind(0x22ea), dies("ethertype")),
        both("type: TRILL", |s| s.udp().kind(0x22f3), dies("ethertype")),
        both("type: AppleTalk", |s| s.udp().kind(0x809b), dies("ethertype")),
        both("type: AppleTalk ARP", |s| s.udp().kind(0x80f3), dies("ethertype")),
        both("type: IPX", |s| s.udp().kind(0x8137), dies("ethertype")),
        both("type: a pause frame", |s| s.udp().kind(0x8808).eth(0, &[1, 0x80, 0xc2, 0, 0, 1]), dies("ethertype")),
        both("type: slow protocols (LACP)", |s| s.udp().kind(0x8809).eth(0, &[1, 0x80, 0xc2, 0, 0, 2]), dies("ethertype")),
        both("type: MPLS", |s| s.udp().kind(0x8847), dies("ethertype")),
        both("type: MPLS with an upstream label", |s| s.udp().kind(0x8848), dies("ethertype")),
        both("type: PPPoE discovery", |s| s.udp().kind(0x8863).eth(0, &[0xff; 6]), dies("ethertype")),
        both("type: PPPoE session", |s| s.udp().kind(0x8864), dies("ethertype")),
        both("type: jumbo frames", |s| s.udp().kind(0x8870), dies("ethertype")),
        both("type: 802.1X", |s| s.udp().kind(0x888e).eth(0, &[1, 0x80, 0xc2, 0, 0, 3]), dies("ethertype")),
        both("type: PROFINET", |s| s.udp().kind(0x8892), dies("ethertype")),
        both("type: ATA over Ethernet", |s| s.udp().kind(0x88a2), dies("ethertype")),
        both("type: EtherCAT", |s| s.udp().kind(0x88a4), dies("ethertype")),
        both("type: LLDP", |s| s.udp().kind(0x88cc).eth(0, &[1, 0x80, 0xc2, 0, 0, 14]), dies("ethertype")),
        both("type: MACsec", |s| s.udp().kind(0x88e5), dies("ethertype")),
        both("type: provider backbone tag", |s| s.udp().kind(0x88e7), dies("ethertype")),
        both("type: precision time", |s| s.udp().kind(0x88f7), dies("ethertype")),
        both("type: connectivity fault management", |s| s.udp().kind(0x8902), dies("ethertype")),
        both("type: Fibre Channel over Ethernet", |s| s.udp().kind(0x8906), dies("ethertype")),
        both("type: RDMA over Ethernet", |s| s.udp().kind(0x8915), dies("ethertype")),
        both("type: network service header", |s| s.udp().kind(0x894f), dies("ethertype")),
        both("type: transparent Ethernet bridging", |s| s.udp().kind(0x6558), dies("ethertype")),
        both("type: ERSPAN", |s| s.udp().kind(0x88be), dies("ethertype")),
        both("type: B.A.T.M.A.N.", |s| s.udp().kind(0x4305), dies("ethertype")),
        both("type: loopback test", |s| s.udp().kind(0x9000), dies("ethertype")),
        both("type: for local experiments", |s| s.udp().kind(0x88b5), dies("ethertype")),
        both("type: IPv4, bytes swapped", |s| s.udp().kind(0x0008), dies("ethertype")),
        both("type: one above IPv4", |s| s.udp().kind(0x0801), dies("ethertype")),
        both("type: one below IPv6", |s| s.udp().kind(0x86dc), dies("ethertype")),
        both("type: all ones", |s| s.udp().kind(0xffff), dies("ethertype")),
    ]
}

/// 802.3: a length instead of a type, and LLC behind it.
#[rustfmt::skip] // one case, one line
fn lengths() -> Vec<Case> {
    vec![
        both("802.3 length: 0", |s| s.udp().kind(0), dies("ethertype")),
        both("802.3 length: 1500, the largest", |s| s.udp().kind(1500), dies("ethertype")),
        both("802.3 length: 1501, neither length nor type", |s| s.udp().kind(1501), dies("ethertype")),
        both("802.3 length: 1535, neither length nor type", |s| s.udp().kind(1535), dies("ethertype")),
        both("802.3 length: 1536, the smallest type", |s| s.udp().kind(1536), dies("ethertype")),
        both("LLC: a spanning tree message", |s| s.udp().eth(0, &[1, 0x80, 0xc2, 0, 0, 0]).tagged(&[0, 38, 0x42, 0x42, 3, 0]), dies("ethertype")),
        both("LLC: IS-IS", |s| s.udp().tagged(&[0, 41, 0xfe, 0xfe, 3, 0x83]), dies("ethertype")),
        both("LLC: NetWare's raw frame", |s| s.udp().tagged(&[0, 40, 0xff, 0xff]), dies("ethertype")),
        both("LLC: IP's own access point", |s| s.udp().tagged(&[0, 41, 0x06, 0x06, 3]), dies("ethertype")),
        both("SNAP: the packet", |s| s.udp().tagged(&[0, 46, 0xaa, 0xaa, 3, 0, 0, 0]), dies("ethertype")),
        both("SNAP: ARP", |s| s.udp().kind(0x0806).tagged(&[0, 46, 0xaa, 0xaa, 3, 0, 0, 0]), dies("ethertype")),
        both("SNAP: the packet, with a length of 0", |s| s.udp().tagged(&[0, 0, 0xaa, 0xaa, 3, 0, 0, 0]), dies("ethertype")),
        both("SNAP: the packet, with a length over the frame", |s| s.udp().tagged(&[5, 0xdc, 0xaa, 0xaa, 3, 0, 0, 0]), dies("ethertype")),
        both("SNAP: the packet, with the code of old bridges", |s| s.udp().tagged(&[0, 46, 0xaa, 0xaa, 3, 0, 0, 0xf8]), dies("ethertype")),
        both("SNAP: a tag and the packet", |s| s.udp().tagged(&[0, 46, 0xaa, 0xaa, 3, 0, 0, 0, 0x81, 0, 0, 5]), dies("ethertype")),
    ]
}

#[rustfmt::skip] // one case, one line
fn tags() -> Vec<Case> {
    vec![
        both("tag: 802.1Q", |s| s.udp().tagged(&VLAN_5), dies("vlan")),
        both("tag: VLAN 0, a priority alone", |s| s.udp().tagged(&[0x81, 0, 0xe0, 0]), dies("vlan")),
        both("tag: VLAN 0, and no priority", |s| s.udp().tagged(&[0x81, 0, 0, 0]), dies("vlan")),
        both("tag: VLAN 4095, which is reserved", |s| s.udp().tagged(&[0x81, 0, 0x0f, 0xff]), dies("vlan")),
        both("tag: drop eligible", |s| s.udp().tagged(&[0x81, 0, 0x10, 5]), dies("vlan")),
        both("tag: 802.1ad", |s| s.udp().tagged(&[0x88, 0xa8, 0, 5]), dies("vlan")),
        both("tag: 0x9100", |s| s.udp().tagged(&[0x91, 0, 0, 5]), dies("vlan")),
        both("tag: 0x9200", |s| s.udp().tagged(&[0x92, 0, 0, 5]), dies("vlan")),
        both("tag: 0x9300", |s| s.udp().tagged(&[0x93, 0, 0, 5]), dies("vlan")),
        both("tags: 802.1ad around 802.1Q", |s| s.udp().tagged(&VLAN_5).tagged(&[0x88, 0xa8, 0, 6]), dies("vlan")),
        both("tags: 802.1Q twice", |s| s.udp().tagged(&VLAN_5).tagged(&VLAN_5), dies("vlan")),
        both("tags: three", |s| s.udp().tagged(&VLAN_5).tagged(&VLAN_5).tagged(&VLAN_5), dies("vlan")),
        both("tag: and a length with SNAP behind it", |s| s.udp().tagged(&[0x81, 0, 0, 0, 0, 46, 0xaa, 0xaa, 3, 0, 0, 0]), dies("vlan")),
        both("tag: around ARP", |s| s.udp().kind(0x0806).tagged(&VLAN_5), dies("vlan")),
        both("tag: nothing behind its type", |s| s.udp().tagged(&[0x81, 0]), dies("vlan")),
        both("tag: of an unknown kind", |s| s.udp().tagged(&[0x94, 0, 0, 5]), dies("ethertype")),
        differ("tag: behind the type it belongs before", |s| s.udp().tagged(&[8, 0, 0, 5]), dies("bad_header"), dies("bad_header")),
    ]
}
