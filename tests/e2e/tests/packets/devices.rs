//! What a test run cannot carry: real taps, with everything a guest can lie about in its virtio-net header.
use crate::{
    checksums::{checksum_is_right, finished, unfinished},
    device::Vnet,
    frames::{
        ETHERNET, INNER, INNER_IP, IP, arp_answer, arp_for, arriving, cut, delivered, inner_udp, padded,
        ping, tcp, udp, udp_to, with, wrapped,
    },
    pairs::in_handle,
    world::{GATEWAY, GUEST, GUEST_MAC, NEIGHBOUR_MAC, PEER, SLOT, World, out_key},
};
use nix::errno::Errno;
use pairgate_abi::{InEntry, OutEntry};
use pairgate_agent::datapath::Pod;
use std::time::Duration;

/// Far longer than a frame needs through two taps; only failures wait this long.
const PATIENCE: Duration = Duration::from_secs(5);
/// Long enough to see a frame that should not be there: frames cross taps within the sender's own call.
const SILENCE: Duration = Duration::from_millis(2);

type Moved = Vec<(u32, &'static str, &'static str, u64)>;

fn is_ipv4(frame: &[u8]) -> bool {
    frame[12..14] == [8, 0]
}

/// Lets the guest send, and returns what was counted. Nothing may come out on the other side.
fn guest_says(world: &World, vnet: Vnet, frame: &[u8], what: &str) -> Result<Moved, Errno> {
    let before = world.counts();
    world.guest.send(vnet, frame)?;
    let moved = world.counts().since(&before);
    if moved.iter().all(|line| line.2 != "passed") {
        let seen = world.uplink.receive(SILENCE, is_ipv4);
        assert_eq!(seen, None, "{what}: it was dropped, and left all the same");
    }
    Ok(moved)
}

#[test]
fn a_guests_packet_leaves_to_the_neighbour_with_a_right_checksum() {
    let world = World::running();
    for (what, vnet, frame) in [
        ("a finished datagram", Vnet::default(), udp()),
        (
            "an unfinished datagram",
            Vnet::partial(34, 6),
            unfinished(udp(), 6),
        ),
        (
            "an unfinished segment",
            Vnet::partial(34, 16),
            unfinished(tcp(), 16),
        ),
        (
            "an unfinished datagram with stray bytes, which the sum must not take in",
            Vnet::partial(34, 6),
            padded(unfinished(udp(), 6), 9),
        ),
    ] {
        let moved = guest_says(&world, vnet, &frame, what).unwrap();
        assert_eq!(moved, [(SLOT, "from_tap", "passed", 1)], "{what}");
        let (vnet, seen) = world.uplink.receive(PATIENCE, is_ipv4).expect(what);
        let seen = finished(vnet, seen);
        assert!(
            checksum_is_right(&seen[INNER..]),
            "{what}: the checksum was broken on the way"
        );
        let port = u16::from_be_bytes([seen[34], seen[35]]);
        let frame = cut(frame, seen.len() - INNER);
        let expected = with(
            with(wrapped(&world, &frame, port), 0, &NEIGHBOUR_MAC),
            6,
            &world.uplink.mac(),
        );
        let field = if vnet.checksum_offset == 16 || seen[INNER_IP + 9] == 6 {
            16
        } else {
            6
        };
        let at = INNER_IP + 20 + field;
        assert_eq!(
            with(seen.clone(), at, &[0, 0]),
            with(expected, at, &[0, 0]),
            "{what}"
        );
    }
}

#[test]
fn a_checksum_that_would_be_written_anywhere_else_is_refused() {
    let world = World::running();
    for (frame, field) in [
        (udp(), 6),
        (tcp(), 16),
        (ping(), u16::MAX),
        (arp_for(PEER), u16::MAX),
    ] {
        let mut refused = 0;
        for start in 0..frame.len() as u16 {
            for offset in 0..frame.len() as u16 {
                if start == 34 && offset == field {
                    continue;
                }
                let what = format!("start {start}, offset {offset}");
                match guest_says_quickly(&world, Vnet::partial(start, offset), &frame) {
                    Ok(moved) => assert_eq!(moved, 1, "{what}: the kernel would write there after our check"),
                    Err(Errno::EINVAL) => refused += 1, // beyond the frame: the kernel itself says no
                    Err(error) => panic!("{what}: {error}"),
                }
            }
        }
        assert!(refused > 0, "the kernel took sums beyond the frame's end");
        assert_eq!(
            world.uplink.receive(SILENCE, is_ipv4),
            None,
            "a lie left the host"
        );
    }
}

/// As `guest_says`, but reads one counter only: how often `offload` moved.
fn guest_says_quickly(world: &World, vnet: Vnet, frame: &[u8]) -> Result<u64, Errno> {
    let before = world.dropped(SLOT, pairgate_abi::DropReason::Offload);
    world.guest.send(vnet, frame)?;
    Ok(world.dropped(SLOT, pairgate_abi::DropReason::Offload) - before)
}

