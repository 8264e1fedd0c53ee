//! Guests that may talk, and guests that may not.

use super::{Line, PATIENCE, SILENCE, dropped, number};
use anyhow::{Context, Result};
use pairgate_lab::guard::Lab;
use pairgate_lab::plan::{GUEST_INTERFACE, GUESTS, Guest};
use pairgate_lab::probe::{EchoServer, Sniffer, exchange, ping};
use pairgate_lab::{netns::Netns, patience};
use std::net::IpAddr;
use std::time::Duration;

/// Echo requests of one measurement.
const ECHOES: u32 = 50;
/// Bytes that go there and come back, each way round.
const BYTES: usize = 4 << 20;

/// A guest of the plan.
pub(super) fn guest(name: &str) -> Result<Guest> {
    GUESTS
        .iter()
        .copied()
        .find(|guest| guest.name == name)
        .with_context(|| format!("there is no guest {name}"))
}

/// Sends echo requests until one is answered: the first packets of a pair are what opens it.
pub(super) fn open(from: &Netns, to: &Guest) -> Result<()> {
    let what = format!("{} is answered by {}", from.name(), to.name);
    patience::until(PATIENCE, &what, || {
        let echoes = from.run(|| ping(to.address, 1, 56, Duration::from_millis(500)))??;
        Ok(echoes.all().then_some(()))
    })
}

pub(super) fn allowed(lab: &Lab) -> Result<Vec<Line>> {
    let (web, db) = (guest("web1")?, guest("db1")?);
    let (web_netns, db_netns) = (lab.netns(web.name), lab.netns(db.name));
    let mut lines = Vec::new();
    // The first packet opens the pair, and waits for it in the agent's hands.
    for ((to, _), name) in db.addresses().into_iter().zip([
        "web1 on h1 pings db1 on h2, the first echo included",
        "the same over IPv6",
    ]) {
        let echoes = web_netns.run(|| ping(to, ECHOES, 56, Duration::from_secs(1)))??;
        let fastest = echoes.fastest.unwrap_or_default().as_micros();
        println!(
            "   web1 pings db1 at {to}: {} of {} answered, fastest in {fastest} µs",
            echoes.received, echoes.sent
        );
        let unit = format!("of {ECHOES} answered");
        lines.push(Line::new(name, echoes.all(), f64::from(echoes.received), &unit));
    }
    let mut carried = 0;
    for (family, (web_at, db_at)) in web.addresses().into_iter().zip(db.addresses()).enumerate() {
        let there = tcp(&web_netns, &db_netns, db_at.0)?;
        let back = tcp(&db_netns, &web_netns, web_at.0)?;
        let family = ["IPv4", "IPv6"].get(family).unwrap_or(&"?");
        println!(
            "   TCP over {family}: {there} bytes opened by web1 and {back} by db1 came back as they went"
        );
        carried += there + back;
    }
    let name = "TCP carries data both ways, opened by either, in both families";
    let unit = "bytes, each compared";
    lines.push(Line::new(
        name,
        carried == 4 * BYTES,
        number(carried as u64),
        unit,
    ));
    Ok(lines)
}

/// How many bytes came back from an echo server at the other guest as they went.
fn tcp(from: &Netns, to: &Netns, server: IpAddr) -> Result<usize> {
    let echo = to.run(|| EchoServer::start(server))??;
    from.run(|| exchange(echo.address(), BYTES, PATIENCE))?
        .context("the TCP connection broke")
}

pub(super) fn not_allowed(lab: &Lab) -> Result<Vec<Line>> {
    let db2 = guest("db2")?;
    let (web_netns, db2_netns) = (lab.netns("web1"), lab.netns(db2.name));
    let reasons = ["no_pair", "denied"];
    let before = dropped(lab, "h1", Some("web1"), &reasons)?;
    let arrived = db2_netns.run(|| Sniffer::start(GUEST_INTERFACE, |_| true))??;
    let echoes = web_netns.run(|| ping(db2.address, 5, 56, Duration::from_millis(300)))??;
    let server = db2_netns.run(|| EchoServer::start(db2.address.into()))??;
    let connected = web_netns
        .run(|| exchange(server.address(), 1, Duration::from_secs(1)))?
        .is_ok();
    arrived.wait_for(1, SILENCE);
    let counted = dropped(lab, "h1", Some("web1"), &reasons)? - before;
    println!(
        "   web1 to db2: {} echoes, connected: {connected}, {} frames at db2",
        echoes.received,
        arrived.count()
    );
    println!(
        "{}",
        indented(&lab.cli().done(&["drops", "--host", "h1"])?.stdout)
    );
    let nothing = echoes.received == 0 && !connected && arrived.count() == 0;
    Ok(vec![
        Line::new(
            "web1 to db2 gets nothing",
            nothing,
            number(arrived.count() as u64),
            "frames arrived",
        ),
        Line::new(
            "and h1 says why",
            counted > 0,
            number(counted),
            "packets counted as no_pair or denied",
        ),
    ])
}

pub(super) fn indented(text: &str) -> String {
    text.lines()
        .map(|line| format!("   | {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}
