//! Namespaces, the bridge between them, and the guests' interfaces.

use crate::netns::Netns;
use crate::plan::{
    BRIDGE, GUEST_INTERFACE, GUEST_MTU, GUEST_PREFIX, Guest, Plan, UNDERLAY_MTU, UNDERLAY_PREFIX_4,
    UNDERLAY_PREFIX_6, UPLINK,
};
use crate::{links, tap};
use anyhow::Result;
use std::net::IpAddr;

/// Makes everything that joins hosts and registry.
pub fn ensure(plan: &Plan) -> Result<()> {
    for short in plan.namespaces() {
        let netns = Netns::named(&plan.netns(&short));
        netns.ensure()?;
        links::set_up(&netns, "lo", None, None)?;
        // Addresses are ours to give: nobody needs to be asked whether they are taken.
        netns.sysctl("ipv6/conf/all/accept_dad", "0")?;
        netns.sysctl("ipv6/conf/default/accept_dad", "0")?;
    }
    let net = Netns::named(&plan.netns("net"));
    // A wire speaks for nobody, and guests have IPv4 alone so far.
    silence_ipv6(&net)?;
    links::ensure_bridge(&net, BRIDGE, UNDERLAY_MTU)?;
    let registry = [plan.registry_address(), plan.registry_address_6()];
    ensure_port(plan, &net, "reg", &registry)?;
    for host in plan.hosts() {
        ensure_port(
            plan,
            &net,
            &host.name(),
            &[host.address().into(), host.address_6().into()],
        )?;
    }
    Ok(())
}

/// Joins a namespace to the bridge, with these addresses.
pub(crate) fn ensure_port(plan: &Plan, net: &Netns, short: &str, addresses: &[IpAddr]) -> Result<()> {
    let netns = Netns::named(&plan.netns(short));
    let port = format!("to-{short}");
    links::ensure_veth((&netns, UPLINK), (net, &port), UNDERLAY_MTU)?;
    links::join_bridge(net, &port, BRIDGE)?;
    for &address in addresses {
        let prefix = if address.is_ipv4() {
            UNDERLAY_PREFIX_4
        } else {
            UNDERLAY_PREFIX_6
        };
        links::ensure_address(&netns, UPLINK, address, prefix)?;
    }
    Ok(())
}

/// Makes a guest's interface with the MAC that the registry has for it.
pub fn ensure_guest(plan: &Plan, guest: &Guest, mac: [u8; 6]) -> Result<()> {
    let netns = Netns::named(&plan.netns(guest.name));
    silence_ipv6(&netns)?;
    tap::ensure(&netns, GUEST_INTERFACE)?;
    links::set_up(&netns, GUEST_INTERFACE, Some(mac), Some(GUEST_MTU))?;
    links::ensure_address(&netns, GUEST_INTERFACE, guest.address.into(), GUEST_PREFIX)
}

fn silence_ipv6(netns: &Netns) -> Result<()> {
    netns.sysctl("ipv6/conf/all/disable_ipv6", "1")?;
    netns.sysctl("ipv6/conf/default/disable_ipv6", "1")
}
