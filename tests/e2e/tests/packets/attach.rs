//! Programs on interfaces and maps in the pin directory: they outlive the agent, are replaced in place, and
//! are never taken for those of another interface.
use crate::{
    crossing::with_netlink,
    device::{Tap, Vnet},
    frames::{udp, with},
    others::{self, Other},
    world::{HOST, PIN_DIR, SLOT, World, enter_own_namespaces, load, load_by},
};
use pairgate_agent::{
    datapath::{Hook, LoadError, LoadOptions, Loaded, Pins, Program, maps::Maps, remove_pins},
    keeper::Tables,
};
use std::{
    error::Error,
    path::Path,
    sync::Arc,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

/// Every link of a tap, as the pins list them.
fn all_of(tap: u32) -> Vec<(u32, Program)> {
    let mut links = Program::OF_TAP.map(|program| (tap, program));
    links.sort_unstable();
    links.to_vec()
}

#[test]
fn every_program_passes_the_verifier_and_lets_go_of_a_tap_only_when_it_is_down() {
    let mut world = World::new();
    let tap = world.loaded.attach_tap("guest").unwrap();
    assert_eq!(world.loaded.attached_taps().unwrap(), [tap]);
    world.guest.up();
    assert!(
        world.loaded.detach_tap(tap).is_err(),
        "a tap that is up lost its programs"
    );
    assert_eq!(world.loaded.attached_taps().unwrap(), [tap]);
    world.guest.down();
    world.loaded.detach_tap(tap).unwrap();
    assert_eq!(world.loaded.attached_taps().unwrap(), [0; 0]);
    world
        .loaded
        .detach_tap(tap)
        .expect("what is off is off: doing it again is no error");
}

#[test]
fn without_entries_attached_programs_pass_nothing() {
    enter_own_namespaces();
    let guest = Tap::new("guest");
    let mut loaded = load(1);
    loaded.attach_tap("guest").unwrap();
    guest.up();
    guest.send(Vnet::default(), &udp()).unwrap();
    let counts = crate::counts::Counts::read(&loaded.drops().unwrap(), &loaded.passed().unwrap());
    assert_eq!(
        counts.since(&Default::default()),
        [(0, "from_tap", "no_state", 1)]
    );
}

#[test]
fn a_new_agent_takes_over_maps_mark_and_links_under_fire_without_a_gap() {
    let mut world = World::new();
    let tap = world.loaded.attach_tap("guest").unwrap();
    world.loaded.attach_uplink("uplink").unwrap();
    world.guest.up();
    let (mark, uplink) = (world.loaded.mark(), world.uplink.index());
    let pins = world.loaded.pins().clone();
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let spoofed = with(udp(), 6, &[2; 6]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                world.guest.send(Vnet::default(), &spoofed).unwrap();
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
        for _ in 0..10 {
            let mut next = load(uplink);
            assert_eq!(
                next.mark(),
                mark,
                "packets on their way to a guest would die at its guard"
            );
            next.attach_tap("guest").unwrap();
            next.attach_uplink("uplink").unwrap();
            assert_eq!(next.attached_taps().unwrap(), [tap]);
            drop(next); // as when an agent is killed: nothing is taken off
        }
        stop.store(true, Ordering::Relaxed);
    });
    let sent = sent.load(Ordering::Relaxed);
    assert!(sent > 1000, "no fire: {sent}");
    let before = crate::counts::Counts::default();
    let moved = world.counts().since(&before);
    assert_eq!(
        moved,
        [(SLOT, "from_tap", "spoofed_mac", sent)],
        "frames went past the program while it was replaced"
    );
    assert_eq!(
        pins.links().unwrap().len(),
        5,
        "links were added instead of replaced"
    );
    assert!(
        world.loaded.taps().unwrap().get(&tap, 0).is_ok(),
        "a new agent started with empty maps"
    );
}

#[test]
fn programs_stay_on_their_devices_when_the_agent_is_gone() {
    let mut world = World::new();
    world.loaded.attach_tap("guest").unwrap();
    world.guest.up();
    let World {
        loaded,
        guest,
        uplink,
        ..
    } = world;
    let pins = loaded.pins().clone();
    drop(loaded);
    guest.send(Vnet::default(), &with(udp(), 6, &[2; 6])).unwrap();
    let counts = crate::counts::Counts::read(&pins.drops().unwrap(), &pins.passed().unwrap());
    assert_eq!(
        counts.since(&Default::default()),
        [(SLOT, "from_tap", "spoofed_mac", 1)]
    );
    assert!(uplink.index() > 0);
}

