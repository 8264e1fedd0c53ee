//! The file: what should be.
//!
//! Everything that can be wrong with the file alone is found here, with the number of its line; unknown fields
//! are faults, because a misspelt one would silently mean nothing.

use crate::arguments::Name;
use pairgate_api::rest::NetworkChange;
use pairgate_token::Grants;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use toml::Spanned;

/// Longest file: some hundred thousand pairs.
const FILE_LIMIT: u64 = 64 << 20;

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(super) line: usize,
    pub(super) text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

#[derive(Debug)]
pub(super) struct WantedNetwork {
    pub(super) line: usize,
    pub(super) name: Name,
    pub(super) prefixes: Vec<String>,
    /// What the file says of what guests are told.
    pub(super) told: NetworkChange,
}

#[derive(Debug)]
pub(super) struct WantedVm {
    pub(super) line: usize,
    pub(super) network: Name,
    pub(super) name: Name,
    /// None: the registry chooses.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) mac: Option<String>,
    /// None: not the file's business.
    pub(super) host: Option<Name>,
}

#[derive(Debug)]
pub(super) struct WantedPair {
    pub(super) line: usize,
    pub(super) network: Name,
    /// As the file has them: the first may begin, the second too unless it is one way.
    pub(super) between: [Name; 2],
    pub(super) grants: Grants,
    pub(super) one_way: bool,
}

/// A file without a fault of its own.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(super) networks: Vec<WantedNetwork>,
    pub(super) vms: Vec<WantedVm>,
    pub(super) pairs: Vec<WantedPair>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    network: Vec<RawNetwork>,
    #[serde(default)]
    vm: Vec<RawVm>,
    #[serde(default)]
    pair: Vec<RawPair>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNetwork {
    name: Spanned<Name>,
    prefixes: Vec<String>,
    gateway: Option<Ipv4Addr>,
    dns: Option<Vec<IpAddr>>,
    domain: Option<String>,
    mtu: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVm {
    network: Option<Name>,
    name: Spanned<Name>,
    addresses: Option<Spanned<Vec<IpAddr>>>,
    mac: Option<String>,
    host: Option<Name>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPair {
    network: Option<Name>,
    /// Exactly two; a longer array would lose its rest without a word if this were one of two.
    between: Spanned<Vec<Name>>,
    grant: Option<Spanned<Vec<String>>>,
    #[serde(default)]
    one_way: bool,
}

/// Reads the file, or standard input for `-`.
pub(super) fn read(path: &Path) -> io::Result<String> {
    let from: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path)?)
    };
    let mut text = String::new();
    from.take(FILE_LIMIT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_LIMIT {
        return Err(io::Error::other(format!("it is longer than {FILE_LIMIT} bytes")));
    }
    Ok(text)
}

