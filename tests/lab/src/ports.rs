//! The guests' interfaces: a tap whose frames a cable carries to the host's tap, or one end of a veth pair.

use crate::installation::Registered;
use crate::netns::Netns;
use crate::plan::{GUEST_INTERFACE, GUEST_MTU, Guest, Host, Plan};
use crate::settings::Ports;
use crate::{links, tap};
use anyhow::Result;

/// What an agent takes for its own tap: an interface with the right name and this word before the VM's id.
const ALIAS: &str = "pairgate";

/// Makes a guest's interface with the MAC that the registry has for it, and with veth ports the host's end too.
pub fn ensure(plan: &Plan, guest: &Guest, vm: &Registered) -> Result<()> {
    let netns = Netns::named(&plan.netns(guest.name));
    quieten(&netns)?;
    match plan.settings.ports {
        Ports::Tap => tap::ensure(&netns, GUEST_INTERFACE)?,
        Ports::Veth => ensure_veth(plan, guest, vm)?,
    }
    links::set_up(&netns, GUEST_INTERFACE, Some(vm.mac), Some(GUEST_MTU))?;
    for (address, prefix) in guest.addresses() {
        links::ensure_address(&netns, GUEST_INTERFACE, address, prefix)?;
    }
    Ok(())
}

/// Makes the pair that stands for tap and cable. The host's end stays down: the agent brings it up once its
/// programs hold it.
fn ensure_veth(plan: &Plan, guest: &Guest, vm: &Registered) -> Result<()> {
    let host = Netns::named(&plan.netns(&Host { number: guest.host }.name()));
    let netns = Netns::named(&plan.netns(guest.name));
    let tap = guest.tap();
    links::ensure_veth((&host, &tap), (&netns, GUEST_INTERFACE), GUEST_MTU)?;
    links::set_down(&host, &tap)?;
    host.sysctl(&format!("ipv6/conf/{tap}/disable_ipv6"), "1")?;
    links::set_alias(&host, &tap, &format!("{ALIAS} {}", vm.id))
}

/// A guest asks for no router: there is none, and tests count what guests say.
fn quieten(netns: &Netns) -> Result<()> {
    for which in ["all", "default"] {
        netns.sysctl(&format!("ipv6/conf/{which}/accept_ra"), "0")?;
        netns.sysctl(&format!("ipv6/conf/{which}/router_solicitations"), "0")?;
    }
    Ok(())
}
