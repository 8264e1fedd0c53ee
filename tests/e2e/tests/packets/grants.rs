//! What a pair carries: granted ports, answers by the receiver's own table, and nothing else; across hosts and to the
//! guest next door.
use crate::{
    frames::{
        self, arriving_under, delivered, ethernet, padded, ping, ping6, protocol, tcp, turned, udp, udp_to,
        udp6_to, with, wrapped,
    },
    pairs::{carries, granted_handle, replies_handle},
    run::{Baggage, Case, DROP, Expect, REDIRECT},
    world::{
        ANSWERED_PEER, DOOR_SLOT, GATEWAY, GRANTED_PEER, GUEST, MTU, NEXT_DOOR, NEXT_DOOR_MAC, SLOT, World,
        out_key, six,
    },
};
use etherparse::EtherType;
use pairgate_abi::{
    CARRIES_ALL_NOTED, FlowKey, OutEntry,
    limits::{FLOW_OTHER_NS, FLOW_TCP_NS},
};
use pairgate_agent::{
    clock::BootTime,
    datapath::{Pod, Program, maps::Maps},
    keeper::Tables,
};
use pairgate_packet::address::wide;

/// The guest's datagram to a peer, between these ports.
fn datagram(peer: [u8; 4], from: u16, to: u16) -> Vec<u8> {
    let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
    with(udp_to(peer, b"granted?"), 34, &ports)
}

fn segment(peer: [u8; 4], from: u16, to: u16) -> Vec<u8> {
    let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
    with(with(tcp(), 30, &peer), 34, &ports)
}

/// The answer to a packet of the guest: addresses and ports have changed places.
fn answer(frame: &[u8]) -> Vec<u8> {
    let ports = [&frame[36..38], &frame[34..36]].concat();
    with(turned(frame.to_vec()), 34, &ports)
}

fn flow(peer: [u8; 4], protocol: u8, own_port: u16, peer_port: u16) -> FlowKey {
    FlowKey {
        own: wide(GUEST),
        peer: wide(peer),
        own_port: own_port.to_be_bytes(),
        peer_port: peer_port.to_be_bytes(),
        protocol,
        reserved: [0; 3],
    }
}

/// A host whose guests have flow tables.
fn with_tables() -> (World, Maps) {
    let world = World::new();
    let mut maps = Maps::open(&world.loaded).unwrap();
    for slot in [SLOT, DOOR_SLOT] {
        maps.new_flows(slot).unwrap();
    }
    (world, maps)
}

fn send(world: &mut World, frame: &[u8]) -> i32 {
    world
        .run(Program::FromTap, world.guest.index(), frame, Baggage::default())
        .action
}

fn arrives(
    world: &mut World,
    handle: pairgate_abi::Handle,
    inner: &[u8],
    expect: Expect,
    what: &'static str,
) {
    Case {
        what,
        interface: world.uplink.index(),
        frame: arriving_under(world, handle, inner),
        baggage: Baggage::default(),
        expect,
    }
    .check(world, Program::FromUplink);
}

#[test]
fn a_guest_sends_what_its_grant_names_and_what_may_be_an_answer() {
    let (mut world, _maps) = with_tables();
    let interface = world.guest.index();
    let to = GRANTED_PEER;
    let ping_there = with(ping(), 30, &to);
    for (what, frame) in [
        ("the port", segment(to, 40_000, 443)),
        ("the first port", datagram(to, 40_000, 1000)),
        ("the last port", datagram(to, 40_000, 2000)),
        ("what may be an answer from the port", segment(to, 443, 40_000)),
        ("a ping", ping_there.clone()),
        ("an IPv6 ping", with(ping6(), 38, &six(to))),
        ("the port over IPv6", udp6_to(six(to), (40_000, 1500), b"x")),
    ] {
        let ran = world.run(Program::FromTap, interface, &frame, Baggage::default());
        assert_eq!(ran.action, REDIRECT, "{what}");
        let at = 34;
        let port = u16::from_be_bytes([ran.frame[at], ran.frame[at + 1]]);
        let expect = Expect::Out(wrapped(&world, &frame, port));
        let baggage = Baggage::default();
        Case {
            what,
            interface,
            frame,
            baggage,
            expect,
        }
        .check(&mut world, Program::FromTap);
    }
    for (what, frame) in [
        ("another port", segment(to, 40_000, 444)),
        ("the port of another protocol", datagram(to, 40_000, 443)),
        ("one below the ports", datagram(to, 40_000, 999)),
        ("one above the ports", datagram(to, 2001, 2001)),
        ("a protocol without a grant", with(protocol(47, &[0; 8]), 30, &to)),
        ("another port over IPv6", udp6_to(six(to), (40_000, 53), b"x")),
    ] {
        let (baggage, expect) = (Baggage::default(), Expect::Drop(SLOT, "grant"));
        Case {
            what,
            interface,
            frame,
            baggage,
            expect,
        }
        .check(&mut world, Program::FromTap);
    }
}

