//! The probes as programs, for guests that are machines of their own: the same code, called by command line, and what
//! they find as JSON on standard output.

use super::{Burst, Catcher, EchoServer, Flood, Pace, RawSender, Sniffer, exchange, ping, send_numbered};
use anyhow::{Context, Result};
use clap::Subcommand;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

/// How long a probe that goes on until it is killed goes on at most.
const LONGEST: Duration = Duration::from_secs(600);

#[derive(Debug, Subcommand)]
pub enum Probe {
    /// Echo requests, one after the other; says how many were answered
    Ping {
        to: IpAddr,
        count: u32,
        payload: usize,
        limit_ms: u64,
    },
    /// Sends back what comes by TCP, until it is killed; says its address first
    Echo { at: IpAddr },
    /// Sends so many bytes to such a server; says how many came back as they went
    Exchange {
        with: SocketAddr,
        len: usize,
        limit_ms: u64,
    },
    /// Takes in numbered datagrams; says its address, and then what came
    Catch { at: IpAddr, count: u64, limit_ms: u64 },
    /// Sends numbered datagrams, `together` of this size as one packet; says how many
    Burst {
        from: IpAddr,
        to: SocketAddr,
        packets: usize,
        together: u16,
        size: u16,
    },
    /// Sends datagrams until it is killed; says how many every tenth of a second
    Flood {
        from: SocketAddr,
        to: SocketAddr,
        per_second: u32,
    },
    /// Takes datagrams in and says nothing of them, until it is killed; says its address first
    Hear { at: SocketAddr },
    /// Says each frame that comes in and holds these bytes (hexadecimal), until it is killed
    Listen { interface: String, holds: String },
    /// Sends the frames that it reads, one in hexadecimal a line; says how many were taken and refused
    Send {
        interface: String,
        /// Each frame begins with a virtio-net header of 10 bytes
        #[arg(long)]
        with_header: bool,
    },
}

/// What `ping` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    pub sent: u32,
    pub received: u32,
}

/// What `catch` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Came {
    pub datagrams: u64,
    pub damaged: u64,
}

/// What `send` did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    pub sent: u64,
    /// By the sender's own kernel.
    pub refused: u64,
}

/// Runs one in this network namespace.
pub fn run(probe: Probe) -> Result<()> {
    match probe {
        Probe::Ping {
            to,
            count,
            payload,
            limit_ms,
        } => {
            let echoes = ping(to, count, payload, Duration::from_millis(limit_ms))?;
            say(&Answered {
                sent: echoes.sent,
                received: echoes.received,
            })
        }
        Probe::Echo { at } => {
            let server = EchoServer::start(at)?;
            line(&server.address())?;
            std::thread::sleep(LONGEST);
            Ok(())
        }
        Probe::Exchange { with, len, limit_ms } => {
            say(&exchange(with, len, Duration::from_millis(limit_ms))?)
        }
        Probe::Catch { at, count, limit_ms } => {
            let catcher = Catcher::start(at)?;
            line(&catcher.address())?;
            let caught = catcher.wait_for(count, Duration::from_millis(limit_ms));
            say(&Came {
                datagrams: caught.datagrams,
                damaged: caught.damaged,
            })
        }
        Probe::Burst {
            from,
            to,
            packets,
            together,
            size,
        } => {
            let bursts = (0..packets).map(|_| Burst {
                count: together,
                size,
            });
            say(&send_numbered(
                from,
                to,
                bursts,
                Pace::each(Duration::from_millis(2)),
            )?)
        }
        Probe::Flood { from, to, per_second } => {
            let flood = Flood::start(from, to, per_second, 64, LONGEST)?;
            loop {
                std::thread::sleep(Duration::from_millis(100));
                line(&flood.sent())?;
            }
        }
        Probe::Hear { at } => {
            let socket = UdpSocket::bind(at)?;
            line(&socket.local_addr()?)?;
            std::thread::sleep(LONGEST);
            Ok(())
        }
        Probe::Listen { interface, holds } => listen(&interface, &holds),
        Probe::Send {
            interface,
            with_header,
        } => send(&interface, with_header),
    }
}

fn listen(interface: &str, holds: &str) -> Result<()> {
    let wanted = bytes(holds).context("what frames must hold is no hexadecimal text")?;
    let (found, frames) = std::sync::mpsc::channel();
    let _sniffer = Sniffer::start(interface, move |frame| {
        if frame.windows(wanted.len()).any(|window| window == wanted) {
            let _ = found.send(text(frame)); // nobody listens at the end
        }
        false
    })?;
    line(&"listening")?;
    while let Ok(frame) = frames.recv() {
        line(&frame)?;
    }
    Ok(())
}

fn send(interface: &str, with_header: bool) -> Result<()> {
    let sender = RawSender::open(interface)?;
    if with_header {
        sender.announce_header()?;
    }
    let mut taken = Taken::default();
    for frame in std::io::stdin().lock().lines() {
        let frame = frame?;
        let frame = bytes(frame.trim()).with_context(|| format!("`{frame}` is no hexadecimal text"))?;
        match sender.send(&frame) {
            Ok(()) => taken.sent += 1,
            Err(_) => taken.refused += 1,
        }
    }
    say(&taken)
}

fn say(what: &impl Serialize) -> Result<()> {
    line(&serde_json::to_string(what)?)
}

/// Whole, and at once: who reads may wait for it.
fn line(what: &impl std::fmt::Display) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{what}")
        .and_then(|()| out.flush())
        .context("nobody listens")
}

/// As hexadecimal text.
pub fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Of hexadecimal text.
pub fn bytes(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_through_text_as_they_were() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(bytes(&text(&all)).unwrap(), all);
        for wrong in ["0", "0g", "é"] {
            assert!(bytes(wrong).is_none(), "{wrong}");
        }
    }
}
