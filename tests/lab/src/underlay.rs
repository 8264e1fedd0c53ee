//! Namespaces, and the bridge between them.

use crate::netns::Netns;
use crate::plan::{BRIDGE, Plan, UNDERLAY_MTU, UNDERLAY_PREFIX_4, UNDERLAY_PREFIX_6, UPLINK};
use crate::settings::Uplink;
use crate::{ethtool, links};
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
    // A wire speaks for nobody.
    net.sysctl("ipv6/conf/all/disable_ipv6", "1")?;
    net.sysctl("ipv6/conf/default/disable_ipv6", "1")?;
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
        if plan.settings.uplink == Uplink::Napi {
            let netns = Netns::named(&plan.netns(&host.name()));
            ethtool::like_a_card((&netns, UPLINK), (&net, &format!("to-{}", host.name())))?;
        }
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
