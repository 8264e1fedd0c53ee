//! A hostile guest beside a neighbour: what floods of every class cost a pair that comes in at the same host, against
//! the same floods into a tap whose program drops every frame at once. Both in turn, in one run; only ratios count.
//!
//! The flood runs on the first processor and the neighbour's pair on the others, so that what is seen is what the
//! programs and the agent make of the flood, and not that a flood needs a processor.

use super::against::{Against, median};
use super::measures::{Measure, Way};
use crate::place::Place;
use anyhow::{Context, Result, ensure};
use pairgate_lab::guard::Lab;
use pairgate_lab::links;
use pairgate_lab::netns::Netns;
use pairgate_lab::plan::{GATEWAY_MAC, GUEST_INTERFACE, GUEST_MTU, GUESTS, PAIR};
use pairgate_lab::probe::{Dropper, Hail, forge, keep_to};
use pairgate_lab::{interrupt, plan::Prefix, programs::Programs, settings::Ports, settings::Wishes};
use serde::Serialize;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

/// The hostile guest, on the same host as the end of the neighbour's pair.
const HOSTILE: &str = "db2";
const HOST: &str = "h2";
/// Between the start of a flood and the first measurement: budgets are used up by then, and the agent has its work.
const SETTLE: Duration = Duration::from_millis(500);
/// What a flood may cost: throughput and p99, as ratios to the same flood into a tap that drops at once.
const THROUGHPUT_FLOOR: f64 = 0.95;
const TAIL_CEILING: f64 = 1.20;
/// How many times as many rounds tell what a flood costs that did not keep its bounds: on a busy machine few rounds
/// tell little. What was measured before counts for nothing then, or chance would have two tries.
const AGAIN: u32 = 4;
/// Different frames of a class that has many.
const MANY: u16 = 4096;

/// The port that the hostile guest has a pair for.
const GRANTED: u16 = 9;
/// How far a frame that is too big is over its pair's MTU: as far as a veth device takes what is over its own.
const OVER: u32 = 4;
/// Of IPv4 and UDP.
const HEADERS: u32 = 28;

/// Offsets in a frame of IPv4 and UDP.
const ETHERTYPE: usize = 12;
const LENGTH: usize = 16;
const FRAGMENT: usize = 20;
const IP_CHECKSUM: usize = 24;
const DESTINATION: usize = 30;

/// One class of floods, and what was measured under it.
#[derive(Debug, Serialize)]
struct Line {
    flood: &'static str,
    /// Frames that the tap took, thousands a second: median under our programs, and under the one that drops.
    rate: [f64; 2],
    throughput: Against,
    tail: Against,
    verdict: Verdict,
}

/// What the figures say of the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// The medians keep them.
    Holds,
    /// The medians do not, but the better quarter of the rounds does: the machine is too busy to tell.
    Unclear,
    /// Not even the better quarter does.
    Over,
}

fn verdict(throughput: &Against, tail: &Against) -> Verdict {
    let holds = |throughput: f64, tail: f64| throughput >= THROUGHPUT_FLOOR && tail <= TAIL_CEILING;
    if holds(throughput.ratio, tail.ratio) {
        Verdict::Holds
    } else if holds(throughput.spread[1], tail.spread[0]) {
        Verdict::Unclear
    } else {
        Verdict::Over
    }
}

/// How it is measured.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) rounds: u32,
    /// Of one measurement.
    pub(super) how_long: Duration,
    /// Only floods whose name has this in it.
    pub(super) flood: Option<&'a str>,
    /// Where the table goes too.
    pub(super) json: Option<&'a Path>,
}

impl Default for Wanted<'_> {
    fn default() -> Self {
        Self {
            rounds: 5,
            how_long: Duration::from_secs(1),
            flood: None,
            json: None,
        }
    }
}

