//! Taps and routes against a real kernel, each test in a network namespace of its own thread, which ends with
//! the test. They need root and say so when they are skipped.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use pairgate_abi::NextHop;
use pairgate_agent::{
    adopt::Adoption,
    goal::{Guest, OwnAddress},
    keeper::undrained,
    net::{Net, WayError},
    news::{self, Wake},
    tap_name::TapName,
    taps::{self, OwnTap, TapError},
    uplink::{Uplink, UplinkError},
};
use pairgate_token::{SecretKey, address_from_bytes};
use rtnetlink::{LinkUnspec, LinkVeth, RouteMessageBuilder};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough for news that should not come.
const QUIET: Duration = Duration::from_millis(200);

/// Runs a test in a new network namespace.
fn in_a_namespace<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root to make a network namespace");
        return;
    }
    let thread = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(test());
    });
    thread.join().unwrap();
}

/// Nobody else makes taps here.
fn nobody() -> Adoption {
    Adoption::default()
}

async fn own_taps(net: &Net) -> Vec<OwnTap> {
    taps::own(&net.links().await.unwrap()).collect()
}

fn guest(name: &str) -> Guest {
    Guest {
        id: Uuid::new_v4(),
        name: name.to_owned(),
        network: Uuid::new_v4(),
        network_name: "default".to_owned(),
        mac: [2, 0, 0, 0, 0, 1],
        addresses: vec![OwnAddress {
            address: [10, 77, 0, 11].into(),
            prefix: 24,
        }],
        mtu: 1450,
        generation: 1,
        key: SecretKey::from_bytes([1; 32]),
        tap: TapName::new(&format!("tap-{name}")).unwrap(),
        told: Default::default(),
    }
}

#[test]
fn a_tap_is_down_and_passing_until_it_is_opened() {
    in_a_namespace(|| async {
        let (net, guest) = (Net::open().unwrap(), guest("web1"));
        let tap = taps::ready(&net, &guest, &nobody()).await.unwrap().unwrap();
        let link = net.link(tap.index).await.unwrap().unwrap();
        assert!(!link.is_up, "a tap must not be up before its programs hold it");
        assert_eq!(link.name, "tap-web1");
        let ipv6 = std::fs::read_to_string("/proc/sys/net/ipv6/conf/tap-web1/disable_ipv6").unwrap();
        assert_eq!(
            ipv6.trim(),
            "1",
            "the host would give itself an address on the guest's wire"
        );
        assert_eq!(own_taps(&net).await.len(), 1);
        // The agent dies here.
        drop(tap);
        assert_eq!(net.link_by_name("tap-web1").await.unwrap(), None);
    });
}

#[test]
fn an_open_tap_outlives_the_agent_and_is_known_again() {
    in_a_namespace(|| async {
        let (net, guest) = (Net::open().unwrap(), guest("web1"));
        let tap = taps::ready(&net, &guest, &nobody()).await.unwrap().unwrap();
        let index = tap.index;
        taps::open(&net, &guest, tap).await.unwrap();
        let link = net.link(index).await.unwrap().unwrap();
        assert!(link.is_up && link.mtu == 1450 && !link.has_carrier);
        assert_eq!(
            undrained(100, &link),
            0,
            "nobody has it open, so it holds nothing"
        );
        let again = taps::ready(&net, &guest, &nobody()).await.unwrap().unwrap();
        assert_eq!(again.index, index);
        taps::open(&net, &guest, again).await.unwrap();
        let own = own_taps(&net).await;
        assert_eq!(own.iter().map(|tap| tap.vm).collect::<Vec<_>>(), [guest.id]);
        taps::remove(&net, index).await.unwrap();
        taps::remove(&net, index).await.unwrap();
        assert!(own_taps(&net).await.is_empty());
    });
}

#[test]
fn an_interface_of_somebody_else_is_never_taken_over() {
    in_a_namespace(|| async {
        let (net, guest) = (Net::open().unwrap(), guest("web1"));
        veth("tap-web1", "other").await;
        assert!(matches!(
            taps::ready(&net, &guest, &nobody()).await,
            Err(TapError::Foreign { .. })
        ));
        // Nor the tap of another VM.
        let (mut one, two) = (crate::guest("db1"), crate::guest("db2"));
        let tap = taps::ready(&net, &two, &nobody()).await.unwrap().unwrap();
        one.tap.clone_from(&two.tap);
        assert!(matches!(
            taps::ready(&net, &one, &nobody()).await,
            Err(TapError::Foreign { .. })
        ));
        drop(tap);
    });
}

