//! What the kernel says by itself about its network: interfaces, addresses, routes.
//!
//! News only wake whoever looks for themselves: what is true is asked for, never taken from a message, so that
//! a lost, late or doubled one does no harm. When the kernel could not keep up with telling us (the socket
//! overran) everything is looked at. Should this task end or be deaf, the others' timers find the same later.

use crate::adopt::Adoption;
use futures_util::{FutureExt, StreamExt};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoKind, LinkAttribute, LinkInfo, LinkLayerType, LinkMessage},
};
use rtnetlink::{
    MulticastGroup, new_multicast_connection,
    packet_core::{NetlinkMessage, NetlinkPayload},
};
use std::{io, sync::Arc, time::Duration};
use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

/// Between two wakings.
const BREATH: Duration = Duration::from_millis(20);
/// Before the socket is opened anew.
const PAUSE: Duration = Duration::from_secs(1);

const GROUPS: [MulticastGroup; 7] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
];

/// Who is woken.
#[derive(Clone, Debug, Default)]
pub struct Wake {
    /// The uplink's address or MTU, or the way to some host, may be another.
    pub uplink: Arc<Notify>,
    /// A tap that somebody else has made may be there.
    pub taps: Arc<Notify>,
}

/// What has to be looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    pub uplink: bool,
    pub taps: bool,
}

impl Look {
    pub const EVERYTHING: Self = Self {
        uplink: true,
        taps: true,
    };

    fn and(self, other: Self) -> Self {
        Self {
            uplink: self.uplink || other.uplink,
            taps: self.taps || other.taps,
        }
    }

    /// What one message asks for.
    pub fn at(message: &NetlinkMessage<RouteNetlinkMessage>, uplink: u32, adoption: &Adoption) -> Self {
        let nothing = Self::default();
        let ways = Self {
            uplink: true,
            ..nothing
        };
        let NetlinkPayload::InnerMessage(message) = &message.payload else {
            // `Overrun`: something was said that we have not heard. Anything else is no news, and costs a look.
            return Self::EVERYTHING;
        };
        if let RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link) = message {
            let is_uplink = link.header.index == uplink;
            let is_tap = matches!(message, RouteNetlinkMessage::NewLink(_)) && is_adopted(link, adoption);
            return Self {
                uplink: is_uplink,
                taps: is_tap,
            };
        }
        if let RouteNetlinkMessage::NewAddress(address) | RouteNetlinkMessage::DelAddress(address) = message {
            return if address.header.index == uplink {
                ways
            } else {
                nothing
            };
        }
        let is_way = matches!(
            message,
            RouteNetlinkMessage::NewRoute(_)
                | RouteNetlinkMessage::DelRoute(_)
                | RouteNetlinkMessage::NewRule(_)
                | RouteNetlinkMessage::DelRule(_)
        );
        if is_way { ways } else { nothing }
    }
}

fn is_adopted(link: &LinkMessage, adoption: &Adoption) -> bool {
    let is_tun = link.attributes.iter().any(|attribute| {
        matches!(attribute, LinkAttribute::LinkInfo(info) if info.contains(&LinkInfo::Kind(InfoKind::Tun)))
    });
    let is_tap = is_tun && link.header.link_layer_type == LinkLayerType::Ether;
    let mut names = link.attributes.iter().filter_map(|attribute| {
        if let LinkAttribute::IfName(name) = attribute {
            Some(name)
        } else {
            None
        }
    });
    names.any(|name| adoption.takes(name, is_tap))
}

/// Wakes the others until `stop`.
pub async fn run(uplink: u32, adoption: Adoption, wake: Wake, stop: CancellationToken) {
    loop {
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            ended = listen(uplink, &adoption, &wake) => ended,
        };
        tracing::error!(why = %ended, "the kernel's news are not heard, changes are noticed later; tried again");
        // What happened meanwhile was not heard.
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(PAUSE) => {}
        }
        wake.uplink.notify_one();
        wake.taps.notify_one();
    }
}

async fn listen(uplink: u32, adoption: &Adoption, wake: &Wake) -> io::Error {
    match hear(uplink, adoption, wake).await {
        Ok(()) => io::Error::other("the netlink socket has ended"),
        Err(error) => error,
    }
}

