//! The overlay's UDP port, and the VXLAN device that has it.
//!
//! The programs take the small frames off the uplink before any socket sees them; what arrives big goes on to
//! this device, whose own program verifies it again. The device also keeps the port: no other program can take
//! it, nor can another overlay lose frames to us. Like the taps it outlives the agent, and is known by its alias.
//!
//! It has no address, stands in no bridge and learns nothing. It is down until its program holds it: without the
//! program, what comes out of it would enter the host's stack.

use crate::{
    net::{Link, Net, NetError, Vxlan},
    taps::{self, TapError},
};
use std::fs;

/// Its name; there is one agent per network namespace.
pub const DEVICE: &str = "pgvx0";
/// Says that the device is ours.
const ALIAS: &str = "pairgate overlay";

/// The VXLAN device of this host, and the port that goes with it.
#[derive(Clone, Debug)]
pub struct OverlayPort {
    index: u32,
    port: u16,
}

/// Why the port is not ours.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    #[error(
        "UDP port {port} is in use by {owner}; stop that, or give this host another overlay port in its record"
    )]
    Taken { port: u16, owner: String },
    #[error(
        "an interface {DEVICE} exists already and is not the VXLAN device of a pairgate-agent; rename or remove it"
    )]
    Foreign,
    #[error("the VXLAN device {DEVICE} vanished while it was being made")]
    Vanished,
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Silence(#[from] TapError),
}

impl OverlayPort {
    /// The device of an earlier agent, or a new one, which is down.
    pub async fn ready(net: &Net, port: u16) -> Result<Self, PortError> {
        if let Some(link) = net.link_by_name(DEVICE).await? {
            let index = link.index;
            match standing(&link, port) {
                Standing::Good => {
                    claim(net, index).await?;
                    return Ok(Self { index, port });
                }
                Standing::Outdated => net.delete(index).await?,
                Standing::Foreign => return Err(PortError::Foreign),
            }
        }
        let index = make(net, port, None).await?;
        Ok(Self { index, port })
    }

    /// Number of the interface, which stays the same while the agent lives.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Another VXLAN device of this host that is set to our port. It cannot come up beside ours, which has the port; were
    /// it to share it, we would take its frames. Named, so that its owner learns why.
    pub fn rivals<'a>(&self, links: &'a [Link]) -> impl Iterator<Item = &'a Link> {
        let (index, port) = (self.index, self.port);
        links
            .iter()
            .filter(move |link| link.index != index && link.vxlan.is_some_and(|vxlan| vxlan.port == port))
    }

    /// Brings the device up, which takes the port. To be called when its program holds it, and not before.
    pub async fn open(&self, net: &Net) -> Result<(), PortError> {
        match net.set_up(self.index).await {
            Err(error) if error.is_taken() => Err(taken(net, self.port).await),
            done => Ok(done?),
        }
    }

    /// Whether the device is there as it must be, and up.
    pub async fn is_open(&self, net: &Net) -> Result<bool, NetError> {
        let link = net.link(self.index).await?;
        Ok(link.is_some_and(|link| {
            link.name == DEVICE && link.is_up && standing(&link, self.port) == Standing::Good
        }))
    }

    /// Makes the device once more, down and with the number that the programs know, if somebody has taken it away.
    pub async fn make_again(&self, net: &Net) -> Result<(), PortError> {
        match net.link_by_name(DEVICE).await? {
            Some(link) if link.index == self.index && standing(&link, self.port) == Standing::Good => {
                return Ok(());
            }
            Some(link) if standing(&link, self.port) == Standing::Foreign => return Err(PortError::Foreign),
            Some(link) => net.delete(link.index).await?,
            None => {}
        }
        make(net, self.port, Some(self.index)).await.map(drop)
    }
}

/// Takes the device away, and with it the hold on the port. One that is not ours stays.
pub async fn remove(net: &Net) -> Result<(), NetError> {
    match net.link_by_name(DEVICE).await? {
        Some(link) if link.alias.as_deref() == Some(ALIAS) => net.delete(link.index).await,
        Some(_) | None => Ok(()),
    }
}

/// What an interface with our device's name is to us.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Good,
    /// Ours, and set to something else: the host's record names another port now.
    Outdated,
    Foreign,
}

fn standing(link: &Link, port: u16) -> Standing {
    let good = link.vxlan == Some(wanted(port));
    match link.alias.as_deref() {
        Some(ALIAS) if good => Standing::Good,
        Some(ALIAS) => Standing::Outdated,
        // An agent died between making it and naming it.
        None if good && !link.is_up => Standing::Good,
        Some(_) | None => Standing::Foreign,
    }
}

