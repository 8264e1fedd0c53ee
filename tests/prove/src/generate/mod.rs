//! Packets to try: valid ones of every kind, the same with one field broken or several, random bytes, and real traffic.
//!
//! What comes is decided by the random numbers alone: a seed gives the same packets again.

mod breaking;
pub mod captured;
pub mod fields;
pub mod templates;

use crate::{
    bench::Bench,
    oracle::{Baggage, Input},
    world::{
        Kind, Link, Links,
        content::{self, ARRIVING, Peer},
    },
};
use anyhow::Result;
use pairgate_abi::{GATEWAY_MAC, Handle};
use pairgate_agent::datapath::Program;
use pairgate_packet::ip::Family;
use rand::{Rng, rngs::SmallRng, seq::IndexedRandom};
use templates::Template;

/// Ports that some pairs are for, and their neighbours.
const PORTS: [u16; 12] = [53, 80, 443, 444, 999, 1000, 1500, 2000, 2001, 40_000, 40_001, 0];
/// Longest frame that a test run takes with the room that our headers need.
const LONGEST: usize = 3500;

/// Where packets come from.
#[derive(Clone, Debug)]
pub struct Sources {
    templates: Vec<Template>,
    captured: Vec<captured::Frame>,
}

impl Sources {
    /// The valid frames, and the real traffic that lies beside this package.
    pub fn new() -> Result<Self> {
        Ok(Self {
            templates: templates::all()?,
            captured: captured::corpus()?,
        })
    }

    /// The valid frames.
    pub fn templates(&self) -> &[Template] {
        &self.templates
    }

    /// How many frames of real traffic there are.
    pub fn captured(&self) -> usize {
        self.captured.len()
    }
}

/// Makes packets for one host.
#[derive(Clone, Copy, Debug)]
pub struct Generator<'a> {
    /// Where they come from.
    pub sources: &'a Sources,
    /// What kind of host it is.
    pub kind: Kind,
    /// Its interfaces.
    pub links: &'a Links,
    /// The mark of its programs.
    pub mark: u32,
}

/// A packet, and what it was before anything was broken.
#[derive(Clone, Debug)]
pub struct Packet {
    /// What is tried.
    pub input: Input,
    /// The valid frame.
    pub honest: Vec<u8>,
}

impl Packet {
    /// No packet yet.
    pub fn new() -> Self {
        Self {
            input: Input {
                program: Program::FromTap,
                interface: 0,
                baggage: Baggage::default(),
                frame: Vec::new(),
            },
            honest: Vec::new(),
        }
    }
}

impl Default for Packet {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Generator<'a> {
    /// For the host of a bench.
    pub fn new(sources: &'a Sources, bench: &Bench, links: &'a Links) -> Self {
        Self {
            sources,
            kind: bench.kind(),
            links,
            mark: bench.mark(),
        }
    }

    /// The next packet, into the place of the last.
    pub fn next(&self, random: &mut SmallRng, packet: &mut Packet) {
        let input = &mut packet.input;
        input.frame.clear();
        input.baggage = self.baggage(random);
        match random.random_range(0..100) {
            0..52 => self.sent(random, input),
            52..92 => self.arriving(random, input),
            92..98 => self.delivered(random, input),
            98 => self.taken_apart(random, input),
            _ => self.stopped(random, input),
        }
        packet.honest.clear();
        packet.honest.extend_from_slice(&input.frame);
        match random.random_range(0..100) {
            0..30 => {}
            30..72 => self.broken(random, input, 1),
            72..88 => {
                let count = random.random_range(2..5);
                self.broken(random, input, count);
            }
            88..96 => breaking::bytes(random, &mut input.frame),
            _ => breaking::noise(random, &mut input.frame),
        }
        fit(&mut input.frame);
        fit(&mut packet.honest);
    }

    fn baggage(&self, random: &mut SmallRng) -> Baggage {
        let mut baggage = Baggage::default();
        match random.random_range(0..64) {
            0 => baggage.mark = self.mark,
            1 => baggage.mark = random.random(),
            2 => (baggage.gso_size, baggage.gso_segments) = (1000, 3),
            3 => baggage.gso_size = [1, 255, 256, 65_535][random.random_range(0..4)],
            4 => baggage.gso_segments = random.random_range(0..3),
            _ => {}
        }
        baggage
    }

