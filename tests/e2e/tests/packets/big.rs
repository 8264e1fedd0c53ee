//! What arrives big: by the host's VXLAN device to its guest, and nothing else out of that device.
use crate::{
    checksums::{checksum_is_right, finished, unfinished},
    counts::Counts,
    crossing::{Host, two_hosts},
    device::{GSO_TCPV4, GSO_UDP_L4, Tap, Vnet, taps_know},
    frames::{ETHERNET, underlay, with},
};
use etherparse::PacketBuilder;
use pairgate_abi::{GATEWAY_MAC, Handle};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_millis(50);
const SLOT: u32 = 7;

fn handle() -> Handle {
    Handle::new(0x10_0001, 0x2001).unwrap()
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 7) as u8).collect()
}

/// From the first host's guest to the second's.
fn datagram(one: &Host, two: &Host, port: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(one.mac, GATEWAY_MAC)
        .ipv4(one.guest, two.guest, 64)
        .udp(port, 53)
        .write(&mut frame, payload)
        .unwrap();
    frame
}

fn stream(one: &Host, two: &Host, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(one.mac, GATEWAY_MAC)
        .ipv4(one.guest, two.guest, 64)
        .tcp(40_000, 80, 7, 1000)
        .ack(1)
        .write(&mut frame, payload)
        .unwrap();
    frame
}

fn to_be_cut(gso_type: u8, gso_size: u16) -> Vnet {
    let (offset, header) = if gso_type == GSO_UDP_L4 { (6, 8) } else { (16, 20) };
    Vnet {
        gso_type,
        gso_size,
        header_length: 34 + header,
        ..Vnet::partial(34, offset)
    }
}

/// How often one line was counted.
fn of(counts: &Counts, direction: &str, word: &str) -> u64 {
    counts
        .0
        .iter()
        .filter(|(key, _)| (key.1, key.2) == (direction, word))
        .map(|(_, number)| number)
        .sum()
}

fn ready() -> (Host, Host) {
    let (one, two) = two_hosts();
    one.pair_with(&two, handle());
    // Until the underlay's neighbour is known, frames wait for it.
    one.tap.send(Vnet::default(), &one.ping(two.guest, 0)).unwrap();
    assert!(two.guest_gets(PATIENCE).is_some(), "the pair does not work");
    (one, two)
}

#[test]
fn big_packets_cross_whole_and_small_ones_of_their_flow_behind_them() {
    let (one, two) = ready();
    for (what, vnet, frame, headers) in [
        (
            "a stream",
            to_be_cut(GSO_TCPV4, 1300),
            unfinished(stream(&one, &two, &bytes(40_000)), 16),
            54,
        ),
        (
            "datagrams",
            to_be_cut(GSO_UDP_L4, 1200),
            unfinished(datagram(&one, &two, 7, &bytes(40_000)), 6),
            42,
        ),
    ] {
        if !taps_know(vnet.gso_type, what) {
            continue;
        }
        let before = two.counts();
        one.tap.send(vnet, &frame).unwrap();
        let mut payload: Vec<u8> = Vec::new();
        while payload.len() < frame.len() - headers {
            let (vnet, seen) = two.tap.receive(PATIENCE, |_| true).expect(what);
            let seen = finished(vnet, seen);
            assert_eq!(
                seen[..12],
                [two.mac, GATEWAY_MAC].concat(),
                "{what}: not under a header of our own"
            );
            assert!(checksum_is_right(&seen), "{what}");
            payload.extend(&seen[headers..]);
        }
        assert_eq!(
            payload,
            frame[headers..],
            "{what}: other bytes, or in another order"
        );
        let after = two.counts();
        assert_eq!(
            of(&after, "from_vxlan", "passed"),
            of(&before, "from_vxlan", "passed") + 1,
            "{what}"
        );
    }
    if taps_know(GSO_UDP_L4, "what comes right behind a big one of its flow") {
        small_ones_follow(&one, &two);
    }
}