fn wanted(port: u16) -> Vxlan {
    Vxlan {
        port,
        external: true,
        group_policy: true,
        learning: false,
        zero_checksum_6: true,
    }
}

async fn make(net: &Net, port: u16, index: Option<u32>) -> Result<u32, PortError> {
    match net.make_vxlan(DEVICE, wanted(port), index).await {
        Err(error) if error.is_taken() => return Err(taken(net, port).await),
        done => done?,
    }
    let link = net.link_by_name(DEVICE).await?.ok_or(PortError::Vanished)?;
    claim(net, link.index).await?;
    Ok(link.index)
}

async fn claim(net: &Net, index: u32) -> Result<(), PortError> {
    net.set_alias(index, ALIAS).await?;
    net.refuse_own_addresses(index).await?;
    if let Some(link) = net.link(index).await? {
        taps::silence(net, &link).await?;
    }
    Ok(())
}

/// Names who has the port.
async fn taken(net: &Net, port: u16) -> PortError {
    let mut names = net.links().await.unwrap_or_default().into_iter();
    let other = names.find(|link| link.name != DEVICE && link.vxlan.is_some_and(|vxlan| vxlan.port == port));
    let owner = match other {
        Some(link) => format!("the VXLAN interface {}", link.name.escape_debug()),
        None => owner(port).unwrap_or_else(|| "the kernel".to_owned()),
    };
    PortError::Taken { port, owner }
}

/// The program that has a socket on this port, by the kernel's list of sockets and each program's open files.
fn owner(port: u16) -> Option<String> {
    let inode = ["/proc/net/udp", "/proc/net/udp6"]
        .iter()
        .find_map(|list| inode_of(&fs::read_to_string(list).ok()?, port))?;
    let socket = format!("socket:[{inode}]");
    let programs = fs::read_dir("/proc").ok()?.flatten();
    let is_process = |name: &std::ffi::OsStr| name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
    let mut programs = programs.filter(|entry| {
        if !is_process(&entry.file_name()) {
            return false;
        }
        let files = fs::read_dir(entry.path().join("fd")).into_iter().flatten();
        files
            .flatten()
            .any(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == socket.as_str()))
    });
    let program = programs.next()?;
    let name = fs::read_to_string(program.path().join("comm")).ok()?;
    Some(format!(
        "{} (process {})",
        name.trim_end().escape_debug(),
        program.file_name().to_string_lossy()
    ))
}

/// Lines are `sl local_address rem_address st queues tr:tm retrnsmt uid timeout inode …`, addresses end in
/// `:PORT` in hexadecimal.
fn inode_of(list: &str, port: u16) -> Option<u64> {
    let ending = format!(":{port:04X}");
    list.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        let inode = fields.nth(7)?.parse().ok()?;
        (local.ends_with(&ending) && inode != 0).then_some(inode)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn the_owner_of_a_port_is_named() {
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let own = std::process::id().to_string();
        assert!(
            owner(port).unwrap().contains(&own),
            "nobody could tell what to stop"
        );
        drop(other);
        assert_eq!(owner(port), None);
    }

    #[test]
    fn another_device_with_our_port_is_told_from_ours_and_from_those_with_another() {
        let device = |index, port| Link {
            index,
            vxlan: Some(wanted(port)),
            ..Link::default()
        };
        let links = [device(3, 4789), device(4, 4789), device(5, 4790), Link::default()];
        let own = OverlayPort { index: 3, port: 4789 };
        let rivals: Vec<u32> = own.rivals(&links).map(|link| link.index).collect();
        assert_eq!(rivals, [4]);
    }

    #[test]
    fn only_a_device_that_an_agent_made_is_used_or_replaced() {
        let ours = Link {
            alias: Some(ALIAS.to_owned()),
            vxlan: Some(wanted(4789)),
            is_up: true,
            ..Link::default()
        };
        assert_eq!(standing(&ours, 4789), Standing::Good);
        assert_eq!(standing(&ours, 4790), Standing::Outdated);
        let nameless = Link {
            alias: None,
            ..ours.clone()
        };
        assert_eq!(standing(&nameless, 4789), Standing::Foreign, "it serves somebody");
        let half_made = Link {
            is_up: false,
            ..nameless
        };
        assert_eq!(standing(&half_made, 4789), Standing::Good);
        let learning = Link {
            vxlan: Some(Vxlan {
                learning: true,
                ..wanted(4789)
            }),
            ..ours
        };
        assert_eq!(standing(&learning, 4789), Standing::Outdated);
    }
}
