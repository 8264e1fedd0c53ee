//! The moments in which a tap is made, opened and removed, against a guest that cannot wait: from the first
//! frame that the kernel takes from it, a program must have judged it.
use crate::{
    counts::Counts,
    device::{Vnet, attach_existing},
    frames::{ETHERNET, ping, with},
    world::{World, enter_own_namespaces, load},
};
use nix::errno::Errno;
use pairgate_abi::{DropReason, TapEntry};
use pairgate_agent::{
    adopt::Adoption,
    datapath::{Loaded, Pod},
    goal::{Guest, OwnAddress},
    net::Net,
    tap_name::TapName,
    taps,
};
use pairgate_token::SecretKey;
use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};
use uuid::Uuid;

const TAP: &str = "tap-web1";
const ROUNDS: usize = 30;

fn guest() -> Guest {
    Guest {
        id: Uuid::new_v4(),
        name: "web1".to_owned(),
        network: Uuid::new_v4(),
        network_name: "default".to_owned(),
        mac: crate::world::GUEST_MAC,
        addresses: vec![OwnAddress {
            address: Ipv4Addr::from(crate::world::GUEST).into(),
            prefix: 24,
        }],
        mtu: 1400,
        generation: 1,
        key: SecretKey::from_bytes([1; 32]),
        tap: TapName::new(TAP).unwrap(),
        told: Default::default(),
    }
}

/// A guest that takes every tap of that name the moment it can, and speaks to the host at once.
fn impatient_guest(stop: &AtomicBool, spoken: &AtomicU64) {
    let to_host = with(with(ping(), 0, &[0xff; 6]), ETHERNET + 16, &[255; 4]);
    while !stop.load(Ordering::Relaxed) {
        let Ok(tap) = attach_existing(TAP) else { continue };
        while !stop.load(Ordering::Relaxed) {
            match crate::device::send_on(&tap, Vnet::default(), &to_host) {
                Ok(()) => spoken.fetch_add(1, Ordering::Relaxed),
                Err(Errno::EIO) => continue, // down
                Err(_) => break,             // gone
            };
        }
    }
}

/// One round of what the agent does with a tap, in its order: row, programs, up; and away again.
async fn come_and_go(net: &Net, loaded: &mut Loaded, guest: &Guest, spoken: &AtomicU64) {
    let tap = taps::ready(net, guest, &Adoption::default())
        .await
        .unwrap()
        .unwrap();
    let index = tap.index;
    let entry = TapEntry {
        mac: [2; 6], // another than the guest's: whatever it says must die
        ..World::tap_entry()
    };
    loaded.taps().unwrap().insert(index, Pod(entry), 0).unwrap();
    loaded.attach_tap(TAP).unwrap();
    taps::open(net, guest, tap).await.unwrap();
    let before = spoken.load(Ordering::Relaxed);
    while spoken.load(Ordering::Relaxed) < before + 100 {
        tokio::task::yield_now().await;
    }
    loaded.taps().unwrap().remove(&index).unwrap();
    taps::remove(net, index).await.unwrap();
    loaded.remove_stale_links().unwrap();
}

#[test]
fn from_the_first_frame_to_the_last_a_program_stands_between_a_guest_and_the_host() {
    enter_own_namespaces();
    let mut loaded = load(1);
    let (stop, spoken, guest) = (AtomicBool::new(false), AtomicU64::new(0), guest());
    let received = crate::host_stack::handed_to_ip();
    std::thread::scope(|scope| {
        scope.spawn(|| impatient_guest(&stop, &spoken));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let net = Net::open().unwrap();
            for _ in 0..ROUNDS {
                come_and_go(&net, &mut loaded, &guest, &spoken).await;
            }
        });
        stop.store(true, Ordering::Relaxed);
    });
    let counts = Counts::read(&loaded.drops().unwrap(), &loaded.passed().unwrap());
    let moved = counts.since(&Counts::default());
    let judged: u64 = moved
        .iter()
        .filter(|line| line.1 == "from_tap")
        .map(|line| line.3)
        .sum();
    let only = [DropReason::SpoofedMac.word(), DropReason::NoState.word()];
    assert!(
        moved
            .iter()
            .all(|line| line.1 != "from_tap" || only.contains(&line.2)),
        "{moved:?}"
    );
    assert_eq!(
        judged,
        spoken.load(Ordering::Relaxed),
        "the kernel took frames from the guest that no program judged"
    );
    assert_eq!(
        crate::host_stack::handed_to_ip(),
        received,
        "the host's IP heard the guest"
    );
}

#[test]
fn nobody_but_the_agents_user_can_open_a_guests_tap() {
    enter_own_namespaces();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let guest = guest();
    runtime.block_on(async {
        let net = Net::open().unwrap();
        let tap = taps::ready(&net, &guest, &Adoption::default())
            .await
            .unwrap()
            .unwrap();
        taps::open(&net, &guest, tap).await.unwrap();
    });
    let stranger = std::thread::spawn(|| crate::device::attach_as_nobody(TAP).map(drop));
    assert_eq!(
        stranger.join().unwrap(),
        Err(Errno::EPERM),
        "any program on the host can speak as the guest"
    );
    assert!(attach_existing(TAP).is_ok(), "nor can the one who may");
}
