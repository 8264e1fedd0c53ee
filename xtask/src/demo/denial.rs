//! `pair deny` while a stream runs.

use super::talk::{guest, open};
use super::{Line, PATIENCE, number};
use anyhow::{Context, Result, ensure};
use pairgate_lab::guard::Lab;
use pairgate_lab::plan::GUEST_INTERFACE;
use pairgate_lab::probe::{Flood, Sniffer};
use serde::Deserialize;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

/// Where the stream goes; nobody listens there, and what arrives is counted at the interface.
const PORT: u16 = 40_100;
const PER_SECOND: u32 = 5_000;
/// Of the stream before the denial.
const ENOUGH: usize = 2_000;
/// For which the stream goes on after the denial.
const AFTERWARDS: Duration = Duration::from_secs(2);

#[derive(Deserialize)]
struct Denial {
    applied: bool,
    directions: Vec<Direction>,
}

#[derive(Deserialize)]
struct Direction {
    source: String,
    destination: String,
    host: Option<String>,
    state: String,
    undrained: u64,
}

pub(super) fn under_load(lab: &Lab) -> Result<Vec<Line>> {
    let (web, db) = (guest("web1")?, guest("db1")?);
    open(&lab.netns(web.name), &db)?;
    let is_stream = move |frame: &[u8]| frame.get(36..38) == Some(&PORT.to_be_bytes());
    let arrived = lab
        .netns(db.name)
        .run(|| Sniffer::start(GUEST_INTERFACE, is_stream))??;
    let (from, to) = (
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::from((db.address, PORT)),
    );
    let longest = PATIENCE * 3;
    let flood = lab
        .netns(web.name)
        .run(|| Flood::start(from, to, PER_SECOND, 100, longest))??;
    ensure!(
        arrived.wait_for(ENOUGH, PATIENCE),
        "the stream did not run before the denial"
    );

    let asked = Instant::now();
    let answer = lab.call(&["pair", "deny", web.name, db.name, "-o", "json"])?;
    let returned = SystemTime::now();
    let took = asked.elapsed();
    let sent_by_then = flood.sent();
    std::thread::sleep(AFTERWARDS);
    let sent_after = flood.stop().sent - sent_by_then;
    let late = arrived
        .frames()
        .iter()
        .filter(|frame| frame.at > returned)
        .count();

    let denial: Denial = serde_json::from_value(answer.json()?).context("`pair deny` makes no sense")?;
    for direction in &denial.directions {
        let Direction {
            source,
            destination,
            host,
            state,
            undrained,
        } = direction;
        let host = host.as_deref().unwrap_or("nobody");
        println!(
            "   receipt for {source} → {destination}: {host} says {state}, {undrained} left in the queue"
        );
    }
    println!(
        "   {} datagrams before, {sent_after} sent after the denial returned, {late} of them arrived",
        arrived.count()
    );
    let receipts = denial
        .directions
        .iter()
        .filter(|direction| direction.state == "applied")
        .count();
    let both = answer.code == 0 && denial.applied && receipts == 2;
    let milliseconds = (took.as_secs_f64() * 1e5).round() / 100.0;
    Ok(vec![
        Line::new(
            "pair deny stops a running stream",
            late == 0 && sent_after > 0,
            number(late as u64),
            "packets arrived after it returned",
        ),
        Line::new(
            "with the receipts of both hosts",
            both,
            number(receipts as u64),
            "receipts",
        ),
        Line::new(
            "and returns soon",
            both && took < PATIENCE,
            milliseconds,
            "ms until it returned",
        ),
    ])
}
