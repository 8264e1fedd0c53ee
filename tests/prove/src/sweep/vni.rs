//! Every network identifier, under several groups, with ten thousand live handles among them: each delivers to its own
//! guest, and nothing else is delivered to anyone.
use super::headers::input;
use crate::{
    bench::{Bench, Fault, Mood},
    failure::{self, Found},
    generate::{self, Sources},
    run::pin,
    world::{
        Kind, Link,
        content::{self, Peer},
        own::Own,
    },
};
use anyhow::{Context, Result, anyhow, ensure};
use pairgate_abi::{Handle, InEntry};
use pairgate_agent::datapath::Program;
use pairgate_packet::ip::Family;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Instant,
};

/// The groups under which each identifier is tried: those that nobody gives, and three that are given.
const GROUPS: [u16; 5] = [0, 0xffff, 1, 0x0d0e, 0xfffe];
/// How many handles are live.
const LIVE: usize = 10_000;
/// Identifiers between two comparisons of what packets have changed.
const CHUNK: u32 = 1 << 18;

/// All identifiers, each core its share. `share` is 1 for all of them, or else one in so many.
pub fn all(failures: &Path, threads: usize, share: u32) -> Result<()> {
    let (start, delivered, tried) = (Instant::now(), AtomicU64::new(0), AtomicU64::new(0));
    let chunks: Vec<u32> = (0..1 << 24).step_by(CHUNK as usize).collect();
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|core| {
                let (delivered, tried, next, chunks) = (&delivered, &tried, &next, &chunks);
                scope.spawn(move || {
                    pin(core)?;
                    let own = Own::enter()?;
                    let mut sweep = Sweep::new(&own, failures)?;
                    while let Some(first) = chunks.get(next.fetch_add(1, Relaxed) as usize) {
                        let (packets, to_guests) = sweep.chunk(*first, share)?;
                        let all = tried.fetch_add(packets, Relaxed) + packets;
                        delivered.fetch_add(to_guests, Relaxed);
                        println!("    {all} packets in {:.0} s", start.elapsed().as_secs_f64());
                    }
                    Ok(())
                })
            })
            .collect();
        let mut result = Ok(());
        for worker in workers {
            let ended = worker
                .join()
                .unwrap_or_else(|_| Err(anyhow!("a thread panicked")));
            result = result.and(ended);
        }
        result
    })?;
    let (tried, delivered) = (tried.into_inner(), delivered.into_inner());
    println!("handles: {tried} packets, {delivered} delivered under {LIVE} live handles, 0 strays");
    ensure!(
        share != 1 || delivered == LIVE as u64,
        "{delivered} packets were delivered under {LIVE} handles"
    );
    Ok(())
}

/// The live handles, each with a guest's MAC address of its own and all for the same packet: only the handle tells
/// them apart.
fn live(pattern: InEntry) -> BTreeMap<u32, Vec<(Handle, InEntry)>> {
    let mut random = SmallRng::seed_from_u64(LIVE as u64);
    let mut all: BTreeMap<(u32, u16), (Handle, InEntry)> = BTreeMap::new();
    let mut number = 0_u32;
    while all.len() < LIVE {
        let vni = match number {
            0 => 1,
            1 => 0xff_fffe,
            _ => random.random_range(1..0xff_ffff),
        };
        let group = GROUPS[random.random_range(2..GROUPS.len())];
        let [a, b, c, d] = number.to_be_bytes();
        let entry = InEntry {
            mac: [0x02, 0x10, a, b, c, d],
            tap: number,
            ..pattern
        };
        all.insert((vni, group), (of(vni, group), entry));
        number += 1;
    }
    let mut by_vni: BTreeMap<u32, Vec<_>> = BTreeMap::new();
    for ((vni, _), pair) in all {
        by_vni.entry(vni).or_default().push(pair);
    }
    by_vni
}

fn of(vni: u32, group: u16) -> Handle {
    let [_, a, b, c] = vni.to_be_bytes();
    Handle::from_wire([a, b, c], group.to_be_bytes())
}

struct Sweep<'a> {
    bench: Bench,
    own: &'a Own,
    failures: &'a Path,
    live: BTreeMap<u32, Vec<(Handle, InEntry)>>,
    frame: Vec<u8>,
    /// Where the VXLAN header stands.
    header_at: usize,
}

impl<'a> Sweep<'a> {
    fn new(own: &'a Own, failures: &'a Path) -> Result<Self> {
        let kind = Kind::ALL[0];
        let mut bench = Bench::new(kind, &own.links)?;
        let pattern = content::pairs_in(kind, &own.links);
        let wanted = content::in_handle(Link::Guest, Family::V4, Peer::All);
        let pattern = pattern.into_iter().find(|(handle, _)| *handle == wanted);
        let live = live(pattern.context("the first pair")?.1);
        bench.only_pairs_in(live.values().flatten().copied().collect())?;
        let sources = Sources::new()?;
        let inner = sources.templates().first().context("no valid frames")?;
        let mut inner = inner.frame.clone();
        super::headers::turned(&mut inner, Peer::All);
        let mut frame = Vec::new();
        generate::wrapped(kind.underlay, own.links.uplink_mac, wanted, 7, &inner, &mut frame);
        Ok(Self {
            bench,
            own,
            failures,
            live,
            frame,
            header_at: 14 + kind.underlay.header() + 8,
        })
    }

    /// Tries the identifiers from `first` on; how many packets, and how many were delivered.
    fn chunk(&mut self, first: u32, share: u32) -> Result<(u64, u64)> {
        // Nobody is told of unknown handles: that would be most of the work.
        let mood = Mood {
            events_spent: true,
            ..Mood::default()
        };
        self.bench.begin(mood)?;
        let uplink = self.own.links.index(Link::Uplink);
        let mut packet = input(Program::FromUplink, uplink, self.frame.clone());
        let (mut tried, mut delivered) = (0, 0);
        for vni in (first..first + CHUNK).filter(|vni| vni % share == 0) {
            for group in GROUPS {
                let at = self.header_at;
                packet.frame[at + 2..at + 4].copy_from_slice(&group.to_be_bytes());
                packet.frame[at + 4..at + 7].copy_from_slice(&vni.to_be_bytes()[1..]);
                let checked = self.bench.check(&packet);
                match checked {
                    Ok(outcome) => {
                        let handle = of(vni, group);
                        let entry = self.live.get(&vni).into_iter().flatten();
                        let entry = entry.into_iter().find(|(live, _)| *live == handle);
                        // Said once more without the oracle: a frame for exactly the guest of this handle, or none.
                        let to = (outcome.word == "to tap").then(|| self.bench.last_destination());
                        ensure!(
                            to == entry.map(|(_, entry)| entry.mac),
                            "a stray: {handle:?} went to {to:02x?}"
                        );
                        delivered += u64::from(to.is_some());
                    }
                    Err(Fault::Failed(error)) => return Err(error),
                    Err(Fault::Differs(what)) => {
                        let found = Found {
                            name: format!("handle {vni:#x} {group:#x}"),
                            mood,
                            honest: vec![packet.frame.clone()],
                            inputs: vec![packet],
                            what,
                        };
                        return Err(failure::report(
                            &mut self.bench,
                            &self.own.links,
                            self.failures,
                            found,
                        )?);
                    }
                }
                tried += 1;
            }
        }
        match self.bench.settle() {
            Ok(()) => Ok((tried, delivered)),
            Err(Fault::Differs(what)) => Err(anyhow!("after handles from {first:#x} on: {what}")),
            Err(Fault::Failed(error)) => Err(error),
        }
    }
}
