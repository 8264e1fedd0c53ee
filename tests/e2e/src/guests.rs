//! What tests do inside guests. Where these are namespaces it is done from here; where they are machines of their own,
//! by a program in the machine, and what arrives is watched where the host hands it over.

use anyhow::{Context, Result, bail, ensure};
use pairgate_lab::{
    guard::Lab,
    guest::{
        Inside,
        channel::{Job, KILLED},
    },
    plan::{GUEST_INTERFACE, GUESTS, Host},
    probe::{
        Burst, Catcher, EchoServer, Echoes, Flood, Pace, Sniffer,
        cli::{Answered, Came},
        exchange, ping, send_numbered,
    },
    settings::Vms,
};
use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

/// The environment variable that says what guests are, for tests that do not care: `netns` or `qemu`.
pub const GUESTS_ARE: &str = "PAIRGATE_GUESTS";

/// How long a lost echo is waited for. Answers between namespaces take well under a millisecond.
const ECHO_LIMIT: Duration = Duration::from_millis(250);
/// The same between machines whose processors are emulated.
const MACHINES_ECHO_LIMIT: Duration = Duration::from_millis(500);
/// How long a command in such a machine may take to begin and end, on a busy host.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);
/// A flood in a machine says its number every 100 ms. What it has said until now is there when it pauses for so long.
const PAUSE: Duration = Duration::from_millis(40);
/// Bytes of a flood's datagrams.
const FLOOD_LEN: usize = 64;

/// A guest, by its name and one of its addresses.
pub type At<'a> = (&'a str, IpAddr);

/// What was sent as numbered datagrams, and what of it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    pub sent: u64,
    pub arrived: u64,
    pub damaged: u64,
}

impl Carried {
    /// Whether everything came as it was sent.
    pub fn all(&self) -> bool {
        self.arrived == self.sent && self.damaged == 0
    }
}

/// A flood from a guest, until stopped or dropped.
#[derive(Debug)]
pub enum GuestFlood {
    Here(Flood),
    There(Job),
}

impl GuestFlood {
    /// Ends it; at least so many datagrams were sent.
    pub fn stop(self) -> Result<u64> {
        match self {
            Self::Here(flood) => Ok(flood.stop().sent),
            Self::There(mut job) => {
                let said = job.lines_until_quiet(PAUSE)?;
                let last = said.last().context("the flood has not said how much it sent")?;
                Ok(last.parse()?)
            }
        }
    }
}

/// Somebody who takes datagrams in and says nothing.
#[derive(Debug)]
pub enum Listener {
    Here(UdpSocket),
    There(Job),
}

/// What guests are, as far as a test's own wishes leave it open.
pub(crate) fn wanted() -> Result<Option<Vms>> {
    match std::env::var(GUESTS_ARE).as_deref() {
        Err(_) | Ok("netns") => Ok(None),
        Ok("qemu") => Ok(Some(Vms::Qemu)),
        Ok(other) => bail!("{GUESTS_ARE} is `{other}`; it can be netns or qemu"),
    }
}

/// The way into a guest that is a machine; none where guests are namespaces.
fn machine(lab: &Lab, guest: &str) -> Result<Option<Inside>> {
    match lab.plan().settings.vms {
        Vms::Netns => Ok(None),
        Vms::Qemu => lab.inside(guest).map(Some),
    }
}

pub(crate) fn echoes(lab: &Lab, from: &str, to: IpAddr, count: u32, payload: usize) -> Result<Echoes> {
    let Some(machine) = machine(lab, from)? else {
        return Ok(lab.netns(from).run(|| ping(to, count, payload, ECHO_LIMIT))??);
    };
    let answered: Answered = machine.probe(
        &[
            "ping",
            &to.to_string(),
            &count.to_string(),
            &payload.to_string(),
            &MACHINES_ECHO_LIMIT.as_millis().to_string(),
        ],
        COMMAND_LIMIT + MACHINES_ECHO_LIMIT * count,
    )?;
    Ok(Echoes {
        sent: answered.sent,
        received: answered.received,
        fastest: None,
    })
}