#[test]
fn answers_come_back_to_what_the_guest_has_opened_and_to_nothing_else() {
    let (mut world, maps) = with_tables();
    let (opening, handle) = (segment(GRANTED_PEER, 40_000, 443), granted_handle());
    let passed = |inner: &[u8]| Expect::Out(delivered(inner));
    let dies = || Expect::Drop(SLOT, "grant");
    let back = answer(&opening);
    arrives(&mut world, handle, &back, dies(), "an answer to nothing");
    assert_eq!(send(&mut world, &opening), REDIRECT);
    assert_eq!(
        maps.flows(SLOT).unwrap().unwrap(),
        [flow(GRANTED_PEER, 6, 40_000, 443)]
    );
    arrives(&mut world, handle, &back, passed(&back), "the answer");
    for (what, other) in [
        ("from another port", with(back.clone(), 34, &[1, 0xbc])),
        ("to another port", with(back.clone(), 36, &[1, 1])),
        (
            "of another protocol",
            with(answer(&datagram(GRANTED_PEER, 40_000, 443)), 26, &GRANTED_PEER),
        ),
    ] {
        arrives(&mut world, handle, &other, dies(), what);
    }
    // What its grant names needs no question: the guest is a server for its peer too.
    let to_server = with(back.clone(), 36, &443_u16.to_be_bytes());
    arrives(
        &mut world,
        handle,
        &to_server,
        passed(&to_server),
        "a new conversation",
    );
    let ping_back = with(turned(with(ping(), 30, &GRANTED_PEER)), 34, &[8]);
    arrives(&mut world, handle, &ping_back, passed(&ping_back), "a ping");
}