#[test]
fn the_next_hop_is_the_peer_or_a_gateway_on_the_uplink_and_nothing_else() {
    in_a_namespace(|| async {
        let net = Net::open().unwrap();
        let uplink = veth("up0", "up0-peer").await;
        let other = veth("up1", "up1-peer").await;
        address(uplink, [192, 0, 2, 1], 24).await;
        address(other, [198, 51, 100, 1], 24).await;
        let handle = handle();
        let gateway = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix([203, 0, 113, 0].into(), 24)
            .gateway([192, 0, 2, 254].into());
        handle.route().add(gateway.build()).execute().await.unwrap();

        let next = async |to: [u8; 4]| net.next_hop(IpAddr::from(to), uplink).await;
        let neighbour = |hop: NextHop| address_from_bytes(hop.neighbour);
        assert_eq!(
            neighbour(next([192, 0, 2, 2]).await.unwrap()),
            IpAddr::from([192, 0, 2, 2])
        );
        let hop = next([203, 0, 113, 9]).await.unwrap();
        assert_eq!(
            (hop.interface, neighbour(hop)),
            (uplink, IpAddr::from([192, 0, 2, 254]))
        );
        assert!(matches!(
            next([198, 51, 100, 2]).await,
            Err(WayError::NotTheUplink { .. })
        ));
        assert!(matches!(next([10, 0, 0, 1]).await, Err(WayError::NoRoute { .. })));
        // Ourselves: a local route is no way to a peer.
        assert!(matches!(
            next([192, 0, 2, 1]).await,
            Err(WayError::NoRoute { .. })
        ));
    });
}

#[test]
fn the_next_hop_over_ipv6_may_be_a_gateway_with_a_link_local_address() {
    in_a_namespace(|| async {
        let net = Net::open().unwrap();
        // Else an address is nobody's until it has been asked for a second long whether another has it.
        std::fs::write("/proc/sys/net/ipv6/conf/all/accept_dad", "0").unwrap();
        std::fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap();
        let uplink = veth("up0", "up0-peer").await;
        let parse = |text: &str| text.parse::<Ipv6Addr>().unwrap();
        let own = handle()
            .address()
            .add(uplink, parse("2001:db8:0:1::1").into(), 64);
        own.execute().await.unwrap();
        let gateway = RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(parse("2001:db8:0:2::"), 64)
            .gateway(parse("fe80::9"))
            .output_interface(uplink);
        handle().route().add(gateway.build()).execute().await.unwrap();
        for (to, neighbour) in [
            ("2001:db8:0:1::2", "2001:db8:0:1::2"),
            ("2001:db8:0:2::7", "fe80::9"),
        ] {
            let hop = net.next_hop(parse(to).into(), uplink).await.unwrap();
            assert_eq!(
                address_from_bytes(hop.neighbour),
                IpAddr::from(parse(neighbour)),
                "{to}"
            );
        }
        // The kernel takes an IPv6 address for its own a moment after it has been given it.
        let ourselves = async {
            while !matches!(
                net.next_hop(parse("2001:db8:0:1::1").into(), uplink).await,
                Err(WayError::NoRoute { .. })
            ) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, ourselves).await.expect("a way to ourselves");
    });
}

#[test]
fn an_uplink_without_the_certificates_address_is_refused() {
    in_a_namespace(|| async {
        let net = Net::open().unwrap();
        let ours: IpAddr = [192, 0, 2, 1].into();
        assert!(matches!(
            Uplink::find(&net, "up0", ours).await,
            Err(UplinkError::Missing(_))
        ));
        let index = veth("up0", "up0-peer").await;
        let error = Uplink::find(&net, "up0", ours).await.unwrap_err();
        assert!(error.to_string().contains("192.0.2.1"), "{error}");
        address(index, [192, 0, 2, 1], 24).await;
        assert_eq!(Uplink::find(&net, "up0", ours).await.unwrap().index, index);
        let ours: IpAddr = "2001:db8:0:1::1".parse().unwrap();
        assert!(Uplink::find(&net, "up0", ours).await.is_err());
        let own = handle().address().add(index, ours, 64);
        own.execute().await.unwrap();
        assert_eq!(Uplink::find(&net, "up0", ours).await.unwrap().index, index);
    });
}

