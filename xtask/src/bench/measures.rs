//! What is measured on a way between two guests, one way or the other.

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use pairgate_lab::links;
use pairgate_lab::netns::Netns;
use pairgate_lab::plan::{GUEST_INTERFACE, GUESTS, PAIR};
use pairgate_lab::probe::{EchoServer, Hail, Sink, ask, forge, pour};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Before a rate is counted, and before a server that was just started is asked.
const SETTLE: Duration = Duration::from_millis(300);
/// Round trips of one measurement of latency for each of its seconds.
const TRIPS_A_SECOND: usize = 2_000;

/// From a guest to another.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) from: Netns,
    to: Netns,
    pub(super) source: Ipv4Addr,
    pub(super) address: Ipv4Addr,
}

impl Way {
    pub(super) fn new(from: Netns, to: Netns) -> Result<Self> {
        let address = |name: &str| {
            let found = GUESTS.iter().find(|guest| guest.name == name);
            found.map(|guest| guest.address).context("a guest of the pair")
        };
        Ok(Self {
            from,
            to,
            source: address(PAIR.0)?,
            address: address(PAIR.1)?,
        })
    }
}

/// One question about a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Measure {
    Stream,
    #[value(name = "iperf3")]
    StreamByIperf3,
    SmallPackets,
    AnswerMedian,
    AnswerTail,
}

impl Measure {
    /// What is asked unless a choice is made.
    pub(super) fn all(iperf3: bool) -> Vec<Self> {
        let mut all = vec![Self::Stream];
        all.extend(iperf3.then_some(Self::StreamByIperf3));
        all.extend([Self::SmallPackets, Self::AnswerMedian, Self::AnswerTail]);
        all
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stream => "one TCP stream",
            Self::StreamByIperf3 => "one TCP stream (iperf3)",
            Self::SmallPackets => "60-byte UDP frames",
            Self::AnswerMedian => "TCP question and answer, median",
            Self::AnswerTail => "TCP question and answer, p99",
        }
    }

    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Stream | Self::StreamByIperf3 => "Gbit/s",
            Self::SmallPackets => "1000/s",
            Self::AnswerMedian | Self::AnswerTail => "µs",
        }
    }

    /// The goal for the ratio to the rival, and whether it is a ceiling.
    pub(super) fn goal(self) -> (f64, bool) {
        match self {
            Self::Stream | Self::StreamByIperf3 => (0.9, false),
            Self::SmallPackets => (1.0, false),
            Self::AnswerMedian | Self::AnswerTail => (1.0, true),
        }
    }

    pub(super) fn spelled(self, figure: f64) -> String {
        format!("{figure:.1} {}", self.unit())
    }

    /// Measures once.
    pub(super) fn take(self, way: &Way, how_long: Duration) -> Result<f64> {
        let figure = match self {
            Self::Stream => stream(way, how_long),
            Self::StreamByIperf3 => stream_by_iperf3(way, how_long),
            Self::SmallPackets => small_packets(way, how_long),
            Self::AnswerMedian => answers(way, how_long, 50),
            Self::AnswerTail => answers(way, how_long, 99),
        };
        figure.with_context(|| format!("measuring {} from {}", self.name(), way.from.name()))
    }
}

fn stream(way: &Way, how_long: Duration) -> Result<f64> {
    let sink = way.to.run(|| Sink::start(IpAddr::V4(way.address)))??;
    let address = sink.address();
    let start = Instant::now();
    way.from.run(|| pour(address, how_long))??;
    let received = sink.finish()?;
    Ok(gigabits(received, start.elapsed()))
}

fn stream_by_iperf3(way: &Way, how_long: Duration) -> Result<f64> {
    let quiet = |command: &mut Command| {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
    };
    let mut serve = Command::new("iperf3");
    serve.args(["-s", "-1"]);
    quiet(&mut serve);
    let mut server = way.to.spawn(&mut serve)?;
    std::thread::sleep(SETTLE);
    let mut client = Command::new("iperf3");
    client.args(["-J", "-t", &how_long.as_secs().to_string()]);
    client.args(["-c", &way.address.to_string()]);
    let output = way.from.output(&mut client);
    // One test ends the server by itself, unless there was none.
    if !output.as_ref().is_ok_and(|output| output.status.success()) {
        let _ = server.kill();
    }
    let _ = server.wait();
    let report: Value = serde_json::from_slice(&output?.stdout).context("iperf3 printed no JSON")?;
    let bits = report["end"]["sum_received"]["bits_per_second"].as_f64();
    Ok(bits.with_context(|| format!("iperf3 measured nothing: {}", report["error"]))? / 1e9)
}

/// What arrives at the guest's interface, counted by the kernel. The sender writes frames past its own stack, which
/// would cost more than the way does.
fn small_packets(way: &Way, how_long: Duration) -> Result<f64> {
    // Somebody must have the port, or every datagram would be answered by a refusal.
    let silent = way.to.run(|| UdpSocket::bind((way.address, 0)))??;
    let port = silent.local_addr()?.port();
    let ends = forge::Ends {
        source_mac: links::mac(&way.from, GUEST_INTERFACE)?,
        destination_mac: neighbour(way)?,
        source: way.source,
        destination: way.address,
    };
    let frame = forge::udp(ends, (port, port), &[0; 18])?;
    let hail = way.from.run(|| Hail::start(GUEST_INTERFACE, frame))??;
    std::thread::sleep(SETTLE);
    let (start, before) = (Instant::now(), links::counters(&way.to, GUEST_INTERFACE)?);
    std::thread::sleep(how_long);
    let after = links::counters(&way.to, GUEST_INTERFACE)?;
    let took = start.elapsed();
    drop(hail);
    let arrived = after.rx_packets.saturating_sub(before.rx_packets);
    ensure!(arrived > 0, "nothing arrived");
    Ok(number(arrived) / took.as_secs_f64() / 1e3)
}

/// The MAC under which a guest knows the other: they have spoken already.
fn neighbour(way: &Way) -> Result<[u8; 6]> {
    // Each thread sees its own namespace here.
    let list = way
        .from
        .run(|| std::fs::read_to_string("/proc/thread-self/net/arp"))??;
    let own = way.address.to_string();
    let line = list
        .lines()
        .find(|line| line.split_whitespace().next() == Some(&own));
    let mac = line.and_then(|line| line.split_whitespace().nth(3));
    let parts = mac.into_iter().flat_map(|mac| mac.split(':'));
    let bytes: Vec<u8> = parts
        .filter_map(|part| u8::from_str_radix(part, 16).ok())
        .collect();
    let mac = <[u8; 6]>::try_from(bytes).ok();
    mac.with_context(|| format!("{} does not know the MAC of {own}", way.from.name()))
}

fn answers(way: &Way, how_long: Duration, percentile: usize) -> Result<f64> {
    let server = way.to.run(|| EchoServer::start(IpAddr::V4(way.address)))??;
    let rounds = TRIPS_A_SECOND * usize::try_from(how_long.as_secs()).unwrap_or(1);
    let mut trips = way.from.run(|| ask(&server, rounds))??;
    trips.sort_unstable();
    let at = (trips.len() * percentile / 100).min(trips.len().saturating_sub(1));
    let trip = trips.get(at).context("no question was answered")?;
    Ok(trip.as_secs_f64() * 1e6)
}

fn gigabits(bytes: u64, time: Duration) -> f64 {
    number(bytes) * 8.0 / time.as_secs_f64() / 1e9
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn number(count: u64) -> f64 {
    count as f64
}
