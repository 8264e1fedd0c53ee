//! The guard in the uplink's driver, beside the program that judges: it takes early what that one would drop, and never
//! anything else; what it takes is counted once, and nobody is told less.
use crate::{
    device::{Tap, Vnet},
    frames::{arriving, inner_udp, with},
    run::{Baggage, DROP},
    world::{HOST, HOST6, NEIGHBOUR_MAC, SLOT, World, load, share},
};
use aya::programs::{TestRun, TestRunOptions};
use pairgate_abi::{Budget, Direction, DropReason, drop_index};
use pairgate_agent::{
    datapath::{GuardError, Pod, Program, XDP_UPLINK},
    net::Net,
};
use pairgate_lab::patience;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{net::IpAddr, time::Duration};

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

/// The number of the XDP program that an interface has.
fn xdp_of(interface: u32) -> Option<u32> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(async {
        let link = Net::open().unwrap().link(interface).await;
        link.unwrap().unwrap().xdp
    })
}

/// A link that nobody holds any more is taken down a moment later.
fn await_none(interface: u32) {
    let what = "the uplink has no XDP program";
    let gone = || Ok(xdp_of(interface).is_none().then_some(()));
    patience::until(Duration::from_secs(5), what, gone).unwrap();
}

impl World {
    /// What the guard says to a frame.
    pub(crate) fn guard(&mut self, frame: &[u8]) -> u32 {
        let options = TestRunOptions {
            data_in: Some(frame),
            ..TestRunOptions::default()
        };
        let guard = self.loaded.guard().unwrap();
        let ran = guard.test_run(options);
        ran.unwrap_or_else(|error| panic!("the kernel does not run the guard on {frame:02x?}: {error:?}"))
            .return_value
    }

    /// Lets the guard know the uplink, as the agent does.
    pub(crate) fn introduce_uplink(&self) {
        self.loaded.set_uplink_mac(self.uplink.mac()).unwrap();
    }

    /// Whether the agent could still be told of frames on the uplink.
    pub(crate) fn set_tellable(&self, is_tellable: bool) {
        let budget = Budget {
            event_ns: if is_tellable { 0 } else { u64::MAX },
            ..Budget::default()
        };
        let mut budgets = self.loaded.budgets().unwrap();
        budgets.set(0, Pod(budget), 0).unwrap();
    }

    fn died(&self, direction: Direction) -> Vec<u64> {
        let drops = self.loaded.drops().unwrap();
        let cells = [
            (0, DropReason::Handle),
            (0, DropReason::Outer),
            (SLOT, DropReason::Outer),
        ];
        let count = |(slot, reason)| {
            drops
                .get(&drop_index(slot, direction, reason), 0)
                .unwrap()
                .iter()
                .sum()
        };
        cells.map(count).to_vec()
    }
}

/// Asserts what becomes of a frame in the guard, when `from_uplink` says this of it.
pub(crate) fn check_beside(world: &mut World, frame: &[u8], outcome: &str, slot: u32, what: &str) {
    world.introduce_uplink();
    let dies = matches!(outcome, "handle" | "outer");
    for is_tellable in [true, false] {
        world.set_tellable(is_tellable);
        let before = world.counts();
        let action = world.guard(frame);
        let moved = world.counts().since(&before);
        // As long as the agent could be told, from_uplink is to tell it.
        if dies && !(is_tellable && outcome == "handle") {
            assert_eq!(action, XDP_DROP, "{what}: a flood of these goes past the guard");
            let reason = if outcome == "handle" { "handle" } else { "outer" };
            assert_eq!(moved, [(slot, XDP_UPLINK, reason, 1)], "{what}");
        } else {
            assert_eq!(action, XDP_PASS, "{what}: from_uplink says {outcome}");
            assert_eq!(moved, [], "{what}: what goes on is counted where it is judged");
        }
    }
    world.set_tellable(true);
}

/// A good frame with a few bytes of its headers changed, sometimes to such as mean something, and often cut.
fn broken(random: &mut StdRng, good: &[u8], headers: usize) -> Vec<u8> {
    let mut frame = good.to_vec();
    for _ in 0..random.random_range(0..3) {
        let at = random.random_range(0..headers);
        frame[at] = match random.random_range(0..4) {
            0 => frame[at] ^ (1 << random.random_range(0..8)),
            1 => 0,
            2 => 0xff,
            _ => random.random(),
        };
    }
    if random.random_range(0..4) == 0 {
        // Another handle.
        let at = headers - 6;
        frame[at + random.random_range(0..5)] = random.random();
    }
    if random.random_range(0..8) == 0 {
        // A test run wants a whole IP header.
        frame.truncate(random.random_range(headers - 16..=good.len()));
    }
    frame
}

