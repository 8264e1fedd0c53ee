//! A tap whose programs somebody has taken off: what stands between its guest and the host's own stack then, and what
//! the guest gets through while programs are being replaced.
use crate::{
    counts::Counts,
    device::{Tap, Vnet},
    frames::arp_for,
    host_stack::handed_to_ip,
    others,
    world::{GUEST, GUEST_MAC, SLOT, World, enter_own_namespaces, share},
};
use etherparse::PacketBuilder;
use pairgate_agent::{datapath::Program, net::Net, silence, taps};
use std::{
    fs,
    net::UdpSocket,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

const HOSTS_OWN: [u8; 4] = [10, 77, 0, 1];
const PORT: u16 = 4444;
const BROADCAST: [u8; 6] = [0xff; 6];
/// Time for an answer that must not come.
const SILENCE: Duration = Duration::from_millis(300);

fn datagram(mac: [u8; 6], source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(GUEST_MAC, mac)
        .ipv4(source, destination, 64)
        .udp(PORT, PORT);
    let mut frame = Vec::new();
    builder.write(&mut frame, b"to the host").unwrap();
    frame
}

/// An echo request over IPv6 to all nodes of the link.
fn all_nodes() -> Vec<u8> {
    let (source, mut destination) = ([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x11], [0; 16]);
    (destination[0], destination[1], destination[15]) = (0xff, 2, 1);
    let builder = PacketBuilder::ethernet2(GUEST_MAC, [0x33, 0x33, 0, 0, 0, 1])
        .ipv6(source, destination, 255)
        .icmpv6_echo_request(1, 1);
    let mut frame = Vec::new();
    builder.write(&mut frame, b"anybody there?").unwrap();
    frame
}

/// What a socket of the host hears, as the guest would say it; `mac` is the tap's.
fn datagrams(mac: [u8; 6]) -> Vec<(&'static str, Vec<u8>)> {
    let group = [1, 0, 0x5e, 0, 0, 1];
    vec![
        ("to the host's address", datagram(mac, GUEST, HOSTS_OWN)),
        (
            "from an address of nobody's",
            datagram(mac, [203, 0, 113, 9], HOSTS_OWN),
        ),
        (
            "by broadcast to the host's address",
            datagram(BROADCAST, GUEST, HOSTS_OWN),
        ),
        ("to everybody on the link", datagram(BROADCAST, GUEST, [255; 4])),
        (
            "to everybody in the subnet",
            datagram(BROADCAST, GUEST, [10, 255, 255, 255]),
        ),
        ("to all systems", datagram(group, GUEST, [224, 0, 0, 1])),
    ]
}

/// What only the program behind the programs stops.
fn nameless() -> Vec<(&'static str, Vec<u8>)> {
    let group = [1, 0, 0x5e, 0, 0, 1];
    vec![
        ("to everybody, from nobody", datagram(BROADCAST, [0; 4], [255; 4])),
        (
            "to all systems, from nobody",
            datagram(group, [0; 4], [224, 0, 0, 1]),
        ),
    ]
}

/// Datagrams that a socket of the host has been given since the last call.
fn heard(socket: &UdpSocket) -> usize {
    std::iter::from_fn(|| socket.recv_from(&mut [0; 64]).ok()).count()
}

fn echoes_over_ipv6() -> u64 {
    let counters = fs::read_to_string("/proc/thread-self/net/snmp6").unwrap();
    let line = counters
        .lines()
        .find_map(|line| line.strip_prefix("Icmp6InEchos"));
    line.unwrap().trim().parse().unwrap()
}

fn set(interface: &str, family: &str, name: &str, value: &str) {
    fs::write(format!("/proc/sys/net/{family}/conf/{interface}/{name}"), value).unwrap();
}

/// A host with an address, and a socket that hears whatever is said to any of its addresses.
fn host() -> (Tap, UdpSocket) {
    let lan = Tap::new("lan");
    lan.set_address(HOSTS_OWN);
    lan.up();
    let socket = UdpSocket::bind(("0.0.0.0", PORT)).unwrap();
    socket.set_nonblocking(true).unwrap();
    // What a distribution sets for all must not be what makes this test pass.
    set("all", "ipv4", "rp_filter", "0");
    set("default", "ipv4", "rp_filter", "0");
    (lan, socket)
}

/// What the agent does with every tap.
fn silence(tap: &Tap) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let net = Net::open().unwrap();
        let link = net.link_by_name(tap.name()).await.unwrap().unwrap();
        assert!(!taps::silence(&net, &link).await.unwrap().is_empty());
        let link = net.link_by_name(tap.name()).await.unwrap().unwrap();
        assert!(taps::silence(&net, &link).await.unwrap().is_empty(), "not kept");
    });
    assert_eq!(silence::deviations(tap.name()).unwrap(), []);
}

