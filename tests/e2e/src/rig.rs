//! A laboratory, and what tests ask of it.

use crate::{
    MARK, StolenHost,
    guests::{self, At, Carried, GuestFlood, Listener},
};
use anyhow::{Context, Result};
use pairgate_api::{local::Drops, rest};
use pairgate_lab::{
    guard::Lab,
    patience,
    plan::METRICS,
    probe::{Echoes, Sniffer},
    record::Wishes,
};
use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

pub const WEB1: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 11);
pub const DB1: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 21);
pub const DB2: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 22);
pub const WEB1_6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x11);
pub const DB1_6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x21);
pub const DB2_6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x22);

/// How long a thing may take that takes milliseconds on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// The port that floods use.
const FLOOD_PORT: u16 = 9;

/// A running laboratory.
#[derive(Debug)]
pub struct Rig {
    pub lab: Lab,
}

impl Rig {
    /// A laboratory of this test's own. What its guests are, [`GUESTS_ARE`](crate::GUESTS_ARE) says if the test does not.
    pub fn start(name: &str, mut wishes: Wishes) -> Result<Self> {
        wishes.vms = wishes.vms.or(guests::wanted()?);
        Ok(Self {
            lab: Lab::for_test(name, wishes)?,
        })
    }

    /// One with the settings that an installation has by itself.
    pub fn start_default(name: &str) -> Result<Self> {
        Self::start(name, Wishes::default())
    }

    /// Echo requests from a guest, one after the other.
    pub fn ping(&self, from: &str, to: impl Into<IpAddr>, count: u32, payload: usize) -> Result<Echoes> {
        guests::echoes(&self.lab, from, to.into(), count, payload)
    }

    /// Whether an echo is answered now.
    pub fn answers(&self, from: &str, to: impl Into<IpAddr>) -> Result<bool> {
        Ok(self.ping(from, to, 1, 56)?.all())
    }

    /// Sends echoes until one is answered: a refusal may still be remembered, or a host not settled.
    pub fn await_answer(&self, from: &str, to: impl Into<IpAddr>) -> Result<()> {
        let to = to.into();
        patience::until(PATIENCE, &format!("an answer to {from} from {to}"), || {
            Ok(self.answers(from, to)?.then_some(()))
        })
    }

    /// Sends `len` bytes over TCP from one guest to an echo server in another; how many came back unchanged.
    pub fn tcp(
        &self,
        from: &str,
        to: (&str, impl Into<IpAddr>),
        len: usize,
        patience: Duration,
    ) -> Result<io::Result<usize>> {
        guests::stream(&self.lab, from, (to.0, to.1.into()), len, patience)
    }

    /// A bounded flood of datagrams from a guest.
    pub fn flood(&self, from: (&str, Ipv4Addr), to: Ipv4Addr, per_second: u32) -> Result<GuestFlood> {
        let (source, target) = (SocketAddr::from((from.1, 0)), SocketAddr::from((to, FLOOD_PORT)));
        guests::flood(&self.lab, from.0, source, target, per_second, 2 * PATIENCE)
    }

    /// Somebody in a guest who takes such a flood in, and says nothing.
    pub fn listen(&self, guest: At<'_>) -> Result<Listener> {
        guests::listen(&self.lab, guest.0, SocketAddr::from((guest.1, FLOOD_PORT)))
    }

    /// Numbered datagrams of this size from one guest to another.
    pub fn datagrams(&self, from: At<'_>, to: At<'_>, count: u16, size: u16) -> Result<Carried> {
        guests::datagrams(&self.lab, from, to, count, size)
    }

    /// Watches what arrives at a guest.
    pub fn watch_guest(
        &self,
        guest: &str,
        takes: impl Fn(&[u8]) -> bool + Send + 'static,
    ) -> Result<Sniffer> {
        guests::watch(&self.lab, guest, takes)
    }

    /// Watches what arrives on an interface of a namespace of the plan.
    pub fn watch(
        &self,
        netns: &str,
        interface: &str,
        takes: impl Fn(&[u8]) -> bool + Send + 'static,
    ) -> Result<Sniffer> {
        let sniffer = self.lab.netns(netns).run(|| Sniffer::start(interface, takes))?;
        sniffer.with_context(|| format!("watching {interface} in {netns}"))
    }

    /// Packets that a host has dropped for a reason, over all guests.
    pub fn dropped(&self, host: &str, direction: &str, reason: &str) -> Result<u64> {
        let drops: Drops = serde_json::from_value(self.lab.json(&["drops", "--host", host])?)?;
        let counts = drops
            .drops
            .iter()
            .filter(|count| count.direction == direction && count.reason == reason);
        Ok(counts.map(|count| count.packets).sum())
    }

    /// Waits until a host has dropped at least so many packets for a reason.
    pub fn await_dropped(&self, host: &str, direction: &str, reason: &str, at_least: u64) -> Result<()> {
        patience::until(
            PATIENCE,
            &format!("{host} counts {at_least} packets {direction} as {reason}"),
            || Ok((self.dropped(host, direction, reason)? >= at_least).then_some(())),
        )
    }

    /// What an agent shows at `/metrics`.
    pub fn metrics(&self, host: &str) -> Result<String> {
        let text = self.lab.netns(host).run(|| -> io::Result<String> {
            let mut stream = TcpStream::connect(METRICS)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        })?;
        text.with_context(|| format!("reading the metrics of {host}"))
    }

    /// Packets that a host's programs have let pass in a direction.
    pub fn passed(&self, host: &str, direction: &str) -> Result<u64> {
        let text = self.metrics(host)?;
        let says = |line: &&str| {
            line.starts_with("pairgate_packets_total{")
                && line.contains("verdict=\"pass\"")
                && line.contains(&format!("direction=\"{direction}\""))
        };
        let counts = text
            .lines()
            .filter(says)
            .filter_map(|line| line.rsplit(' ').next());
        Ok(counts.filter_map(|count| count.parse::<u64>().ok()).sum())
    }

    /// The registry's view.
    pub fn status(&self) -> Result<rest::Status> {
        Ok(serde_json::from_value(self.lab.json(&["status"])?)?)
    }

    /// A host's identity in the wrong hands.
    pub fn steal(&self, host: &str) -> Result<StolenHost> {
        let plan = self.lab.plan();
        StolenHost::new(&plan.netns(host), &plan.host_dir(host), &plan.registry())
    }

    /// What the registry knows of a VM.
    pub fn vm(&self, name: &str) -> Result<rest::Vm> {
        Ok(serde_json::from_value(self.lab.json(&["vm", "show", name])?)?)
    }

    /// A VM's MAC address.
    pub fn mac(&self, name: &str) -> Result<[u8; 6]> {
        let text = self.vm(name)?.mac;
        let bytes: Option<Vec<u8>> = text
            .split(':')
            .map(|part| u8::from_str_radix(part, 16).ok())
            .collect();
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .with_context(|| format!("{name}'s MAC is {text}"))
    }
}

/// Whether a frame holds the mark of the forged ones, at any depth.
pub fn carries_mark(frame: &[u8]) -> bool {
    frame.windows(MARK.len()).any(|window| window == MARK)
}

/// Whether a frame is an overlay frame to this host.
pub fn vxlan(to: Ipv4Addr) -> impl Fn(&[u8]) -> bool + Send + 'static {
    move |frame| {
        frame.get(12..14) == Some(&[8, 0])
            && frame.get(23) == Some(&17)
            && frame.get(30..34) == Some(&to.octets())
            && frame.get(36..38) == Some(&4789_u16.to_be_bytes())
    }
}
