//! Many packets, on every core, with a host of each kind on each.
//!
//! They go in episodes: each begins with the same tables, in one of several moods, and ends with the comparison of
//! everything that its packets have changed. The seed and the number of an episode are all that its packets depend on.
use crate::{
    bench::{Bench, Fault, Mood},
    failure::{self, Found},
    generate::{Generator, Packet, Sources},
    tally::Tally,
    world::{Kind, own::Own},
};
use anyhow::{Context, Result, anyhow, bail};
use pairgate_agent::clock::BootTime;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use std::{
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Packets of one episode.
pub const EPISODE: u64 = 4096;

/// An episode takes milliseconds. One that was stopped for so long, by a person or with its machine, shows nothing: its
/// conversations end after three minutes, and the oracle, which has no clock, cannot know.
const HELD_UP: Duration = Duration::from_secs(20);

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Order {
    /// How many packets, at least.
    pub packets: u64,
    /// What they are made from.
    pub seed: u64,
    /// On how many cores.
    pub threads: usize,
    /// Where failures are written.
    pub failures: PathBuf,
    /// Also of those that occur too rarely in a short run, every word must occur.
    pub must_be_complete: bool,
}

struct Shared {
    next: AtomicU64,
    done: AtomicU64,
    is_over: AtomicBool,
    tally: Mutex<Tally>,
}

/// Runs them, prints how it goes, and fails if anything differs or is missing.
pub fn run(order: &Order) -> Result<()> {
    let (sources, start) = (Sources::new()?, Instant::now());
    println!(
        "seed {}: {} packets from {} valid frames and {} of real traffic, {} kinds of host, {} threads",
        order.seed,
        order.packets,
        sources.templates().len(),
        sources.captured(),
        Kind::ALL.len(),
        order.threads
    );
    let shared = Shared {
        next: AtomicU64::new(0),
        done: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
        tally: Mutex::new(Tally::default()),
    };
    let result = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..order.threads)
            .map(|core| {
                let (shared, sources) = (&shared, &sources);
                scope.spawn(move || {
                    let result = work(order, sources, shared, core);
                    if result.is_err() {
                        shared.is_over.store(true, Relaxed);
                    }
                    result
                })
            })
            .collect();
        watch(order, &shared, start, || {
            workers.iter().all(|worker| worker.is_finished())
        });
        let mut result = Ok(());
        for worker in workers {
            let ended = worker
                .join()
                .unwrap_or_else(|_| Err(anyhow!("a thread panicked")));
            result = result.and(ended);
        }
        result
    });
    let tally = shared.tally.into_inner().unwrap_or_default();
    let (total, seconds) = (tally.total(), start.elapsed().as_secs_f64());
    println!("{tally}");
    println!(
        "{total} packets in {seconds:.1} s, {:.0} a second",
        total as f64 / seconds
    );
    result?;
    let missing = tally.missing();
    if !missing.is_empty() && order.must_be_complete {
        bail!("no packet came to {}", missing.join(", "));
    }
    println!("0 mismatches");
    Ok(())
}

fn watch(order: &Order, shared: &Shared, start: Instant, is_over: impl Fn() -> bool) {
    let mut last = Instant::now();
    while !is_over() {
        std::thread::sleep(Duration::from_millis(50));
        if last.elapsed() > Duration::from_secs(10) {
            last = Instant::now();
            let (done, seconds) = (shared.done.load(Relaxed), start.elapsed().as_secs_f64());
            let share = 100.0 * done as f64 / order.packets.max(1) as f64;
            println!(
                "    {done} packets, {share:.1} %, {:.0} a second",
                done as f64 / seconds
            );
        }
    }
}

/// Binds the calling thread to a core. The programs count by core, and a flow table keeps spare places by core.
pub fn pin(core: usize) -> Result<()> {
    let mut set = nix::sched::CpuSet::new();
    set.set(core)?;
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set).context("cannot stay on one core")
}

fn work(order: &Order, sources: &Sources, shared: &Shared, core: usize) -> Result<()> {
    pin(core)?;
    let own = Own::enter()?;
    let mut benches = Vec::new();
    for kind in Kind::ALL {
        benches.push(Bench::new(kind, &own.links)?);
    }
    let mut tally = Tally::default();
    let mut result = Ok(());
    while !shared.is_over.load(Relaxed) {
        let number = shared.next.fetch_add(1, Relaxed);
        if number * EPISODE >= order.packets {
            break;
        }
        let bench = &mut benches[number as usize % Kind::ALL.len()];
        result = episode(bench, &own, sources, order, number, &mut tally);
        if result.is_err() {
            break;
        }
        shared.done.fetch_add(EPISODE, Relaxed);
    }
    if let Ok(mut all) = shared.tally.lock() {
        all.add(&tally);
    }
    result
}

fn random_of(seed: u64, number: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn mood(random: &mut SmallRng) -> Mood {
    let mut rarely = || random.random_range(0..8) == 0;
    Mood {
        events_spent: rarely(),
        answers_spent: rarely(),
        lease_ended: rarely(),
        holds_full: rarely(),
    }
}

fn episode(
    bench: &mut Bench,
    own: &Own,
    sources: &Sources,
    order: &Order,
    number: u64,
    tally: &mut Tally,
) -> Result<()> {
    let generator = Generator::new(sources, bench, &own.links);
    loop {
        let mut random = random_of(order.seed, number);
        bench.begin(mood(&mut random))?;
        let began = BootTime::now();
        let mut packet = Packet::new();
        let mut through = || {
            for _ in 0..EPISODE {
                generator.next(&mut random, &mut packet);
                let outcome = bench.check(&packet.input)?;
                tally.note(packet.input.program, outcome.word);
            }
            bench.settle()
        };
        match through() {
            Ok(()) => return Ok(()),
            Err(Fault::Differs(_)) if began.after(HELD_UP) < BootTime::now() => {
                eprintln!("    episode {number} was held up for too long; it begins again");
            }
            Err(Fault::Differs(what)) => {
                let found = again(&generator, order, number, what);
                return Err(failure::report(bench, &own.links, &order.failures, found)?);
            }
            Err(Fault::Failed(error)) => return Err(error),
        }
    }
}

/// The packets of an episode once more.
fn again(generator: &Generator<'_>, order: &Order, number: u64, what: String) -> Found {
    let mut random = random_of(order.seed, number);
    let mood = mood(&mut random);
    let (mut packet, mut inputs, mut honest) = (Packet::new(), Vec::new(), Vec::new());
    for _ in 0..EPISODE {
        generator.next(&mut random, &mut packet);
        inputs.push(packet.input.clone());
        honest.push(packet.honest.clone());
    }
    Found {
        name: format!("seed {}, episode {number}", order.seed),
        mood,
        inputs,
        honest,
        what,
    }
}
