//! What the maps and the decisions say about a frame from another host, by whichever way it came.
use crate::{budgets, flows, maps, memory, skb::Skb};
use aya_ebpf::bindings::__sk_buff;
use pairgate_abi::{DropReason, InEntry};
use pairgate_packet::{Packet, outer::Outer, receiver};

/// What is inside a frame; plain fields, as in `from_tap`'s `Heard`.
pub struct Arrived {
    pub packet: Packet,
    /// It is to be cut into segments.
    pub is_gso: bool,
    /// Why it may not be delivered, if it may not.
    reason: DropReason,
}

/// How a program judges what is inside a frame: [`judge`] at its place, as a function that the kernel's verifier judges
/// apart, so that the many ways through the headers are one case for everything that comes after.
pub type Judge = extern "C" fn(*mut __sk_buff, *const InEntry, u64, *mut Arrived) -> u32;

impl Arrived {
    /// Before anything is judged.
    pub const NOTHING: Self = Self {
        packet: Packet::NOTHING,
        is_gso: false,
        reason: DropReason::Internal,
    };
}

/// The pair that the frame belongs to; its inner packet is written into its place, which nothing was written into yet.
/// Once the handle is known, faults count for its guest.
#[inline(always)]
pub fn pair(
    skb: &Skb,
    outer: &Outer,
    judge: Judge,
    now: u64,
    slot: &mut u32,
    arrived: &mut Arrived,
) -> Result<&'static InEntry, DropReason> {
    receiver::check_form(outer)?;
    let used = maps::pair_in(&outer.handle);
    let entry = used.as_ref().map(|used| used.entry);
    *slot = entry.map_or(0, |entry| entry.slot);
    let entry = match receiver::check_outer(outer, entry) {
        Ok(entry) => entry,
        Err(reason) => {
            tell(reason, outer, now);
            return Err(reason);
        }
    };
    if judge(skb.context(), entry, now, arrived) != 0 {
        return Err(arrived.reason);
    }
    flows::receive(&entry.carries, &arrived.packet, entry.slot, now)?;
    if let Some(used) = &used {
        used.note(now);
    }
    Ok(entry)
}

/// The body of a [`Judge`], for an inner packet that stands at `inner_at` under an Ethernet header; 0 if it may be
/// delivered.
#[inline(always)]
pub fn judge(
    context: *mut __sk_buff,
    entry: *const InEntry,
    now: u64,
    arrived: *mut Arrived,
    inner_at: usize,
) -> u32 {
    let (Some(entry), Some(arrived)) = (memory::given(entry), memory::given_mut(arrived)) else {
        return 1;
    };
    match inside(&Skb::of(context), entry, now, inner_at, arrived) {
        Ok(()) => 0,
        Err(reason) => {
            arrived.reason = reason;
            1
        }
    }
}

#[inline(always)]
fn inside(
    skb: &Skb,
    entry: &InEntry,
    now: u64,
    inner_at: usize,
    arrived: &mut Arrived,
) -> Result<(), DropReason> {
    let metadata = skb.metadata()?;
    arrived.is_gso = metadata.gso.is_some();
    arrived.packet = receiver::check_inner(skb, &metadata, inner_at, entry, maps::lease(), now)?;
    Ok(())
}

/// Tells the agent of a handle that nobody here has given, or has no more. Slot 0 is the uplink's: whoever floods it
/// with made-up handles takes no event from a guest.
#[inline(always)]
fn tell(reason: DropReason, outer: &Outer, now: u64) {
    if let Some(event) = receiver::event(reason, outer, now)
        && budgets::may_tell(0, now)
    {
        budgets::tell(0, event);
    }
}