impl Wanted {
    pub(crate) fn parse(text: &str, default_network: &Name) -> Result<Self, Vec<Fault>> {
        let lines = Lines::of(text);
        let raw: Raw = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| lines.number(span.start));
            let text = error.message().replace('\n', " ");
            vec![Fault { line, text }]
        })?;
        let network = |name: Option<Name>| name.unwrap_or_else(|| default_network.clone());
        let mut pairs = Vec::new();
        for entry in raw.pair {
            let line = lines.number(entry.between.span().start);
            let between = entry.between.into_inner();
            let between = <[Name; 2]>::try_from(between).map_err(|names| {
                let text = format!("a pair has two VMs, not {}", names.len());
                vec![Fault { line, text }]
            })?;
            pairs.push(WantedPair {
                line,
                network: network(entry.network),
                between,
                grants: grants(entry.grant, &lines).map_err(|fault| vec![fault])?,
                one_way: entry.one_way,
            });
        }
        let mut vms = Vec::new();
        for entry in raw.vm {
            vms.push(WantedVm {
                line: lines.number(entry.name.span().start),
                network: network(entry.network),
                name: entry.name.into_inner(),
                addresses: addresses(entry.addresses, &lines).map_err(|fault| vec![fault])?,
                mac: entry.mac,
                host: entry.host,
            });
        }
        let wanted = Self {
            networks: raw
                .network
                .into_iter()
                .map(|entry| WantedNetwork {
                    line: lines.number(entry.name.span().start),
                    name: entry.name.into_inner(),
                    prefixes: entry.prefixes,
                    told: NetworkChange {
                        gateway: entry.gateway,
                        dns: entry.dns,
                        domain: entry.domain.map(|domain| domain.to_ascii_lowercase()),
                        mtu: entry.mtu,
                    },
                })
                .collect(),
            vms,
            pairs,
        };
        let faults = wanted.faults();
        if faults.is_empty() {
            Ok(wanted)
        } else {
            Err(faults)
        }
    }

    /// What is said twice, or contradicts itself.
    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault = |line, text| faults.push(Fault { line, text });
        let mut seen = BTreeMap::new();
        for network in &self.networks {
            if let Some(first) = seen.insert(network.name.as_str(), network.line) {
                fault(
                    network.line,
                    format!("network {} is already in line {first}", network.name),
                );
            }
        }
        let mut seen = BTreeMap::new();
        for vm in &self.vms {
            let key = (vm.network.as_str(), vm.name.as_str());
            if let Some(first) = seen.insert(key, vm.line) {
                fault(
                    vm.line,
                    format!(
                        "VM {} of network {} is already in line {first}",
                        vm.name, vm.network
                    ),
                );
            }
        }
        let mut seen = BTreeMap::new();
        for pair in &self.pairs {
            let [one, other] = &pair.between;
            if one == other {
                fault(pair.line, format!("a pair has two VMs, and this is {one} twice"));
            } else if let Some(first) = seen.insert(pair.key(), pair.line) {
                fault(
                    pair.line,
                    format!("the pair of {one} and {other} is already in line {first}"),
                );
            }
        }
        faults
    }

    /// Every network that the file says something about.
    pub(super) fn networks_mentioned(&self) -> BTreeSet<&Name> {
        let networks = self.networks.iter().map(|network| &network.name);
        let vms = self.vms.iter().map(|vm| &vm.network);
        networks
            .chain(vms)
            .chain(self.pairs.iter().map(|pair| &pair.network))
            .collect()
    }
}

/// An empty list would mean nothing, or everything: neither can be what was meant.
fn addresses(given: Option<Spanned<Vec<IpAddr>>>, lines: &Lines) -> Result<Vec<IpAddr>, Fault> {
    let Some(given) = given else {
        return Ok(Vec::new());
    };
    let line = lines.number(given.span().start);
    let fault = |text: String| Fault { line, text };
    let mut addresses: Vec<IpAddr> = given.into_inner().iter().map(IpAddr::to_canonical).collect();
    if addresses.is_empty() {
        return Err(fault(
            "a VM has one address at least: leave addresses out to have them chosen".into(),
        ));
    }
    addresses.sort_unstable();
    if let Some(twice) = addresses.windows(2).find_map(|two| match two {
        [one, other] if one == other => Some(one),
        _ => None,
    }) {
        return Err(fault(format!("the address {twice} is given twice")));
    }
    Ok(addresses)
}

fn grants(given: Option<Spanned<Vec<String>>>, lines: &Lines) -> Result<Grants, Fault> {
    let Some(given) = given else {
        return Ok(Grants::all());
    };
    let line = lines.number(given.span().start);
    let fault = |text: String| Fault { line, text };
    if given.get_ref().is_empty() {
        return Err(fault(
            "an empty grant is no grant: leave it out to allow everything".into(),
        ));
    }
    Grants::from_texts(given.get_ref()).map_err(|error| fault(error.to_string()))
}

impl WantedPair {
    /// The same for both spellings of a pair.
    pub(super) fn key(&self) -> (&str, [&str; 2]) {
        let [one, other] = &self.between;
        (self.network.as_str(), unordered(one.as_str(), other.as_str()))
    }
}

pub(super) fn unordered<'a>(one: &'a str, other: &'a str) -> [&'a str; 2] {
    if one <= other { [one, other] } else { [other, one] }
}