#[test]
fn a_tap_made_anew_under_the_old_name_gets_links_of_its_own() {
    let mut world = World::new();
    let old = world.loaded.attach_tap("guest").unwrap();
    let World {
        mut loaded, guest, ..
    } = world;
    drop(guest);
    assert!(
        !loaded.holds(Program::FromTap, old).unwrap(),
        "the link of a deleted tap counted as holding it"
    );
    let guest = Tap::new("guest");
    let new = loaded.attach_tap("guest").unwrap();
    assert_eq!(loaded.attached_taps().unwrap(), [new]);
    assert_eq!(
        loaded.remove_stale_links().unwrap(),
        [old],
        "its map entries would stay for the next user"
    );
    assert_eq!(loaded.pins().links().unwrap(), all_of(new));
    drop(guest);
    assert_eq!(loaded.remove_stale_links().unwrap(), [new]);
}

#[test]
fn a_pin_that_names_an_index_but_runs_elsewhere_is_not_believed() {
    let mut world = World::new();
    let old = world.loaded.attach_tap("guest").unwrap();
    let World {
        mut loaded,
        guest,
        uplink,
        ..
    } = world;
    drop(guest);
    let guest = Tap::new("guest");
    let new = guest.index();
    // As if the kernel had given the old index to the new tap: the pins of the dead links carry its number.
    for program in Program::OF_TAP {
        std::fs::rename(loaded.pins().link(old, program), loaded.pins().link(new, program)).unwrap();
    }
    assert!(
        !loaded.holds(Program::FromTap, new).unwrap(),
        "an empty shell was taken for a running link"
    );
    loaded.attach_tap("guest").unwrap();
    assert!(loaded.holds(Program::FromTap, new).unwrap() && loaded.holds(Program::ToTap, new).unwrap());
    guest.up();
    guest.send(Vnet::default(), &udp()).unwrap();
    let counts = crate::counts::Counts::read(&loaded.drops().unwrap(), &loaded.passed().unwrap());
    let counted = counts.since(&Default::default());
    assert_eq!(
        counted,
        [(0, "from_tap", "no_state", 1)],
        "the new tap must start with nothing"
    );
    assert!(uplink.index() > 0);
}

#[test]
fn a_program_whose_pin_somebody_removes_runs_on_and_is_pinned_again() {
    let mut world = World::new();
    let tap = world.loaded.attach_tap("guest").unwrap();
    let pin = world.loaded.pins().link(tap, Program::ToTap);
    assert_eq!(world.loaded.pin_again().unwrap(), []);
    std::fs::remove_file(&pin).unwrap();
    assert_eq!(
        world.loaded.attached_taps().unwrap(),
        [tap],
        "the program went with its pin"
    );
    assert_eq!(world.loaded.pin_again().unwrap(), [(tap, Program::ToTap)]);
    assert!(pin.exists());
    // And it is this link that the pin names: it holds without us.
    let World { loaded, guest, .. } = world;
    drop(loaded);
    let again = load(guest.index());
    assert_eq!(again.attached_taps().unwrap(), [tap]);
}

#[test]
fn a_program_that_someone_took_off_is_missed_and_put_back() {
    let mut world = World::new();
    let tap = world.loaded.attach_tap("guest").unwrap();
    // Many times, because the kernel takes a link down a moment after it is let go of.
    for _ in 0..10 {
        for program in Program::OF_TAP {
            others::detach(&world.loaded.pins().link(tap, program));
            assert!(!world.loaded.holds(program, tap).unwrap());
            assert_eq!(
                world.loaded.attached_taps().unwrap(),
                [0; 0],
                "half a guard was taken for a whole one"
            );
        }
        world.loaded.attach_tap("guest").unwrap();
        assert_eq!(world.loaded.attached_taps().unwrap(), [tap]);
    }
}

#[test]
fn without_its_file_system_of_pins_an_agent_keeps_its_programs_and_says_so() {
    let mut world = World::new();
    let tap = world.loaded.attach_tap("guest").unwrap();
    let (nothing, flags) = (None::<&str>, nix::mount::MsFlags::empty());
    let mount = |kind| nix::mount::mount(Some(kind), "/sys/fs/bpf", Some(kind), flags, nothing).unwrap();
    nix::mount::umount2("/sys/fs/bpf", nix::mount::MntFlags::MNT_DETACH).unwrap();
    // The machine's own one is below.
    mount("tmpfs");
    let refused = world.loaded.pin_again().unwrap_err().to_string();
    assert!(refused.contains("mount -t bpf"), "{refused}");
    assert!(
        world.loaded.attach_tap("guest").is_err(),
        "nobody was told that the programs end with the agent"
    );
    assert_eq!(
        world.loaded.attached_taps().unwrap(),
        [tap],
        "the programs are gone"
    );
    mount("bpf");
    let again = world.loaded.pin_again().unwrap();
    assert_eq!(again, all_of(tap));
}

