//! The loaded programs against the same decisions run here: random frames, grown from honest ones of both families,
//! must get the same action, the same bytes and the same counter from both. What differs is a fault of the glue,
//! of the compiler or of the verifier's view.
use crate::{
    frames::{self, arp_for, arriving, inner_udp, ping, solicitation, tcp, udp, with},
    pairs::{granted_handle, in_handle6},
    run::{Baggage, DROP, NEXT, PASS, REDIRECT},
    world::{FOREVER, GUEST, HOST, HOST6, PORT, SLOT, World, bytes_of, six},
};
use pairgate_abi::{Count, Direction, DropReason, InEntry, OutEntry, Settings, count_index, drop_index};
use pairgate_agent::datapath::{Pod, Program, running_layout};
use pairgate_packet::{
    Bytes, Gso, Metadata, arp, ethernet,
    grant::{self, Admission},
    ip::Family,
    nd, outer, pair, receiver,
    sender::{self, Said},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::net::IpAddr;

/// Frames for each program and underlay. One takes about 20 microseconds.
const FRAMES: usize = 25_000;
/// Another one finds other frames; this one finds the same ones again.
const SEED: u64 = 0x5061_6972_6761_7465;

/// What a program makes of a frame.
#[derive(Debug)]
enum Judged {
    /// It is the host's.
    NotOurs,
    /// It goes on as it is, to the VXLAN device.
    Device,
    /// It goes on, as these bytes.
    Out(Vec<u8>),
    /// The agent has it.
    Held,
}

type Answer = Result<Judged, (u32, DropReason)>;

fn judge_tap(world: &World, frame: &[u8], metadata: Metadata) -> Answer {
    let (tap, bytes) = (World::tap_entry(), Bytes(frame));
    let judge = || match sender::check(&bytes, &metadata, &tap)? {
        Said::Arp => {
            let mut reply = [0; arp::FRAME];
            arp::Question::of(&bytes, &tap)?.reply(&tap, &mut reply);
            Ok(Judged::Out(reply.to_vec()))
        }
        Said::Neighbour => {
            let mut reply = [0; nd::FRAME];
            nd::Question::of(&bytes, &tap)?.reply(&tap, &mut reply);
            Ok(Judged::Out(reply.to_vec()))
        }
        Said::Packet(packet) => {
            let key = pair::key(world.guest.index(), &packet);
            let known = world.known_pairs();
            let entry = known
                .iter()
                .find(|(found, _)| *found == key)
                .map(|(_, entry)| entry);
            let checked = pair::check(&tap, &packet, entry, FOREVER, 2).and_then(|entry| {
                grant::sends(&entry.carries, &packet)?;
                Ok(entry)
            });
            let entry = match checked {
                Ok(entry) => entry,
                Err(reason) if pair::event_kind(reason).is_some() => return Ok(Judged::Held),
                Err(reason) => return Err(reason),
            };
            let length = packet.frame_length() as usize;
            if entry.local_tap != 0 {
                if grant::receives(&entry.carries, &packet)? == Admission::IfAnswer {
                    return Err(DropReason::Grant); // nobody here has opened anything
                }
                let header = receiver::delivery(entry.local_mac, packet.family);
                return Ok(Judged::Out([&header, &frame[ethernet::LENGTH..length]].concat()));
            }
            if entry.dst_host != world.hosts().1 {
                return Err(DropReason::NextHop);
            }
            let header = wrapping(&packet, entry)?;
            Ok(Judged::Out([&frame[..14], &header, &frame[14..length]].concat()))
        }
    };
    judge().map_err(|reason| (SLOT, reason))
}

fn wrapping(packet: &pairgate_packet::Packet, entry: &OutEntry) -> Result<Vec<u8>, DropReason> {
    let (mut four, mut six) = ([0; outer::LENGTH_V4], [0; outer::LENGTH_V6]);
    match Family::of(&entry.src_host) {
        Family::V4 => outer::header_v4(packet, entry, &mut four).map(|()| four.to_vec()),
        Family::V6 => outer::header_v6(packet, entry, &mut six).map(|()| six.to_vec()),
    }
}

fn judge_uplink(world: &World, settings: &Settings, frame: &[u8], metadata: Metadata) -> Answer {
    if frame[..6] != world.uplink.mac() {
        return Ok(Judged::NotOurs);
    }
    let underlay = Family::of(&settings.host);
    let Some(outer) = outer::ours(&Bytes(frame), settings, underlay) else {
        return Ok(Judged::NotOurs);
    };
    let known = world.known_handles();
    let entry: Option<&InEntry> = known
        .iter()
        .find(|(handle, _)| *handle == outer.handle)
        .map(|(_, entry)| entry);
    let slot = entry.map_or(0, |entry| entry.slot);
    receiver::check_form(&outer).map_err(|reason| (0, reason))?;
    let judge = || {
        let entry = receiver::check_outer(&outer, entry)?;
        let inner_at = outer::inner_at(underlay);
        let packet = receiver::check_inner(&Bytes(frame), &metadata, inner_at, entry, FOREVER, 2)?;
        if grant::receives(&entry.carries, &packet)? == Admission::IfAnswer {
            return Err(DropReason::Grant);
        }
        if metadata.gso.is_some() {
            return Ok(Judged::Device);
        }
        let header = receiver::delivery(entry.mac, packet.family);
        Ok(Judged::Out(
            [&header, &frame[inner_at + ethernet::LENGTH..]].concat(),
        ))
    };
    judge().map_err(|reason| (slot, reason))
}

/// Changes a few bytes, mostly in headers and mostly to values that mean something there, and the length.
fn mutate(random: &mut StdRng, mut frame: Vec<u8>) -> Vec<u8> {
    const TELLING: [u8; 20] = [
        0, 1, 2, 4, 6, 8, 17, 0x20, 0x33, 0x3a, 0x40, 0x45, 0x46, 0x50, 0x60, 0x86, 0x87, 0xdd, 0xfe, 0xff,
    ];
    for _ in 0..random.random_range(0..4) {
        let at = random.random_range(0..frame.len().min(150));
        frame[at] = match random.random_range(0..4) {
            0 => random.random(),
            1 => TELLING[random.random_range(0..TELLING.len())],
            2 => frame[at] ^ 1 << random.random_range(0..8),
            _ => frame[at].wrapping_add(1),
        };
    }
    if random.random_range(0..4) == 0 {
        let by = random.random_range(-24..24_i32) as isize;
        // A test run takes no IPv4 or IPv6 frame without a whole IP header.
        frame.resize(frame.len().saturating_add_signed(by).max(54), 0x5a);
    }
    frame.resize(frame.len().max(54), 0);
    frame
}

/// Sometimes the addresses that have an entry, so that not everything ends at the first lookup; and the ports that
/// some pairs are for.
fn toward_known_peers(world: &World, random: &mut StdRng, mut frame: Vec<u8>) -> Vec<u8> {
    let known = world.known_pairs();
    let peer = known[random.random_range(0..known.len())].0.destination;
    let is_ipv6 = frame[12..14] == ethernet::IPV6;
    if random.random_range(0..3) != 0 {
        frame = match (is_ipv6, peer[0]) {
            (true, 0xfd) => with(frame, 38, &peer),
            (false, 0) => with(frame, 30, &peer[12..]),
            _ => frame,
        };
    }
    let ports = [443_u16, 1000, 2000, 999, 53];
    let port = ports[random.random_range(0..ports.len())].to_be_bytes();
    let at = if is_ipv6 { 54 } else { 34 } + 2 * random.random_range(0..2);
    if random.random_range(0..3) == 0 && frame.len() >= at + 2 {
        frame = with(frame, at, &port);
    }
    frame
}

fn counted(world: &World, direction: Direction, answer: &Answer) -> u64 {
    match answer {
        Ok(Judged::NotOurs | Judged::Held) => 0,
        Ok(Judged::Out(_) | Judged::Device) => {
            let index = count_index(SLOT, direction);
            let all = world.loaded.passed().unwrap().get(&index, 0).unwrap();
            all.iter().map(|Pod(Count { packets, .. })| packets).sum()
        }
        Err((slot, reason)) => {
            let index = drop_index(*slot, direction, *reason);
            world.loaded.drops().unwrap().get(&index, 0).unwrap().iter().sum()
        }
    }
}

/// Runs both, and returns what they agreed on in one word.
fn compare(
    world: &mut World,
    program: Program,
    frame: &[u8],
    baggage: Baggage,
    answer: Answer,
) -> &'static str {
    let (interface, direction) = if program == Program::FromTap {
        (world.guest.index(), Direction::FromTap)
    } else {
        (world.uplink.index(), Direction::FromUplink)
    };
    let before = counted(world, direction, &answer);
    let ran = world.run(program, interface, frame, baggage);
    let moved = counted(world, direction, &answer) - before;
    let held = world.next_held().is_some();
    let (action, expected, count, word) = match &answer {
        Ok(Judged::NotOurs) => (NEXT, frame.to_vec(), 0, "not ours"),
        Ok(Judged::Device) => (PASS, frame.to_vec(), 1, "to device"),
        Ok(Judged::Out(out)) => (REDIRECT, out.clone(), 1, "passed"),
        Ok(Judged::Held) => (DROP, ran.frame.clone(), 0, "held"),
        Err((_, reason)) => (DROP, ran.frame.clone(), 1, reason.word()),
    };
    assert_eq!(
        (ran.action, moved, held),
        (action, count, matches!(answer, Ok(Judged::Held))),
        "here the answer is {word}, in the kernel it is another, seed {SEED:#x}: {frame:02x?}"
    );
    assert_eq!(
        ran.frame, expected,
        "other bytes go on, seed {SEED:#x}: {frame:02x?}"
    );
    word
}

