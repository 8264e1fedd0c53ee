//! Everything the agent asks of, or tells, the kernel's network configuration: the one user of netlink.
//!
//! It reads the uplink and the routes and never changes them; it changes only interfaces whose index a caller
//! names, and the callers name only taps of this agent and its VXLAN device.

use futures_util::TryStreamExt;
use netlink_packet_route::{
    address::{AddressAttribute, AddressMessage},
    link::{
        AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkFlags,
        LinkInfo, LinkLayerType, LinkMessage, LinkXdp,
    },
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
};
use pairgate_abi::NextHop;
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVxlan, RouteMessageBuilder, new_connection};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};
use tokio::sync::Mutex;

/// A door to the kernel of the network namespace in which it was opened.
#[derive(Clone, Debug)]
pub struct Net {
    handle: Handle,
    /// A socket gives one list at a time; the kernel refuses a second one (`EBUSY`) until the first is read.
    lists: Arc<Mutex<()>>,
}

/// What the agent wants to know of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub is_up: bool,
    /// Somebody is at the other end; for a tap: a guest has it open. Holds whether the interface is up or down.
    pub has_carrier: bool,
    pub mtu: u32,
    /// The text that says whose interface it is.
    pub alias: Option<String>,
    /// A tun or tap.
    pub is_tun: bool,
    /// Of these, one that carries Ethernet frames.
    pub is_tap: bool,
    /// A VLAN of another interface.
    pub is_vlan: bool,
    /// The interface that it stands upon.
    pub parent: Option<u32>,
    /// Its address on an Ethernet.
    pub mac: Option<[u8; 6]>,
    /// One end of a veth pair.
    pub is_veth: bool,
    /// It takes part in ARP: it asks, and answers.
    pub has_arp: bool,
    /// The bridge, bond or the like that takes what it receives.
    pub controller: Option<u32>,
    /// Somebody's XDP program, by its number: it sees every frame before ours do.
    pub xdp: Option<u32>,
    /// What a VXLAN device is set to; none if it is not one.
    pub vxlan: Option<Vxlan>,
    /// Packets that it has received.
    pub rx_packets: u64,
    /// For a tap: packets that the guest has read.
    pub tx_packets: u64,
    /// For a tap: packets that were not queued to the guest.
    pub tx_dropped: u64,
}

/// How a VXLAN device takes frames in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vxlan {
    pub port: u16,
    /// It serves every network, and says of each frame where it came from.
    pub external: bool,
    /// It reads and reports the group policy id.
    pub group_policy: bool,
    pub learning: bool,
    /// It takes frames without an outer UDP checksum over IPv6 too.
    pub zero_checksum_6: bool,
}

/// The kernel did not do or say what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {what}: {why}")]
pub struct NetError {
    verb: &'static str,
    what: String,
    why: String,
    /// The kernel's error number, if it was the kernel that refused.
    code: Option<i32>,
}

impl NetError {
    /// Something else has what was asked for.
    pub fn is_taken(&self) -> bool {
        matches!(self.code, Some(libc::EADDRINUSE | libc::EEXIST))
    }

    fn is_gone(&self) -> bool {
        self.code == Some(libc::ENODEV)
    }
}

/// Why there is no way to a peer host.
#[derive(Debug, thiserror::Error)]
pub enum WayError {
    #[error("there is no route to host {to}: {why}")]
    NoRoute { to: IpAddr, why: String },
    #[error("the route to host {to} does not leave by the uplink; peers are reached by the uplink alone")]
    NotTheUplink { to: IpAddr },
    #[error("the route to host {to} has a next hop of the other family, which is not carried")]
    Unsupported { to: IpAddr },
}

impl Net {
    /// Must be called on the runtime that will use it.
    pub fn open() -> io::Result<Self> {
        let (connection, handle, _) = new_connection()?;
        tokio::spawn(connection);
        let lists = Arc::default();
        Ok(Self { handle, lists })
    }

    pub async fn link_by_name(&self, name: &str) -> Result<Option<Link>, NetError> {
        let request = self.handle.link().get().match_name(name);
        let answer = request.execute().try_next().await;
        found(answer).map_err(failed("look at interface", name))
    }

    pub async fn link(&self, index: u32) -> Result<Option<Link>, NetError> {
        let request = self.handle.link().get().match_index(index);
        let answer = request.execute().try_next().await;
        found(answer).map_err(failed("look at interface", &index))
    }

    pub async fn links(&self) -> Result<Vec<Link>, NetError> {
        let _turn = self.lists.lock().await;
        let all = self.handle.link().get().execute().try_collect::<Vec<_>>().await;
        let all = all.map_err(failed("list", &"interfaces"))?;
        Ok(all.into_iter().map(read_link).collect())
    }

    pub async fn set_alias(&self, index: u32, alias: &str) -> Result<(), NetError> {
        self.set(index, "name the owner of interface", |link| link.alias(alias))
            .await
    }

    pub async fn set_mtu(&self, index: u32, mtu: u16) -> Result<(), NetError> {
        self.set(index, "set the MTU of interface", |link| link.mtu(u32::from(mtu)))
            .await
    }

