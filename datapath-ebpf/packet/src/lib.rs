//! What may pass: every decision of the datapath, as pure functions.
//!
//! The eBPF programs and the tests on the host compile this crate. It holds no map, no clock, no packet
//! memory and no `unsafe`: the values found in maps, the time and the frame are arguments, the answer is a
//! [`Verdict`] or the [`DropReason`](pairgate_abi::DropReason) under which the frame is counted.
//!
//! Guarantees, for any bytes: no panic, no loop without a small bound, no read outside the frame. Absence denies:
//! whatever is not positively allowed is an error, and an ethertype, header or address that is not understood is
//! refused.
//!
//! Read along the packet's way: [`sender`] (may this guest say this?), [`pair`] (may it say it to them,
//! now?), [`grant`] (is that what the pair is for?), [`outer`] (how it travels), [`receiver`] (may this host say
//! this to that guest?), [`early`] (what of it may die in the driver), [`delivered`] (the guard before the guest).
//!
//! Everything is `inline(always)`: the programs must become straight code with constant offsets, which is
//! what the kernel's verifier can follow. The same reason forbids a core that takes a `&[u8]`.
#![no_std]

pub mod address;
pub mod arp;
pub mod budget;
pub mod configuration;
pub mod delivered;
pub mod early;
pub mod ethernet;
pub mod frame;
pub mod grant;
pub mod icmp;
pub mod ip;
pub mod metadata;
pub mod nd;
pub mod outer;
mod packet;
pub mod pair;
pub mod receiver;
pub mod sender;
pub mod too_big;
pub mod transport;
mod verdict;

pub use frame::{Bytes, Frame};
pub use metadata::{Checksum, Gso, Metadata};
pub use packet::Packet;
pub use verdict::{Verdict, Way};

#[cfg(test)]
extern crate std;
