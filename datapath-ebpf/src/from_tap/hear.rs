//! Hears the guest out.
//!
//! A function that the kernel's verifier judges apart (its name is known outside): what the many ways through the
//! headers lead to then counts as one case for everything that comes after, and its stack is not in the way of the
//! others'. The fields of what it returns are plain: its type information is read by the kernel, which has no word for
//! Rust's enumerations with values inside.
use crate::{memory, skb::Skb};
use aya_ebpf::bindings::__sk_buff;
use pairgate_abi::{DropReason, TapEntry};
use pairgate_packet::{
    Checksum, Packet,
    sender::{self, Said},
};

/// What the guest said, and what its packet needs to be held.
pub struct Heard {
    pub kind: Kind,
    pub packet: Packet,
    /// It is to be cut into segments.
    pub is_gso: bool,
    /// Where the sum that is still to be computed begins; 0 if none is.
    pub checksum_start: u16,
    /// Where it goes, from there.
    pub checksum_offset: u16,
    /// Why it may not say it, if it may not.
    reason: DropReason,
}

/// Which kind of frame it is.
#[derive(Clone, Copy)]
pub enum Kind {
    Packet,
    Arp,
    Neighbour,
    Question,
}

impl Heard {
    /// Before anything is heard.
    pub const NOTHING: Self = Self {
        kind: Kind::Arp,
        packet: Packet::NOTHING,
        is_gso: false,
        checksum_start: 0,
        checksum_offset: 0,
        reason: DropReason::Internal,
    };

    /// The state of the packet's checksum.
    #[inline(always)]
    pub fn checksum(&self) -> Checksum {
        match self.checksum_start {
            0 => Checksum::Finished,
            start => Checksum::Partial {
                start: start as u32,
                offset: self.checksum_offset,
            },
        }
    }
}

/// What the guest behind the tap says in this frame, if it may; written into its place, which nothing was heard into
/// yet.
#[inline(always)]
pub fn out(skb: &Skb, tap: &TapEntry, heard: &mut Heard) -> Result<(), DropReason> {
    match pairgate_hear(skb.context(), tap, heard) {
        0 => Ok(()),
        _ => Err(heard.reason),
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn pairgate_hear(context: *mut __sk_buff, tap: *const TapEntry, heard: *mut Heard) -> u32 {
    let (Some(tap), Some(heard)) = (memory::given(tap), memory::given_mut(heard)) else {
        return 1;
    };
    match hear(&Skb::of(context), tap, heard) {
        Ok(()) => 0,
        Err(reason) => {
            heard.reason = reason;
            1
        }
    }
}

#[inline(always)]
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
        Said::Question(length) => {
            heard.kind = Kind::Question;
            heard.packet.length = length;
        }
    }
    heard.is_gso = metadata.gso.is_some();
    if let Checksum::Partial { start, offset } = metadata.checksum {
        (heard.checksum_start, heard.checksum_offset) = (start as u16, offset);
    }
    Ok(())
}
