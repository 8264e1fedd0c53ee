//! Somebody on the host takes our programs off an interface, or our VXLAN device away. From then on nothing stands
//! between a guest or the underlay and the host, so the agent must see it by itself and soon.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use pairgate_e2e::{DB1, Forge, PATIENCE, Rig, WEB1};
use pairgate_lab::{links, patience, plan::GUEST_INTERFACE, probe::RawSender};
use std::{fs, path::PathBuf, time::Duration};

/// Pins of a host's links to programs of these names.
fn links_of(rig: &Rig, host: &str, programs: &[&str]) -> Vec<PathBuf> {
    let pins = rig
        .lab
        .plan()
        .pin_dir(host)
        .join(format!("v{}", pairgate_abi::ABI_VERSION));
    let entries = fs::read_dir(pins).unwrap().map(|entry| entry.unwrap().path());
    let mut links: Vec<_> = entries
        .filter(|pin| {
            let name = pin.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("link-") && programs.iter().any(|program| name.ends_with(program))
        })
        .collect();
    links.sort();
    links
}

#[test]
fn a_tap_whose_programs_were_taken_away_is_guarded_again() {
    let rig = Rig::start_default("guard").unwrap();
    rig.await_answer("web1", DB1).unwrap();
    let tap_links = || links_of(&rig, "h1", &["-from_tap", "-to_tap"]);
    let links = tap_links();
    assert_eq!(links.len(), 2, "one guest, two programs: {links:?}");
    // The pins are all that holds the links: the kernel takes the programs off.
    links.iter().for_each(|link| fs::remove_file(link).unwrap());
    patience::until(PATIENCE, "both programs on web1's tap again", || {
        Ok((tap_links() == links).then_some(()))
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

/// A stream that is stuck gives up after several seconds, and the agent looks every five: room for a few attempts.
const A_FEW_STREAMS: Duration = Duration::from_secs(60);

/// The agent's VXLAN device.
const DEVICE: &str = "pgvx0";

/// Sends big packets from web1 to db1, which come in by h2's VXLAN device.
fn big_packets_arrive(rig: &Rig) -> bool {
    let before = rig.passed("h2", "from_vxlan").unwrap();
    let carried = rig
        .tcp("web1", ("db1", DB1), 1 << 20, Duration::from_secs(2))
        .unwrap();
    carried.is_ok() && rig.passed("h2", "from_vxlan").unwrap() > before
}

#[test]
fn the_ways_in_are_guarded_again_when_their_programs_or_the_vxlan_device_are_taken_away() {
    let rig = Rig::start_default("guard-doors").unwrap();
    rig.await_answer("web1", DB1).unwrap();
    assert!(big_packets_arrive(&rig));
    let h2 = rig.lab.netns("h2");
    let ways_in = || links_of(&rig, "h2", &["-from_uplink", "-from_vxlan"]);
    let pins = ways_in();
    assert_eq!(pins.len(), 2, "{pins:?}");
    pins.iter().for_each(|pin| fs::remove_file(pin).unwrap());
    patience::until(PATIENCE, "both programs on the ways in again", || {
        Ok((ways_in() == pins).then_some(()))
    })
    .unwrap();
    assert!(
        rig.answers("web1", DB1).unwrap(),
        "the pair did not live through it"
    );
    assert!(big_packets_arrive(&rig));

    let number = links::interface_index(&h2, DEVICE).unwrap();
    links::delete(&h2, DEVICE).unwrap();
    patience::until(PATIENCE, "the VXLAN device again, with its program", || {
        Ok((links::exists(&h2, DEVICE)? && ways_in() == pins).then_some(()))
    })
    .unwrap();
    assert_eq!(
        links::interface_index(&h2, DEVICE).unwrap(),
        number,
        "the programs know the device by its number"
    );
    patience::until(A_FEW_STREAMS, "big packets arrive again", || {
        Ok(big_packets_arrive(&rig).then_some(()))
    })
    .unwrap();

    links::set_down(&h2, DEVICE).unwrap();
    patience::until(
        A_FEW_STREAMS,
        "big packets arrive again after it was set down",
        || Ok(big_packets_arrive(&rig).then_some(())),
    )
    .unwrap();
}