/// Right behind a big one of its flow, a small one goes the same way; of another flow, the short one.
fn small_ones_follow(one: &Host, two: &Host) {
    let before = two.counts();
    let big = unfinished(datagram(one, two, 7, &bytes(9_000)), 6);
    one.tap.send(to_be_cut(GSO_UDP_L4, 1200), &big).unwrap();
    one.tap
        .send(Vnet::default(), &datagram(one, two, 7, b"behind"))
        .unwrap();
    one.tap
        .send(Vnet::default(), &datagram(one, two, 8, b"beside"))
        .unwrap();
    let mut last = Vec::new();
    while let Some(frame) = two.guest_gets(SILENCE) {
        last.push(frame[42..].to_vec());
    }
    assert!(last.contains(&b"behind".to_vec()) && last.contains(&b"beside".to_vec()));
    let ways = of(&two.counts(), "from_vxlan", "passed") - of(&before, "from_vxlan", "passed");
    assert_eq!(
        ways, 2,
        "the small one overtakes the big one, or everything takes the long way"
    );
    // After a while the flow is back on the short way, also if it is never silent.
    one.tap.send(to_be_cut(GSO_UDP_L4, 1200), &big).unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(15) {
        let small = datagram(one, two, 7, b"between");
        one.tap.send(Vnet::default(), &small).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    let before = two.counts();
    while two.guest_gets(Duration::ZERO).is_some() {}
    one.tap
        .send(Vnet::default(), &datagram(one, two, 7, b"later"))
        .unwrap();
    assert!(two.guest_gets(PATIENCE).is_some());
    assert_eq!(
        of(&two.counts(), "from_vxlan", "passed"),
        of(&before, "from_vxlan", "passed")
    );
}

/// The two fragments of a frame on the underlay: the host puts them together before its device sees them.
pub(crate) fn fragments(frame: &[u8]) -> [Vec<u8>; 2] {
    let (header, body) = frame[ETHERNET..].split_at(20);
    let cut = body.len() / 2 / 8 * 8;
    let part = |offset: usize, bytes: &[u8], more: bool| {
        let mut ip = header.to_vec();
        ip[2..4].copy_from_slice(&((20 + bytes.len()) as u16).to_be_bytes());
        ip[4..6].copy_from_slice(&[0x77, 0x77]); // one packet at a time, so that the kernel cannot mix two up
        ip[6..8].copy_from_slice(&((offset / 8) as u16 | if more { 0x2000 } else { 0 }).to_be_bytes());
        ip[10..12].copy_from_slice(&[0, 0]);
        let sum: u32 = ip
            .chunks(2)
            .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
            .sum();
        let sum = (sum >> 16) + (sum & 0xffff);
        ip[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
        [&frame[..ETHERNET], &ip, bytes].concat()
    };
    [part(0, &body[..cut], true), part(cut, &body[cut..], false)]
}

#[test]
fn what_comes_out_of_the_device_is_judged_as_what_comes_off_the_uplink() {
    let (one, two) = ready();
    let uplink_mac = two.inside(|host| Tap::mac_of(host.link));
    let socket = one.inside(|host| Tap::raw_socket_on(host.link));
    let inner = datagram(&one, &two, 9, &bytes(300));
    let hosts = (one.address, two.address);
    let frame = |hosts, handle, inner: &[u8]| underlay(([2; 6], uplink_mac), hosts, 50_000, handle, inner);
    let arrives = |whole: Vec<u8>| {
        let before = two.counts();
        for part in fragments(&whole) {
            socket.send(&part).unwrap();
        }
        let seen = two.guest_gets(SILENCE);
        let moved = two.counts().since(&before);
        let words: Vec<_> = moved
            .iter()
            .filter(|line| line.1 == "from_vxlan")
            .map(|line| (line.0, line.2))
            .collect();
        (seen, words)
    };
    let (seen, words) = arrives(frame(hosts, handle(), &inner));
    assert_eq!(
        words,
        [(SLOT, "passed")],
        "what the host has put together is the pair's all the same"
    );
    assert_eq!(seen.unwrap()[ETHERNET..], inner[ETHERNET..]);
    let another = Handle::new(0x10_0001, 0x2002).unwrap();
    let tagged = [&inner[..12], &[0x81, 0, 0, 5], &inner[12..]].concat();
    for (what, whole, expected) in [
        ("another handle", frame(hosts, another, &inner), (0, "handle")),
        (
            "no group",
            with(frame(hosts, handle(), &inner), 42, &[0x08]),
            (0, "outer"),
        ),
        (
            "another host",
            frame(([192, 0, 2, 9], two.address), handle(), &inner),
            (SLOT, "outer"),
        ),
        (
            "another's address",
            frame(hosts, handle(), &with(inner.clone(), 26, &[10, 77, 0, 3])),
            (SLOT, "inner"),
        ),
        (
            "stray bytes",
            frame(hosts, handle(), &[&inner[..], &[0; 3]].concat()),
            (SLOT, "inner"),
        ),
        (
            "an inner fragment",
            frame(hosts, handle(), &with(inner.clone(), 20, &[0x20, 0])),
            (SLOT, "inner"),
        ),
        ("an inner tag", frame(hosts, handle(), &tagged), (0, "inner")),
        (
            "ARP",
            frame(hosts, handle(), &with(inner.clone(), 12, &[8, 6])),
            (SLOT, "inner"),
        ),
    ] {
        let (seen, words) = arrives(whole);
        assert_eq!(seen, None, "{what} reached the guest");
        assert_eq!(words, [expected], "{what}");
    }
}
