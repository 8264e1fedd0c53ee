//! Frames of liars: a guest that says it is another, and a stranger that says it is a host.

use super::talk::guest;
use super::{Line, PATIENCE, SILENCE, dropped, number};
use anyhow::{Context, Result, ensure};
use pairgate_lab::guard::Lab;
use pairgate_lab::links;
use pairgate_lab::plan::{GATEWAY_MAC, GUEST_INTERFACE, UPLINK, underlay_4};
use pairgate_lab::probe::forge::{self, Ends};
use pairgate_lab::probe::{RawSender, Sniffer, ping};
use pairgate_lab::stranger::Stranger;
use std::net::Ipv4Addr;
use std::time::Duration;

/// In every frame whose way is followed.
const HONEST: &[u8] = b"pairgate demo: an honest frame";
const FORGED: &[u8] = b"pairgate demo: a forged frame";
/// Of each kind of lie.
const LIES: u32 = 20;
/// Handles that the stranger guesses.
const GUESSES: u32 = 4000;
/// UDP ports that nobody listens on.
const PORTS: (u16, u16) = (40_000, 40_001);

fn holds(frame: &[u8], text: &[u8]) -> bool {
    frame.windows(text.len()).any(|part| part == text)
}

/// Whether an Ethernet frame, or the one inside an overlay frame, is ARP and speaks of this address.
fn claims_by_arp(frame: &[u8], address: Ipv4Addr) -> bool {
    frame.get(12..14) == Some(&[8, 6]) && frame.get(28..32) == Some(&address.octets())
}

pub(super) fn from_guest(lab: &Lab) -> Result<Vec<Line>> {
    let (web, db, db2) = (guest("web1")?, guest("db1")?, guest("db2")?);
    let web_netns = lab.netns(web.name);
    let own = links::mac(&web_netns, GUEST_INTERFACE)?;
    let others = links::mac(&lab.netns(db.name), GUEST_INTERFACE)?;
    let honest = Ends {
        source_mac: own,
        destination_mac: GATEWAY_MAC,
        source: web.address,
        destination: db.address,
    };
    let lies = [
        (
            "another's MAC",
            "spoofed_mac",
            forge::udp(
                Ends {
                    source_mac: others,
                    ..honest
                },
                PORTS,
                FORGED,
            )?,
        ),
        (
            "another's IP address",
            "spoofed_address",
            forge::udp(
                Ends {
                    source: db2.address,
                    ..honest
                },
                PORTS,
                FORGED,
            )?,
        ),
        (
            "an ARP claim to another's address",
            "spoofed_arp",
            forge::arp_claim(honest, db2.address)?,
        ),
    ];
    // Wherever a lie could show itself: at both other guests, and where h1's uplink enters the underlay.
    let lie = move |frame: &[u8]| holds(frame, FORGED) || claims_by_arp(frame, db2.address);
    let watched = [
        (db.name, GUEST_INTERFACE),
        (db2.name, GUEST_INTERFACE),
        ("net", "to-h1"),
    ];
    let seen: Vec<Sniffer> = watched
        .iter()
        .map(|(short, interface)| Ok(lab.netns(short).run(|| Sniffer::start(interface, lie))??))
        .collect::<Result<_>>()?;
    let control = lab
        .netns(db.name)
        .run(|| Sniffer::start(GUEST_INTERFACE, |frame| holds(frame, HONEST)))??;
    let sender = web_netns.run(|| RawSender::open(GUEST_INTERFACE))??;
    let mut all_counted = true;
    for (what, reason, frame) in &lies {
        let before = dropped(lab, "h1", Some(web.name), &[reason])?;
        for _ in 0..LIES {
            sender.send(frame)?;
        }
        let mut counted = 0;
        let _ = pairgate_lab::patience::until(PATIENCE, "the lies are counted", || {
            counted = dropped(lab, "h1", Some(web.name), &[reason])? - before;
            Ok((counted >= u64::from(LIES)).then_some(()))
        });
        println!("   {LIES} frames with {what}: {counted} counted as {reason}");
        all_counted &= counted >= u64::from(LIES);
    }
    sender.send(&forge::udp(honest, PORTS, HONEST)?)?;
    ensure!(
        control.wait_for(1, PATIENCE),
        "an honest frame sent the same way did not arrive, so nothing is shown"
    );
    std::thread::sleep(SILENCE);
    let arrived: usize = seen.iter().map(Sniffer::count).sum();
    println!("   seen at db1, db2 and on h1's uplink: {arrived}; an honest frame sent the same way arrived");
    let name = "forged MAC, IP and ARP from web1 reach nobody";
    Ok(vec![Line::new(
        name,
        arrived == 0 && all_counted,
        number(arrived as u64),
        "frames seen anywhere",
    )])
}

