//! What a guest is told about itself. It comes from the goal state, and from the uplink as far as it limits the MTU, and
//! is read anew for every question.

use crate::goal::Guest;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How long an address is lent, in seconds: a day. It is the guest's for as long as the registry says so, and what the
/// guest believes decides nothing here; a shorter time would only make guests ask more often.
pub(super) const LEASE_SECS: u32 = 86_400;
/// When a guest renews: half of it (RFC 2131, section 4.4.5).
pub(super) const RENEW_SECS: u32 = LEASE_SECS / 2;
/// When it asks any server: seven eighths.
pub(super) const REBIND_SECS: u32 = LEASE_SECS / 8 * 7;

/// No guest is told of less (RFC 8200, section 5): where that does not fit, answers to what is too big remain.
const LEAST_MTU: u16 = 1280;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub mac: [u8; 6],
    /// The VM's name, a label of a domain name.
    pub name: String,
    /// With the length of the network's prefix.
    pub v4: Vec<(Ipv4Addr, u8)>,
    pub v6: Vec<(Ipv6Addr, u8)>,
    /// Router of the IPv4 network. That of IPv6 is [`pairgate_abi::GATEWAY_LINK_LOCAL`].
    pub gateway: Option<Ipv4Addr>,
    pub dns: Vec<IpAddr>,
    pub domain: Option<String>,
    /// Bytes.
    pub mtu: u16,
}

impl Facts {
    /// Of this guest on a host whose uplink carries packets of guests up to `largest_inner` bytes.
    pub fn of(guest: &Guest, largest_inner: u16) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for own in &guest.addresses {
            match own.address {
                IpAddr::V4(address) => v4.push((address, own.prefix)),
                IpAddr::V6(address) => v6.push((address, own.prefix)),
            }
        }
        v4.sort_unstable();
        v6.sort_unstable();
        Self {
            mac: guest.mac,
            name: guest.name.clone(),
            v4,
            v6,
            gateway: guest.told.gateway,
            dns: guest.told.dns.clone(),
            domain: guest.told.domain.clone(),
            mtu: guest.mtu.min(largest_inner.max(LEAST_MTU)),
        }
    }

    pub fn dns_v4(&self) -> Vec<Ipv4Addr> {
        self.dns
            .iter()
            .filter_map(|server| match server {
                IpAddr::V4(server) => Some(*server),
                IpAddr::V6(_) => None,
            })
            .collect()
    }

    pub fn dns_v6(&self) -> Vec<Ipv6Addr> {
        self.dns
            .iter()
            .filter_map(|server| match server {
                IpAddr::V6(server) => Some(*server),
                IpAddr::V4(_) => None,
            })
            .collect()
    }
}