async fn hear(uplink: u32, adoption: &Adoption, wake: &Wake) -> io::Result<()> {
    let (connection, _handle, mut messages) = new_multicast_connection(&GROUPS)?;
    let listening = async {
        while let Some((first, _)) = messages.next().await {
            let mut look = Look::at(&first, uplink, adoption);
            while let Some(Some((more, _))) = messages.next().now_or_never() {
                look = look.and(Look::at(&more, uplink, adoption));
            }
            if look.taps {
                wake.taps.notify_one();
            }
            if look.uplink {
                wake.uplink.notify_one();
            }
            // The first is told at once; a storm costs fifty looks a second.
            sleep(BREATH).await;
        }
    };
    tokio::select! {
        () = connection => {}
        () = listening => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_route::{address::AddressMessage, neighbour::NeighbourMessage, route::RouteMessage};
    use rtnetlink::packet_core::NetlinkHeader;

    const UPLINK: u32 = 2;

    fn adoption() -> Adoption {
        Adoption {
            patterns: vec!["vnet*".parse().unwrap()],
            uplink: "up0".to_owned(),
        }
    }

    fn look(message: RouteNetlinkMessage) -> Look {
        let payload = NetlinkPayload::InnerMessage(message);
        Look::at(
            &NetlinkMessage::new(NetlinkHeader::default(), payload),
            UPLINK,
            &adoption(),
        )
    }

    fn link(index: u32, name: &str, kind: InfoKind, layer: LinkLayerType) -> LinkMessage {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.link_layer_type = layer;
        link.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]),
        ];
        link
    }

    #[test]
    fn only_what_may_concern_us_is_looked_at() {
        let (nothing, ways) = (
            Look::default(),
            Look {
                uplink: true,
                taps: false,
            },
        );
        let taps = Look {
            uplink: false,
            taps: true,
        };
        let address = |index| {
            let mut address = AddressMessage::default();
            address.header.index = index;
            address
        };
        let vnet = |layer| link(9, "vnet3", InfoKind::Tun, layer);
        for (what, message, wanted) in [
            (
                "our address",
                RouteNetlinkMessage::NewAddress(address(UPLINK)),
                ways,
            ),
            (
                "it is gone",
                RouteNetlinkMessage::DelAddress(address(UPLINK)),
                ways,
            ),
            (
                "somebody's address",
                RouteNetlinkMessage::NewAddress(address(7)),
                nothing,
            ),
            (
                "a route",
                RouteNetlinkMessage::NewRoute(RouteMessage::default()),
                ways,
            ),
            (
                "a route less",
                RouteNetlinkMessage::DelRoute(RouteMessage::default()),
                ways,
            ),
            (
                "a neighbour, whom the kernel looks up itself",
                RouteNetlinkMessage::NewNeighbour(NeighbourMessage::default()),
                nothing,
            ),
            (
                "our uplink",
                RouteNetlinkMessage::NewLink(link(UPLINK, "up0", InfoKind::Veth, LinkLayerType::Ether)),
                ways,
            ),
            (
                "a tap",
                RouteNetlinkMessage::NewLink(vnet(LinkLayerType::Ether)),
                taps,
            ),
            (
                "a tun",
                RouteNetlinkMessage::NewLink(vnet(LinkLayerType::None)),
                nothing,
            ),
            (
                "a tap less",
                RouteNetlinkMessage::DelLink(vnet(LinkLayerType::Ether)),
                nothing,
            ),
            (
                "a bridge with such a name",
                RouteNetlinkMessage::NewLink(link(9, "vnet3", InfoKind::Bridge, LinkLayerType::Ether)),
                nothing,
            ),
        ] {
            assert_eq!(look(message), wanted, "{what}");
        }
    }

    #[test]
    fn when_something_was_not_heard_everything_is_looked_at() {
        let overrun = NetlinkPayload::Overrun(Vec::new());
        let message = NetlinkMessage::new(NetlinkHeader::default(), overrun);
        assert_eq!(Look::at(&message, UPLINK, &adoption()), Look::EVERYTHING);
    }
}