pub(super) fn from_stranger(lab: &Lab) -> Result<Vec<Line>> {
    let (web, db) = (guest("web1")?, guest("db1")?);
    // The real handle of web1 → db1, read where only we can read: the stranger shall have it for the second try.
    let wire = lab
        .netns("net")
        .run(|| Sniffer::start("to-h1", |frame| forge::handle_of(frame).is_some()))??;
    lab.netns(web.name)
        .run(|| ping(db.address, 2, 56, Duration::from_secs(1)))??;
    ensure!(wire.wait_for(1, PATIENCE), "no overlay frame of h1 was seen");
    let real = wire
        .frames()
        .first()
        .and_then(|frame| forge::handle_of(&frame.bytes))
        .context("no handle seen")?;
    drop(wire);

    let stranger = Stranger::join(lab.plan(), 240)?;
    let h2_mac = links::mac(&lab.netns("h2"), UPLINK)?;
    let own = links::mac(stranger.netns(), UPLINK)?;
    let inner = Ends {
        source_mac: links::mac(&lab.netns(web.name), GUEST_INTERFACE)?,
        destination_mac: GATEWAY_MAC,
        source: web.address,
        destination: db.address,
    };
    let inner = forge::udp(inner, PORTS, FORGED)?;
    let as_h1 = Ends {
        source_mac: own,
        destination_mac: h2_mac,
        source: underlay_4(1),
        destination: underlay_4(2),
    };
    let as_itself = Ends {
        source: stranger.address(),
        ..as_h1
    };

    let arrived = lab
        .netns(db.name)
        .run(|| Sniffer::start(GUEST_INTERFACE, |frame| holds(frame, FORGED)))??;
    let sender = stranger.netns().run(|| RawSender::open(UPLINK))??;
    let reasons = ["handle", "outer", "inner"];
    let before = dropped(lab, "h2", None, &reasons)?;
    for guess in 1..=GUESSES {
        // Spread over all handles, and never the real one.
        let vni = guess.wrapping_mul(0x9e37_79b1) >> 8;
        let group = u16::try_from(guess % 0xfffe).unwrap_or(0) + 1;
        if (vni, group) != real {
            sender.send(&forge::overlay(as_h1, 50_000, (vni, group), &inner)?)?;
        }
    }
    for _ in 0..LIES {
        sender.send(&forge::overlay(as_itself, 50_000, real, &inner)?)?;
    }
    let sent = u64::from(GUESSES + LIES);
    let mut counted = 0;
    let _ = pairgate_lab::patience::until(PATIENCE, "the forged frames are counted", || {
        counted = dropped(lab, "h2", None, &reasons)? - before;
        Ok((counted >= sent).then_some(()))
    });
    std::thread::sleep(SILENCE);
    let count = arrived.count();
    println!(
        "   {GUESSES} guessed handles under h1's address, and {LIES} times the right handle under its own:"
    );
    println!(
        "   {counted} of {sent} counted by h2 as {}, {count} arrived at db1",
        reasons.join(", ")
    );
    let name = "forged outer headers from a stranger get nothing";
    Ok(vec![Line::new(
        name,
        count == 0 && counted >= sent,
        number(count as u64),
        "frames arrived at db1",
    )])
}
