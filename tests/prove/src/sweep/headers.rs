//! Every ethertype under every form of tag; every protocol in every form of fragment.
use crate::{
    generate,
    oracle::{Baggage, Input},
    world::{
        Kind, Link, Links,
        content::{self, Peer},
    },
};
use pairgate_agent::datapath::Program;
use pairgate_packet::ip::Family;

/// What stands before the ethertype: nothing, a tag, one with a priority only, two of provider and customer, two of
/// the same kind, the older ones.
const TAGS: [&[u8]; 8] = [
    &[],
    &[0x81, 0, 0, 5],
    &[0x81, 0, 0xe0, 0],
    &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6],
    &[0x81, 0, 0, 5, 0x81, 0, 0, 6],
    &[0x91, 0, 0, 5],
    &[0x92, 0, 0, 5],
    &[0x93, 0, 0, 5],
];

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// A guest's frame before the tap's program, and the same from its peer's host before the uplink's.
fn both_ways(kind: Kind, links: &Links, frame: &[u8], peer: Peer) -> [Input; 2] {
    let sent = input(Program::FromTap, links.index(Link::Guest), frame.to_vec());
    let mut inner = frame.to_vec();
    turned(&mut inner, peer);
    let family = if frame[12] == 0x86 { Family::V6 } else { Family::V4 };
    let handle = content::in_handle(Link::Guest, family, peer);
    let mut wrapped = Vec::new();
    generate::wrapped(kind.underlay, links.uplink_mac, handle, 7, &inner, &mut wrapped);
    [
        sent,
        input(Program::FromUplink, links.index(Link::Uplink), wrapped),
    ]
}

/// A frame without anything besides.
pub(super) fn input(program: Program, interface: u32, mut frame: Vec<u8>) -> Input {
    generate::fit(&mut frame);
    Input {
        program,
        interface,
        baggage: Baggage::default(),
        frame,
    }
}

/// From the peer to the guest.
pub(super) fn turned(frame: &mut [u8], peer: Peer) {
    let guest = content::last(Link::Guest);
    match frame.get(12..14) {
        Some([0x08, 0x00]) if frame.len() >= 34 => {
            frame[26..30].copy_from_slice(&content::four(peer.last())[12..]);
            frame[30..34].copy_from_slice(&content::four(guest)[12..]);
        }
        Some([0x86, 0xdd]) if frame.len() >= 54 => {
            frame[22..38].copy_from_slice(&content::six(peer.last()));
            frame[38..54].copy_from_slice(&content::six(guest));
        }
        _ => {}
    }
}

/// All 65 536 ethertypes under every tag, over a packet of each family.
pub(super) fn ethertypes(kind: Kind, links: &Links) -> impl Iterator<Item = Input> {
    let bodies = FAMILIES.map(|family| datagram(family, 17, Peer::All));
    TAGS.into_iter().flat_map(move |tag| {
        let bodies = bodies.clone();
        (0..=u16::MAX).flat_map(move |ethertype| {
            let body = &bodies[usize::from(ethertype & 1)];
            let frame = [&body[..12], tag, &ethertype.to_be_bytes(), &body[14..]].concat();
            both_ways(kind, links, &frame, Peer::All)
        })
    })
}

/// A datagram of any protocol from the guest to a peer.
fn datagram(family: Family, protocol: u8, peer: Peer) -> Vec<u8> {
    content::datagram(
        family,
        (content::last(Link::Guest), peer.last()),
        protocol,
        (40_000, 443),
    )
}

/// All 256 protocols, in every form of fragment, of both families, to peers that carry everything, some and replies.
pub(super) fn protocols(kind: Kind, links: &Links) -> impl Iterator<Item = Input> {
    const FORMS: [u16; 9] = [0, 0x4000, 0x8000, 0x2000, 0x0001, 0x2001, 0x00b9, 0x1fff, 0xffff];
    let mut inputs = Vec::new();
    for peer in [Peer::All, Peer::Ports, Peer::Replies, Peer::Unknown] {
        for protocol in 0..=255 {
            for form in FORMS {
                let mut frame = datagram(Family::V4, protocol, peer);
                frame[20..22].copy_from_slice(&form.to_be_bytes());
                inputs.extend(both_ways(kind, links, &frame, peer));
                // The same bits in the place where a fragment header has them, behind each header that can be first.
                for first in [44, 0, 43, 60, 135, 139, 140, protocol] {
                    let mut frame = datagram(Family::V6, first, peer);
                    frame[54] = protocol;
                    frame[55] = 0;
                    frame[56..58].copy_from_slice(&form.rotate_left(3).to_be_bytes());
                    inputs.extend(both_ways(kind, links, &frame, peer));
                }
                inputs.extend(both_ways(
                    kind,
                    links,
                    &datagram(Family::V6, protocol, peer),
                    peer,
                ));
            }
        }
    }
    inputs.into_iter()
}
