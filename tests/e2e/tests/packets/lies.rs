//! Random lies through real taps: any virtio-net header in front of any frame, grown from honest ones. Whatever
//! leaves must be the guest's own once the kernel has done everything that the header asked for, and whatever
//! reaches a guest must be what its handle is bound to.
use crate::{
    checksums::{checksum_is_right, finished},
    device::{StackEar, VNET, Vnet},
    frames::{
        ETHERNET, INNER, INNER_IP, IP, arp_for, arriving, inner_udp, ping, protocol, solicitation, tcp, tcp6,
        udp, udp_to, udp6, udp6_to, with,
    },
    pairs::{in_handle, out_handle},
    world::{GATEWAY, GUEST, GUEST_MAC, GUEST6, HOST, MTU, PEER, PEER_HOST, PEER6, PORT, World, share},
};
use nix::errno::Errno;
use pairgate_packet::{
    Bytes, Checksum, Metadata,
    address::wide,
    sender::{self, Said},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::time::Duration;

/// Frames for each direction. One takes a few microseconds.
const FRAMES: usize = 40_000;
/// Another one finds other lies; this one finds the same ones again.
const SEED: u64 = 0x6c69_6172_7373;

fn any_header(random: &mut StdRng) -> Vnet {
    let places = [
        0, 14, 22, 24, 26, 30, 34, 38, 40, 42, 50, 54, 62, 64, 76, 84, 90, 104,
    ];
    let number = |random: &mut StdRng| match random.random_range(0..3) {
        0 => random.random(),
        1 => places[random.random_range(0..places.len())],
        _ => random.random_range(0..120),
    };
    match random.random_range(0..5) {
        0 => Vnet::default(),
        1 => Vnet::partial(
            [34, 54, 84, 104][random.random_range(0..4)],
            if random.random() { 6 } else { 16 },
        ),
        2 => Vnet::partial(number(random), number(random)),
        // A request for segments that might be true.
        3 => Vnet {
            gso_type: [1, 4, 5, 0x81][random.random_range(0..4)],
            gso_size: [100, 256, 400, 1000, 1360][random.random_range(0..5)],
            header_length: 74,
            ..Vnet::partial(
                [34, 54][random.random_range(0..2)],
                [6, 16][random.random_range(0..2)],
            )
        },
        _ => Vnet {
            flags: random.random(),
            gso_type: [0, 0, 1, 3, 4, 5, 0x81, 0xff][random.random_range(0..8)],
            header_length: number(random),
            gso_size: number(random),
            checksum_start: number(random),
            checksum_offset: number(random),
        },
    }
}

fn mutated(random: &mut StdRng, mut frame: Vec<u8>) -> Vec<u8> {
    for _ in 0..random.random_range(0..3) {
        let at = random.random_range(0..frame.len().min(110));
        frame[at] = match random.random_range(0..3) {
            0 => random.random(),
            1 => frame[at] ^ 1 << random.random_range(0..8),
            _ => [0, 1, 6, 17, 0x40, 0x45, 0x81, 0x86, 0xff][random.random_range(0..9)],
        };
    }
    if random.random_range(0..8) == 0 {
        let by = random.random_range(-20..20_i32) as isize;
        frame.resize(frame.len().saturating_add_signed(by), 0x5a);
    }
    frame
}

/// Sends, and takes the kernel's refusals as what they are.
fn say(tap: &crate::device::Tap, vnet: Vnet, frame: &[u8]) {
    match tap.send(vnet, frame) {
        Ok(()) | Err(Errno::EINVAL) => {}
        Err(error) => panic!("{vnet:?} {frame:02x?}: {error}"),
    }
}

/// What has come out of a tap by now.
fn come_out(tap: &crate::device::Tap, bytes: &mut [u8]) -> Option<(Vnet, Vec<u8>)> {
    match tap.receive_into(bytes) {
        Ok(length) => Some((Vnet::parse(bytes), bytes[VNET..length].to_vec())),
        Err(Errno::EAGAIN) => None,
        Err(error) => panic!("reading: {error}"),
    }
}

/// True for an answer to what was too big, with a right checksum once all is done that the kernel left to do, and with
/// nothing in it but the guest's own packet.
fn tells_size(vnet: Vnet, out: &[u8]) -> bool {
    let out = finished(vnet, out.to_vec());
    assert_eq!(vnet.gso_type, 0, "an answer in segments");
    match out[12..14] {
        [8, 0] => {
            (out[23], &out[34..36], &out[40..42]) == (1, &[3, 4], &MTU.to_be_bytes())
                && checksum_is_right(&out)
                && out[26..34] == [PEER, GUEST].concat()
                && out[54..62] == [GUEST, PEER].concat()
        }
        _ => {
            (out[20], &out[54..56], &out[60..62]) == (58, &[2, 0], &MTU.to_be_bytes())
                && checksum_is_right(&out)
                && out[22..54] == [PEER6, GUEST6].concat()
                && out[70..102] == [GUEST6, PEER6].concat()
        }
    }
}

fn assert_silent(ears: &[StackEar], what: &str) {
    for ear in ears {
        assert_eq!(ear.heard(), None, "the host's stack heard {what}");
    }
}

#[test]
fn whatever_a_guest_claims_only_its_own_words_leave() {
    println!("seed {SEED:#x}");
    let (world, mut random) = (World::running(), StdRng::seed_from_u64(SEED));
    let ears = [0x0800, 0x0806, 0x86dd, 0x8100].map(|ethertype| world.guest.stack_ear(ethertype));
    let big = udp_to(PEER, &[9; 1300]);
    let honest = [
        udp(),
        tcp(),
        ping(),
        arp_for(PEER),
        protocol(47, &[0; 40]),
        big,
        udp_to(PEER, &[9; 4000]),
        udp6(),
        tcp6(),
        udp6_to(PEER6, (1, 2), &[9; 4000]),
        solicitation(PEER6),
    ];
    let (mut bytes, mut left, mut answered, mut told) = (vec![0; 70_000], 0, 0, 0);
    for number in 0..share(FRAMES) {
        let frame = mutated(&mut random, honest[number % honest.len()].clone());
        let vnet = any_header(&mut random);
        let what = format!("seed {SEED:#x}, frame {number}: {vnet:?} {frame:02x?}");
        say(&world.guest, vnet, &frame);
        while let Some((vnet, out)) = come_out(&world.uplink, &mut bytes) {
            left += 1;
            let out = finished(vnet, out);
            assert_eq!(vnet.gso_type, 0, "segments left: {what}");
            assert_eq!(out[12..14], [8, 0], "{what}");
            assert_eq!(
                (&out[26..30], &out[30..34]),
                (&HOST[..], &PEER_HOST[..]),
                "{what}"
            );
            assert_eq!(out[36..38], PORT.to_be_bytes(), "{what}");
            let (group, vni) = (out_handle().group(), out_handle().vni());
            assert_eq!((&out[44..46], &out[46..49]), (&group[..], &vni[..]), "{what}");
            assert!(out.len() <= 14 + 50 + MTU as usize, "{} bytes: {what}", out.len());
            let ethertype = &out[INNER + 12..INNER_IP];
            assert_eq!(out[INNER..INNER + 12], [GATEWAY, GATEWAY].concat(), "{what}");
            // Asked again after the kernel has done its part: is it still what the guest may say?
            let inner = [&GATEWAY[..], &GUEST_MAC, ethertype, &out[INNER_IP..]].concat();
            let judged = sender::check(&Bytes(&inner), &Metadata::PLAIN, &World::tap_entry());
            let Ok(Said::Packet(packet)) = judged else {
                panic!("{judged:?}: {what}")
            };
            let addresses = (packet.source.bytes(), packet.destination.bytes());
            let pairs = [(wide(GUEST), wide(PEER)), (GUEST6, PEER6)];
            assert!(pairs.contains(&addresses), "{addresses:02x?}: {what}");
            let partial = Checksum::Partial {
                start: vnet.checksum_start.into(),
                offset: vnet.checksum_offset,
            };
            if vnet.flags & 1 != 0 {
                let at = INNER_IP + packet.family.header();
                assert_eq!(partial.check(at as u32, packet.protocol), Ok(()), "{what}");
            }
        }
        while let Some((vnet, out)) = come_out(&world.guest, &mut bytes) {
            answered += 1;
            told += u32::from(matches!(out[12..14], [8, 0]));
            let is_answer = match out[12..14] {
                [8, 6] => out.len() == 42,
                [0x86, 0xdd] => out.len() == 86 && out[54] == 136 || tells_size(vnet, &out),
                [8, 0] => tells_size(vnet, &out),
                _ => false,
            } && out[..6] == GUEST_MAC;
            assert!(is_answer, "{out:02x?} came back: {what}");
        }
        if number % 500 == 0 {
            world.reset_budget();
        }
        assert_silent(&ears, &what);
    }
    println!("{left} left, {answered} answers, {told} about size over IPv4");
    assert!(
        left > share(3_000) && answered > share(300) && told as usize > share(100),
        "{left} left and {answered} answers: the frames are too odd to prove anything"
    );
}

#[test]
fn whatever_the_underlay_claims_only_the_handles_packets_arrive() {
    println!("seed {SEED:#x}");
    let (world, mut random) = (World::running(), StdRng::seed_from_u64(SEED));
    let turned = |frame: Vec<u8>| with(with(frame, ETHERNET + 12, &PEER), ETHERNET + 16, &GUEST);
    let inner = [
        inner_udp(),
        turned(tcp()),
        turned(ping()),
        turned(protocol(47, &[0; 40])),
    ];
    let (mut bytes, mut arrived) = (vec![0; 70_000], 0);
    for number in 0..share(FRAMES) {
        let mut frame = arriving(&world, &inner[number % inner.len()]);
        frame = mutated(&mut random, frame);
        let length = frame.len() as u16;
        if length > 42 && random.random() {
            // Lengths that fit what was cut or added: ours to judge again.
            frame = with(
                with(frame, 16, &(length - 14).to_be_bytes()),
                38,
                &(length - 34).to_be_bytes(),
            );
        }
        let vnet = any_header(&mut random);
        let what = format!("seed {SEED:#x}, frame {number}: {vnet:?} {frame:02x?}");
        say(&world.uplink, vnet, &frame);
        while let Some((vnet, out)) = come_out(&world.guest, &mut bytes) {
            arrived += 1;
            let out = finished(vnet, out);
            assert_eq!(vnet.gso_type, 0, "segments arrived: {what}");
            assert_eq!(
                out[..ETHERNET],
                [&GUEST_MAC[..], &GATEWAY, &[8, 0]].concat(),
                "{what}"
            );
            assert_eq!(out[ETHERNET + 12..IP], [PEER, GUEST].concat(), "{what}");
            assert_eq!(
                u16::from_be_bytes([out[16], out[17]]) as usize,
                out.len() - ETHERNET,
                "{what}"
            );
            assert_eq!(out[20] & 0x3f | out[21], 0, "a fragment: {what}");
            assert_eq!(
                (&frame[26..30], &frame[30..34]),
                (&PEER_HOST[..], &HOST[..]),
                "{what}"
            );
            let handle =
                pairgate_abi::Handle::from_wire([frame[46], frame[47], frame[48]], [frame[44], frame[45]]);
            assert_eq!(handle, in_handle(), "{what}");
            assert_eq!(frame[40..42], [0, 0], "an outer checksum: {what}");
        }
        while come_out(&world.uplink, &mut bytes).is_some() {}
    }
    println!("{arrived} arrived");
    assert!(
        arrived > share(3_000),
        "{arrived} arrived: the frames are too odd to prove anything"
    );
}

#[test]
fn a_guest_is_not_stalled_by_an_uplink_whose_queue_is_full() {
    let world = World::running();
    // Nobody reads the uplink: its queue runs over, and the guest goes on.
    for _ in 0..2_000 {
        world.guest.send(Vnet::default(), &udp()).unwrap();
    }
    let mut bytes = vec![0; 2048];
    let mut queued = 0;
    while come_out(&world.uplink, &mut bytes).is_some() {
        queued += 1;
    }
    assert!(queued < 2_000, "the uplink's queue has no bound");
    world.guest.send(Vnet::default(), &arp_for(PEER)).unwrap();
    let answer = world.guest.receive(Duration::from_secs(5), |_| true);
    assert!(answer.is_some(), "a guest is stuck behind a full uplink");
}