fn baggage(random: &mut StdRng) -> (Baggage, Metadata) {
    let gso_size = if random.random_range(0..50) == 0 { 1000 } else { 0 };
    let baggage = Baggage {
        gso_size,
        ..Baggage::default()
    };
    // A test run cannot say what is to be cut: the kind is none.
    let gso = (gso_size > 0).then_some(Gso {
        size: gso_size,
        kind: 0,
    });
    (
        baggage,
        Metadata {
            gso,
            ..Metadata::PLAIN
        },
    )
}

/// Outer lengths that fit, so that more than the definition of ours is tried.
fn with_lengths(underlay: Family, frame: Vec<u8>) -> Vec<u8> {
    let rest = |from: usize| (frame.len() as u16).saturating_sub(from as u16).to_be_bytes();
    let (ip, udp) = match underlay {
        Family::V4 => ((16, rest(14)), (38, rest(34))),
        Family::V6 => ((18, rest(54)), (58, rest(54))),
    };
    if frame.len() < 70 {
        return frame;
    }
    with(with(frame, ip.0, &ip.1), udp.0, &udp.1)
}

fn agree(host: IpAddr) {
    println!("seed {SEED:#x}");
    let (mut world, mut random) = (World::with_device(host), StdRng::seed_from_u64(SEED));
    let underlay = Family::of(&bytes_of(host));
    let settings = Settings {
        mark: world.loaded.mark(),
        uplink: world.uplink.index(),
        vxlan: world.uplink.index(),
        host: bytes_of(host),
        port: PORT.to_be_bytes(),
        reserved: [0; 2],
        skb: running_layout().unwrap(),
    };
    let mut big = world.loaded.pins().big().unwrap();
    let mut words = std::collections::BTreeMap::<_, u64>::new();
    let from_guest = [
        udp(),
        tcp(),
        ping(),
        arp_for([10, 77, 0, 1]),
        arp_for(GUEST),
        frames::udp6(),
        frames::tcp6(),
        frames::ping6(),
        solicitation(six([0, 0, 0, 1])),
        solicitation(six(GUEST)),
    ];
    let to_guest = [
        arriving(&world, &inner_udp()),
        arriving(&world, &frames::turned(tcp())),
        arriving(&world, &frames::turned(ping())),
        frames::arriving_under(&world, in_handle6(), &frames::turned(frames::udp6())),
        frames::arriving_under(&world, in_handle6(), &frames::turned(frames::ping6())),
        frames::arriving_under(&world, granted_handle(), &frames::from_granted(tcp())),
    ];
    for number in 0..FRAMES {
        let (baggage, metadata) = baggage(&mut random);
        let honest = from_guest[number % from_guest.len()].clone();
        let frame = mutate(&mut random, honest);
        let frame = toward_known_peers(&world, &mut random, frame);
        world.reset_budget();
        let answer = judge_tap(&world, &frame, metadata);
        let word = compare(&mut world, Program::FromTap, &frame, baggage, answer);
        *words.entry(("from_tap", word)).or_default() += 1;

        let mut frame = mutate(&mut random, to_guest[number % to_guest.len()].clone());
        if random.random_range(0..2) == 0 {
            frame = with_lengths(underlay, frame);
        }
        let answer = judge_uplink(&world, &settings, &frame, metadata);
        let word = compare(&mut world, Program::FromUplink, &frame, baggage, answer);
        *words.entry(("from_uplink", word)).or_default() += 1;
        if let Some(outer) = outer::ours(&Bytes(&frame), &settings, underlay) {
            // The next packet of this flow takes the way of its own size.
            big.set(outer::big_cell(&outer), 0, 0).unwrap();
        }
    }
    println!("{words:#?}");
    for must in [
        ("from_tap", "passed"),
        ("from_tap", "offload"),
        ("from_tap", "held"),
        ("from_tap", "grant"),
        ("from_tap", "spoofed_nd"),
        ("from_tap", "extension_header"),
        ("from_uplink", "passed"),
        ("from_uplink", "to device"),
        ("from_uplink", "inner"),
        ("from_uplink", "grant"),
    ] {
        assert!(words.contains_key(&must), "no frame was {must:?}: {words:?}");
    }
    assert!(words.len() > 21, "the frames are too much alike: {words:?}");
}

#[test]
fn the_kernel_and_this_crate_agree_on_random_frames() {
    agree(HOST.into());
}

#[test]
fn they_agree_on_random_frames_over_ipv6_as_well() {
    agree(HOST6.into());
}