    pub async fn set_up(&self, index: u32) -> Result<(), NetError> {
        self.set(index, "bring up interface", LinkMessageBuilder::up)
            .await
    }

    /// The interface neither asks nor answers by ARP.
    pub async fn set_no_arp(&self, index: u32) -> Result<(), NetError> {
        self.set(index, "switch ARP off on interface", |link| link.arp(false))
            .await
    }

    /// Makes a VXLAN device, down, with a random MAC. With an index it gets that one, which must be free.
    pub async fn make_vxlan(&self, name: &str, wanted: Vxlan, index: Option<u32>) -> Result<(), NetError> {
        let mut device = LinkMessageBuilder::<LinkVxlan>::new(name)
            .collect_metadata(wanted.external)
            .learning(wanted.learning)
            .port(wanted.port)
            .udp_zero_csum6_rx(wanted.zero_checksum_6);
        if wanted.group_policy {
            device = device.gbp();
        }
        if let Some(index) = index {
            device = device.index(index);
        }
        let done = self.handle.link().add(device.build()).execute().await;
        done.map_err(failed("make the VXLAN device", name))
    }

    /// No IPv6 address shall appear on an interface by itself. Fine where the kernel has no IPv6.
    pub async fn refuse_own_addresses(&self, index: u32) -> Result<(), NetError> {
        let none = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
        let none = LinkAttribute::AfSpecUnspec(vec![none]);
        let verb = "switch off IPv6 addresses of interface";
        let done = self
            .set(index, verb, |link| link.append_extra_attribute(none))
            .await;
        match done {
            Err(error) if error.code == Some(libc::EAFNOSUPPORT) => Ok(()),
            done => done,
        }
    }

    async fn set(
        &self,
        index: u32,
        verb: &'static str,
        change: impl FnOnce(LinkMessageBuilder<LinkUnspec>) -> LinkMessageBuilder<LinkUnspec>,
    ) -> Result<(), NetError> {
        let message = change(LinkUnspec::new_with_index(index)).build();
        let done = self.handle.link().set(message).execute().await;
        done.map_err(failed(verb, &index))
    }

    /// Deletes an interface; one that is gone already is as good as deleted.
    pub async fn delete(&self, index: u32) -> Result<(), NetError> {
        let done = self.handle.link().del(index).execute().await;
        match done.map_err(failed("delete interface", &index)) {
            Err(error) if error.is_gone() => Ok(()),
            done => done,
        }
    }

    pub async fn addresses(&self, index: u32) -> Result<Vec<IpAddr>, NetError> {
        let all = self.all_addresses().await?.into_iter();
        Ok(all
            .filter(|(of, _)| *of == index)
            .map(|(_, address)| address)
            .collect())
    }

    /// Every address of this network namespace, each with its interface.
    pub async fn all_addresses(&self) -> Result<Vec<(u32, IpAddr)>, NetError> {
        let _turn = self.lists.lock().await;
        let request = self.handle.address().get();
        let all = request.execute().try_collect::<Vec<_>>().await;
        let all = all.map_err(failed("list", &"addresses"))?.into_iter();
        let own = |message: AddressMessage| {
            let index = message.header.index;
            read_address(message).map(|address| (index, address))
        };
        Ok(all.filter_map(own).collect())
    }

    /// The neighbour on the uplink that leads to a peer host: the host itself, or a gateway.
    pub async fn next_hop(&self, to: IpAddr, uplink: u32) -> Result<NextHop, WayError> {
        let no_route = |why: &dyn std::fmt::Display| WayError::NoRoute {
            to,
            why: why.to_string(),
        };
        let question = match to {
            IpAddr::V4(to) => RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(to, 32)
                .build(),
            IpAddr::V6(to) => RouteMessageBuilder::<Ipv6Addr>::new()
                .destination_prefix(to, 128)
                .build(),
        };
        let answer = self.handle.route().get(question).execute().try_next().await;
        let route = answer
            .map_err(|error| no_route(&error))?
            .ok_or_else(|| no_route(&"the kernel did not answer"))?;
        read_next_hop(route, to, uplink)
    }
}

