//! What a laboratory consists of: every name and every address, derived from a prefix and a few settings.
//!
//! ```text
//!            pg-net: bridge ul0, 192.0.2.0/24, 2001:db8:0:1::/64
//!      ┌──────────┬────────────────┬─────────────────┐
//!    up0        up0              up0               (a stranger)
//!  pg-reg      pg-h1            pg-h2
//!  .254        .1  tap-web1     .2  tap-db1  tap-db2
//!                   ║ cable          ║ cable   ║ cable
//!              pg-web1 eth0     pg-db1 eth0  pg-db2 eth0
//!              10.77.0.11       10.77.0.21   10.77.0.22
//!              fd77::11         fd77::21     fd77::22
//! ```

use crate::settings::{Settings, Underlay, Vms};
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

/// The bridge that joins the hosts.
pub const BRIDGE: &str = "ul0";
/// A host's interface on the underlay.
pub const UPLINK: &str = "up0";
/// A guest's only interface.
pub const GUEST_INTERFACE: &str = "eth0";
/// What the underlay carries: a guest's packet and the header around it.
pub const UNDERLAY_MTU: u32 = 1600;
/// Of the guests' interfaces.
pub const GUEST_MTU: u32 = 1500;
/// Prefix length of the underlay's IPv4 addresses.
pub const UNDERLAY_PREFIX_4: u8 = 24;
/// Prefix length of the underlay's IPv6 addresses.
pub const UNDERLAY_PREFIX_6: u8 = 64;
/// The tenant network that exists from the start.
pub const NETWORK: &str = "default";
/// Its prefixes.
pub const NETWORK_PREFIXES: [&str; 2] = ["10.77.0.0/24", "fd77::/64"];
/// Prefix length of the guests' IPv4 addresses.
pub const GUEST_PREFIX: u8 = 24;
/// Prefix length of the guests' IPv6 addresses.
pub const GUEST_PREFIX_6: u8 = 64;
/// Where the registry listens.
pub const REGISTRY_PORT: u16 = 7443;
/// Where an agent shows its metrics, on its own host.
pub const METRICS: &str = "127.0.0.1:9464";
/// What the guests believe to be the whole world's MAC.
pub const GATEWAY_MAC: [u8; 6] = [0x02, 0x50, 0x47, 0, 0, 1];

/// The registry's number on the underlay.
const REGISTRY_NUMBER: u8 = 254;
/// The underlay's addresses from 201 up are for others.
const MOST_HOSTS: u8 = 200;
/// Numbers that strangers may take.
pub const STRANGERS: std::ops::RangeInclusive<u8> = 240..=250;

/// Distinguishes laboratories: the start of every namespace's name.
///
/// Starts with `pg`, ends with its only `-`, so that no prefix is the beginning of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix(String);

impl Prefix {
    /// Of the laboratory that `lab up` makes.
    pub fn lab() -> Self {
        Self("pg-".to_owned())
    }

    /// Of the demo's own laboratory.
    pub fn demo() -> Self {
        Self("pgd-".to_owned())
    }

    /// Any other.
    pub fn new(text: &str) -> Result<Self> {
        let stem = text.strip_suffix('-').unwrap_or_default();
        let plain = stem
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        ensure!(
            stem.starts_with("pg") && stem.len() <= 16 && plain,
            "`{text}` is no prefix of a laboratory: it must be like `pgt7-`"
        );
        Ok(Self(text.to_owned()))
    }

    /// As it stands before a name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the dash: a folder's name.
    pub fn stem(&self) -> &str {
        self.0.trim_end_matches('-')
    }
}

impl TryFrom<String> for Prefix {
    type Error = anyhow::Error;
    fn try_from(text: String) -> Result<Self> {
        Self::new(&text)
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.0
    }
}

/// A guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guest {
    pub name: &'static str,
    pub address: Ipv4Addr,
    pub address_6: Ipv6Addr,
    /// Number of the host on which it is placed at the start.
    pub host: u8,
}