    fn broken(&self, random: &mut SmallRng, input: &mut Input, count: usize) {
        let fields = match input.program {
            Program::FromUplink => fields::of_wrapped(&input.frame, self.kind.underlay),
            Program::FromTap | Program::ToTap | Program::FromVxlan | Program::StopIn | Program::StopOut => {
                fields::of(&input.frame, 0)
            }
        };
        for _ in 0..count {
            // The length of the frame is one of its fields.
            match fields.get(random.random_range(0..=fields.len())) {
                Some(field) => breaking::field(random, &mut input.frame, field),
                None => breaking::length(random, &mut input.frame),
            }
        }
    }

    fn tap(random: &mut SmallRng) -> Link {
        match random.random_range(0..32) {
            0..18 => Link::Guest,
            18..23 => Link::Door,
            23..28 => Link::Many,
            28..30 => Link::Beyond,
            30 => Link::Nobody,
            _ => Link::Uplink,
        }
    }

    fn sent(&self, random: &mut SmallRng, input: &mut Input) {
        let tap = Self::tap(random);
        input.program = Program::FromTap;
        input.interface = self.links.index(tap);
        let peer = *Peer::ALL.choose(random).unwrap_or(&Peer::All);
        self.valid(random, &mut input.frame);
        claim(&mut input.frame, tap);
        turn(random, &mut input.frame, content::last(tap), peer.last());
        if tap == Link::Many && random.random_range(0..4) == 0 {
            other_address(random, &mut input.frame);
        }
    }

    /// A frame as some guest might send it.
    fn valid(&self, random: &mut SmallRng, frame: &mut Vec<u8>) {
        let real = self.sources.captured.choose(random);
        if let Some(real) = real.filter(|_| random.random_range(0..8) == 0) {
            frame.extend_from_slice(&real.inner);
        } else if let Some(template) = self.sources.templates.choose(random) {
            frame.extend_from_slice(&template.frame);
        }
        frame.truncate(LONGEST);
    }

    fn arriving(&self, random: &mut SmallRng, input: &mut Input) {
        input.program = Program::FromUplink;
        input.interface = self.links.index(Link::Uplink);
        if random.random_range(0..32) == 0 {
            // The host's own traffic.
            self.valid(random, &mut input.frame);
            let to_us = random.random_range(0..4) != 0;
            input.frame[..6].copy_from_slice(&if to_us { self.links.uplink_mac } else { [0xff; 6] });
            return;
        }
        let receiver = *Link::TAPS.choose(random).unwrap_or(&Link::Guest);
        let peer = *ARRIVING.choose(random).unwrap_or(&Peer::All);
        let mut inner = Vec::new();
        self.valid(random, &mut inner);
        turn(random, &mut inner, peer.last(), content::last(receiver));
        let family = match inner.get(12) {
            Some(0x86) => Family::V6,
            _ => Family::V4,
        };
        let handle = match random.random_range(0..32) {
            0 => Handle::from_wire(random.random(), random.random()),
            1 => content::in_handle(receiver, family, Peer::Unknown),
            _ => content::in_handle(receiver, family, peer),
        };
        wrapped(
            self.kind.underlay,
            self.links.uplink_mac,
            handle,
            random.random(),
            &inner,
            &mut input.frame,
        );
    }

    fn delivered(&self, random: &mut SmallRng, input: &mut Input) {
        let tap = Self::tap(random);
        input.program = Program::ToTap;
        input.interface = self.links.index(tap);
        self.valid(random, &mut input.frame);
        input.frame[..6].copy_from_slice(&content::mac(tap));
        input.frame[6..12].copy_from_slice(&GATEWAY_MAC);
        if random.random_range(0..4) != 0 {
            input.baggage.mark = self.mark;
        }
    }

    fn stopped(&self, random: &mut SmallRng, input: &mut Input) {
        let link = *Link::ALL.choose(random).unwrap_or(&Link::Guest);
        input.program = if random.random() {
            Program::StopIn
        } else {
            Program::StopOut
        };
        input.interface = self.links.index(link);
        self.valid(random, &mut input.frame);
    }

    fn taken_apart(&self, random: &mut SmallRng, input: &mut Input) {
        input.program = Program::FromVxlan;
        input.interface = self.links.index(Link::Uplink);
        self.valid(random, &mut input.frame);
    }
}

