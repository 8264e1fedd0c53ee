//! Router advertisements (RFC 4861, section 4.2): the router of every tap, and that addresses come by DHCPv6.
//!
//! ```text
//! hop limit | M O … | router lifetime │ reachable time 4 | retransmission time 4 │ options: type, length in 8 bytes, …
//! ```
//!
//! Addresses are never left to the guest's choice (the flag for that is off): it can send from its own alone, and
//! which these are is the registry's to say. The prefix is "on the link" although nobody is: questions for every
//! address in it are answered with the gateway's MAC address, so a guest reaches its peers also when it has forgotten
//! its router.

use super::{
    answer::{Answer, Kind, Silence},
    facts::Facts,
    frame,
};
use etherparse::{icmpv6::PrefixInformation, icmpv6::RouterAdvertisementHeader};
use pairgate_abi::GATEWAY_MAC;
use std::{collections::BTreeSet, net::Ipv6Addr};

/// How long the router and what it says hold, in seconds: as long as the field has room for (RFC 8319).
const LIFETIME: u16 = u16::MAX;
/// A prefix without an end.
const FOR_EVER: u32 = u32::MAX;
const SOURCE_MAC: u8 = 1;
const MTU: u8 = 5;
/// RFC 8106.
const DNS_SERVERS: u8 = 25;
const DNS_SEARCH: u8 = 31;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Answers a solicitation from this address, `::` included; one that nobody asked for is from `::` too.
pub(super) fn answer(from: Ipv6Addr, facts: &Facts) -> Result<Answer, Silence> {
    if facts.v6.is_empty() {
        return Err(Silence::NoAddress);
    }
    let header = RouterAdvertisementHeader {
        cur_hop_limit: 64,
        managed_address_config: true,
        other_config: true,
        router_lifetime: LIFETIME,
    };
    let to = if from.is_unspecified() { ALL_NODES } else { from };
    Ok(Answer {
        kind: Kind::Advertisement,
        frame: frame::advertisement(facts.mac, to, header, &body(facts))?,
    })
}

fn body(facts: &Facts) -> Vec<u8> {
    // Reachable and retransmission time: the guest's own.
    let mut body = vec![0; 8];
    option(&mut body, SOURCE_MAC, &GATEWAY_MAC);
    option(
        &mut body,
        MTU,
        &[&[0; 2][..], &u32::from(facts.mtu).to_be_bytes()].concat(),
    );
    let networks: BTreeSet<(Ipv6Addr, u8)> = facts
        .v6
        .iter()
        .map(|(address, length)| (network(*address, *length), *length))
        .collect();
    for (network, prefix_length) in networks {
        let information = PrefixInformation {
            prefix_length,
            on_link: true,
            autonomous_address_configuration: false,
            valid_lifetime: FOR_EVER,
            preferred_lifetime: FOR_EVER,
            prefix: network.octets(),
        };
        body.extend(information.to_bytes());
    }
    let lifetime = u32::from(LIFETIME).to_be_bytes();
    let dns: Vec<u8> = facts.dns_v6().iter().flat_map(Ipv6Addr::octets).collect();
    if !dns.is_empty() {
        option(&mut body, DNS_SERVERS, &[&[0; 2][..], &lifetime, &dns].concat());
    }
    if let Some(name) = facts.domain.as_deref().and_then(labels) {
        option(&mut body, DNS_SEARCH, &[&[0; 2][..], &lifetime, &name].concat());
    }
    body
}

/// An option, filled up to a multiple of eight bytes.
fn option(body: &mut Vec<u8>, kind: u8, value: &[u8]) {
    let units = (2 + value.len()).div_ceil(8);
    let Ok(length) = u8::try_from(units) else {
        return; // the registry allows no list of that length
    };
    body.extend([kind, length]);
    body.extend(value);
    body.resize(body.len() + units * 8 - 2 - value.len(), 0);
}

/// A domain name on the wire (RFC 1035, section 3.1); none if it has an empty or overlong label.
fn labels(domain: &str) -> Option<Vec<u8>> {
    let mut name = Vec::new();
    for label in domain.split('.') {
        let length = u8::try_from(label.len())
            .ok()
            .filter(|length| (1..64).contains(length))?;
        name.push(length);
        name.extend(label.as_bytes());
    }
    name.push(0);
    Some(name)
}

fn network(address: Ipv6Addr, length: u8) -> Ipv6Addr {
    let host_bits = 128_u32.saturating_sub(u32::from(length));
    let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
    Ipv6Addr::from(u128::from(address) & mask)
}
