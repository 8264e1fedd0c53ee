//! From a guest towards its peers.

mod answer;
mod ask;
mod encapsulate;
mod lookup;
mod next_door;

pub use ask::Homeless;

use crate::skb::{self, Skb};
use pairgate_abi::{DropReason, TapEntry};
use pairgate_packet::{
    Checksum, Packet, Verdict, Way,
    sender::{self, Said},
};

#[inline(always)]
pub fn run(skb: &Skb, slot: &mut u32) -> Result<Verdict, DropReason> {
    let tap = lookup::tap(skb)?; // which guest is this?
    *slot = tap.slot;
    let mut heard = Heard::NOTHING;
    hear(skb, tap, &mut heard)?; // may it say this?
    match heard.kind {
        Kind::Packet => {}
        Kind::Arp => return answer::arp(skb, tap).map(|()| back(skb)), // the tap itself answers
        Kind::Neighbour => return answer::neighbour(skb, tap).map(|()| back(skb)),
    }
    let now = skb::now();
    let pair = match lookup::pair(skb, tap, &heard.packet, now) {
        Ok(pair) => pair, // whom is it paired with, for what, and still?
        Err(reason) => return ask::about(skb, &heard, tap.slot, reason, now),
    };
    if pair.local_tap != 0 {
        next_door::deliver(skb, &heard.packet, pair, now)?;
        return Ok(Verdict::Redirect(Way::Tap(pair.local_tap)));
    }
    let next = lookup::next_hop(pair)?; // which way is that?
    encapsulate::push(skb, &heard.packet, pair)?;
    Ok(Verdict::Redirect(Way::Neighbour(next)))
}

/// What the guest said, and what the packet needs to be held. Plain fields: it crosses the border of a program within
/// the program, whose type information the kernel reads, and the kernel has no word for Rust's enumerations with
/// values inside.
struct Heard {
    kind: Kind,
    packet: Packet,
    /// It is to be cut into segments.
    is_gso: bool,
    /// Where the sum that is still to be computed begins; 0 if none is.
    checksum_start: u16,
    /// Where it goes, from there.
    checksum_offset: u16,
}

#[derive(Clone, Copy)]
enum Kind {
    Packet,
    Arp,
    Neighbour,
}

impl Heard {
    const NOTHING: Self = Self {
        kind: Kind::Arp,
        packet: Packet::NOTHING,
        is_gso: false,
        checksum_start: 0,
        checksum_offset: 0,
    };
}

/// Hears the guest out. Like the other steps that need much room, a program of its own within the program: their
/// stacks would not fit into one.
#[inline(never)]
fn hear(skb: &Skb, tap: &TapEntry, heard: &mut Heard) -> Result<(), DropReason> {
    skb.pull(sender::READ)?;
    let metadata = skb.metadata()?;
    match sender::check(skb, &metadata, tap)? {
        Said::Packet(packet) => {
            heard.kind = Kind::Packet;
            heard.packet = packet;
        }
        Said::Arp => heard.kind = Kind::Arp,
        Said::Neighbour => heard.kind = Kind::Neighbour,
    }
    heard.is_gso = metadata.gso.is_some();
    if let Checksum::Partial { start, offset } = metadata.checksum {
        (heard.checksum_start, heard.checksum_offset) = (start as u16, offset);
    }
    Ok(())
}

/// To where the frame came from.
#[inline(always)]
fn back(skb: &Skb) -> Verdict {
    Verdict::Redirect(Way::Tap(skb.interface()))
}