#[test]
fn a_tap_without_any_program_reaches_no_address_of_the_host() {
    enter_own_namespaces();
    let (_lan, socket) = host();
    let (open, silent) = (Tap::new("open"), Tap::new("silent"));
    set("open", "ipv6", "accept_dad", "0");
    set("open", "ipv6", "disable_ipv6", "0");
    for tap in [&open, &silent] {
        tap.up();
    }
    silence(&silent);
    let arp = |frame: &[u8]| frame[12..14] == [8, 6];

    // The same from a tap that nobody has silenced: so the silence below means something.
    for (what, frame) in datagrams(open.mac()).into_iter().chain(nameless()) {
        open.send(Vnet::default(), &frame).unwrap();
        assert_eq!(heard(&socket), 1, "{what}: this proves nothing");
    }
    let before = echoes_over_ipv6();
    open.send(Vnet::default(), &all_nodes()).unwrap();
    assert_eq!(echoes_over_ipv6(), before + 1, "this proves nothing");
    open.send(Vnet::default(), &arp_for(HOSTS_OWN)).unwrap();
    assert!(open.receive(Duration::from_secs(2), arp).is_some());
    open.down();

    for (what, frame) in datagrams(silent.mac()) {
        silent.send(Vnet::default(), &frame).unwrap();
        assert_eq!(heard(&socket), 0, "{what}: a socket of the host heard the guest");
    }
    let before = echoes_over_ipv6();
    silent.send(Vnet::default(), &all_nodes()).unwrap();
    assert_eq!(echoes_over_ipv6(), before, "IPv6 is not off");
    silent.send(Vnet::default(), &arp_for(HOSTS_OWN)).unwrap();
    let answer = silent.receive(SILENCE, |_| true);
    assert_eq!(answer.map(|(_, frame)| frame), None, "the host answered");
}

#[test]
fn what_comes_past_a_program_that_was_taken_off_dies_behind_it() {
    let mut world = World::running();
    let (_lan, socket) = host();
    let tap = world.guest.index();
    for program in [Program::FromTap, Program::ToTap] {
        others::detach(&world.loaded.pins().link(tap, program));
        assert!(!world.loaded.holds(program, tap).unwrap(), "nobody has noticed");
    }
    let (before, handed) = (world.counts(), handed_to_ip());
    let frames: Vec<_> = datagrams(world.guest.mac())
        .into_iter()
        .chain(nameless())
        .collect();
    for (what, frame) in &frames {
        world.guest.send(Vnet::default(), frame).unwrap();
        assert_eq!(heard(&socket), 0, "{what}: a socket of the host heard the guest");
    }
    // And nothing that the host floods, or routes there, reaches the guest.
    let _told_that_it_died = world.guest.raw_socket().send(&frames[0].1);
    assert_eq!(
        world.guest.receive(SILENCE, |_| true).map(|(_, frame)| frame),
        None
    );
    assert_eq!(handed_to_ip(), handed);
    assert_eq!(
        world.counts().since(&before),
        [
            (0, "from_tap", "no_state", frames.len() as u64),
            (0, "to_tap", "no_state", 1)
        ]
    );
    world.loaded.attach_tap("guest").unwrap();
    let before = world.counts();
    world.guest.send(Vnet::default(), &frames[0].1).unwrap();
    assert_eq!(world.counts().since(&before).len(), 1);
    assert!(
        !world
            .counts()
            .since(&before)
            .contains(&(0, "from_tap", "no_state", 1)),
        "the program is not back, or not first"
    );
}

#[test]
fn nothing_reaches_the_host_while_programs_are_replaced_thousands_of_times() {
    const TIMES: usize = 2_000;
    let mut world = World::running();
    let (_lan, socket) = host();
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let frames: Vec<_> = datagrams(world.guest.mac())
        .into_iter()
        .chain(nameless())
        .collect();
    let (before, handed) = (world.counts(), handed_to_ip());
    let guest = &world.guest;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (_, frame) in frames.iter().cycle() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                guest.send(Vnet::default(), frame).unwrap();
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
        for _ in 0..share(TIMES) {
            world.loaded.attach_tap("guest").unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let sent = sent.load(Ordering::Relaxed);
    assert!(sent > share(TIMES) as u64 / 10, "no fire: {sent}");
    let moved: Counts = before;
    let counted: Vec<_> = world.counts().since(&moved);
    assert!(counted.iter().all(|(slot, ..)| *slot == SLOT), "{counted:?}");
    let total: u64 = counted.iter().map(|(.., packets)| packets).sum();
    // What is held for its pair is counted when it is let go of.
    assert!(total <= sent && heard(&socket) == 0, "{total} of {sent}");
    assert_eq!(
        handed_to_ip(),
        handed,
        "frames went past the program while it was replaced"
    );
}