#[test]
fn what_the_guard_drops_from_uplink_drops_and_nothing_that_it_could_is_left_once_nobody_can_be_told() {
    for host in [IpAddr::from(HOST), IpAddr::from(HOST6)] {
        std::thread::spawn(move || beside_each_other(host))
            .join()
            .unwrap();
    }
}

fn beside_each_other(host: IpAddr) {
    let mut world = World::on(host);
    let headers = if host.is_ipv4() { 50 } else { 70 };
    world.introduce_uplink();
    world.set_tellable(false);
    let (interface, good) = (world.uplink.index(), arriving(&world, &inner_udp()));
    let mut random = StdRng::seed_from_u64(4);
    let (early, late) = (
        world.died(Direction::XdpUplink),
        world.died(Direction::FromUplink),
    );
    let (mut taken, mut left) = (0, 0);
    let frames = share(60_000) as u64;
    for _ in 0..frames {
        let frame = broken(&mut random, &good, headers);
        let action = world.guard(&frame);
        let ran = world.run(Program::FromUplink, interface, &frame, Baggage::default());
        if action == XDP_DROP {
            taken += 1;
            assert_eq!(
                ran.action, DROP,
                "the guard takes what would have passed: {frame:02x?}"
            );
        } else {
            assert_eq!(action, XDP_PASS);
            left += 1;
        }
    }
    assert!(
        taken > frames / 20 && left > frames / 20,
        "nothing was tried: {taken} and {left}"
    );
    let since = |before: Vec<u64>, direction| -> Vec<u64> {
        let now = world.died(direction);
        now.into_iter()
            .zip(before)
            .map(|(now, before)| now - before)
            .collect()
    };
    // Each frame went through both: the same died in each, for the same reasons, in the same slots.
    let early = since(early, Direction::XdpUplink);
    assert_eq!(early, since(late, Direction::FromUplink));
    assert_eq!(early.iter().sum::<u64>(), taken, "it is counted elsewhere");
}

#[test]
fn the_agent_is_told_of_as_many_unknown_handles_with_the_guard_as_without() {
    let mut world = World::new();
    world.introduce_uplink();
    world.set_tellable(true);
    let mut events = world.loaded.events().unwrap();
    while events.next().is_some() {}
    let (interface, frame) = (world.uplink.index(), arriving(&world, &inner_udp()));
    let stray = with(frame, 46, &[1, 1, 1]);
    let mut passed = 0;
    for _ in 0..1000 {
        if world.guard(&stray) == XDP_PASS {
            passed += 1;
            world.run(Program::FromUplink, interface, &stray, Baggage::default());
        }
    }
    let told = std::iter::from_fn(|| events.next().map(|_| ())).count();
    assert!(
        told >= pairgate_abi::limits::EVENT_BURST as usize,
        "a peer whose pair was forgotten is not told: {told}"
    );
    assert_eq!(told, passed, "the guard lets past what nobody is told of");
    assert!(passed < 900, "the guard does nothing against a flood");
}

#[test]
fn a_frame_for_another_machine_is_none_of_the_guards_whatever_it_holds() {
    let mut world = World::new();
    world.set_tellable(false);
    let frame = arriving(&world, &inner_udp());
    let stray = with(frame, 46, &[1, 1, 1]);
    assert_eq!(
        world.guard(&stray),
        XDP_PASS,
        "nobody has said yet which MAC is ours"
    );
    world.introduce_uplink();
    assert_eq!(world.guard(&stray), XDP_DROP);
    for mac in [NEIGHBOUR_MAC, [0xff; 6], [0x33, 0x33, 0, 0, 0, 1], [0; 6]] {
        assert_eq!(world.guard(&with(stray.clone(), 0, &mac)), XDP_PASS, "{mac:02x?}");
    }
}