fn found(answer: Result<Option<LinkMessage>, rtnetlink::Error>) -> Result<Option<Link>, rtnetlink::Error> {
    match answer {
        Ok(message) => Ok(message.map(read_link)),
        Err(error) if code(&error) == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

fn code(error: &rtnetlink::Error) -> Option<i32> {
    if let rtnetlink::Error::NetlinkError(message) = error {
        return Some(-message.raw_code());
    }
    None
}

fn failed(
    verb: &'static str,
    what: &(impl std::fmt::Display + ?Sized),
) -> impl FnOnce(rtnetlink::Error) -> NetError {
    let what = what.to_string();
    move |error| NetError {
        verb,
        what,
        code: code(&error),
        why: error.to_string(),
    }
}

/// The interface's own address in what the kernel says about one.
pub fn read_address(message: AddressMessage) -> Option<IpAddr> {
    let (mut own, mut listed) = (None, None);
    for attribute in message.attributes {
        if let AddressAttribute::Local(address) = attribute {
            own = Some(address);
        } else if let AddressAttribute::Address(address) = attribute {
            listed = Some(address);
        }
    }
    // On a point-to-point link the listed one is the peer's; an IPv6 address without peer has no `Local`.
    own.or(listed)
}

/// The neighbour to which a route that the kernel names for `to` leads.
pub fn read_next_hop(route: RouteMessage, to: IpAddr, uplink: u32) -> Result<NextHop, WayError> {
    if route.header.kind != RouteType::Unicast {
        return Err(WayError::NoRoute {
            to,
            why: format!("its kind is {:?}", route.header.kind),
        });
    }
    let (mut interface, mut neighbour) = (None, to);
    for attribute in route.attributes {
        // Only these three say where a packet goes next; the rest describes the route.
        if let RouteAttribute::Oif(index) = attribute {
            interface = Some(index);
        } else if let RouteAttribute::Gateway(gateway) = attribute {
            neighbour = match (gateway, to) {
                (RouteAddress::Inet(gateway), IpAddr::V4(_)) => gateway.into(),
                (RouteAddress::Inet6(gateway), IpAddr::V6(_)) => gateway.into(),
                (_, IpAddr::V4(_) | IpAddr::V6(_)) => return Err(WayError::Unsupported { to }),
            };
        } else if let RouteAttribute::Via(_) = attribute {
            return Err(WayError::Unsupported { to });
        }
    }
    if interface != Some(uplink) {
        return Err(WayError::NotTheUplink { to });
    }
    Ok(NextHop {
        interface: uplink,
        neighbour: pairgate_token::address_bytes(neighbour),
    })
}

/// An interface as the kernel describes it.
pub fn read_link(message: LinkMessage) -> Link {
    let flags = message.header.flags;
    let is_ethernet = message.header.link_layer_type == LinkLayerType::Ether;
    let mut link = Link {
        index: message.header.index,
        is_up: flags.contains(LinkFlags::Up),
        has_arp: !flags.contains(LinkFlags::Noarp),
        ..Link::default()
    };
    for attribute in message.attributes {
        if let LinkAttribute::IfName(name) = attribute {
            link.name = name;
        } else if let LinkAttribute::Mtu(mtu) = attribute {
            link.mtu = mtu;
        } else if let LinkAttribute::IfAlias(alias) = attribute {
            link.alias = Some(alias);
        } else if let LinkAttribute::Link(parent) = attribute {
            link.parent = Some(parent).filter(|index| *index != 0);
        } else if let LinkAttribute::Address(mac) = attribute {
            link.mac = mac.try_into().ok();
        } else if let LinkAttribute::Controller(controller) = attribute {
            link.controller = Some(controller).filter(|index| *index != 0);
        } else if let LinkAttribute::Xdp(xdp) = attribute {
            link.xdp = xdp.iter().find_map(program_of);
        } else if let LinkAttribute::Carrier(carrier) = attribute {
            // Not the flag `LOWER_UP`, which an interface that is down lacks too.
            link.has_carrier = carrier != 0;
        } else if let LinkAttribute::Stats64(stats) = attribute {
            link.rx_packets = stats.rx_packets;
            link.tx_packets = stats.tx_packets;
            link.tx_dropped = stats.tx_dropped;
        } else if let LinkAttribute::LinkInfo(info) = attribute {
            link.is_tun = info.contains(&LinkInfo::Kind(InfoKind::Tun));
            link.is_tap = link.is_tun && is_ethernet;
            link.is_vlan = info.contains(&LinkInfo::Kind(InfoKind::Vlan));
            link.is_veth = info.contains(&LinkInfo::Kind(InfoKind::Veth));
            link.vxlan = info.iter().find_map(read_vxlan);
        }
    }
    link
}

fn program_of(xdp: &LinkXdp) -> Option<u32> {
    if let LinkXdp::ProgId(program) = xdp {
        return Some(*program);
    }
    None
}

fn read_vxlan(info: &LinkInfo) -> Option<Vxlan> {
    let LinkInfo::Data(InfoData::Vxlan(settings)) = info else {
        return None;
    };
    let mut vxlan = Vxlan::default();
    for setting in settings {
        if let InfoVxlan::Port(port) = setting {
            vxlan.port = *port;
        } else if let InfoVxlan::CollectMetadata(external) = setting {
            vxlan.external = *external;
        } else if let InfoVxlan::Gbp = setting {
            vxlan.group_policy = true;
        } else if let InfoVxlan::Learning(learning) = setting {
            vxlan.learning = *learning;
        } else if let InfoVxlan::UDPZeroCsumRX(taken) = setting {
            vxlan.zero_checksum_6 = *taken;
        }
    }
    Some(vxlan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vlan_is_known_with_what_it_stands_upon() {
        let mut message = LinkMessage::default();
        message.header.index = 9;
        message.attributes = vec![
            LinkAttribute::IfName("up0.7".into()),
            LinkAttribute::Link(3),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 7]),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vlan)]),
        ];
        let link = read_link(message);
        assert!(
            link.is_vlan && link.parent == Some(3),
            "the XDP guard would go on beside another network"
        );
        assert_eq!(link.mac, Some([2, 0, 0, 0, 0, 7]));
    }
}