#[test]
fn a_pair_of_replies_carries_answers_until_their_time_is_over() {
    let (mut world, mut maps) = with_tables();
    let handle = replies_handle();
    for (inner, protocol, life) in [
        (answer(&segment(ANSWERED_PEER, 40_000, 80)), 6, FLOW_TCP_NS),
        (answer(&datagram(ANSWERED_PEER, 40_000, 80)), 17, FLOW_OTHER_NS),
    ] {
        let passed = || Expect::Out(delivered(&inner));
        let key = flow(ANSWERED_PEER, protocol, 40_000, 80);
        arrives(
            &mut world,
            handle,
            &inner,
            Expect::Drop(SLOT, "grant"),
            "never opened",
        );
        let now = BootTime::now().nanos();
        let ago = |age: u64| BootTime::from_nanos(now.saturating_sub(age));
        if now > life + 2_000_000_000 {
            maps.note_flow(SLOT, key, ago(life)).unwrap();
            arrives(
                &mut world,
                handle,
                &inner,
                Expect::Drop(SLOT, "grant"),
                "opened too long ago",
            );
            maps.note_flow(SLOT, key, ago(life - 2_000_000_000)).unwrap();
        } else {
            maps.note_flow(SLOT, key, ago(now)).unwrap();
        }
        arrives(&mut world, handle, &inner, passed(), "opened a while ago");
        let used = maps.flow_used(SLOT, key).unwrap().unwrap();
        assert!(used >= now, "a conversation in use is not kept alive");
        maps.remove_flow(SLOT, key).unwrap();
        arrives(
            &mut world,
            handle,
            &inner,
            Expect::Drop(SLOT, "grant"),
            "taken away",
        );
    }
    // A ping is answered under its own number only.
    let asked = with(ping(), 30, &ANSWERED_PEER);
    maps.note_flow(SLOT, flow(ANSWERED_PEER, 1, 1, 2), BootTime::now())
        .unwrap();
    // And the guest has sent news of its own, which nothing answers.
    maps.note_flow(SLOT, flow(ANSWERED_PEER, 1, 3, 0xff03), BootTime::now())
        .unwrap();
    let reply = with(turned(asked), 34, &[0]);
    arrives(
        &mut world,
        handle,
        &reply,
        Expect::Out(delivered(&reply)),
        "the answer to a ping",
    );
    let other = with(reply.clone(), 38, &[0, 2]);
    arrives(
        &mut world,
        handle,
        &other,
        Expect::Drop(SLOT, "grant"),
        "the answer to another ping",
    );
    let question = with(reply.clone(), 34, &[8]);
    arrives(
        &mut world,
        handle,
        &question,
        Expect::Drop(SLOT, "grant"),
        "a ping under the number of the guest's own",
    );
    let redirect = with(reply.clone(), 34, &[5]);
    arrives(
        &mut world,
        handle,
        &redirect,
        Expect::Drop(SLOT, "inner"),
        "a redirect for news",
    );
    let unreachable = with(reply, 34, &[3]);
    arrives(
        &mut world,
        handle,
        &unreachable,
        Expect::Drop(SLOT, "inner"),
        "news about no ping",
    );
}

#[test]
fn a_guest_that_pings_under_any_number_is_answered_and_not_pinged() {
    let (mut world, maps) = with_tables();
    let key = Pod(out_key(world.guest.index(), ANSWERED_PEER));
    let entry = OutEntry {
        carries: carries(CARRIES_ALL_NOTED, &[]),
        ..World::out_entry()
    };
    world
        .loaded
        .pairs_out()
        .unwrap()
        .insert(key, Pod(entry), 0)
        .unwrap();
    let numbers = [0, 1, 2, 3, 0xff03, 0xff05, 0xff08];
    let ping_of = |number: u16| with(with(ping(), 30, &ANSWERED_PEER), 38, &number.to_be_bytes());
    for number in numbers {
        assert_eq!(send(&mut world, &ping_of(number)), REDIRECT);
    }
    assert_eq!(maps.flows(SLOT).unwrap().unwrap().len(), numbers.len());
    for number in numbers {
        let asked = turned(ping_of(number));
        let reply = with(asked.clone(), 34, &[0]);
        let handle = replies_handle();
        let passed = Expect::Out(delivered(&reply));
        arrives(&mut world, handle, &reply, passed, "the answer");
        for (what, other) in [("a ping", asked), ("a timestamp", with(reply.clone(), 34, &[13]))] {
            arrives(&mut world, handle, &other, Expect::Drop(SLOT, "grant"), what);
        }
        for (what, kind) in [("a redirect", 5), ("news about no packet", 3)] {
            let other = with(reply.clone(), 34, &[kind]);
            arrives(&mut world, handle, &other, Expect::Drop(SLOT, "inner"), what);
        }
    }
}

#[test]
fn a_pair_that_carries_everything_one_way_notes_what_the_guest_opens() {
    let (mut world, maps) = with_tables();
    assert_eq!(send(&mut world, &udp()), REDIRECT);
    assert_eq!(
        maps.flows(SLOT).unwrap().unwrap(),
        [],
        "a pair that carries all both ways pays for notes"
    );
    let key = Pod(out_key(world.guest.index(), ANSWERED_PEER));
    let entry = OutEntry {
        carries: carries(CARRIES_ALL_NOTED, &[]),
        ..World::out_entry()
    };
    world
        .loaded
        .pairs_out()
        .unwrap()
        .insert(key, Pod(entry), 0)
        .unwrap();
    let opening = datagram(ANSWERED_PEER, 7, 9);
    assert_eq!(send(&mut world, &opening), REDIRECT);
    assert_eq!(
        maps.flows(SLOT).unwrap().unwrap(),
        [flow(ANSWERED_PEER, 17, 7, 9)]
    );
    let back = answer(&opening);
    let expect = Expect::Out(delivered(&back));
    arrives(&mut world, replies_handle(), &back, expect, "the answer");
}

