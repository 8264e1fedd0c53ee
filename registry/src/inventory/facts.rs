//! What the guests of a network are told besides their own addresses, by DHCP and router advertisements.

use super::{
    Family, GUEST_MTU, Prefix,
    address::{AddressError, unicast},
    prefix::OutsideError,
};
use serde::Serialize;
use std::{
    net::{IpAddr, Ipv4Addr},
    ops::RangeInclusive,
};

/// Most DNS servers of a network: resolvers ask three.
pub const DNS_MAX: usize = 4;
/// From what every IPv6 link carries (RFC 8200, section 5) to what network cards carry.
const MTUS: RangeInclusive<u32> = 1280..=9000;
/// Longest domain, in bytes (RFC 1035, section 2.3.4).
const DOMAIN_LEN_MAX: usize = 253;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// Router of the IPv4 network; there is one if there is an IPv4 prefix.
    pub gateway: Option<Ipv4Addr>,
    /// In the order of preference.
    pub dns: Vec<IpAddr>,
    /// Lower case, without a dot at its end.
    pub domain: Option<String>,
    /// Of the guests' interfaces, in bytes.
    pub mtu: u32,
}

/// Why guests cannot be told this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FactsError {
    #[error("the gateway: {0}")]
    Gateway(#[from] OutsideError),
    #[error("the network has no IPv4 prefix, so no gateway: IPv6 guests find their router by themselves")]
    NoIpv4,
    #[error("a DNS server: {0}")]
    Dns(#[from] AddressError),
    #[error("a network has at most {DNS_MAX} DNS servers")]
    DnsCount,
    #[error("the DNS server {0} is given twice")]
    DnsTwice(IpAddr),
    #[error(
        "a domain is labels of 1 to 63 letters, digits and '-' (not at an end) with dots between them, at most \
         {DOMAIN_LEN_MAX} characters in all, such as corp.example"
    )]
    Domain,
    #[error("an MTU of {0} cannot be: it is from {least} to {most}", least = MTUS.start(), most = MTUS.end())]
    Mtu(u32),
}

impl Facts {
    /// What is told unless somebody says otherwise.
    pub fn of(prefixes: &[Prefix]) -> Self {
        Self {
            gateway: v4(prefixes).and_then(first),
            dns: Vec::new(),
            domain: None,
            mtu: GUEST_MTU,
        }
    }

    pub fn set_gateway(&mut self, prefixes: &[Prefix], gateway: Ipv4Addr) -> Result<(), FactsError> {
        v4(prefixes).ok_or(FactsError::NoIpv4)?.check(gateway.into())?;
        self.gateway = Some(gateway);
        Ok(())
    }

    pub fn set_dns(&mut self, servers: &[IpAddr]) -> Result<(), FactsError> {
        if servers.len() > DNS_MAX {
            return Err(FactsError::DnsCount);
        }
        let mut dns = Vec::new();
        for server in servers {
            let server = unicast(*server)?;
            if dns.contains(&server) {
                return Err(FactsError::DnsTwice(server));
            }
            dns.push(server);
        }
        self.dns = dns;
        Ok(())
    }

