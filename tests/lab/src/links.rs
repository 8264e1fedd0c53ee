//! Interfaces, addresses and routes of a namespace, by rtnetlink. Each call is complete in itself and may be
//! repeated: what is already as wanted stays as it is.

use crate::netns::Netns;
use anyhow::{Context, Result, bail};
use futures_util::TryStreamExt;
use netlink_packet_route::link::{BridgeStpState, LinkAttribute, LinkFlags, LinkMessage, LinkXdp};
use rtnetlink::{Error, Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, LinkVxlan};
use std::future::Future;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

/// What an interface has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub tx_dropped: u64,
}

/// Makes a bridge that forwards at once, speaks no spanning tree and learns nothing about multicast.
pub fn ensure_bridge(netns: &Netns, name: &str, mtu: u32) -> Result<()> {
    with_handle(netns, async |handle| {
        if index(&handle, name).await?.is_none() {
            let bridge = LinkBridge::new(name)
                .forward_delay(0)
                .stp_state(BridgeStpState::Disabled);
            handle
                .link()
                .add(bridge.mcast_snooping(false).up().build())
                .execute()
                .await?;
        }
        change(&handle, name, |link| link.mtu(mtu).up()).await
    })
    .with_context(|| format!("cannot make the bridge {name} in {}", netns.name()))
}

/// Makes a veth pair between two namespaces, both ends up and with this MTU.
pub fn ensure_veth(near: (&Netns, &str), far: (&Netns, &str), mtu: u32) -> Result<()> {
    let (near_ns, near_name) = near;
    let (far_ns, far_name) = far;
    let target = std::fs::File::open(far_ns.path())?;
    with_handle(near_ns, async |handle| {
        if index(&handle, near_name).await?.is_none() {
            handle
                .link()
                .add(LinkVeth::new(near_name, far_name).build())
                .execute()
                .await?;
        }
        change(&handle, near_name, |link| link.mtu(mtu).up()).await?;
        // An interrupted attempt may have left the far end here.
        if index(&handle, far_name).await?.is_some() {
            change(&handle, far_name, |link| link.setns_by_fd(target.as_raw_fd())).await?;
        }
        Ok(())
    })
    .and_then(|()| {
        with_handle(far_ns, async |handle| {
            change(&handle, far_name, |link| link.mtu(mtu).up()).await
        })
    })
    .with_context(|| format!("cannot join {} and {} by a veth", near_ns.name(), far_ns.name()))
}

/// Makes a VXLAN device between two addresses, one network and nothing else on it: a network id and UDP port, the
/// near and the far address. It learns nothing, since there is only one other end.
pub fn ensure_vxlan(
    netns: &Netns,
    name: &str,
    (id, port): (u32, u16),
    (near, far): (IpAddr, IpAddr),
    uplink: &str,
) -> Result<()> {
    with_handle(netns, async |handle| {
        if index(&handle, name).await?.is_some() {
            return Ok(());
        }
        let device = LinkVxlan::new(name, id)
            .port(port)
            .dev(known(&handle, uplink).await?);
        let device = match (near, far) {
            (IpAddr::V4(near), IpAddr::V4(far)) => device.local(near).remote(far).udp_csum(false),
            (IpAddr::V6(near), IpAddr::V6(far)) => device
                .local6(near)
                .remote6(far)
                .udp_zero_csum6_tx(true)
                .udp_zero_csum6_rx(true),
            (near, far) => bail!("{near} and {far} are of two families"),
        };
        let device = device.learning(false).build();
        Ok(handle.link().add(device).execute().await?)
    })
    .with_context(|| format!("cannot make the VXLAN device {name} in {}", netns.name()))
}

/// Puts an interface on a bridge of the same namespace.
pub fn join_bridge(netns: &Netns, name: &str, bridge: &str) -> Result<()> {
    with_handle(netns, async |handle| {
        let Some(bridge) = index(&handle, bridge).await? else {
            bail!("there is no bridge {bridge}");
        };
        change(&handle, name, |link| link.controller(bridge).up()).await
    })
    .with_context(|| format!("cannot put {name} on a bridge in {}", netns.name()))
}

/// Sets an interface up, with this MAC and MTU.
pub fn set_up(netns: &Netns, name: &str, mac: Option<[u8; 6]>, mtu: Option<u32>) -> Result<()> {
    with_handle(netns, async |handle| {
        change(&handle, name, |mut link| {
            if let Some(mac) = mac {
                link = link.address(mac.to_vec());
            }
            if let Some(mtu) = mtu {
                link = link.mtu(mtu);
            }
            link.up()
        })
        .await
    })
    .with_context(|| format!("cannot set {name} up in {}", netns.name()))
}

/// Sets an interface down.
pub fn set_down(netns: &Netns, name: &str) -> Result<()> {
    with_handle(netns, async |handle| {
        change(&handle, name, LinkMessageBuilder::down).await
    })
    .with_context(|| format!("cannot set {name} down in {}", netns.name()))
}

/// Writes into an interface whose it is.
pub fn set_alias(netns: &Netns, name: &str, alias: &str) -> Result<()> {
    with_handle(netns, async |handle| {
        change(&handle, name, |link| link.alias(alias)).await
    })
    .with_context(|| format!("cannot name the owner of {name} in {}", netns.name()))
}