#[test]
fn another_uplink_takes_over_from_the_first() {
    let mut world = World::new();
    let first = world.loaded.attach_uplink("uplink").unwrap();
    let second_device = Tap::new("uplink2");
    let second = world.loaded.attach_uplink("uplink2").unwrap();
    assert_eq!(second, second_device.index());
    assert!(
        !world.loaded.holds(Program::FromUplink, first).unwrap(),
        "two uplinks would receive"
    );
    assert!(world.loaded.attach_uplink("nowhere").is_err());
    assert!(
        world.loaded.holds(Program::FromUplink, second).unwrap(),
        "a failed attach undid the last one"
    );
}

#[test]
fn maps_of_another_layout_are_refused() {
    enter_own_namespaces();
    let pins = Pins::under(Path::new(PIN_DIR));
    pins.create().unwrap();
    let odd = aya::maps::HashMap::<_, u32, u32>::create(4, 0).unwrap();
    odd.pin(pins.map(pairgate_abi::map::TAPS)).unwrap();
    let options = LoadOptions {
        pin_dir: Path::new(PIN_DIR),
        uplink: 1,
        vxlan: 1,
        host: [192, 0, 2, 1].into(),
        port: 1,
    };
    match Loaded::load(&options) {
        Err(LoadError::Map(error)) => assert_eq!(error.map, "TAPS", "{error}"),
        Err(other) => panic!("refused for another reason: {other}"),
        Ok(_) => panic!("maps of another layout were adopted"),
    }
}

#[test]
fn removing_the_pins_leaves_nothing_behind() {
    let mut world = World::new();
    world.loaded.attach_tap("guest").unwrap();
    let World {
        loaded,
        guest,
        uplink,
        ..
    } = world;
    drop(loaded);
    remove_pins(Path::new(PIN_DIR)).unwrap();
    assert!(!Path::new(PIN_DIR).exists());
    remove_pins(Path::new(PIN_DIR)).expect("what is gone is gone: doing it again is no error");
    let fresh = load(uplink.index());
    assert_eq!(fresh.attached_taps().unwrap(), [0; 0]);
    assert_eq!(
        fresh.taps().unwrap().keys().count(),
        0,
        "an entry survived its pin"
    );
    assert!(guest.index() > 0);
}

#[test]
fn a_program_that_was_there_before_cannot_let_frames_past_ours() {
    let mut world = World::new();
    let _other = Other::on(world.guest.index(), &others::end(0));
    world.loaded.attach_tap("guest").unwrap();
    world.guest.up();
    let before = world.counts();
    world
        .guest
        .send(Vnet::default(), &with(udp(), 6, &[2; 6]))
        .unwrap();
    assert_eq!(
        world.counts().since(&before),
        [(SLOT, "from_tap", "spoofed_mac", 1)],
        "the other's program passed the frame to the host before ours had seen it"
    );
}

/// Wrong if it fails: half of our programs hang on nothing, and nobody knows why.
#[test]
fn somebody_elses_discipline_in_the_place_of_ours_is_named() {
    enter_own_namespaces();
    let (guest, uplink) = (Tap::new("guest"), Tap::new("uplink"));
    let index = i32::try_from(guest.index()).unwrap();
    with_netlink(async |links| links.qdisc().add(index).ingress().execute().await);
    let mut loaded = load_by(Some(Hook::Clsact), PIN_DIR, (uplink.index(), 0), HOST.into());
    let refused = loaded.attach_tap("guest").unwrap_err();
    let mut said = refused.to_string();
    let mut cause = refused.source();
    while let Some(error) = cause {
        said += &error.to_string();
        cause = error.source();
    }
    assert!(said.contains("tc qdisc del dev NAME ingress"), "{said}");
}

#[test]
fn a_receipt_waits_for_the_programs_that_are_running() {
    let world = World::new();
    let mut maps = Maps::open(&world.loaded).unwrap();
    let mut caught_running = 0;
    let program = Arc::new(others::dawdler());
    for _ in 0..50 {
        let program = program.clone();
        let slow = std::thread::spawn(move || others::dawdle(&program));
        // Time for the program to begin; whether it has, it says itself afterwards.
        std::thread::sleep(Duration::from_millis(5));
        let asked = others::ticks();
        maps.quiesce()
            .expect("a receipt would never be given on this kernel");
        let answered = others::ticks();
        let (began, ended) = slow.join().unwrap();
        if others::is_later(asked, began) && others::is_later(ended, asked) {
            caught_running += 1;
            assert!(
                !others::is_later(ended, answered),
                "a program still ran that may have seen what was removed"
            );
        }
        if caught_running == 5 {
            return;
        }
    }
    panic!("no program was running, so nothing was shown");
}