#[test]
fn a_jumbo_frame_in_pieces_is_read_by_its_first() {
    let mut world = World::new();
    world.introduce_uplink();
    world.set_tellable(false);
    let inner = [inner_udp(), vec![0x5a; 8_000]].concat();
    let frame = arriving(&world, &inner);
    assert_eq!(world.guard(&frame), XDP_PASS, "its handle is known");
    assert_eq!(world.guard(&with(frame, 46, &[1, 1, 1])), XDP_DROP);
}

#[test]
fn the_guard_holds_a_driver_outlives_its_agent_and_is_replaced_in_place() {
    let mut world = World::running();
    let uplink = world.uplink.index();
    world.introduce_uplink();
    world.set_tellable(false);
    world.loaded.attach_guard(uplink).unwrap();
    let ours = world.loaded.guard_on(uplink).unwrap();
    assert_eq!(xdp_of(uplink), Some(ours));
    let stray = with(arriving(&world, &inner_udp()), 46, &[1, 1, 1]);
    let before = world.counts();
    for _ in 0..10 {
        world.uplink.send(Vnet::default(), &stray).unwrap();
    }
    assert_eq!(world.counts().since(&before), [(0, XDP_UPLINK, "handle", 10)]);

    // An agent that comes after: it is this one's program that runs, by the same link.
    let mut next = load(uplink);
    assert_eq!(next.guard_on(uplink), None, "it has not looked yet");
    next.attach_guard(uplink).unwrap();
    let replaced = next.guard_on(uplink).unwrap();
    assert_ne!(replaced, ours);
    assert_eq!(xdp_of(uplink), Some(replaced), "two at once, or none");
    let pin = next
        .pins()
        .directory()
        .join(format!("link-{uplink}-{XDP_UPLINK}"));
    assert!(pin.exists());

    // Somebody takes the pin away.
    std::fs::remove_file(&pin).unwrap();
    assert!(next.pin_guard_again().unwrap());
    assert!(pin.exists() && !next.pin_guard_again().unwrap());
    let World {
        loaded,
        uplink: _device,
        ..
    } = world;
    drop((loaded, next));
    assert_eq!(xdp_of(uplink), Some(replaced), "it ended with its agents");
    load(uplink).release_guards(None).unwrap();
    await_none(uplink);
}

#[test]
fn a_guard_of_another_version_is_taken_off_because_nobody_keeps_its_maps() {
    let mut world = World::running();
    let uplink = world.uplink.index();
    world.loaded.attach_guard(uplink).unwrap();
    let pins = world.loaded.pins().directory().to_owned();
    let old = pins.parent().unwrap().join("v1");
    std::fs::create_dir(&old).unwrap();
    let name = format!("link-{uplink}-{XDP_UPLINK}");
    std::fs::rename(pins.join(&name), old.join(&name)).unwrap();
    let World {
        loaded,
        uplink: _device,
        ..
    } = world;
    drop(loaded);
    assert!(xdp_of(uplink).is_some());
    let mut next = load(uplink);
    next.release_guards(Some(uplink)).unwrap();
    await_none(uplink);
    next.attach_guard(uplink).expect("the place is free");
}

#[test]
fn a_driver_without_a_place_and_a_place_that_is_taken_are_told_apart_and_left_alone() {
    let mut world = World::running();
    let uplink = world.uplink.index();
    let loopback = nix::net::if_::if_nametoindex("lo").unwrap();
    let refused = world.loaded.attach_guard(loopback).unwrap_err();
    assert!(matches!(refused, GuardError::NotNative), "{refused:?}");
    // Another host's guard is somebody else's program here.
    let other = World::stranger_on(&world.uplink);
    let refused = world.loaded.attach_guard(uplink).unwrap_err();
    assert!(matches!(refused, GuardError::Taken), "{refused:?}");
    assert_eq!(
        xdp_of(uplink),
        Some(other.1),
        "somebody else's program was taken off"
    );
    world.loaded.release_guards(None).unwrap();
    assert_eq!(
        xdp_of(uplink),
        Some(other.1),
        "somebody else's program was taken off"
    );
}

impl World {
    /// Somebody else's XDP program on an interface, and its number: a guard that is pinned elsewhere.
    fn stranger_on(uplink: &Tap) -> (pairgate_agent::datapath::Loaded, u32) {
        let mut loaded = crate::world::load_host("/sys/fs/bpf/stranger", (uplink.index(), 0), HOST.into());
        loaded.attach_guard(uplink.index()).unwrap();
        let number = loaded.guard_on(uplink.index()).unwrap();
        (loaded, number)
    }
}
