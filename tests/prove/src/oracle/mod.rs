//! What must come of a packet: the decision crate over plain tables, composed as the programs compose it over maps.
//!
//! One file for each step of the programs that keeps something, so that a change there has its place here. Nothing is
//! shared with the programs but the decisions themselves and the layouts of the contract.

mod arrival;
mod budgets;
mod flows;
mod from_tap;
mod maps;
mod skb;

pub use maps::Maps;
pub use skb::Baggage;

use pairgate_abi::{Direction, DropReason, Event, count_index, drop_index};
use pairgate_agent::datapath::Program;
use pairgate_packet::{Frame, Verdict, Way, delivered};
use skb::Skb;

/// Let the packet through.
pub const PASS: i32 = 0;
/// End it.
pub const DROP: i32 = 2;
/// Send it elsewhere.
pub const REDIRECT: i32 = 7;
/// Let the next program, or the host, decide.
pub const NEXT: i32 = -1;

/// One packet before a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The program.
    pub program: Program,
    /// Index of the interface that it runs on.
    pub interface: u32,
    /// What comes with the bytes.
    pub baggage: Baggage,
    /// The bytes, from the destination MAC address on.
    pub frame: Vec<u8>,
}

/// Where a packet is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cell {
    /// An index of `PASSED`.
    Passed(u32),
    /// An index of `DROPS`.
    Dropped(u32),
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// `PASS`, `DROP`, `REDIRECT` or `NEXT`.
    pub action: i32,
    /// The mark that it leaves with.
    pub mark: u32,
    /// Where it is counted, if it is.
    pub counted: Option<Cell>,
    /// In one word: a drop reason, or what else becomes of it.
    pub word: &'static str,
}

/// A packet that the agent is given to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldPacket {
    /// `EVENT_MISS` or `EVENT_EXPIRED`.
    pub kind: u32,
    /// Interface index of the tap.
    pub tap: u32,
    /// Its slot.
    pub slot: u32,
    /// The guest's address.
    pub source: [u8; 16],
    /// Where it sends.
    pub destination: [u8; 16],
    /// The frame, without what stood behind the packet.
    pub frame: Vec<u8>,
}

/// A question for configuration that the agent is given to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedPacket {
    /// Interface index of the tap.
    pub tap: u32,
    /// Its slot.
    pub slot: u32,
    /// The frame, without what stood behind the packet.
    pub frame: Vec<u8>,
}

/// The tables, and what came of the packets so far.
#[derive(Clone, Debug)]
pub struct Oracle {
    /// The tables, which packets change.
    pub maps: Maps,
    /// What the agent was told; taken out by whoever compares it. Instants are 0.
    pub told: Vec<Event>,
    /// What the agent was given to hold; likewise.
    pub held: Vec<HeldPacket>,
    /// What the agent was given to answer; likewise.
    pub asked: Vec<AskedPacket>,
    /// The last packet as it left; meaningless if it was dropped.
    pub frame: Vec<u8>,
}

impl Oracle {
    /// With these tables.
    pub fn new(maps: Maps) -> Self {
        Self {
            maps,
            told: Vec::new(),
            held: Vec::new(),
            asked: Vec::new(),
            frame: Vec::new(),
        }
    }

    /// Judges one packet.
    pub fn judge(&mut self, input: &Input) -> Outcome {
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        frame.extend_from_slice(&input.frame);
        let own = self.maps.own_macs.get(&input.interface);
        let is_to_host = own.is_some_and(|mac| input.frame.get(..6) == Some(mac.as_slice()));
        let mut skb = Skb {
            frame: &mut frame,
            interface: input.interface,
            baggage: input.baggage,
            is_to_host,
        };
        let mut slot = 0;
        let (direction, result) = match input.program {
            Program::FromTap => (Direction::FromTap, self.sent(&mut skb, &mut slot)),
            Program::FromUplink => (Direction::FromUplink, self.arrived(&mut skb, &mut slot)),
            Program::ToTap => (Direction::ToTap, self.to_tap(&skb, &mut slot)),
            // A test run has nothing that a device could have taken off.
            Program::FromVxlan => (Direction::FromVxlan, Err(DropReason::Outer)),
            Program::StopIn if input.interface == self.maps.settings.vxlan => {
                (Direction::FromVxlan, Err(DropReason::NoState))
            }
            Program::StopIn => (Direction::FromTap, Err(DropReason::NoState)),
            Program::StopOut => (Direction::ToTap, Err(DropReason::NoState)),
        };
        let outcome = self.finish(&mut skb, direction, slot, result);
        self.frame = frame;
        outcome
    }

    fn to_tap(&self, skb: &Skb<'_>, slot: &mut u32) -> Result<Verdict, DropReason> {
        let tap = self.maps.taps.get(&skb.interface).ok_or(DropReason::NoState)?;
        *slot = tap.slot;
        delivered::check(skb, tap, skb.baggage.mark, self.maps.settings.mark)
    }

    /// The programs' one exit.
    fn finish(
        &self,
        skb: &mut Skb<'_>,
        direction: Direction,
        slot: u32,
        result: Result<Verdict, DropReason>,
    ) -> Outcome {
        let (action, word) = match result {
            Ok(Verdict::NotOurs) => return uncounted(skb, NEXT, "not ours"),
            Ok(Verdict::Held) => return uncounted(skb, DROP, "held"),
            Ok(Verdict::ToDevice) => (PASS, "to device"),
            Ok(Verdict::Delivered) => {
                skb.baggage.mark = 0;
                (PASS, "delivered")
            }
            Ok(Verdict::Redirect(Way::Neighbour(_))) => (REDIRECT, "to neighbour"),
            Ok(Verdict::Redirect(Way::Tap(_))) => {
                skb.baggage.mark = self.maps.settings.mark;
                (REDIRECT, "to tap")
            }
            Ok(Verdict::Told(reason)) => {
                skb.baggage.mark = self.maps.settings.mark;
                return Outcome {
                    counted: Some(Cell::Dropped(drop_index(slot, direction, reason))),
                    ..uncounted(skb, REDIRECT, "told")
                };
            }
            Err(reason) => {
                return Outcome {
                    counted: Some(Cell::Dropped(drop_index(slot, direction, reason))),
                    ..uncounted(skb, DROP, reason.word())
                };
            }
        };
        Outcome {
            counted: Some(Cell::Passed(count_index(slot, direction))),
            ..uncounted(skb, action, word)
        }
    }
}

fn uncounted(skb: &Skb<'_>, action: i32, word: &'static str) -> Outcome {
    Outcome {
        action,
        mark: skb.baggage.mark,
        counted: None,
        word,
    }
}

/// Bytes that a passed packet is counted with.
pub fn counted_bytes(frame: &[u8]) -> u64 {
    u64::from(pairgate_packet::Bytes(frame).length())
}