/// The guests of every laboratory.
pub const GUESTS: [Guest; 3] = [
    Guest {
        name: "web1",
        address: Ipv4Addr::new(10, 77, 0, 11),
        address_6: Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x11),
        host: 1,
    },
    Guest {
        name: "db1",
        address: Ipv4Addr::new(10, 77, 0, 21),
        address_6: Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x21),
        host: 2,
    },
    Guest {
        name: "db2",
        address: Ipv4Addr::new(10, 77, 0, 22),
        address_6: Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x22),
        host: 2,
    },
];

/// The only pair that is allowed at the start.
pub const PAIR: (&str, &str) = ("web1", "db1");

impl Guest {
    /// Its addresses, each with the length of its prefix.
    pub fn addresses(&self) -> [(IpAddr, u8); 2] {
        [
            (self.address.into(), GUEST_PREFIX),
            (self.address_6.into(), GUEST_PREFIX_6),
        ]
    }

    /// The interface through which its host sees it; every name here fits into 15 bytes.
    pub fn tap(&self) -> String {
        format!("tap-{}", self.name)
    }
}

/// A host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    pub number: u8,
}

impl Host {
    pub fn name(self) -> String {
        format!("h{}", self.number)
    }

    pub fn address(self) -> Ipv4Addr {
        underlay_4(self.number)
    }

    pub fn address_6(self) -> Ipv6Addr {
        underlay_6(self.number)
    }

    /// The address that its record carries.
    pub fn recorded(self, underlay: Underlay) -> IpAddr {
        match underlay {
            Underlay::V4 => self.address().into(),
            Underlay::V6 => self.address_6().into(),
        }
    }
}

/// The underlay's IPv4 address with this number.
pub fn underlay_4(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, number)
}

/// The underlay's IPv6 address whose last group reads like this number.
pub fn underlay_6(number: u8) -> Ipv6Addr {
    let n = u16::from(number);
    let reads_alike = ((n / 100) << 8) | ((n / 10 % 10) << 4) | (n % 10);
    Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, reads_alike)
}

/// A laboratory: who it is, where it keeps its things, how it is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub prefix: Prefix,
    /// Absolute. Everything the laboratory writes lies here, save sockets and pins.
    pub state_dir: PathBuf,
    pub settings: Settings,
}

impl Plan {
    pub fn new(prefix: Prefix, state_dir: &Path, settings: Settings) -> Result<Self> {
        let most_used = GUESTS.iter().map(|guest| guest.host).max().unwrap_or(1);
        ensure!(
            (most_used..=MOST_HOSTS).contains(&settings.hosts),
            "{} hosts cannot be: the guests need {most_used}, and the underlay has addresses for {MOST_HOSTS}",
            settings.hosts
        );
        Ok(Self {
            prefix,
            state_dir: std::path::absolute(state_dir)?,
            settings,
        })
    }

    pub fn hosts(&self) -> impl Iterator<Item = Host> + use<> {
        (1..=self.settings.hosts).map(|number| Host { number })
    }

    /// The name of a namespace of this laboratory, such as `pg-h1` for `h1`.
    pub fn netns(&self, short: &str) -> String {
        format!("{}{short}", self.prefix.as_str())
    }

    /// The short names of all namespaces.
    pub fn namespaces(&self) -> Vec<String> {
        let mut names = vec!["net".to_owned(), "reg".to_owned()];
        names.extend(self.hosts().map(Host::name));
        if self.settings.vms == Vms::Netns {
            names.extend(GUESTS.iter().map(|guest| guest.name.to_owned()));
        }
        names
    }

    /// Whether a namespace's name is one that a laboratory with this prefix can have, whatever its settings.
    pub fn owns_netns(prefix: &Prefix, netns: &str) -> bool {
        let Some(short) = netns.strip_prefix(prefix.as_str()) else {
            return false;
        };
        let numbered = |start: &str| {
            short
                .strip_prefix(start)
                .is_some_and(|rest| rest.parse::<u8>().is_ok())
        };
        short == "net"
            || short == "reg"
            || GUESTS.iter().any(|guest| guest.name == short)
            || numbered("h")
            || numbered("stranger")
    }