/// Measures and prints; an error if a flood did not keep its bounds, or if it cannot be told whether it did.
pub(super) fn run(place: &Place, wanted: &Wanted) -> Result<()> {
    let (rounds, how_long) = (wanted.rounds, wanted.how_long);
    let wishes = Wishes {
        ports: Some(Ports::Veth),
        ..Wishes::default()
    };
    eprintln!("==> the ground: a laboratory with veth ports (usually 10 s)");
    let say = &mut |step: &str| eprintln!("    {step}");
    let programs = Programs::in_folder(&place.released());
    let lab = Lab::start(
        Prefix::new("pghost-")?,
        &place.target.join("bench-hostile"),
        wishes,
        programs,
        say,
    )?;
    // A pair of its own, so that there is something to be refused by a grant.
    lab.cli().done(&[
        "pair",
        "allow",
        HOSTILE,
        PAIR.0,
        &format!("udp/{GRANTED}"),
        "--one-way",
    ])?;
    let way = Way::new(lab.netns(PAIR.0), lab.netns(PAIR.1))?;
    super::open(&way)?;
    let processors = std::thread::available_parallelism()?.get();
    let apart = processors > 1;
    if apart {
        let others: Vec<usize> = (1..processors).collect();
        keep_to(&others).context("cannot keep to some processors")?;
    }
    let ground = Ground {
        guest: lab.netns(HOSTILE),
        host: lab.netns(HOST),
        way,
        processor: apart.then_some(0),
        how_long,
    };
    // Guests may set what they like on their own side; hosts take no notice.
    let mtu = Some(GUEST_MTU + OVER);
    links::set_up(&ground.guest, GUEST_INTERFACE, None, mtu)?;
    let mut floods = floods(ends(&ground)?)?;
    let text = wanted.flood.unwrap_or_default();
    floods.retain(|flood| flood.name.contains(text));
    ensure!(!floods.is_empty(), "no flood has {text:?} in its name");
    let seconds = floods.len() as u64 * u64::from(rounds) * 2 * (2 * how_long.as_secs() + 1);
    eprintln!(
        "==> {} floods, {rounds} rounds, each with and without (about {} min)",
        floods.len(),
        seconds.div_ceil(60)
    );
    let mut lines = Vec::new();
    for flood in &floods {
        let mut line = ground.against(flood, rounds)?;
        if line.verdict != Verdict::Holds {
            eprintln!("    once more, {} rounds: these figures count", AGAIN * rounds);
            line = ground.against(flood, AGAIN * rounds)?;
        }
        lines.push(line);
    }
    print(&lines);
    if let Some(path) = wanted.json {
        let text = serde_json::to_string_pretty(&lines)?;
        std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    let named = |verdict| {
        let those = lines.iter().filter(|line| line.verdict == verdict);
        those.map(|line| line.flood).collect::<Vec<_>>().join("; ")
    };
    let (over, unclear) = (named(Verdict::Over), named(Verdict::Unclear));
    ensure!(
        over.is_empty(),
        "these floods cost a neighbour more than they may: {over}"
    );
    ensure!(
        unclear.is_empty(),
        "the machine is too busy to tell about these floods: {unclear}; leave it alone and try: cargo xtask bench \
         --hostile --flood TEXT --rounds 20"
    );
    Ok(())
}

fn print(lines: &[Line]) {
    println!("a neighbour's pair under a flood, against the same flood into a tap that drops at once");
    println!("(ratios of medians; in brackets the middle half of the rounds' own ratios)");
    println!();
    for line in lines {
        println!(
            "{:<4} {:<43} {:>2} rounds  throughput {:.2} [{:.2} {:.2}]  p99 {:.2} [{:.2} {:.2}]  {:>5.0} against {:>5.0} thousand frames/s",
            match line.verdict {
                Verdict::Holds => "ok",
                Verdict::Unclear => "?",
                Verdict::Over => "OVER",
            },
            line.flood,
            line.throughput.rounds[0].len(),
            line.throughput.ratio,
            line.throughput.spread[0],
            line.throughput.spread[1],
            line.tail.ratio,
            line.tail.spread[0],
            line.tail.spread[1],
            line.rate[0],
            line.rate[1],
        );
    }
    println!();
    println!("bounds: throughput at least {THROUGHPUT_FLOOR}, p99 at most {TAIL_CEILING}");
}

struct Ground {
    guest: Netns,
    host: Netns,
    way: Way,
    processor: Option<usize>,
    how_long: Duration,
}

impl Ground {
    fn against(&self, flood: &Flood, rounds: u32) -> Result<Line> {
        let name = flood.name;
        let (mut throughput, mut tail) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        let mut rate = [Vec::new(), Vec::new()];
        for round in 0..rounds as usize {
            for turn in 0..2 {
                // Who goes first changes from round to round.
                let side = (round + turn) % 2;
                let [stream, p99, arrived] = self
                    .under(flood, side == 1)
                    .with_context(|| format!("under the flood: {name}"))?;
                throughput[side].push(stream);
                tail[side].push(p99);
                rate[side].push(arrived);
            }
        }
        let (throughput, tail) = (Against::new(throughput), Against::new(tail));
        let verdict = verdict(&throughput, &tail);
        eprintln!("    {name}: {:.2} {:.2}", throughput.ratio, tail.ratio);
        Ok(Line {
            flood: name,
            rate: rate.map(|rates| median(&rates)),
            throughput,
            tail,
            verdict,
        })
    }

    /// One measurement of throughput, p99 and the flood's own rate.
    fn under(&self, flood: &Flood, is_rival: bool) -> Result<[f64; 3]> {
        interrupt::go_on()?;
        let (frames, drops_at_once) = match (&flood.rival, is_rival) {
            (_, false) => (&flood.frames, false),
            (Rival::Dropped, true) => (&flood.frames, true),
            (Rival::Frames(frames), true) => (frames, false),
        };
        let tap = format!("tap-{HOSTILE}");
        let index = links::interface_index(&self.host, &tap)?;
        let dropper = drops_at_once.then(|| self.host.run(|| Dropper::start(index)));
        let _dropper = dropper.transpose()?.transpose()?;
        let (many, processor) = (frames.clone(), self.processor);
        let hail = self
            .guest
            .run(|| Hail::of_many(GUEST_INTERFACE, many, processor))??;
        std::thread::sleep(SETTLE);
        let (began, before) = (std::time::Instant::now(), links::counters(&self.host, &tap)?);
        let stream = Measure::Stream.take(&self.way, self.how_long)?;
        let p99 = Measure::AnswerTail.take(&self.way, self.how_long)?;
        let after = links::counters(&self.host, &tap)?;
        let took = began.elapsed().as_secs_f64();
        drop(hail);
        let frames = after.rx_packets.saturating_sub(before.rx_packets);
        Ok([stream, p99, frames as f64 / took / 1e3])
    }
}

fn ends(ground: &Ground) -> Result<forge::Ends> {
    let address = |name: &str| {
        let found = GUESTS.iter().find(|guest| guest.name == name);
        found
            .map(|guest| guest.address)
            .context("a guest of the laboratory")
    };
    Ok(forge::Ends {
        source_mac: links::mac(&ground.guest, GUEST_INTERFACE)?,
        destination_mac: GATEWAY_MAC,
        source: address(HOSTILE)?,
        destination: address(PAIR.0)?,
    })
}

/// One frame of a class after another: what to write into an honest one, and where.
fn each(many: u16, frame: impl FnMut(u16) -> Result<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
    (0..many).map(frame).collect()
}

/// What a hostile guest sends.
struct Flood {
    name: &'static str,
    /// Sent in turn.
    frames: Vec<Vec<u8>>,
    rival: Rival,
}

/// What a flood is compared with.
enum Rival {
    /// The same, into a tap whose program drops it at once.
    Dropped,
    /// Others, judged by our programs too: where the flood passes, dropping it would also save its way.
    Frames(Vec<Vec<u8>>),
}

impl Flood {
    fn dropped((name, frames): (&'static str, Vec<Vec<u8>>)) -> Self {
        let rival = Rival::Dropped;
        Self { name, frames, rival }
    }
}

fn floods(ends: forge::Ends) -> Result<Vec<Flood>> {
    let datagram = |ends, ports| forge::udp(ends, ports, &[0; 18]);
    let all = forge::Ends {
        destination_mac: [0xff; 6],
        destination: Ipv4Addr::BROADCAST,
        ..ends
    };
    let group = forge::Ends {
        destination_mac: [1, 0, 0x5e, 0, 0, 0xfb],
        destination: Ipv4Addr::new(224, 0, 0, 251),
        ..ends
    };
    let to = |number: u16| {
        let [high, low] = number.to_be_bytes();
        Ipv4Addr::new(10, 77, 16 + high, low)
    };
    let unknown = |number| forge::Ends {
        destination: to(number),
        ..ends
    };
    let liar = forge::Ends {
        source: Ipv4Addr::new(10, 77, 0, 21),
        ..ends
    };
    let one = |frame: Vec<u8>| vec![frame; 64];
    let too_big = vec![0; (GUEST_MTU + OVER - HEADERS) as usize];
    let many = Flood {
        name: "conversations of a grant, against one (G28)",
        // More than a flow table holds, so that each finds its place by throwing another out.
        frames: each(4 * MANY, |number| datagram(ends, (1024 + number, GRANTED)))?,
        rival: Rival::Frames(one(datagram(ends, (1024, GRANTED))?)),
    };
    let mut floods: Vec<Flood> = vec![
        ("broadcast (G19)", one(datagram(all, (9, 9))?)),
        ("multicast (G19)", one(datagram(group, (5353, 5353))?)),
        (
            "questions by ARP (G19)",
            each(MANY, |number| Ok(question(ends, to(number))))?,
        ),
        ("tiny frames (G20)", one(vec![0xff; 14])),
        ("spoofed source (G2)", one(datagram(liar, (9, 9))?)),
        ("fragments (G10)", one(fragment(datagram(ends, (9, 9))?))),
        (
            "unknown destinations, held (G27)",
            each(MANY, |number| datagram(unknown(number), (9, 9)))?,
        ),
        (
            "unknown destinations, large (G27)",
            each(MANY, |number| forge::udp(unknown(number), (9, 9), &[0; 1300]))?,
        ),
        (
            "one destination, refused (G27)",
            one(datagram(unknown(1), (9, 9))?),
        ),
        (
            "random ports beside a grant (G28)",
            each(MANY, |number| {
                datagram(ends, (number.wrapping_mul(40_503), 1024 + number))
            })?,
        ),
        (
            "lengths that lie (G14)",
            one(put(datagram(ends, (9, 9))?, LENGTH, &[0xff, 0xff])),
        ),
        (
            "ethertypes of others (G18)",
            one(put(datagram(ends, (9, 9))?, ETHERTYPE, &[0x88, 0xcc])),
        ),
        (
            "overlay to a host (G24)",
            one(put(
                forge::overlay(ends, 50_000, (7, 7), &[0; 40])?,
                DESTINATION,
                &[192, 0, 2, 1],
            )),
        ),
        (
            "too big, answered (G22)",
            one(forge::udp(ends, (9, GRANTED), &too_big)?),
        ),
    ]
    .into_iter()
    .map(Flood::dropped)
    .collect();
    floods.push(many);
    Ok(floods)
}

fn put(mut frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    if let Some(place) = frame.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
    frame
}

/// The first of several, with a checksum that is right.
fn fragment(frame: Vec<u8>) -> Vec<u8> {
    let frame = put(put(frame, FRAGMENT, &[0x20, 0]), IP_CHECKSUM, &[0, 0]);
    let header = frame.get(14..34).unwrap_or_default();
    let words = header.chunks(2).map(|word| match word {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        _ => 0,
    });
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap_or(u16::MAX);
    put(frame, IP_CHECKSUM, &(!sum).to_be_bytes())
}

/// Who has this address?
fn question(ends: forge::Ends, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(ends.source_mac);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(ends.source_mac);
    frame.extend(ends.source.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn against(ours: [f64; 4], drops: [f64; 4]) -> Against {
        Against::new([ours.to_vec(), drops.to_vec()])
    }

    #[test]
    fn a_bound_is_broken_only_where_noise_does_not_explain_it() {
        let same = || against([10.0; 4], [10.0; 4]);
        assert_eq!(verdict(&same(), &same()), Verdict::Holds);
        let slow = against([5.0; 4], [10.0; 4]);
        assert_eq!(verdict(&slow, &same()), Verdict::Over);
        let noisy = against([5.0, 5.0, 9.0, 12.0], [10.0; 4]);
        assert_eq!(verdict(&noisy, &same()), Verdict::Unclear);
        let late = against([13.0; 4], [10.0; 4]);
        assert_eq!(verdict(&same(), &late), Verdict::Over);
    }

    #[test]
    fn a_fragments_checksum_is_right() {
        let ends = forge::Ends {
            source_mac: [2; 6],
            destination_mac: GATEWAY_MAC,
            source: Ipv4Addr::new(10, 77, 0, 22),
            destination: Ipv4Addr::new(10, 77, 0, 11),
        };
        let frame = fragment(forge::udp(ends, (9, 9), b"x").unwrap());
        let words = frame[14..34].chunks(2);
        let sum: u32 = words
            .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
            .sum();
        assert_eq!(
            (sum & 0xffff) + (sum >> 16),
            0xffff,
            "a host would drop it unseen"
        );
    }
}