#[test]
fn the_classic_lie_does_not_turn_into_anothers_address() {
    let world = World::running();
    // Sum from the IP source address on, result into that address: after anti-spoof has seen the true one.
    // Newer kernels refuse a sum that starts inside the IP header; then there is nothing left to refuse here.
    for (start, offset) in [
        (26, 0),
        (24, 2),
        (22, 4),
        (14, 12),
        (14, 14),
        (0, 26),
        (34, 0),
        (34, 2),
        (42, 0),
    ] {
        match guest_says(&world, Vnet::partial(start, offset), &udp(), "rewriting") {
            Ok(moved) => {
                assert_eq!(
                    moved,
                    [(SLOT, "from_tap", "offload", 1)],
                    "start {start}, offset {offset}"
                );
            }
            Err(error) => assert!(
                error == Errno::EINVAL && start < 34,
                "start {start}, offset {offset}: {error}"
            ),
        }
    }
}

#[test]
fn every_vlan_tag_is_refused_wherever_the_kernel_keeps_it() {
    let world = World::running();
    let tagged = |frame: Vec<u8>, tags: &[[u8; 4]]| {
        let mut bytes = frame[..12].to_vec();
        tags.iter().for_each(|tag| bytes.extend(tag));
        bytes.extend(&frame[12..]);
        bytes
    };
    for (what, frame) in [
        ("a tag", tagged(udp(), &[[0x81, 0, 0, 5]])),
        ("a priority tag", tagged(udp(), &[[0x81, 0, 0xe0, 0]])),
        ("VLAN 0 without priority", tagged(udp(), &[[0x81, 0, 0, 0]])),
        ("a service tag", tagged(udp(), &[[0x88, 0xa8, 0, 5]])),
        ("two tags", tagged(udp(), &[[0x88, 0xa8, 0, 5], [0x81, 0, 0, 6]])),
        (
            "three tags",
            tagged(udp(), &[[0x81, 0, 0, 5], [0x81, 0, 0, 6], [0x81, 0, 0, 7]]),
        ),
        (
            "an old double tag",
            tagged(udp(), &[[0x91, 0, 0, 5], [0x81, 0, 0, 6]]),
        ),
        ("a tagged question", tagged(arp_for(PEER), &[[0x81, 0, 0, 0]])),
        (
            "a tagged lie about the source",
            with(tagged(udp(), &[[0x81, 0, 0, 0]]), 6, &[2; 6]),
        ),
    ] {
        let moved = guest_says(&world, Vnet::default(), &frame, what).unwrap();
        assert_eq!(moved, [(SLOT, "from_tap", "vlan", 1)], "{what}");
    }
    // On the uplink a tag makes it another network's frame: the host's, not ours.
    let before = world.counts();
    let frame = tagged(arriving(&world, &inner_udp()), &[[0x81, 0, 0, 5]]);
    world.uplink.send(Vnet::default(), &frame).unwrap();
    assert_eq!(
        world.counts().since(&before),
        [],
        "a tagged frame was taken for ours"
    );
    assert_eq!(
        world.guest.receive(SILENCE, |_| true),
        None,
        "a tagged frame reached the guest"
    );
}

#[test]
fn frames_shorter_than_their_headers_die_at_every_length() {
    let world = World::running();
    for frame in [udp(), tcp(), arp_for(PEER)] {
        let headers = if frame[13] == 6 { 42 } else { 34 };
        for length in 0..headers {
            match guest_says(
                &world,
                Vnet::default(),
                &cut(frame.clone(), length),
                "a cut frame",
            ) {
                Ok(moved) => assert_eq!(moved, [(SLOT, "from_tap", "too_short", 1)], "{length} bytes"),
                Err(Errno::EINVAL) => assert!(length < ETHERNET, "the kernel refused {length} bytes"),
                Err(error) => panic!("{length} bytes: {error}"),
            }
        }
    }
}