    /// The empty text takes the domain away.
    pub fn set_domain(&mut self, text: &str) -> Result<(), FactsError> {
        let is_label = |label: &str| {
            (1..64).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if !text.is_empty() && (text.len() > DOMAIN_LEN_MAX || !text.split('.').all(is_label)) {
            return Err(FactsError::Domain);
        }
        self.domain = Some(text.to_ascii_lowercase()).filter(|domain| !domain.is_empty());
        Ok(())
    }

    pub fn set_mtu(&mut self, mtu: u32) -> Result<(), FactsError> {
        if !MTUS.contains(&mtu) {
            return Err(FactsError::Mtu(mtu));
        }
        self.mtu = mtu;
        Ok(())
    }
}

fn v4(prefixes: &[Prefix]) -> Option<Prefix> {
    let mut prefixes = prefixes.iter().copied();
    prefixes.find(|prefix| prefix.family() == Family::V4)
}

/// The first address that a guest could have.
fn first(prefix: Prefix) -> Option<Ipv4Addr> {
    match prefix.network() {
        IpAddr::V4(network) => u32::from(network).checked_add(1).map(Ipv4Addr::from),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> (Vec<Prefix>, Facts) {
        let prefixes = vec!["10.77.0.0/24".parse().unwrap(), "fd77::/64".parse().unwrap()];
        let facts = Facts::of(&prefixes);
        (prefixes, facts)
    }

    #[test]
    fn a_gateway_is_an_address_that_a_guest_of_the_network_could_have() {
        let (prefixes, mut facts) = facts();
        assert_eq!(facts.gateway, Some([10, 77, 0, 1].into()));
        facts.set_gateway(&prefixes, [10, 77, 0, 254].into()).unwrap();
        for bad in [[10, 77, 1, 1], [10, 77, 0, 0], [10, 77, 0, 255], [127, 0, 0, 1]] {
            let refused = facts.set_gateway(&prefixes, bad.into());
            assert!(matches!(refused, Err(FactsError::Gateway(_))), "{bad:?}");
        }
        assert_eq!(
            facts.gateway,
            Some([10, 77, 0, 254].into()),
            "a refusal changes nothing"
        );
        let six = ["fd77::/64".parse().unwrap()];
        assert_eq!(Facts::of(&six).gateway, None);
        assert_eq!(
            facts.set_gateway(&six, [10, 77, 0, 1].into()),
            Err(FactsError::NoIpv4)
        );
    }

    #[test]
    fn dns_servers_are_few_different_and_reachable() {
        let (_, mut facts) = facts();
        let all = ["192.0.2.53", "2001:db8::53", "::ffff:192.0.2.54"].map(|text| text.parse().unwrap());
        facts.set_dns(&all).unwrap();
        assert_eq!(facts.dns[2], IpAddr::from([192, 0, 2, 54]), "one spelling");
        let twice: [IpAddr; 2] = ["192.0.2.53", "::ffff:192.0.2.53"].map(|text| text.parse().unwrap());
        assert!(matches!(facts.set_dns(&twice), Err(FactsError::DnsTwice(_))));
        let many: Vec<IpAddr> = (1..=5).map(|last| [192, 0, 2, last].into()).collect();
        assert_eq!(facts.set_dns(&many), Err(FactsError::DnsCount));
        for bad in ["127.0.0.53", "0.0.0.0", "::1", "224.0.0.251", "fe80::1"] {
            let refused = facts.set_dns(&[bad.parse().unwrap()]);
            assert!(matches!(refused, Err(FactsError::Dns(_))), "{bad}");
        }
        facts.set_dns(&[]).unwrap();
        assert!(facts.dns.is_empty());
    }

    #[test]
    fn a_domain_could_stand_in_a_resolvers_file() {
        let (_, mut facts) = facts();
        facts.set_domain("Corp.EXAMPLE").unwrap();
        assert_eq!(facts.domain.as_deref(), Some("corp.example"));
        let long = vec!["a".repeat(63); 4].join(".");
        let label = "a".repeat(64);
        for bad in [
            ".", "a.", ".a", "a..b", "-a", "a-", "a b", "a_b", "ä", "a\n", "a;b", &long, &label,
        ] {
            assert_eq!(facts.set_domain(bad), Err(FactsError::Domain), "{bad:?}");
        }
        facts.set_domain("").unwrap();
        assert_eq!(facts.domain, None);
    }

    #[test]
    fn an_mtu_carries_ipv6_and_fits_network_cards() {
        let (_, mut facts) = facts();
        for (mtu, taken) in [
            (0, false),
            (1279, false),
            (1280, true),
            (9000, true),
            (9001, false),
        ] {
            assert_eq!(facts.set_mtu(mtu).is_ok(), taken, "{mtu}");
        }
    }
}
