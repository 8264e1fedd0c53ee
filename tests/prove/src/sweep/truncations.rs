//! Every length that frames can be cut to.
//!
//! A test run takes no frame that ends inside its IP header. Those go through a real tap and a real uplink, where what
//! is compared is the counters: all that such a frame can come to is to be dropped, or not to be ours.
use super::headers::{input, turned};
use crate::{
    bench::{self, Mood},
    generate::{self, Sources, least},
    kernel::{Counters, Host, now_ns},
    oracle::{Baggage, Cell, Input, Oracle},
    world::{
        Device, Kind, Link, Links,
        content::{self, Peer},
        own::Own,
    },
};
use anyhow::{Result, ensure};
use pairgate_agent::datapath::Program;
use pairgate_packet::ip::Family;

/// Fewest seeds.
const SEEDS: usize = 200;
/// A longer seed adds nothing but lengths.
const LONGEST: usize = 200;

/// Frames to be cut: (program, whole frame).
fn seeds(kind: Kind, links: &Links, sources: &Sources) -> Vec<(Program, Vec<u8>)> {
    let mut seeds = Vec::new();
    for template in sources
        .templates()
        .iter()
        .filter(|template| template.frame.len() <= LONGEST)
    {
        seeds.push((Program::FromTap, template.frame.clone()));
        let mut inner = template.frame.clone();
        turned(&mut inner, Peer::All);
        let family = template.family.unwrap_or(Family::V4);
        let handle = content::in_handle(Link::Guest, family, Peer::All);
        let mut frame = Vec::new();
        generate::wrapped(kind.underlay, links.uplink_mac, handle, 7, &inner, &mut frame);
        seeds.push((Program::FromUplink, frame));
    }
    seeds
}

fn interface(program: Program, links: &Links) -> u32 {
    links.index(if program == Program::FromUplink {
        Link::Uplink
    } else {
        Link::Guest
    })
}

/// Every cut that a test run takes. What arrives is cut twice: as it is, and with lengths in the outer header that
/// fit again, so that more than the definition of ours is tried.
pub(super) fn all(kind: Kind, links: &Links, sources: &Sources) -> impl Iterator<Item = Input> {
    let links = *links;
    seeds(kind, &links, sources)
        .into_iter()
        .flat_map(move |(program, frame)| {
            let inner_at = 14 + kind.underlay.header() + 16;
            (least(&frame)..=frame.len()).flat_map(move |length| {
                let cut = frame[..length].to_vec();
                let mut fitting = cut.clone();
                if program == Program::FromUplink && length > inner_at {
                    let (ip, udp) = (length as u16 - 14, (length - inner_at) as u16 + 16);
                    let (at, ip) = if kind.underlay == Family::V4 {
                        (16, ip)
                    } else {
                        (18, udp)
                    };
                    fitting[at..at + 2].copy_from_slice(&ip.to_be_bytes());
                    fitting[inner_at - 12..inner_at - 10].copy_from_slice(&udp.to_be_bytes());
                }
                let interface = interface(program, &links);
                let cuts = if fitting == cut {
                    vec![cut]
                } else {
                    vec![cut, fitting]
                };
                cuts.into_iter()
                    .map(move |frame| input(program, interface, frame))
            })
        })
}

/// Every cut that a test run does not take, by the devices themselves.
pub(super) fn too_short(own: &Own, sources: &Sources) -> Result<()> {
    let mut number = 0;
    for kind in Kind::ALL.into_iter().filter(|kind| kind.device == Device::None) {
        let mut host = Host::load(kind, &own.links)?;
        host.attach()?;
        own.up()?;
        let mut counters = Counters::of(&host.loaded, &bench::SLOTS)?;
        let mut oracle = Oracle::new(bench::tables(&host, Mood::default(), now_ns()?));
        let seeds = seeds(kind, &own.links, sources);
        ensure!(seeds.len() >= SEEDS, "only {} frames to be cut", seeds.len());
        for (program, frame) in seeds {
            for length in 14..least(&frame).min(frame.len()) {
                let input = Input {
                    program,
                    interface: interface(program, &own.links),
                    baggage: Baggage::default(),
                    frame: frame[..length].to_vec(),
                };
                let outcome = oracle.judge(&input);
                own.send(input.interface, &input.frame)?;
                let moved: Vec<Cell> = counters.moved()?.into_keys().collect();
                // A frame that ends inside its tag dies before any program sees it.
                let arrives = !matches!(frame.get(12..14), Some([0x81, 0] | [0x88, 0xa8])) || length >= 18;
                let expected: Vec<Cell> = outcome.counted.into_iter().filter(|_| arrives).collect();
                ensure!(
                    moved == expected,
                    "{} counts {moved:?} instead of {expected:?} ({}) on {kind}: {}",
                    program.name(),
                    outcome.word,
                    crate::replay::hex(&input.frame)
                );
                number += 1;
            }
        }
        host.detach()?;
    }
    println!("cut inside the IP header: {number} frames by real devices");
    Ok(())
}
