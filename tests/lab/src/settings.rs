//! What may differ between laboratories.

use anyhow::{Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What a person types to make room for another laboratory.
pub(crate) const TAKE_DOWN: &str = "cargo xtask lab down";

/// Settings not given keep what the programs choose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    pub hosts: u8,
    pub token_life_secs: Option<u64>,
    pub lease_secs: Option<u64>,
    pub idle_secs: Option<u64>,
    pub underlay: Underlay,
    pub ports: Ports,
    pub uplink: Uplink,
    #[serde(default)]
    pub vms: Vms,
    /// Whether guests send big packets and leave checksums to others, as guests with virtio-net do.
    pub offload: bool,
    #[serde(default)]
    pub xdp_guard: XdpGuard,
}

/// Family of the addresses that the host records carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Underlay {
    #[default]
    #[value(name = "4")]
    #[serde(rename = "4")]
    V4,
    #[value(name = "6")]
    #[serde(rename = "6")]
    V6,
}

/// By what a host sees its guests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ports {
    /// Taps that the agent makes, each with a cable to the guest's own tap.
    #[default]
    Tap,
    /// Veth pairs with the taps' names: no user space between guest and host. For benchmarks.
    Veth,
}

/// How the hosts' uplinks behave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Uplink {
    /// As a veth does by itself: big packets cross whole, each at once.
    #[default]
    Plain,
    /// As a real network card does: TCP is cut up, and what arrives is gathered in batches.
    Napi,
}

/// What guests are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vms {
    /// Network namespaces, each joined to its tap by a cable.
    #[default]
    Netns,
    /// Machines of their own: QEMU with a small Linux on each tap.
    Qemu,
}

/// What the agents are told of the guard in their uplinks' drivers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum XdpGuard {
    /// It is never on here, where uplinks are veths.
    #[default]
    Auto,
    On,
    Off,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hosts: 2,
            token_life_secs: None,
            lease_secs: None,
            idle_secs: None,
            underlay: Underlay::default(),
            ports: Ports::default(),
            uplink: Uplink::default(),
            vms: Vms::default(),
            offload: true,
            xdp_guard: XdpGuard::default(),
        }
    }
}

/// What a caller wants set; what is left open stays as it is, or as programs choose.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    pub hosts: Option<u8>,
    pub token_life_secs: Option<u64>,
    pub lease_secs: Option<u64>,
    pub idle_secs: Option<u64>,
    pub underlay: Option<Underlay>,
    pub ports: Option<Ports>,
    pub uplink: Option<Uplink>,
    pub vms: Option<Vms>,
    pub offload: Option<bool>,
    pub xdp_guard: Option<XdpGuard>,
}

impl Wishes {
    /// Settings for a new laboratory, or those of the one that is there, if the wishes agree with it.
    pub fn settle(&self, there: Option<&Settings>) -> Result<Settings> {
        let wanted = self.over(there.cloned().unwrap_or_default());
        if let Some(there) = there
            && *there != wanted
        {
            bail!("the laboratory is up with other settings ({there}); take it down first: {TAKE_DOWN}");
        }
        if wanted.vms == Vms::Qemu && wanted.ports == Ports::Veth {
            bail!("machines have taps: `--vms qemu` does not go with `--ports veth`");
        }
        Ok(wanted)
    }

    fn over(&self, there: Settings) -> Settings {
        Settings {
            hosts: self.hosts.unwrap_or(there.hosts),
            token_life_secs: self.token_life_secs.or(there.token_life_secs),
            lease_secs: self.lease_secs.or(there.lease_secs),
            idle_secs: self.idle_secs.or(there.idle_secs),
            underlay: self.underlay.unwrap_or(there.underlay),
            ports: self.ports.unwrap_or(there.ports),
            uplink: self.uplink.unwrap_or(there.uplink),
            vms: self.vms.unwrap_or(there.vms),
            offload: self.offload.unwrap_or(there.offload),
            xdp_guard: self.xdp_guard.unwrap_or(there.xdp_guard),
        }
    }
}

impl std::fmt::Display for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "hosts {}", self.hosts)?;
        let times = [
            ("token life", self.token_life_secs),
            ("lease", self.lease_secs),
            ("idle", self.idle_secs),
        ];
        for (what, secs) in times {
            match secs {
                Some(secs) => write!(f, ", {what} {secs} s")?,
                None => write!(f, ", {what} as by default")?,
            }
        }
        let name = |value: Option<clap::builder::PossibleValue>| {
            value.map_or(String::new(), |value| value.get_name().to_owned())
        };
        write!(
            f,
            ", underlay {}, ports {}, uplink {}, vms {}, offload {}, XDP guard {}",
            name(self.underlay.to_possible_value()),
            name(self.ports.to_possible_value()),
            name(self.uplink.to_possible_value()),
            name(self.vms.to_possible_value()),
            if self.offload { "on" } else { "off" },
            name(self.xdp_guard.to_possible_value())
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_a_laboratory_that_is_up_are_kept_and_others_refused() {
        let there = Settings {
            hosts: 3,
            token_life_secs: Some(5),
            underlay: Underlay::V6,
            ..Settings::default()
        };
        let settle = |wishes: Wishes| wishes.settle(Some(&there));
        assert_eq!(settle(Wishes::default()).unwrap(), there);
        let same = Wishes {
            hosts: Some(3),
            underlay: Some(Underlay::V6),
            ..Wishes::default()
        };
        assert_eq!(settle(same).unwrap(), there);
        let lease = Wishes {
            lease_secs: Some(9),
            ..Wishes::default()
        };
        let underlay = Wishes {
            underlay: Some(Underlay::V4),
            ..Wishes::default()
        };
        for other in [lease, underlay] {
            let refused = settle(other).unwrap_err().to_string();
            assert!(
                refused.contains("underlay 6") && refused.contains("lab down"),
                "it must say what is there and how to go on: {refused}"
            );
        }
    }
}