    pub fn registry_address(&self) -> IpAddr {
        IpAddr::V4(underlay_4(REGISTRY_NUMBER))
    }

    pub fn registry_address_6(&self) -> IpAddr {
        IpAddr::V6(underlay_6(REGISTRY_NUMBER))
    }

    /// Where programs reach the registry.
    pub fn registry(&self) -> String {
        format!("{}:{REGISTRY_PORT}", self.registry_address())
    }

    pub fn registry_dir(&self) -> PathBuf {
        self.state_dir.join("registry")
    }

    pub fn host_dir(&self, host: &str) -> PathBuf {
        self.state_dir.join(host)
    }

    /// Short, whatever the checkout's path: a Unix socket's path may have no more than 107 bytes.
    pub fn run_dir(&self) -> PathBuf {
        run_dir(&self.prefix)
    }

    /// Where an agent pins its maps and links.
    pub fn pin_dir(&self, host: &str) -> PathBuf {
        pin_dir(&self.prefix, self.settings.hosts).0.join(host)
    }
}

/// Where all laboratories keep sockets and locks.
pub const RUN_ROOT: &str = "/run/pairgate-lab";

/// Sockets of the laboratory with this prefix.
pub fn run_dir(prefix: &Prefix) -> PathBuf {
    Path::new(RUN_ROOT).join(prefix.stem())
}

/// Where all laboratories pin.
pub const PIN_ROOT: &str = "/sys/fs/bpf/pairgate-lab";

/// The folder of a laboratory's pins, and the folders in it that are its own: `lab up`'s hosts lie at the top,
/// beside the folders of other laboratories.
pub(crate) fn pin_dir(prefix: &Prefix, hosts: u8) -> (PathBuf, Vec<PathBuf>) {
    let root = Path::new(PIN_ROOT);
    if *prefix == Prefix::lab() {
        let own = (1..=hosts)
            .map(|number| root.join(Host { number }.name()))
            .collect();
        return (root.to_path_buf(), own);
    }
    let folder = root.join(prefix.stem());
    (folder.clone(), vec![folder])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_names_and_addresses_are_as_other_programs_expect() {
        let plan = Plan::new(Prefix::lab(), Path::new("/x"), Settings::default()).unwrap();
        let names: Vec<_> = plan.namespaces().iter().map(|short| plan.netns(short)).collect();
        assert_eq!(
            names,
            [
                "pg-net", "pg-reg", "pg-h1", "pg-h2", "pg-web1", "pg-db1", "pg-db2"
            ]
        );
        assert_eq!(plan.registry(), "192.0.2.254:7443");
        assert_eq!(underlay_6(254).to_string(), "2001:db8:0:1::254");
        assert_eq!(plan.pin_dir("h1"), Path::new("/sys/fs/bpf/pairgate-lab/h1"));
    }

    #[test]
    fn a_laboratory_owns_no_namespace_of_another_and_no_stray_one() {
        let prefix = Prefix::lab();
        for owned in ["pg-net", "pg-h7", "pg-web1", "pg-stranger240"] {
            assert!(Plan::owns_netns(&prefix, owned), "{owned}");
        }
        for foreign in ["pgd-net", "pg-mail", "pg-h", "pg-hx", "net", "pgt1-web1"] {
            assert!(!Plan::owns_netns(&prefix, foreign), "{foreign}");
        }
    }

    #[test]
    fn a_prefix_cannot_name_something_else() {
        for wrong in ["", "-", "pg", "pg-x-", "../pg-", "h1-", "pg a-", "PG-"] {
            assert!(Prefix::new(wrong).is_err(), "{wrong}");
        }
        assert!(Prefix::new("pgt12-").is_ok());
    }

    #[test]
    fn the_guests_hosts_must_exist() {
        let settings = Settings {
            hosts: 1,
            ..Settings::default()
        };
        assert!(Plan::new(Prefix::lab(), Path::new("/x"), settings).is_err());
    }
}