/// A frame as another host sends it to this one.
pub fn wrapped(
    underlay: Family,
    to: [u8; 6],
    handle: Handle,
    flow_port: u16,
    inner: &[u8],
    frame: &mut Vec<u8>,
) {
    let udp = (16 + inner.len()) as u16;
    frame.clear();
    frame.extend(to);
    frame.extend(content::NEIGHBOUR_MAC);
    let (from, own) = (content::host(underlay, 2), content::host(underlay, 1));
    match underlay {
        Family::V4 => {
            frame.extend([0x08, 0, 0x45, 0]);
            frame.extend((20 + udp).to_be_bytes());
            frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
            frame.extend_from_slice(&from[12..]);
            frame.extend_from_slice(&own[12..]);
        }
        Family::V6 => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(udp.to_be_bytes());
            frame.extend([17, 64]);
            frame.extend(from);
            frame.extend(own);
        }
    }
    frame.extend((flow_port | 0xc000).to_be_bytes());
    frame.extend(content::PORT.to_be_bytes());
    frame.extend(udp.to_be_bytes());
    frame.extend([0, 0, 0x88, 0]);
    frame.extend(handle.group());
    frame.extend(handle.vni());
    frame.push(0);
    frame.extend_from_slice(inner);
}

/// Puts a guest's own MAC and addresses where a frame had the first guest's.
fn claim(frame: &mut [u8], tap: Link) {
    let (was, is) = (Link::Guest, tap);
    for at in [6, 22, 80] {
        replace(frame, at, &content::mac(was), &content::mac(is));
    }
    let (was, is) = (content::last(was), content::last(is));
    for at in [28, 38] {
        replace(frame, at, &[10, 77, 0, was], &[10, 77, 0, is]);
    }
    replace(frame, 22, &content::six(was), &content::six(is));
}

fn replace(frame: &mut [u8], at: usize, was: &[u8], is: &[u8]) {
    if let Some(place) = frame.get_mut(at..at + was.len())
        && place == was
    {
        place.copy_from_slice(is);
    }
}

/// Puts addresses into a packet between a guest and a peer, and ports that matter into some.
fn turn(random: &mut SmallRng, frame: &mut [u8], source: u8, destination: u8) {
    let ports_at = match frame.get(12..14) {
        Some([0x08, 0x00]) if frame.len() >= 34 => {
            if frame[30] == 10 && frame[33] != 255 && frame[26] == 10 {
                frame[26..30].copy_from_slice(&content::four(source)[12..]);
                frame[30..34].copy_from_slice(&content::four(destination)[12..]);
            }
            34
        }
        Some([0x86, 0xdd]) if frame.len() >= 54 => {
            let is_discovery = frame[20] == 58 && matches!(frame.get(54), Some(133..=137));
            if frame[38] == 0xfd && frame[22] == 0xfd && !is_discovery {
                frame[22..38].copy_from_slice(&content::six(source));
                frame[38..54].copy_from_slice(&content::six(destination));
            }
            54
        }
        _ => return,
    };
    let protocol = frame[if ports_at == 34 { 23 } else { 20 }];
    let Some(segment) = frame.get_mut(ports_at..ports_at + 6) else {
        return;
    };
    match protocol {
        6 | 17 | 132 if random.random_range(0..4) != 0 => {
            let (a, b) = (
                *PORTS.choose(random).unwrap_or(&53),
                *PORTS.choose(random).unwrap_or(&53),
            );
            segment[..2].copy_from_slice(&a.to_be_bytes());
            segment[2..4].copy_from_slice(&b.to_be_bytes());
        }
        1 | 58 if matches!(segment[0], 0 | 8 | 128 | 129) => {
            segment[4..].copy_from_slice(&random.random_range(0..4_u16).to_be_bytes());
        }
        _ => {}
    }
}

/// Another address of the guest that has many.
fn other_address(random: &mut SmallRng, frame: &mut [u8]) {
    let entry = content::tap(Link::Many);
    let own = entry.addresses[random.random_range(0..entry.count as usize)];
    match frame.get(12..14) {
        Some([0x08, 0x00]) if frame.len() >= 34 => frame[26..30].copy_from_slice(&own[12..]),
        Some([0x86, 0xdd]) if frame.len() >= 54 => frame[22..38].copy_from_slice(&own),
        Some([0x08, 0x06]) if frame.len() >= 42 => {
            frame[28..32].copy_from_slice(&own[12..]);
            if random.random() {
                frame[38..41].copy_from_slice(&own[12..15]);
            }
        }
        _ => {}
    }
}

/// A test run takes no frame without a byte behind its Ethernet header, none that announces IP and has no whole header
/// of it, and none of more than a page.
pub fn fit(frame: &mut Vec<u8>) {
    frame.truncate(LONGEST);
    // The zeros that make a type whole may make it IPv4.
    frame.resize(frame.len().max(15), 0);
    frame.resize(frame.len().max(least(frame)), 0);
}

/// Fewest bytes with which a test run takes this frame.
pub fn least(frame: &[u8]) -> usize {
    match frame.get(12..14) {
        Some([0x08, 0x00]) => 34,
        Some([0x86, 0xdd]) => 54,
        _ => 15,
    }
}