/// Where lines begin, so that each number is found in little time however long the file is.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self(std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect())
    }

    fn number(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packaged_example_is_a_file_that_can_be_applied() {
        let example = include_str!("../../../packaging/examples/site.toml");
        assert!(parse(example).is_ok(), "{:?}", parse(example).err());
    }

    fn parse(text: &str) -> Result<Wanted, Vec<Fault>> {
        Wanted::parse(text, &"default".parse().unwrap())
    }

    #[test]
    fn every_fault_is_told_with_its_line() {
        for (text, line, words) in [
            (
                "[[vm]]\nname = \"a\"\nadress = \"10.0.0.1\"",
                3,
                "unknown field `adress`",
            ),
            ("\n[[vms]]\nname = \"a\"", 2, "unknown field `vms`"),
            ("[[vm]]\nname = \"A\"", 2, "a name is 1 to 63"),
            ("[[vm]]\nname = \"a\"\n\nhost = \"../h\"", 4, "a name is 1 to 63"),
            (
                "[[vm]]\nname = \"a\"\naddresses = [\"10.0.0\"]",
                3,
                "invalid IP address",
            ),
            ("[[network]]\nname = \"n\"", 1, "missing field `prefixes`"),
            (
                "[[network]]\nname = \"n\"\nprefixes = []\ndns = [\"one\"]",
                4,
                "invalid IP address",
            ),
            ("[[vm]]\nname = \"a\"\naddresses = []", 3, "leave addresses out"),
            (
                "[[vm]]\nname = \"a\"\naddresses = [\"fd77::1\", \"fd77:0::1\"]",
                3,
                "fd77::1 is given twice",
            ),
            (
                "[[pair]]\nbetween = [\"a\", \"b\"]\ngrant = []",
                3,
                "an empty grant",
            ),
            (
                "[[pair]]\nbetween = [\"a\", \"b\"]\ngrant = [\"tcp/x\"]",
                3,
                "`tcp/x` is no grant",
            ),
            (
                "[[pair]]\nbetween = [\"a\", \"b\"]\none_way = 1",
                3,
                "expected a boolean",
            ),
            ("[[pair]]\nbetween = [\"a\"]", 2, "not 1"),
            ("[[pair]]\nbetween = [\"a\", \"b\", \"c\"]", 2, "not 3"),
            ("[[pair]]\nbetween = [\"a\", \"a\"]", 2, "a twice"),
            (
                "# x\n[[pair]]\nbetween = [\"a\", \"b\"]\n[[pair]]\nbetween = [\"b\", \"a\"]",
                5,
                "already in line 3",
            ),
            (
                "[[vm]]\nname = \"a\"\n[[vm]]\nname = \"a\"\nnetwork = \"default\"",
                4,
                "already in line 2",
            ),
            (
                "[[network]]\nname=\"n\"\nprefixes=[]\n[[network]]\nname=\"n\"\nprefixes=[]",
                5,
                "already in line 2",
            ),
            ("[[vm]\nname", 1, ""),
        ] {
            let faults = parse(text).expect_err(text);
            assert_eq!(faults.len(), 1, "{text}: {faults:?}");
            assert_eq!(faults[0].line, line, "{text}: {faults:?}");
            assert!(faults[0].text.contains(words), "{text}: {faults:?}");
            assert!(!faults[0].text.contains('\n'), "{faults:?}");
        }
    }

    #[test]
    fn the_same_name_in_two_networks_is_two_vms_and_the_default_network_fills_gaps() {
        let wanted = parse(
            "[[vm]]\nname = \"a\"\n[[vm]]\nname = \"a\"\nnetwork = \"blue\"\n[[pair]]\nnetwork = \"red\"\nbetween = [\"a\", \"b\"]",
        )
        .unwrap();
        let mentioned: Vec<_> = wanted
            .networks_mentioned()
            .into_iter()
            .map(Name::as_str)
            .collect();
        assert_eq!(mentioned, ["blue", "default", "red"]);
    }

    #[test]
    fn an_empty_file_wants_nothing() {
        assert!(parse("").unwrap().networks_mentioned().is_empty());
    }
}
