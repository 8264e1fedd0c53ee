//! Somebody on the host takes our programs off a guest's tap. From then on nothing stands between the guest
//! and the host, so the agent must see it by itself and soon.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use pairgate_e2e::{DB1, Forge, PATIENCE, Rig, WEB1};
use pairgate_lab::{patience, plan::GUEST_INTERFACE, probe::RawSender};
use std::{fs, path::PathBuf};

/// Pins of the links that hold programs to taps of a host.
fn tap_links(rig: &Rig, host: &str) -> Vec<PathBuf> {
    let pins = rig
        .lab
        .plan()
        .pin_dir(host)
        .join(format!("v{}", pairgate_abi::ABI_VERSION));
    let entries = fs::read_dir(pins).unwrap().map(|entry| entry.unwrap().path());
    let mut links: Vec<_> = entries
        .filter(|pin| pin.to_string_lossy().ends_with("_tap"))
        .collect();
    links.sort();
    links
}

#[test]
fn a_tap_whose_programs_were_taken_away_is_guarded_again() {
    let rig = Rig::start_default("guard").unwrap();
    rig.await_answer("web1", DB1).unwrap();
    let links = tap_links(&rig, "h1");
    assert_eq!(links.len(), 2, "one guest, two programs: {links:?}");
    // The pins are all that holds the links: the kernel takes the programs off.
    links.iter().for_each(|link| fs::remove_file(link).unwrap());
    patience::until(PATIENCE, "both programs on web1's tap again", || {
        Ok((tap_links(&rig, "h1") == links).then_some(()))
    })
    .unwrap();
    let lie = Forge {
        mac: [2, 0, 0, 0, 0, 0x66],
        ..Forge::honest(rig.mac("web1").unwrap(), WEB1, DB1)
    };
    let before = rig.dropped("h1", "from_tap", "spoofed_mac").unwrap();
    let sender = rig
        .lab
        .netns("web1")
        .run(|| RawSender::open(GUEST_INTERFACE))
        .unwrap()
        .unwrap();
    sender.send(&lie.udp().unwrap()).unwrap();
    rig.await_dropped("h1", "from_tap", "spoofed_mac", before + 1)
        .unwrap();
    assert!(
        rig.answers("web1", DB1).unwrap(),
        "the pair did not live through it"
    );
}