#[test]
fn a_guest_that_opens_too_much_forgets_its_own_and_not_its_neighbours() {
    let (mut world, mut maps) = with_tables();
    let neighbours = FlowKey {
        own: wide(NEXT_DOOR),
        ..flow(GRANTED_PEER, 6, 1, 443)
    };
    maps.note_flow(DOOR_SLOT, neighbours, BootTime::now()).unwrap();
    for port in 0..6_000 {
        assert_eq!(send(&mut world, &segment(GRANTED_PEER, port, 443)), REDIRECT);
    }
    let kept = maps.flows(SLOT).unwrap().unwrap().len();
    assert!(
        (2_000..=4_096).contains(&kept),
        "{kept} conversations are remembered"
    );
    assert!(
        maps.flows(SLOT)
            .unwrap()
            .unwrap()
            .contains(&flow(GRANTED_PEER, 6, 5_999, 443)),
        "the newest is forgotten"
    );
    assert_eq!(
        maps.flows(DOOR_SLOT).unwrap().unwrap(),
        [neighbours],
        "a neighbour pays for it"
    );
}

#[test]
fn the_guest_next_door_gets_the_packet_without_a_wire_and_by_the_same_rules() {
    let (mut world, mut maps) = with_tables();
    let (interface, mark) = (world.guest.index(), world.loaded.mark());
    let at_the_door = |frame: &[u8]| {
        let mut out = ethernet(
            GATEWAY,
            NEXT_DOOR_MAC,
            EtherType(u16::from_be_bytes([frame[12], frame[13]])),
        );
        out.extend(&frame[14..]);
        out
    };
    for (what, frame) in [
        ("a granted port", segment(NEXT_DOOR, 40_000, 443)),
        (
            "a granted port over IPv6",
            udp6_to(six(NEXT_DOOR), (7, 1000), b"hello"),
        ),
        ("a ping", with(ping(), 30, &NEXT_DOOR)),
    ] {
        let expect = Expect::Out(at_the_door(&frame));
        let ran = world.run(Program::FromTap, interface, &frame, Baggage::default());
        assert_eq!(ran.mark, mark, "{what}: the guard before the guest would drop it");
        let (frame, baggage) = (padded(frame, 5), Baggage::default());
        Case {
            what,
            interface,
            frame,
            baggage,
            expect,
        }
        .check(&mut world, Program::FromTap);
    }
    let may_be_an_answer = segment(NEXT_DOOR, 443, 40_000);
    let (baggage, expect) = (Baggage::default(), Expect::Drop(SLOT, "grant"));
    Case {
        what: "an answer to nothing",
        interface,
        frame: may_be_an_answer.clone(),
        baggage,
        expect,
    }
    .check(&mut world, Program::FromTap);
    let asked = FlowKey {
        own: wide(NEXT_DOOR),
        peer: wide(GUEST),
        ..flow(GUEST, 6, 40_000, 443)
    };
    maps.note_flow(DOOR_SLOT, asked, BootTime::now()).unwrap();
    let expect = Expect::Out(at_the_door(&may_be_an_answer));
    Case {
        what: "an answer",
        interface,
        frame: may_be_an_answer,
        baggage,
        expect,
    }
    .check(&mut world, Program::FromTap);
    let big = udp6_to(six(NEXT_DOOR), (7, 1000), &[7; 1353]);
    let expect = Expect::Told(SLOT, "too_big", frames::too_big(&big, MTU));
    Case {
        what: "too much",
        interface,
        frame: big,
        baggage,
        expect,
    }
    .check(&mut world, Program::FromTap);
    world.set_lease(1);
    assert_eq!(
        send(&mut world, &segment(NEXT_DOOR, 40_000, 443)),
        DROP,
        "a pair on one host outlives the lease"
    );
}
