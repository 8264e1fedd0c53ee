//! The interface that carries this host's underlay traffic, and whether it still carries our address.

use crate::{
    keeper::KeeperHandle,
    net::{Net, NetError},
};
use std::{net::IpAddr, time::Duration};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

/// How soon a lost address is noticed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the agent sends by.
#[derive(Clone, Debug)]
pub struct Uplink {
    pub index: u32,
    pub name: String,
    pub mtu: u32,
    /// This host's address, which its certificate names.
    pub address: IpAddr,
}

/// Why an interface cannot be the uplink.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    #[error("there is no interface {0} here; name the uplink with --uplink")]
    Missing(String),
    #[error(
        "interface {interface} does not carry {address}, the address in this host's certificate; give it that address, or make a host record with the right one and enrol again"
    )]
    Address { interface: String, address: IpAddr },
    #[error("the host's address {0} is IPv6, which this agent does not carry yet")]
    Ipv6(IpAddr),
    #[error(transparent)]
    Net(#[from] NetError),
}

impl Uplink {
    /// The interface of that name, if it carries the address.
    pub async fn find(net: &Net, name: &str, address: IpAddr) -> Result<Self, UplinkError> {
        if address.is_ipv6() {
            return Err(UplinkError::Ipv6(address));
        }
        let link = net.link_by_name(name).await?;
        let link = link.ok_or_else(|| UplinkError::Missing(name.to_owned()))?;
        if !net.addresses(link.index).await?.contains(&address) {
            return Err(UplinkError::Address {
                interface: name.to_owned(),
                address,
            });
        }
        Ok(Self {
            index: link.index,
            name: name.to_owned(),
            mtu: link.mtu,
            address,
        })
    }

    /// Looks after the address until `stop`: when it is lost the lease ends at once, because another machine
    /// may have it now, and only when it is back may `has_address` be answered by a new lease.
    pub async fn watch(
        self,
        net: Net,
        keeper: KeeperHandle,
        has_address: watch::Sender<bool>,
        stop: CancellationToken,
    ) {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = look.tick() => {}
            }
            let there = match net.addresses(self.index).await {
                Ok(addresses) => addresses.contains(&self.address),
                // The kernel's word is missing, not the address.
                Err(error) if *has_address.borrow() => {
                    tracing::warn!(%error, "cannot look at the uplink");
                    continue;
                }
                Err(_) => false,
            };
            if there == *has_address.borrow() {
                continue;
            }
            if there {
                tracing::info!(uplink = %self.name, address = %self.address, "the uplink has its address again");
            } else {
                tracing::error!(uplink = %self.name, address = %self.address, "the uplink has lost this host's address: the lease ends now");
            }
            if keeper.uplink(there).await.is_err() {
                return;
            }
            has_address.send_replace(there);
        }
    }
}
