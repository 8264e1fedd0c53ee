//! What people use today, on the same ground: two hosts and two guests as in a laboratory, the guests' taps on a
//! bridge in each host, and a kernel VXLAN device between the bridges. It proves nothing, and filters nothing unless
//! an nftables set of allowed pairs is asked for; it is what benchmarks compare with.
//!
//! Namespaces, underlay, taps and cables are made by the same code with the same settings as a laboratory's.

use crate::installation::{self, Component, Registered};
use crate::lock::Lock;
use crate::netns::Netns;
use crate::plan::{GUEST_MTU, GUESTS, Guest, Host, PAIR, Plan, Prefix, UPLINK};
use crate::programs::Programs;
use crate::record::{self, Memory, Wishes};
use crate::settings::Ports;
use crate::watch::Watch;
use crate::{down, links, ports, process, tap, underlay, up};
use anyhow::{Context, Result, ensure};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const BRIDGE: &str = "br0";
const TUNNEL: &str = "vx0";
/// One network: nothing tells tenants apart.
const NETWORK_ID: u32 = 42;
const PORT: u16 = 4789;
/// Pairs in the filter's set, those of the guests among them.
const PAIRS: u32 = 10_000;
/// For `nft` to read them.
const FILTER_LIMIT: Duration = Duration::from_secs(20);

/// Lives as long as the value.
#[derive(Debug)]
pub struct Rival {
    plan: Plan,
    /// Given back by `Drop` alone.
    held: Option<(Lock, Watch)>,
}

impl Rival {
    /// Clears away what an earlier run with the same prefix left, and builds it. Settings that speak of the
    /// registry mean nothing here. With the program `nft` each bridge lets only the pairs of a set pass.
    pub fn start(
        prefix: Prefix,
        state_dir: &Path,
        wishes: Wishes,
        programs: &Programs,
        nft: Option<&Path>,
    ) -> Result<Self> {
        let lock = Lock::take(&prefix, up::PATIENCE)?;
        down::clear(&prefix, state_dir, false)?;
        let watch = Watch::begin(&prefix, state_dir, programs)?;
        let plan = Plan::new(prefix, state_dir, wishes.settle(None)?)?;
        let rival = Self {
            plan,
            held: Some((lock, watch)),
        };
        rival.build(programs)?;
        if let Some(nft) = nft {
            rival.filter(nft)?;
        }
        Ok(rival)
    }

    /// The namespace called so in the plan.
    pub fn netns(&self, short: &str) -> Netns {
        Netns::named(&self.plan.netns(short))
    }

    fn build(&self, programs: &Programs) -> Result<()> {
        let plan = &self.plan;
        Memory {
            plan: plan.clone(),
            populated: false,
        }
        .write()?;
        underlay::ensure(plan)?;
        let guests = GUESTS
            .into_iter()
            .filter(|guest| [PAIR.0, PAIR.1].contains(&guest.name));
        for (number, guest) in guests.enumerate() {
            self.join(&guest, u8::try_from(number)?)?;
            if plan.settings.ports == Ports::Tap {
                let cable = Component::Cable(guest);
                cable.ensure(plan, programs)?;
                installation::await_cable(plan, &guest)?;
            }
        }
        Ok(())
    }

    /// A host's bridge with the tunnel and the tap of its guest, and the guest.
    fn join(&self, guest: &Guest, number: u8) -> Result<()> {
        let (plan, family) = (&self.plan, self.plan.settings.underlay);
        let own = Host { number: guest.host };
        let mut others = plan.hosts().filter(|host| host.number != own.number);
        let other = others.next().context("a rival needs two hosts")?;
        let host = self.netns(&own.name());
        links::ensure_bridge(&host, BRIDGE, GUEST_MTU)?;
        let ends = (own.recorded(family), other.recorded(family));
        links::ensure_vxlan(&host, TUNNEL, (NETWORK_ID, PORT), ends, UPLINK)?;
        links::set_up(&host, TUNNEL, None, Some(GUEST_MTU))?;
        links::join_bridge(&host, TUNNEL, BRIDGE)?;
        let vm = Registered {
            id: String::new(),
            mac: [2, 0, 0, 0, 1, number],
        };
        if plan.settings.ports == Ports::Tap {
            tap::ensure(&host, &guest.tap())?;
        }
        ports::ensure(plan, guest, &vm)?;
        links::set_up(&host, &guest.tap(), None, Some(GUEST_MTU))?;
        links::join_bridge(&host, &guest.tap(), BRIDGE)
    }

    /// From now on each bridge lets only the pairs of a set pass.
    fn filter(&self, nft: &Path) -> Result<()> {
        let file = self.plan.state_dir.join("pairs.nft");
        record::replace(&file, rules().as_bytes())?;
        for host in self.plan.hosts() {
            let mut command = Command::new(nft);
            command.arg("-f").arg(&file);
            let output = process::output_within(&self.netns(&host.name()), &mut command, FILTER_LIMIT)?;
            ensure!(
                output.status.success(),
                "nft refused the filter of {}: {}",
                host.name(),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }
}

/// The pair of the guests both ways, and others that never talk.
fn rules() -> String {
    let own = GUESTS.iter().flat_map(|from| {
        let others = GUESTS.iter().filter(|to| to.name != from.name);
        others.map(|to| (from.address, to.address))
    });
    let own: Vec<_> = own.collect();
    let missing = PAIRS.saturating_sub(u32::try_from(own.len()).unwrap_or(PAIRS));
    let base = u32::from(Ipv4Addr::new(10, 78, 0, 0));
    let others =
        (0..missing).map(|number| (Ipv4Addr::from(base + number), Ipv4Addr::from(base + number + 1)));
    let pairs: Vec<_> = own
        .into_iter()
        .chain(others)
        .map(|(from, to)| format!("{from} . {to}"))
        .collect();
    format!(
        "table bridge pairs {{
           set allowed {{ type ipv4_addr . ipv4_addr; elements = {{ {} }}; }}
           chain forward {{
             type filter hook forward priority 0; policy drop;
             ether type arp accept
             ip saddr . ip daddr @allowed accept
           }}
         }}",
        pairs.join(", ")
    )
}

impl Drop for Rival {
    fn drop(&mut self) {
        let Some((lock, watch)) = self.held.take() else {
            return;
        };
        match down::clear(&self.plan.prefix, &self.plan.state_dir, false) {
            Ok(()) => {
                lock.remove();
                watch.end();
            }
            Err(error) => eprintln!("cannot take the rival down: {error:#}"),
        }
    }
}