/// Gives an interface an address.
pub fn ensure_address(netns: &Netns, name: &str, address: IpAddr, prefix: u8) -> Result<()> {
    with_handle(netns, async |handle| {
        let index = known(&handle, name).await?;
        Ok(handle
            .address()
            .add(index, address, prefix)
            .replace()
            .execute()
            .await?)
    })
    .with_context(|| format!("cannot give {name} in {} the address {address}", netns.name()))
}

/// Removes an interface; absent is fine.
pub fn delete(netns: &Netns, name: &str) -> Result<()> {
    with_handle(netns, async |handle| {
        if let Some(index) = index(&handle, name).await? {
            handle.link().del(index).execute().await?;
        }
        Ok(())
    })
    .with_context(|| format!("cannot remove {name} from {}", netns.name()))
}

/// Whether an interface of this name is there.
pub fn exists(netns: &Netns, name: &str) -> Result<bool> {
    with_handle(netns, async |handle| Ok(index(&handle, name).await?.is_some()))
}

/// Whether an interface is up and something is plugged into it.
pub fn has_carrier(netns: &Netns, name: &str) -> Result<bool> {
    with_handle(netns, async |handle| {
        Ok(find(&handle, name)
            .await?
            .is_some_and(|link| link.header.flags.contains(LinkFlags::LowerUp)))
    })
}

/// An interface's number, which raw sockets want.
pub fn interface_index(netns: &Netns, name: &str) -> Result<u32> {
    with_handle(netns, async |handle| known(&handle, name).await)
}

/// An interface's hardware address.
pub fn mac(netns: &Netns, name: &str) -> Result<[u8; 6]> {
    let link = with_handle(netns, async |handle| find(&handle, name).await)?;
    let attributes = link.map(|link| link.attributes).unwrap_or_default();
    let found = attributes.iter().find_map(|attribute| {
        let LinkAttribute::Address(address) = attribute else {
            return None;
        };
        <[u8; 6]>::try_from(address.as_slice()).ok()
    });
    found.with_context(|| format!("{name} in {} has no MAC", netns.name()))
}

/// The XDP program of an interface, by its number.
pub fn xdp_program(netns: &Netns, name: &str) -> Result<Option<u32>> {
    let link = with_handle(netns, async |handle| find(&handle, name).await)?;
    let attributes = link.map(|link| link.attributes).unwrap_or_default();
    Ok(attributes.iter().find_map(|attribute| {
        let LinkAttribute::Xdp(facts) = attribute else {
            return None;
        };
        facts.iter().find_map(|fact| {
            let LinkXdp::ProgId(program) = fact else {
                return None;
            };
            Some(*program)
        })
    }))
}

/// What an interface has counted.
pub fn counters(netns: &Netns, name: &str) -> Result<Counters> {
    let link = with_handle(netns, async |handle| find(&handle, name).await)?;
    let attributes = link.map(|link| link.attributes).unwrap_or_default();
    let found = attributes.iter().find_map(|attribute| {
        let LinkAttribute::Stats64(stats) = attribute else {
            return None;
        };
        Some(Counters {
            rx_packets: stats.rx_packets,
            tx_packets: stats.tx_packets,
            rx_bytes: stats.rx_bytes,
            tx_bytes: stats.tx_bytes,
            tx_dropped: stats.tx_dropped,
        })
    });
    found.with_context(|| format!("{name} in {} counts nothing", netns.name()))
}

/// Runs `work` with a netlink handle of the namespace.
fn with_handle<T, F, W>(netns: &Netns, work: W) -> Result<T>
where
    T: Send,
    F: Future<Output = Result<T>>,
    W: FnOnce(Handle) -> F + Send,
{
    netns.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection()?;
            tokio::spawn(connection);
            work(handle).await
        })
    })?
}

async fn find(handle: &Handle, name: &str) -> Result<Option<LinkMessage>> {
    match handle
        .link()
        .get()
        .match_name(name.to_owned())
        .execute()
        .try_next()
        .await
    {
        Ok(link) => Ok(link),
        Err(Error::NetlinkError(message)) if message.raw_code() == -libc::ENODEV => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot look for the interface {name}")),
    }
}

async fn index(handle: &Handle, name: &str) -> Result<Option<u32>> {
    Ok(find(handle, name).await?.map(|link| link.header.index))
}

async fn known(handle: &Handle, name: &str) -> Result<u32> {
    index(handle, name)
        .await?
        .with_context(|| format!("there is no interface {name}"))
}

/// Changes what an existing interface is set to.
async fn change(
    handle: &Handle,
    name: &str,
    how: impl FnOnce(LinkMessageBuilder<LinkUnspec>) -> LinkMessageBuilder<LinkUnspec>,
) -> Result<()> {
    let index = known(handle, name).await?;
    let message = how(LinkUnspec::new_with_index(index)).build();
    handle
        .link()
        .set(message)
        .execute()
        .await
        .with_context(|| format!("cannot change the interface {name}"))
}
