//! Runs the lines of the tables through the loaded programs, every way they can go, and compares everything that
//! comes out: the action, the bytes, the mark, and which one counter moved.
use super::{
    seed::{Frame, Seed},
    table::{ANSWERED, Case, HELD, Make, NOTHING, PASSES, Setup},
};
use crate::{
    counts::Counts,
    frames::{self, advertisement, arp_answer, arriving_under, delivered, ethernet, wrapped},
    pairs::{in_handle, in_handle6},
    run::{Baggage, DROP, REDIRECT, Ran},
    world::{
        DOOR_SLOT, FOREVER, GATEWAY, GUEST, GUEST6, LOST_HOST, NEXT_DOOR, NEXT_DOOR_MAC, PEER, PEER6, SLOT,
        World, host_six, out_key, out_key6, six,
    },
};
use etherparse::EtherType;
use pairgate_abi::{Budget, CARRIES_ALL, FlowKey, InEntry, OutEntry, OutKey};
use pairgate_agent::{
    clock::BootTime,
    datapath::{Pod, Program, maps::Maps},
    keeper::Tables,
};
use pairgate_packet::{address::wide, ip::Family};
use std::net::IpAddr;

const TOO_BIG: &str = "too_big";
const ROOM: &str = "room";
/// Somebody else's packet mark, which frames come with.
pub(crate) const FOREIGN_MARK: u32 = 5;

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    TapToUplink,
    UplinkToTap,
    TapToTap,
}

pub(crate) const WAYS: [Way; 3] = [Way::TapToUplink, Way::UplinkToTap, Way::TapToTap];

impl Way {
    /// Who sends to whom.
    pub(crate) fn seed(self, family: Family) -> Seed {
        let (guest, peer, door) = match family {
            Family::V4 => (wide(GUEST), wide(PEER), wide(NEXT_DOOR)),
            Family::V6 => (GUEST6, PEER6, six(NEXT_DOOR)),
        };
        let (from, to) = match self {
            Self::TapToUplink => (guest, peer),
            Self::UplinkToTap => (peer, guest),
            Self::TapToTap => (guest, door),
        };
        Seed { from, to }
    }
}

/// The small host on which the lines are run.
pub(crate) struct Course {
    pub(crate) world: World,
    maps: Maps,
    counts: Counts,
    pub(crate) runs: usize,
}

impl Course {
    pub(crate) fn on(underlay: IpAddr) -> Self {
        Self::with(World::on(underlay))
    }

    /// The same with its programs attached and its devices up.
    pub(crate) fn running() -> Self {
        Self::with(World::running())
    }

    fn with(world: World) -> Self {
        let mut maps = Maps::open(&world.loaded).unwrap();
        for slot in [SLOT, DOOR_SLOT] {
            maps.new_flows(slot).unwrap();
        }
        let counts = world.counts();
        Self {
            world,
            maps,
            counts,
            runs: 0,
        }
    }

    /// Runs a line in each of its families, each way.
    pub(crate) fn run(&mut self, case: &Case) {
        for (family, line) in [(Family::V4, case.four), (Family::V6, case.six)] {
            let Some((make, outcomes)) = line else { continue };
            for (way, outcome) in WAYS.into_iter().zip(outcomes) {
                if outcome != NOTHING {
                    self.one(case, family, way, make, outcome);
                }
            }
        }
    }

    fn one(&mut self, case: &Case, family: Family, way: Way, make: Make, outcome: &'static str) {
        let mut setup = Setup::default();
        (case.when)(&mut setup);
        let (seed, what) = (way.seed(family), format!("{}, {way:?}, {family:?}", case.name));
        self.set(&setup, family, way);
        let frame = make(seed);
        let (program, sent, interface) = match way {
            Way::UplinkToTap => {
                let handle = match family {
                    Family::V4 => in_handle(),
                    Family::V6 => in_handle6(),
                };
                let sent = arriving_under(&self.world, handle, &frame.bytes);
                (Program::FromUplink, sent, self.world.uplink.index())
            }
            Way::TapToUplink | Way::TapToTap => {
                (Program::FromTap, frame.bytes.clone(), self.world.guest.index())
            }
        };
        let ran = self.through(program, interface, &sent, setup.gso);
        let moved = self.moved();
        let slot = if setup.tap_known || way == Way::UplinkToTap {
            SLOT
        } else {
            0
        };
        self.unset(&setup, family, way);
        let outcome = match way {
            Way::UplinkToTap => self.arrives(outcome, family),
            Way::TapToUplink | Way::TapToTap => outcome,
        };
        let outcome = (outcome, setup.mtu);
        self.judge(&what, way, (program, slot), &frame, &ran, outcome, &moved);
    }