fn handle() -> rtnetlink::Handle {
    let (connection, handle, _) = rtnetlink::new_connection().unwrap();
    tokio::spawn(connection);
    handle
}

/// A pair of interfaces, up; returns the index of the first.
async fn veth(name: &str, peer: &str) -> u32 {
    let handle = handle();
    let made = handle.link().add(LinkVeth::new(name, peer).build());
    made.execute().await.unwrap();
    for end in [name, peer] {
        let up = handle.link().set(LinkUnspec::new_with_name(end).up().build());
        up.execute().await.unwrap();
    }
    nix::net::if_::if_nametoindex(name).unwrap()
}

async fn address(index: u32, address: [u8; 4], prefix: u8) {
    let added = handle().address().add(index, address.into(), prefix);
    added.execute().await.unwrap();
}

#[test]
fn the_kernels_news_wake_whoever_has_to_look_and_nobody_else() {
    in_a_namespace(|| async {
        let (net, handle) = (Net::open().unwrap(), handle());
        let veth = LinkVeth::new("up0", "far").build();
        handle.link().add(veth).execute().await.unwrap();
        let uplink = net.link_by_name("up0").await.unwrap().unwrap().index;
        let other = net.link_by_name("far").await.unwrap().unwrap().index;
        let adoption = Adoption {
            patterns: vec!["tap-*".parse().unwrap()],
            uplink: "up0".to_owned(),
        };
        let (wake, stop) = (Wake::default(), CancellationToken::new());
        let hearing = tokio::spawn(news::run(uplink, adoption.clone(), wake.clone(), stop.clone()));
        let address = |index| {
            handle
                .address()
                .add(index, IpAddr::V4([192, 0, 2, 1].into()), 24)
                .execute()
        };
        // Until the socket is open nothing is heard; then the first change is.
        timeout(PATIENCE, async {
            loop {
                let up = LinkUnspec::new_with_index(uplink).up().build();
                handle.link().set(up).execute().await.unwrap();
                let down = LinkUnspec::new_with_index(uplink).down().build();
                handle.link().set(down).execute().await.unwrap();
                if timeout(Duration::from_millis(50), wake.uplink.notified())
                    .await
                    .is_ok()
                {
                    return;
                }
            }
        })
        .await
        .expect("nothing is heard");
        while timeout(QUIET, wake.uplink.notified()).await.is_ok() {}

        net.set_alias(other, "somebody's").await.unwrap();
        assert!(
            timeout(QUIET, wake.uplink.notified()).await.is_err(),
            "another interface"
        );
        address(uplink).await.unwrap();
        timeout(PATIENCE, wake.uplink.notified())
            .await
            .expect("our address");
        assert!(
            timeout(QUIET, wake.taps.notified()).await.is_err(),
            "there is no tap"
        );

        // A tap of other hands is seen, and is the guest's; one that is not there is awaited and not made.
        let guest = guest("lent");
        assert!(taps::ready(&net, &guest, &adoption).await.unwrap().is_none());
        assert!(net.link_by_name("tap-lent").await.unwrap().is_none());
        let made = taps::ready(&net, &guest, &nobody()).await.unwrap().unwrap();
        let index = made.index;
        net.set_alias(index, "libvirt").await.unwrap();
        timeout(PATIENCE, wake.taps.notified()).await.expect("a tap");
        let links = net.links().await.unwrap();
        assert_eq!(taps::own(&links).count(), 0);
        let adopted: Vec<_> = taps::adopted(&links, &adoption).map(|link| link.index).collect();
        assert_eq!(adopted, [index]);
        assert_eq!(
            taps::ready(&net, &guest, &adoption).await.unwrap().unwrap().index,
            index
        );
        assert!(matches!(
            taps::ready(&net, &guest, &nobody()).await,
            Err(TapError::Foreign { .. })
        ));
        stop.cancel();
        hearing.await.unwrap();
    });
}

#[test]
fn lists_that_are_asked_for_at_the_same_time_are_all_given() {
    in_a_namespace(|| async {
        let net = Net::open().unwrap();
        let mut asked = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let net = net.clone();
            asked.spawn(async move { (net.links().await, net.addresses(1).await) });
        }
        while let Some(answers) = asked.join_next().await {
            let (links, addresses) = answers.unwrap();
            assert_eq!(
                links.unwrap().len(),
                1,
                "the kernel gives one list at a time on one socket"
            );
            addresses.unwrap();
        }
    });
}
