//! A guest against the host it runs on: whatever it says, the host's own stack must not hear of it, not even on
//! a tap that somebody has given addresses, and not even if it knows the tap's MAC address.
use crate::{
    device::{StackEar, Tap, Vnet},
    frames::{ETHERNET, arp_for, ethernet, ping, udp, udp_to, with},
    world::{GUEST_MAC, World},
};
use etherparse::EtherType;

/// The ethertypes that a host may listen for, and the two under which the kernel files 802.3 frames.
const ETHERTYPES: [u16; 9] = [
    0x0800, 0x0806, 0x86dd, 0x88cc, 0x888e, 0x8847, 0x8864, 0x0001, 0x0004,
];
const HOSTS_OWN: [u8; 4] = [10, 77, 0, 1];

fn ears(tap: &Tap) -> Vec<StackEar> {
    ETHERTYPES
        .iter()
        .map(|ethertype| tap.stack_ear(*ethertype))
        .collect()
}

fn heard(ears: &[StackEar]) -> Vec<Vec<u8>> {
    ears.iter()
        .flat_map(|ear| std::iter::from_fn(|| ear.heard()))
        .collect()
}

/// Packets that the IP stacks of this namespace have been handed.
pub(crate) fn handed_to_ip() -> (u64, u64) {
    // The thread's namespace, not the process's.
    let read = |file: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap();
    let snmp = read("snmp");
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Ip: "));
    let (names, numbers) = (lines.next().unwrap(), lines.next().unwrap());
    let of = |wanted| {
        let at = names.split(' ').position(|name| name == wanted).unwrap();
        numbers.split(' ').nth(at).unwrap().parse::<u64>().unwrap()
    };
    let snmp6 = read("snmp6");
    let six = snmp6.lines().find_map(|line| line.strip_prefix("Ip6InReceives"));
    (
        of("InReceives"),
        six.map_or(0, |number| number.trim().parse().unwrap()),
    )
}

/// IPv6 from the guest to a group or an address, as a stack would take it.
fn ipv6(mac: [u8; 6], destination: [u8; 16], next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = ethernet(GUEST_MAC, mac, EtherType::IPV6);
    let length = (payload.len() as u16).to_be_bytes();
    frame.extend([0x60, 0, 0, 0, length[0], length[1], next_header, 255]);
    frame.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 0x11]);
    frame.extend(destination);
    frame.extend(payload);
    frame
}

fn for_the_host(tap: [u8; 6]) -> Vec<(&'static str, Vec<u8>)> {
    let all_nodes = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let group_mac = [0x33, 0x33, 0, 0, 0, 1];
    let to_host = |frame: Vec<u8>| with(with(frame, 0, &tap), ETHERNET + 16, &HOSTS_OWN);
    let typed = |mac: [u8; 6], ethertype: [u8; 2]| with(with(udp(), 0, &mac), 12, &ethertype);
    vec![
        ("a question for the host's address", arp_for(HOSTS_OWN)),
        ("the same to the tap's MAC", with(arp_for(HOSTS_OWN), 0, &tap)),
        ("a ping to the host's address", to_host(ping())),
        ("the same by the gateway", with(ping(), ETHERNET + 16, &HOSTS_OWN)),
        ("a datagram to the tap's MAC", with(udp(), 0, &tap)),
        (
            "loopback to the tap's MAC",
            with(with(udp(), 0, &tap), ETHERNET + 16, &[127, 0, 0, 1]),
        ),
        ("a broadcast", with(udp_to([255; 4], b"x"), 0, &[0xff; 6])),
        (
            "mDNS",
            with(udp_to([224, 0, 0, 251], b"x"), 0, &[1, 0, 0x5e, 0, 0, 0xfb]),
        ),
        (
            "IGMP",
            with(
                with(udp_to([224, 0, 0, 1], b"x"), 0, &[1, 0, 0x5e, 0, 0, 1]),
                ETHERNET + 9,
                &[2],
            ),
        ),
        (
            "a router advertisement",
            ipv6(
                group_mac,
                all_nodes,
                58,
                &[134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0],
            ),
        ),
        (
            "a ping to all nodes",
            ipv6(group_mac, all_nodes, 58, &[128, 0, 0, 0, 0, 1, 0, 1]),
        ),
        ("IPv6 to the tap's MAC", ipv6(tap, all_nodes, 59, &[])),
        ("LLDP", typed([1, 0x80, 0xc2, 0, 0, 0x0e], [0x88, 0xcc])),
        ("802.1X", typed([1, 0x80, 0xc2, 0, 0, 3], [0x88, 0x8e])),
        ("MPLS", typed(tap, [0x88, 0x47])),
        ("PPPoE", typed(tap, [0x88, 0x64])),
        (
            "a spanning tree's",
            with(typed([1, 0x80, 0xc2, 0, 0, 0], [0, 0x26]), 14, &[0x42, 0x42, 3]),
        ),
        (
            "802.3 of Novell's kind",
            with(typed(tap, [0, 0x26]), 14, &[0xff, 0xff]),
        ),
    ]
}

#[test]
fn nothing_that_a_guest_says_reaches_the_hosts_own_stack() {
    let world = World::running();
    let open = Tap::new("open");
    for tap in [&world.guest, &open] {
        std::fs::write(
            format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", tap.name()),
            "0",
        )
        .unwrap();
        tap.set_address(HOSTS_OWN);
        tap.up();
    }
    // The same frames on a tap without programs are heard: so the silence below means something.
    let (ears_open, before) = (ears(&open), handed_to_ip());
    let frames = for_the_host(open.mac());
    for (_, frame) in &frames {
        open.send(Vnet::default(), frame).unwrap();
    }
    assert_eq!(
        heard(&ears_open).len(),
        frames.len(),
        "these frames prove nothing"
    );
    let after = handed_to_ip();
    assert!(
        after.0 > before.0 && after.1 > before.1,
        "{before:?} to {after:?}"
    );
    open.down();

    let (ears, before) = (ears(&world.guest), handed_to_ip());
    for (what, frame) in for_the_host(world.guest.mac()) {
        world.guest.send(Vnet::default(), &frame).unwrap();
        assert_eq!(heard(&ears), [[0; 0]; 0], "{what} reached the host's stack");
    }
    assert_eq!(
        handed_to_ip(),
        before,
        "the host's IP took something from the guest"
    );
    // Not even when the tap has lost its entries.
    world.loaded.taps().unwrap().remove(&world.guest.index()).unwrap();
    for (what, frame) in for_the_host(world.guest.mac()) {
        world.guest.send(Vnet::default(), &frame).unwrap();
        assert_eq!(
            heard(&ears),
            [[0; 0]; 0],
            "{what} reached the host's stack through an empty map"
        );
    }
    assert_eq!(handed_to_ip(), before);
}
