//! The loaded programs against the same decisions run here: random frames, grown from honest ones, must get
//! the same action, the same bytes and the same counter from both. What differs is a fault of the glue, of
//! the compiler or of the verifier's view.
use crate::{
    frames::{arp_for, arriving, inner_udp, ping, tcp, udp, with},
    run::{Baggage, DROP, NEXT, REDIRECT},
    world::{FOREVER, GUEST, HOST, PORT, SLOT, World, expired_handle, in_handle, known_peers},
};
use pairgate_abi::{Count, Direction, DropReason, InEntry, OutEntry, Settings, count_index, drop_index};
use pairgate_agent::datapath::{Pod, Program, running_layout};
use pairgate_packet::{
    Bytes, Metadata, outer,
    pair::{self, wide},
    receiver,
    sender::{self, Said},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

/// Frames for each program. One takes about 20 microseconds.
const FRAMES: usize = 30_000;
/// Another one finds other frames; this one finds the same ones again.
const SEED: u64 = 0x5061_6972_6761_7465;

/// What a program makes of a frame: the frame that goes on, or why none does; nothing if it is the host's.
type Judged = Result<Option<Vec<u8>>, (u32, DropReason)>;

fn judge_tap(world: &World, frame: &[u8], metadata: Metadata) -> Judged {
    let at_slot = |reason| (SLOT, reason);
    match sender::check(&Bytes(frame), &metadata, &World::tap_entry()).map_err(at_slot)? {
        Said::Question(question) => Ok(Some(question.reply(&World::tap_entry()).to_vec())),
        Said::Packet(packet) => {
            let key = pair::key(world.guest.index(), &packet);
            let entries = known_peers();
            let entry: Option<&OutEntry> = entries
                .iter()
                .find(|(peer, _)| wide(*peer) == key.destination)
                .map(|(_, entry)| entry);
            let entry = pair::check(&packet, entry, FOREVER, 2).map_err(at_slot)?;
            if entry.dst_host != World::out_entry().dst_host {
                return Err(at_slot(DropReason::NextHop));
            }
            let header = outer::header(&packet, entry).map_err(at_slot)?;
            let inner = &frame[14..packet.frame_length() as usize];
            Ok(Some([&frame[..14], &header, inner].concat()))
        }
    }
}

fn judge_uplink(world: &World, settings: &Settings, frame: &[u8], metadata: Metadata) -> Judged {
    if frame[..6] != world.uplink.mac() {
        return Ok(None);
    }
    let Some(outer) = outer::ours(&Bytes(frame), settings) else {
        return Ok(None);
    };
    receiver::check_carriage(&Bytes(frame), &metadata, &outer).map_err(|reason| (0, reason))?;
    let good = world.in_entry();
    let ended = InEntry {
        deadline_ns: 1,
        ..good
    };
    let entry = match outer.handle {
        handle if handle == in_handle() => Some(&good),
        handle if handle == expired_handle() => Some(&ended),
        _ => None,
    };
    let slot = entry.map_or(0, |entry| entry.slot);
    let entry = receiver::check(&Bytes(frame), &outer, entry, FOREVER, 2).map_err(|reason| (slot, reason))?;
    Ok(Some([&receiver::delivery(entry), &frame[64..]].concat()))
}

/// Changes a few bytes, mostly in headers and mostly to values that mean something there, and the length.
fn mutate(random: &mut StdRng, mut frame: Vec<u8>) -> Vec<u8> {
    const TELLING: [u8; 14] = [0, 1, 2, 4, 6, 8, 17, 0x20, 0x40, 0x45, 0x46, 0x50, 0x86, 0xff];
    for _ in 0..random.random_range(0..4) {
        let at = random.random_range(0..frame.len().min(110));
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

/// Sometimes the addresses that have an entry, so that not everything ends at the first lookup.
fn toward_known_peers(random: &mut StdRng, frame: Vec<u8>) -> Vec<u8> {
    let peers = known_peers();
    let peer = peers[random.random_range(0..peers.len())].0;
    if random.random_range(0..3) == 0 {
        with(frame, 30, &peer)
    } else {
        frame
    }
}

fn counted(world: &World, direction: Direction, judged: &Judged) -> u64 {
    match judged {
        Ok(None) => 0,
        Ok(Some(_)) => {
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
    direction: Direction,
    frame: &[u8],
    baggage: Baggage,
    judged: Judged,
) -> &'static str {
    let interface = if program == Program::FromTap {
        world.guest.index()
    } else {
        world.uplink.index()
    };
    let before = counted(world, direction, &judged);
    let ran = world.run(program, interface, frame, baggage);
    let moved = counted(world, direction, &judged) - before;
    let (action, expected, count, word) = match judged {
        Ok(None) => (NEXT, frame.to_vec(), 0, "not ours"),
        Ok(Some(out)) => (REDIRECT, out, 1, "passed"),
        Err((_, reason)) => (DROP, ran.frame.clone(), 1, reason.word()),
    };
    assert_eq!(
        (ran.action, moved),
        (action, count),
        "here the answer is {word}, in the kernel it is another, seed {SEED:#x}: {frame:02x?}"
    );
    assert_eq!(
        ran.frame, expected,
        "other bytes go on, seed {SEED:#x}: {frame:02x?}"
    );
    word
}

fn baggage(random: &mut StdRng) -> (Baggage, Metadata) {
    let gso = random.random_range(0..50) == 0;
    let baggage = Baggage {
        gso_size: if gso { 1000 } else { 0 },
        ..Baggage::default()
    };
    (
        baggage,
        Metadata {
            gso,
            ..Metadata::PLAIN
        },
    )
}

#[test]
fn the_kernel_and_this_crate_agree_on_random_frames() {
    println!("seed {SEED:#x}");
    let (mut world, mut random) = (World::new(), StdRng::seed_from_u64(SEED));
    let uplink = world.uplink.mac();
    let settings = Settings {
        mark: world.loaded.mark(),
        uplink: world.uplink.index(),
        host: wide(HOST),
        port: PORT.to_be_bytes(),
        reserved: [0; 2],
        skb: running_layout().unwrap(),
    };
    let mut words = std::collections::BTreeMap::<_, u64>::new();
    let from_guest = [udp(), tcp(), ping(), arp_for([10, 77, 0, 1]), arp_for(GUEST)];
    let swapped = |frame: Vec<u8>| [&frame[..26], &frame[30..34], &frame[26..30], &frame[34..]].concat();
    let inner = [inner_udp(), swapped(tcp()), swapped(ping())];
    for number in 0..FRAMES {
        let (baggage, metadata) = baggage(&mut random);
        let honest = from_guest[number % from_guest.len()].clone();
        let frame = mutate(&mut random, honest);
        let frame = toward_known_peers(&mut random, frame);
        world.reset_budget();
        let judged = judge_tap(&world, &frame, metadata);
        let word = compare(
            &mut world,
            Program::FromTap,
            Direction::FromTap,
            &frame,
            baggage,
            judged,
        );
        *words.entry(("from_tap", word)).or_default() += 1;

        let mut frame = mutate(&mut random, arriving(uplink, &inner[number % inner.len()]));
        if random.random_range(0..2) == 0 {
            // Lengths that fit, so that more than the definition of ours is tried.
            let length = frame.len() as u16;
            frame = with(
                with(frame, 16, &(length - 14).to_be_bytes()),
                38,
                &(length - 34).to_be_bytes(),
            );
        }
        let judged = judge_uplink(&world, &settings, &frame, metadata);
        let word = compare(
            &mut world,
            Program::FromUplink,
            Direction::FromUplink,
            &frame,
            baggage,
            judged,
        );
        *words.entry(("from_uplink", word)).or_default() += 1;
    }
    println!("{words:#?}");
    for must in ["passed", "offload"] {
        for direction in ["from_tap", "from_uplink"] {
            assert!(
                words.contains_key(&(direction, must)),
                "no frame was {must} {direction}: {words:?}"
            );
        }
    }
    assert!(words.len() > 20, "the frames are too much alike: {words:?}");
}