    /// What becomes here of what arrives and is to pass: this host has no VXLAN device, by which packets of the other
    /// family come on older kernels.
    pub(crate) fn arrives(&self, outcome: &'static str, family: Family) -> &'static str {
        if outcome == PASSES && self.world.is_by_device(family) {
            ROOM
        } else {
            outcome
        }
    }

    /// One frame through one program, with a mark that is not ours; what was held before is forgotten.
    pub(crate) fn through(&mut self, program: Program, interface: u32, frame: &[u8], gso: (u32, u32)) -> Ran {
        while self.world.next_held().is_some() {}
        let baggage = Baggage {
            gso_size: gso.0,
            gso_segments: gso.1,
            mark: FOREIGN_MARK,
        };
        self.runs += 1;
        self.world.run(program, interface, frame, baggage)
    }

    /// The counters that have moved since this was asked last.
    pub(crate) fn moved(&mut self) -> Vec<(u32, &'static str, &'static str, u64)> {
        let now = self.world.counts();
        let moved = now.since(&self.counts);
        self.counts = now;
        moved
    }

    #[expect(clippy::too_many_arguments, reason = "everything that is compared")]
    fn judge(
        &mut self,
        what: &str,
        way: Way,
        (program, slot): (Program, u32),
        frame: &Frame,
        ran: &Ran,
        (outcome, mtu): (&'static str, u16),
        moved: &[(u32, &'static str, &'static str, u64)],
    ) {
        let packet = frame.packet();
        match outcome {
            PASSES | ANSWERED => {
                assert_eq!(moved, [(slot, program.name(), "passed", 1)], "{what}");
                assert_eq!(ran.action, REDIRECT, "{what}");
                let (expected, mark) = match (outcome, way) {
                    (ANSWERED, _) => (answer(frame), self.world.loaded.mark()),
                    (_, Way::TapToUplink) => {
                        (wrapped(&self.world, &packet, self.flow_port(ran)), FOREIGN_MARK)
                    }
                    (_, Way::UplinkToTap) => (delivered(&packet), self.world.loaded.mark()),
                    (_, Way::TapToTap) => (next_door(&packet), self.world.loaded.mark()),
                };
                assert_eq!(ran.frame, expected, "{what}: other bytes than it should have");
                assert_eq!(ran.mark, mark, "{what}: the guard before a guest goes by it");
            }
            HELD => {
                assert_eq!(moved, [], "{what}: what is held is no drop");
                assert_eq!(ran.action, DROP, "{what}: held, and goes on as well");
                let held = self.world.next_held();
                let held = held.unwrap_or_else(|| panic!("{what}: nobody holds it"));
                assert_eq!(held.frame[..held.length as usize], packet, "{what}");
            }
            TOO_BIG if way != Way::UplinkToTap && is_told(&packet, mtu) => {
                assert_eq!(moved, [(slot, program.name(), TOO_BIG, 1)], "{what}");
                assert_eq!(ran.action, REDIRECT, "{what}: its guest is not told");
                assert_eq!(ran.frame, frames::too_big(&packet, mtu), "{what}");
                assert_eq!(ran.mark, self.world.loaded.mark(), "{what}");
            }
            reason => {
                assert_eq!(moved, [(slot, program.name(), reason, 1)], "{what}");
                assert_eq!(ran.action, DROP, "{what}: counted as dropped, and lives");
                assert!(self.world.next_held().is_none(), "{what}: dropped, and held");
            }
        }
    }

    /// The flow port that the program has chosen, from the dynamic ones.
    fn flow_port(&self, ran: &Ran) -> u16 {
        let at = if self.world.host.is_ipv4() { 34 } else { 54 };
        let port = u16::from_be_bytes([ran.frame[at], ran.frame[at + 1]]);
        assert!(port >= 49_152, "the flow's port {port} is not a dynamic one");
        port
    }

    /// Makes the host know what the line says.
    pub(crate) fn set(&mut self, setup: &Setup, family: Family, way: Way) {
        let world = &self.world;
        let (key, entry) = self.out(setup, family, way);
        let mut out = world.loaded.pairs_out().unwrap();
        let _absent = out.remove(&Pod(key));
        if setup.paired {
            out.insert(Pod(key), Pod(entry), 0).unwrap();
        }
        let (handle, addresses) = match family {
            Family::V4 => (in_handle(), (wide(PEER), wide(GUEST))),
            Family::V6 => (in_handle6(), (PEER6, GUEST6)),
        };
        let entry = InEntry {
            deadline_ns: setup.deadline.map_or(FOREVER, instant),
            src_addr: addresses.0,
            dst_addr: addresses.1,
            mtu: setup.mtu,
            carries: setup.carries,
            ..world.in_entry()
        };
        let mut pairs_in = world.loaded.pairs_in().unwrap();
        pairs_in.insert(Pod(handle), Pod(entry), 0).unwrap();
        world.set_lease(setup.lease.map_or(FOREVER, instant));
        if let Some(until) = setup.refused {
            self.maps
                .refuse(key, BootTime::from_nanos(instant(until)))
                .unwrap();
        }
        let budget = Budget {
            held: setup.held,
            event_ns: if setup.asked_enough { u64::MAX } else { 0 },
            answer_ns: if setup.answered_enough { u64::MAX } else { 0 },
            ..Budget::default()
        };
        let mut budgets = world.loaded.budgets().unwrap();
        budgets.set(0, Pod(Budget::default()), 0).unwrap();
        budgets.set(SLOT, Pod(budget), 0).unwrap();
        world.loaded.released().unwrap().set(SLOT, 0, 0).unwrap();
        if !setup.tap_known {
            world.loaded.taps().unwrap().remove(&world.guest.index()).unwrap();
        }
        if !setup.reachable {
            world
                .loaded
                .next_hops()
                .unwrap()
                .remove(&world.hosts().1)
                .unwrap();
        }
        if let Some((slot, flow, used)) = opened(setup, family, way) {
            self.maps.note_flow(slot, flow, used).unwrap();
        }
    }

    /// What the next line must not find.
    pub(crate) fn unset(&mut self, setup: &Setup, family: Family, way: Way) {
        let world = &self.world;
        if setup.refused.is_some() {
            let key = self.out(setup, family, way).0;
            self.maps.remove_refusal(key).unwrap();
        }
        if !setup.tap_known {
            let mut taps = world.loaded.taps().unwrap();
            taps.insert(world.guest.index(), Pod(World::tap_entry()), 0)
                .unwrap();
        }
        if !setup.reachable {
            let mut next_hops = world.loaded.next_hops().unwrap();
            next_hops
                .insert(world.hosts().1, Pod(world.next_hop()), 0)
                .unwrap();
        }
        if setup.carries.kind == CARRIES_ALL {
            return; // nothing was noted
        }
        for slot in [SLOT, DOOR_SLOT] {
            for flow in self.maps.flows(slot).unwrap().unwrap() {
                self.maps.remove_flow(slot, flow).unwrap();
            }
        }
    }

    fn out(&self, setup: &Setup, family: Family, way: Way) -> (OutKey, OutEntry) {
        let (world, tap) = (&self.world, self.world.guest.index());
        let peer = if way == Way::TapToTap { NEXT_DOOR } else { PEER };
        let key = match family {
            Family::V4 => out_key(tap, peer),
            Family::V6 => out_key6(tap, peer),
        };
        let good = OutEntry {
            deadline_ns: setup.deadline.map_or(FOREVER, instant),
            mtu: setup.mtu,
            carries: setup.carries,
            ..world.out_entry_here()
        };
        let entry = match way {
            Way::TapToTap => OutEntry {
                local_tap: world.door.index(),
                local_slot: DOOR_SLOT,
                local_mac: NEXT_DOOR_MAC,
                dst_host: good.src_host,
                ..good
            },
            _ if setup.other_underlay => OutEntry {
                src_host: if world.host.is_ipv4() {
                    host_six(1)
                } else {
                    wide(LOST_HOST)
                },
                ..good
            },
            Way::TapToUplink | Way::UplinkToTap => good,
        };
        (key, entry)
    }
}

/// Boot time so many nanoseconds from now.
fn instant(from_now: i64) -> u64 {
    BootTime::now().nanos().saturating_add_signed(from_now)
}

/// Where the receiving guest's table has what it said before.
fn opened(setup: &Setup, family: Family, way: Way) -> Option<(u32, FlowKey, BootTime)> {
    let opens = setup.opened?;
    let slot = if way == Way::TapToTap { DOOR_SLOT } else { SLOT };
    let question = opens(way.seed(family).back());
    Some((slot, question.flow(), BootTime::now()))
}

/// True if a guest hears that this was too big: no link carries less, and it is no error.
fn is_told(packet: &[u8], mtu: u16) -> bool {
    match packet[12..14] {
        [8, 0] => mtu >= 68 && !(packet[23] == 1 && matches!(packet[34], 3 | 4 | 11 | 12)),
        _ => mtu >= 1280 && !(packet[20] == 58 && packet[54] < 128),
    }
}

/// What the guest next door must get.
fn next_door(packet: &[u8]) -> Vec<u8> {
    let kind = EtherType(u16::from_be_bytes([packet[12], packet[13]]));
    let mut frame = ethernet(GATEWAY, NEXT_DOOR_MAC, kind);
    frame.extend(&packet[14..]);
    frame
}

/// The answer to an address question, from the bytes of the question.
fn answer(frame: &Frame) -> Vec<u8> {
    let at = |from: usize| &frame.bytes[from..];
    if frame.bytes[12..14] == [8, 6] {
        arp_answer(at(38)[..4].try_into().unwrap())
    } else {
        let (asker, target) = (at(22)[..16].try_into().unwrap(), at(62)[..16].try_into().unwrap());
        advertisement(asker, target)
    }
}
