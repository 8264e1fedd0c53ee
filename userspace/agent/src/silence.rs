//! What keeps the host's own stack silent on an interface from which guests or strangers could be heard: the taps
//! and the VXLAN device. The programs let nothing through to it; these settings are there for the moment in which
//! somebody has taken the programs off.
//!
//! With them the stack takes no IPv6 at all, neither asks nor answers by ARP, and refuses every IPv4 packet with a
//! source address, because no route to any source leaves by an interface without address. What is left is a datagram
//! from 0.0.0.0 to the limited broadcast address or a local group, which sockets of the host could hear; the program
//! behind the programs (`stop_in`) is there for that.

use std::{fs, io};

/// One setting: where it stands below `/proc/sys/net`, and what it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// `ipv4` or `ipv6`.
    family: &'static str,
    name: &'static str,
    value: &'static str,
}

const fn four(name: &'static str, value: &'static str) -> Setting {
    Setting {
        family: "ipv4",
        name,
        value,
    }
}

const fn six(name: &'static str, value: &'static str) -> Setting {
    Setting {
        family: "ipv6",
        name,
        value,
    }
}

/// In this order: the first ones matter most.
pub const SETTINGS: [Setting; 13] = [
    // No address, no neighbour discovery, no multicast listener, nothing received.
    six("disable_ipv6", "1"),
    // Should somebody switch it on again all the same.
    six("accept_ra", "0"),
    six("forwarding", "0"),
    // A packet comes in only by the interface that leads back to its source, and none leads back by this one. Whatever
    // `all` says, 0 here could mean that nothing is checked; 1 and 2 are the same without an address.
    four("rp_filter", "1"),
    // Never answers for any address.
    four("arp_ignore", "8"),
    four("arp_accept", "0"),
    four("proxy_arp", "0"),
    four("forwarding", "0"),
    // Nobody speaks with one of the host's own addresses, or with 127.0.0.1.
    four("accept_local", "0"),
    four("route_localnet", "0"),
    four("accept_redirects", "0"),
    four("send_redirects", "0"),
    four("accept_source_route", "0"),
];

/// A setting that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deviation {
    pub setting: Setting,
    pub found: String,
}

impl Setting {
    /// As `sysctl` names it, for this interface.
    pub fn key(&self, interface: &str) -> String {
        format!("net.{}.conf.{interface}.{}", self.family, self.name)
    }

    pub fn value(&self) -> &'static str {
        self.value
    }

    fn path(&self, interface: &str) -> String {
        // The kernel shows each thread its own network namespace here.
        format!("/proc/sys/net/{}/conf/{interface}/{}", self.family, self.name)
    }
}

/// The settings of an interface that are not as they must be. What this kernel does not have is as it must be.
pub fn deviations(interface: &str) -> io::Result<Vec<Deviation>> {
    let mut deviations = Vec::new();
    for setting in SETTINGS {
        match fs::read_to_string(setting.path(interface)) {
            Ok(found) if found.trim() == setting.value => {}
            Ok(found) => deviations.push(Deviation {
                setting,
                found: found.trim().to_owned(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(deviations)
}

/// Sets what is not as it must be; returns what that was.
pub fn keep(interface: &str) -> io::Result<Vec<Deviation>> {
    let deviations = deviations(interface)?;
    for Deviation { setting, .. } in &deviations {
        fs::write(setting.path(interface), setting.value)?;
    }
    Ok(deviations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_named_as_an_operator_would_set_them() {
        assert_eq!(SETTINGS[0].key("tap-web1"), "net.ipv6.conf.tap-web1.disable_ipv6");
    }

    #[test]
    fn an_interface_that_is_not_there_has_nothing_to_set() {
        assert_eq!(keep("pg-nowhere").unwrap(), []);
    }
}
