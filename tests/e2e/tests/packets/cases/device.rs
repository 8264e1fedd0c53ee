//! The lines of packets once more by the other way in: as what the host has put together from fragments, and its VXLAN
//! device has taken apart. The program behind the device must say the same words as the one on the uplink.
use super::{
    seed::Seed,
    table::{Case, NOTHING, PASSES},
};
use crate::{
    big::fragments,
    crossing::{Host, two_hosts},
    device::{RawSocket, Tap, Vnet},
    frames::{ethernet, underlay},
    world::{GATEWAY, SLOT},
};
use etherparse::EtherType;
use pairgate_abi::Handle;
use pairgate_packet::address::wide;
use std::time::{Duration, Instant};

/// Only failures wait this long.
const PATIENCE: Duration = Duration::from_secs(5);

/// Two hosts, a pair between their guests, and a door to the underlay past the first one's programs.
pub(crate) struct Crossing {
    one: Host,
    two: Host,
    socket: RawSocket,
    handle: Handle,
    pub(crate) runs: usize,
}

impl Crossing {
    pub(crate) fn new() -> Self {
        let (one, two) = two_hosts();
        let handle = Handle::new(0x10_0001, 0x2001).unwrap();
        one.pair_with(&two, handle);
        // Until the underlay's neighbour is known, frames wait for it.
        one.tap.send(Vnet::default(), &one.ping(two.guest, 0)).unwrap();
        assert!(two.guest_gets(PATIENCE).is_some(), "the pair does not work");
        let socket = one.inside(|host| Tap::raw_socket_on(host.link));
        Self {
            one,
            two,
            socket,
            handle,
            runs: 0,
        }
    }

    /// Runs a line of IPv4, if it is of the usual circumstances.
    pub(crate) fn run(&mut self, case: &Case) {
        let Some((make, [_, outcome, _])) = case.four else {
            return;
        };
        if case.is_special || outcome == NOTHING {
            return;
        }
        self.runs += 1;
        let (one, two) = (&self.one, &self.two);
        let frame = make(Seed {
            from: wide(one.guest),
            to: wide(two.guest),
        });
        let macs = ([2; 6], two.inside(|host| Tap::mac_of(host.link)));
        let whole = underlay(
            macs,
            (one.address, two.address),
            50_000,
            self.handle,
            &frame.bytes,
        );
        let before = two.counts();
        for part in fragments(&whole) {
            self.socket.send(&part).unwrap();
        }
        let end = Instant::now() + PATIENCE;
        let said = loop {
            let moved = two.counts().since(&before);
            if let Some(line) = moved.iter().find(|line| line.1 == "from_vxlan") {
                break *line;
            }
            assert!(
                Instant::now() < end,
                "{}: nothing comes out of the device",
                case.name
            );
        };
        let word = if outcome == PASSES { "passed" } else { outcome };
        // What the kernel has lifted a tag out of is nobody's: its handle is not looked at.
        let is_tagged = matches!(frame.bytes[12..14], [0x81, 0] | [0x88, 0xa8]);
        let slot = if is_tagged { 0 } else { SLOT };
        assert_eq!(said, (slot, "from_vxlan", word, 1), "{}", case.name);
        if outcome == PASSES {
            let packet = frame.packet();
            let mut expected = ethernet(GATEWAY, two.mac, EtherType::IPV4);
            expected.extend(&packet[14..]);
            let seen = two.guest_gets(PATIENCE);
            assert_eq!(
                seen,
                Some(expected),
                "{}: other bytes than it should have",
                case.name
            );
        }
    }
}
