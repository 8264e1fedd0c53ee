//! Many packets, on every core, with a host of each kind on each.
//!
//! They go in episodes: each begins with the same tables, in one of several moods, and ends with the comparison of
//! everything that its packets have changed. The seed and the number of an episode are all that its packets depend on.
use crate::{
    bench::{Bench, Fault, Mood},
    generate::{Generator, Packet, Sources},
    replay::{OWN_MARK, Replay},
    shrink::{self, Failure},
    tally::Tally,
    world::{Kind, own::Own},
};
use anyhow::{Context, Result, anyhow, bail};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Packets of one episode.
pub const EPISODE: u64 = 4096;

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
        "seed {:#x}: {} packets from {} valid frames and {} of real traffic, {} kinds of host, {} threads",
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
    let mut random = random_of(order.seed, number);
    let mood = mood(&mut random);
    let generator = Generator {
        sources,
        kind: bench.kind(),
        links: &own.links,
        mark: bench.mark(),
    };
    bench.begin(mood)?;
    let mut packet = Packet::new();
    for _ in 0..EPISODE {
        generator.next(&mut random, &mut packet);
        match bench.check(&packet.input) {
            Ok(outcome) => tally.note(packet.input.program, outcome.word),
            Err(Fault::Differs(what)) => return Err(failed(bench, own, sources, order, number, what)?),
            Err(Fault::Failed(error)) => return Err(error),
        }
    }
    match bench.settle() {
        Ok(()) => Ok(()),
        Err(Fault::Differs(what)) => Err(failed(bench, own, sources, order, number, what)?),
        Err(Fault::Failed(error)) => Err(error),
    }
}

/// Finds the packet of an episode that something differs after, makes it small and writes it down. The error says
/// where.
fn failed(
    bench: &mut Bench,
    own: &Own,
    sources: &Sources,
    order: &Order,
    number: u64,
    what: String,
) -> Result<anyhow::Error> {
    println!("episode {number} of seed {:#x} differs: {what}", order.seed);
    let mut random = random_of(order.seed, number);
    let mood = mood(&mut random);
    let generator = Generator {
        sources,
        kind: bench.kind(),
        links: &own.links,
        mark: bench.mark(),
    };
    let (mut packet, mut inputs, mut found) = (Packet::new(), Vec::new(), what);
    bench.begin(mood)?;
    for _ in 0..EPISODE {
        generator.next(&mut random, &mut packet);
        inputs.push(packet.input.clone());
        match bench.check_alone(&packet.input) {
            Ok(_) => {}
            Err(Fault::Differs(what)) => {
                found = what;
                break;
            }
            Err(Fault::Failed(error)) => return Err(error),
        }
    }
    let failure = Failure {
        mood,
        inputs,
        honest: packet.honest,
        what: found,
    };
    let mut failure = shrink::shrink(bench, failure)?;
    for input in &mut failure.inputs {
        if input.baggage.mark == bench.mark() {
            input.baggage.mark = OWN_MARK;
        }
    }
    let about = format!("seed {:#x}, episode {number}\n{}", order.seed, failure.what);
    let replay = Replay::of(&about, bench.kind(), failure.mood, &own.links, &failure.inputs)?;
    let path = write(
        &order.failures,
        &format!("{:x}-{number}.txt", order.seed),
        &replay,
    )?;
    println!("{}", replay.written());
    Ok(anyhow!(
        "the kernel and the oracle differ; try again with `cargo xtask prove --replay {}`",
        path.display()
    ))
}

fn write(folder: &Path, name: &str, replay: &Replay) -> Result<PathBuf> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(name);
    std::fs::write(&path, replay.written()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