pub(crate) fn stream(
    lab: &Lab,
    from: &str,
    to: At<'_>,
    len: usize,
    patience: Duration,
) -> Result<io::Result<usize>> {
    let (Some(client), Some(host)) = (machine(lab, from)?, machine(lab, to.0)?) else {
        let server = lab.netns(to.0).run(|| EchoServer::start(to.1))??;
        let address = server.address();
        return lab.netns(from).run(|| exchange(address, len, patience));
    };
    let mut server = host.start_probe(&["echo", &to.1.to_string()], "")?;
    let at = server.first_line(COMMAND_LIMIT)?;
    let (len, limit) = (len.to_string(), patience.as_millis().to_string());
    let ended = client
        .start_probe(&["exchange", &at, &len, &limit], "")?
        .finish(2 * COMMAND_LIMIT)?;
    ensure!(
        ended.code < KILLED,
        "{client} killed the stream: {}",
        ended.stderr
    );
    if ended.code != 0 {
        return Ok(Err(io::Error::other(ended.stderr)));
    }
    Ok(Ok(serde_json::from_str(&ended.stdout)?))
}

pub(crate) fn flood(
    lab: &Lab,
    from: &str,
    source: SocketAddr,
    to: SocketAddr,
    per_second: u32,
    longest: Duration,
) -> Result<GuestFlood> {
    let Some(machine) = machine(lab, from)? else {
        let flood = || Flood::start(source, to, per_second, FLOOD_LEN, longest);
        return Ok(GuestFlood::Here(lab.netns(from).run(flood)??));
    };
    let (source, to, per_second) = (source.to_string(), to.to_string(), per_second.to_string());
    let mut job = machine.start_probe(&["flood", &source, &to, &per_second], "")?;
    job.first_line(COMMAND_LIMIT)?;
    Ok(GuestFlood::There(job))
}

pub(crate) fn datagrams(lab: &Lab, from: At<'_>, to: At<'_>, count: u16, size: u16) -> Result<Carried> {
    let (Some(sender), Some(receiver)) = (machine(lab, from.0)?, machine(lab, to.0)?) else {
        let catcher = lab.netns(to.0).run(|| Catcher::start(to.1))??;
        let at = catcher.address();
        let bursts = (0..count).map(|_| Burst { count: 1, size });
        let pace = Pace::each(Duration::from_millis(1));
        let sent = lab
            .netns(from.0)
            .run(|| send_numbered(from.1, at, bursts, pace))??;
        let caught = catcher.wait_for(sent, crate::PATIENCE);
        return Ok(Carried {
            sent,
            arrived: caught.datagrams,
            damaged: caught.damaged,
        });
    };
    let limit = crate::PATIENCE.as_millis().to_string();
    let mut catcher = receiver.start_probe(&["catch", &to.1.to_string(), &count.to_string(), &limit], "")?;
    let at = catcher.first_line(COMMAND_LIMIT)?;
    let (count, size) = (count.to_string(), size.to_string());
    let sent = sender.probe(
        &["burst", &from.1.to_string(), &at, &count, "1", &size],
        COMMAND_LIMIT,
    )?;
    let caught: Came = serde_json::from_str(&catcher.finish(COMMAND_LIMIT)?.stdout)?;
    Ok(Carried {
        sent,
        arrived: caught.datagrams,
        damaged: caught.damaged,
    })
}

pub(crate) fn listen(lab: &Lab, guest: &str, at: SocketAddr) -> Result<Listener> {
    let Some(machine) = machine(lab, guest)? else {
        return Ok(Listener::Here(lab.netns(guest).run(|| UdpSocket::bind(at))??));
    };
    let mut job = machine.start_probe(&["hear", &at.to_string()], "")?;
    job.first_line(COMMAND_LIMIT)?;
    Ok(Listener::There(job))
}

/// What comes in at the guest's interface; for a machine, what leaves the host by its tap, which is the same frames.
pub(crate) fn watch(
    lab: &Lab,
    guest: &str,
    takes: impl Fn(&[u8]) -> bool + Send + 'static,
) -> Result<Sniffer> {
    let sniffer = match lab.plan().settings.vms {
        Vms::Netns => lab.netns(guest).run(|| Sniffer::start(GUEST_INTERFACE, takes))?,
        Vms::Qemu => {
            let known = GUESTS.iter().find(|known| known.name == guest);
            let known = known.with_context(|| format!("the laboratory has no guest {guest}"))?;
            let host = Host { number: known.host }.name();
            lab.netns(&host)
                .run(|| Sniffer::start_leaving(&known.tap(), takes))?
        }
    };
    sniffer.with_context(|| format!("watching what arrives at {guest}"))
}
