//! The interface that carries this host's underlay traffic: whether it still carries our address, how large its
//! frames may be, and how other hosts are reached by it.
//!
//! The kernel's news wake the look ([`crate::news`]); a timer does it too, should one be missed.

use crate::{
    keeper::{KeeperHandle, Stopping},
    net::{Net, NetError},
};
use pairgate_abi::NextHop;
use pairgate_packet::outer;
use pairgate_token::address_from_bytes;
use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

/// How soon a lost address is noticed without news.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How soon a new way is noticed without news.
const WAYS_EVERY: Duration = Duration::from_secs(5);
/// The least that a link may carry for IPv6 (RFC 8200, section 5).
const LEAST_OF_IPV6: u16 = 1280;
/// Between two looks: a routing daemon may change a thousand routes in a second.
const BREATH: Duration = Duration::from_millis(50);

/// What the agent sends by. Clones see the same changes.
#[derive(Clone, Debug)]
pub struct Uplink {
    pub index: u32,
    pub name: String,
    /// This host's address, which its certificate names.
    pub address: IpAddr,
    mtu: Arc<AtomicU32>,
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
    #[error(transparent)]
    Net(#[from] NetError),
}

impl Uplink {
    /// The interface of that name, if it carries the address.
    pub async fn find(net: &Net, name: &str, address: IpAddr) -> Result<Self, UplinkError> {
        let link = net.link_by_name(name).await?;
        let link = link.ok_or_else(|| UplinkError::Missing(name.to_owned()))?;
        if !net.addresses(link.index).await?.contains(&address) {
            return Err(UplinkError::Address {
                interface: name.to_owned(),
                address,
            });
        }
        let uplink = Self {
            index: link.index,
            name: name.to_owned(),
            address,
            mtu: Arc::new(AtomicU32::new(link.mtu)),
        };
        uplink.complain_of_mtu();
        Ok(uplink)
    }

    /// Says it clearly where IPv6 guests cannot talk any more: nobody may be told of less than this.
    fn complain_of_mtu(&self) {
        let inside = self.largest_inner();
        if inside < LEAST_OF_IPV6 {
            tracing::error!(uplink = %self.name, inside, least = LEAST_OF_IPV6, "the uplink's MTU leaves less inside than every IPv6 link has: IPv6 between hosts fails, and no guest can be told; raise it");
        }
    }

    /// The largest inner packet that fits with our headers around it, as the interface is now.
    pub fn largest_inner(&self) -> u16 {
        inner(self.mtu.load(Ordering::Relaxed), self.address)
    }

    /// Looks after it until `stop`: when the address is lost the lease ends at once, because another machine may
    /// have it now, and only when it is back may `has_address` be answered by a new lease. Ways and MTU are
    /// written for the pairs that are open.
    pub async fn watch(
        self,
        net: Net,
        keeper: KeeperHandle,
        has_address: watch::Sender<bool>,
        news: Arc<Notify>,
        stop: CancellationToken,
    ) {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ways_seen: Option<Instant> = None;
        let mut unreached = HashSet::new();
        loop {
            let called = tokio::select! {
                () = stop.cancelled() => return,
                () = news.notified() => true,
                _ = look.tick() => false,
            };
            if self.look_at_address(&net, &keeper, &has_address).await.is_err() {
                return;
            }
            let is_due = ways_seen.is_none_or(|seen| seen.elapsed() >= WAYS_EVERY);
            if called || is_due {
                if self.look_at_ways(&net, &keeper, &mut unreached).await.is_err() {
                    return;
                }
                ways_seen = Some(Instant::now());
            }
            sleep(BREATH).await;
        }
    }

    async fn look_at_address(
        &self,
        net: &Net,
        keeper: &KeeperHandle,
        has_address: &watch::Sender<bool>,
    ) -> Result<(), Stopping> {
        let there = match self.has_address(net).await {
            Ok(there) => there,
            // The kernel's word is missing, not the address.
            Err(error) if *has_address.borrow() => {
                tracing::warn!(%error, "cannot look at the uplink");
                return Ok(());
            }
            Err(_) => false,
        };
        if there == *has_address.borrow() {
            return Ok(());
        }
        if there {
            tracing::info!(uplink = %self.name, address = %self.address, "the uplink has its address again");
        } else {
            tracing::error!(uplink = %self.name, address = %self.address, "the uplink has lost this host's address: the lease ends now");
        }
        keeper.uplink(there).await?;
        has_address.send_replace(there);
        Ok(())
    }

    /// An interface that is gone carries nothing. What it says of its MTU is noted on the way.
    async fn has_address(&self, net: &Net) -> Result<bool, NetError> {
        let Some(link) = net.link(self.index).await? else {
            return Ok(false);
        };
        let before = self.mtu.swap(link.mtu, Ordering::Relaxed);
        if before != link.mtu {
            tracing::info!(uplink = %self.name, before, now = link.mtu, "the uplink's MTU has changed");
            self.complain_of_mtu();
        }
        Ok(net.addresses(self.index).await?.contains(&self.address))
    }

    /// `unreached` are the hosts that have no way already, so that it is said once.
    async fn look_at_ways(
        &self,
        net: &Net,
        keeper: &KeeperHandle,
        unreached: &mut HashSet<[u8; 16]>,
    ) -> Result<(), Stopping> {
        let mut ways: HashMap<[u8; 16], Option<NextHop>> = HashMap::new();
        for host in keeper.hosts().await? {
            let way = net.next_hop(address_from_bytes(host), self.index).await;
            if let Err(error) = &way
                && !unreached.contains(&host)
            {
                tracing::error!(%error, "packets to this host are dropped until there is a way again");
            }
            ways.insert(host, way.ok());
        }
        unreached.clear();
        unreached.extend(
            ways.iter()
                .filter(|(_, way)| way.is_none())
                .map(|(host, _)| *host),
        );
        if ways.is_empty() {
            return Ok(());
        }
        keeper.lead(ways, self.largest_inner()).await
    }
}

/// What is left of an interface's MTU inside our headers.
fn inner(mtu: u32, address: IpAddr) -> u16 {
    let headers = match address {
        IpAddr::V4(_) => outer::LENGTH_V4,
        IpAddr::V6(_) => outer::LENGTH_V6,
    };
    // Less than a hundred.
    u16::try_from(mtu.saturating_sub(headers as u32)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_headers_take_50_bytes_over_ipv4_and_70_over_ipv6() {
        assert_eq!(inner(1600, [192, 0, 2, 1].into()), 1550);
        assert_eq!(inner(1600, "2001:db8::1".parse().unwrap()), 1530);
        assert_eq!(inner(10, [192, 0, 2, 1].into()), 0);
        assert_eq!(inner(100_000, [192, 0, 2, 1].into()), u16::MAX);
    }
}