#[test]
fn headers_outside_the_first_piece_of_a_packet_are_read_all_the_same() {
    let world = World::running();
    let (mut out, mut pairs_in) = (
        world.loaded.pairs_out().unwrap(),
        world.loaded.pairs_in().unwrap(),
    );
    let key = out_key(world.guest.index(), PEER);
    out.insert(
        Pod(key),
        Pod(OutEntry {
            mtu: 9000,
            ..World::out_entry()
        }),
        0,
    )
    .unwrap();
    pairs_in
        .insert(
            Pod(in_handle()),
            Pod(InEntry {
                mtu: 9000,
                pair_id: 3,
                ..world.in_entry()
            }),
            0,
        )
        .unwrap();
    // Above a page, the kernel keeps only `header_length` bytes in the first piece.
    let vnet = Vnet {
        header_length: 14,
        ..Vnet::default()
    };
    let big = udp_to(PEER, &[9; 6000]);
    let moved = guest_says(&world, vnet, &big, "a big datagram").unwrap();
    assert_eq!(moved, [(SLOT, "from_tap", "passed", 1)]);
    let (_, seen) = world.uplink.receive(PATIENCE, is_ipv4).expect("a big datagram");
    assert_eq!(
        seen[INNER_IP..],
        big[ETHERNET..],
        "bytes were lost where the pieces meet"
    );

    let spoofed = with(big.clone(), ETHERNET + 12, &[10, 77, 0, 66]);
    let moved = guest_says(&world, vnet, &spoofed, "a big lie").unwrap();
    assert_eq!(moved, [(SLOT, "from_tap", "spoofed_address", 1)]);
    let lie = Vnet {
        header_length: 14,
        ..Vnet::partial(26, 0)
    };
    let moved = guest_says(&world, lie, &big, "a big checksum lie").unwrap();
    assert_eq!(moved, [(SLOT, "from_tap", "offload", 1)]);

    let inner = with(with(big, ETHERNET + 12, &PEER), ETHERNET + 16, &GUEST);
    let before = world.counts();
    world.uplink.send(vnet, &arriving(&world, &inner)).unwrap();
    let passed = [(SLOT, "from_uplink", "passed", 1), (SLOT, "to_tap", "passed", 1)];
    assert_eq!(world.counts().since(&before), passed);
    let (_, seen) = world
        .guest
        .receive(PATIENCE, |_| true)
        .expect("a big datagram from the underlay");
    assert_eq!(seen, delivered(&inner));
}

#[test]
fn the_peers_packet_reaches_the_guest_and_only_with_an_honest_checksum() {
    let world = World::running();
    let passed = [(SLOT, "from_uplink", "passed", 1), (SLOT, "to_tap", "passed", 1)];
    let unfinished_inner = {
        let frame = with(inner_udp(), 0, &GATEWAY); // any Ethernet header will do
        unfinished(frame, 6)
    };
    for (what, vnet, inner) in [
        ("a datagram", Vnet::default(), inner_udp()),
        (
            "an unfinished datagram from a peer on this machine",
            Vnet::partial(84, 6),
            unfinished_inner.clone(),
        ),
    ] {
        let before = world.counts();
        world.uplink.send(vnet, &arriving(&world, &inner)).unwrap();
        assert_eq!(world.counts().since(&before), passed, "{what}");
        let (vnet, seen) = world.guest.receive(PATIENCE, |_| true).expect(what);
        let seen = finished(vnet, seen);
        assert!(checksum_is_right(&seen), "{what}: {seen:02x?}");
        assert_eq!(
            with(seen, IP + 6, &[0, 0]),
            with(delivered(&inner), IP + 6, &[0, 0]),
            "{what}"
        );
    }
    let frame = arriving(&world, &unfinished_inner);
    for (start, offset) in [(84, 16), (84, 4), (76, 0), (64, 12), (34, 6), (42, 4), (14, 12)] {
        let before = world.counts();
        match world.uplink.send(Vnet::partial(start, offset), &frame) {
            Ok(()) => {
                let offload = [(SLOT, "from_uplink", "offload", 1)];
                assert_eq!(
                    world.counts().since(&before),
                    offload,
                    "start {start}, offset {offset}"
                );
            }
            Err(error) => assert!(
                error == Errno::EINVAL && start < 34,
                "start {start}, offset {offset}: {error}"
            ),
        }
    }
    assert_eq!(
        world.guest.receive(SILENCE, |_| true),
        None,
        "a lie reached the guest"
    );
}

#[test]
fn the_guests_question_is_answered_on_its_own_tap() {
    let world = World::running();
    let before = world.counts();
    world.guest.send(Vnet::default(), &arp_for(PEER)).unwrap();
    let counted = [(SLOT, "from_tap", "passed", 1), (SLOT, "to_tap", "passed", 1)];
    assert_eq!(world.counts().since(&before), counted);
    let (_, answer) = world.guest.receive(PATIENCE, |_| true).expect("an answer");
    assert_eq!(answer, arp_answer(PEER));
    assert_eq!(
        world.uplink.receive(SILENCE, |frame| frame[12..14] == [8, 6]),
        None,
        "it also left the host"
    );
}

#[test]
fn what_the_host_sends_to_a_tap_by_itself_does_not_reach_the_guest() {
    let world = World::running();
    let socket = world.guest.raw_socket();
    let stray = with(with(udp(), 0, &GUEST_MAC), 6, &GATEWAY);
    for (what, mark) in [("no mark", 0), ("a guessed mark", world.loaded.mark() ^ 1)] {
        socket.set_mark(mark);
        let before = world.counts();
        assert_eq!(socket.send(&stray), Err(Errno::ENOBUFS), "{what}");
        let counted = [(SLOT, "to_tap", "not_delivered", 1)];
        assert_eq!(world.counts().since(&before), counted, "{what}");
        assert_eq!(
            world.guest.receive(SILENCE, |_| true),
            None,
            "{what}: the host's frame reached the guest"
        );
    }
}
