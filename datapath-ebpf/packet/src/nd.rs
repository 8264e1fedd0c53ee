//! Neighbour discovery (RFC 4861), which ends at the tap: a guest's solicitation is answered here, whatever
//! address of its networks it asks for, and always with the gateway's MAC address. Nothing is learned and nothing
//! forwarded, in either direction and whatever a grant says: a forged advertisement or redirect has nowhere to go.
//!
//! ```text
//!  0      1      2      4          8        24       26       32     (from the end of the IPv6 header)
//!  | type | code | sum  | flags    | target | option | MAC    |
//! ```
use crate::{
    Frame,
    address::{self, Address},
    ethernet::{self, Ethernet},
    ip::{piece, put},
    transport::ICMPV6,
};
use pairgate_abi::{DropReason, GATEWAY_LINK_LOCAL, GATEWAY_MAC, TapEntry};

/// Bytes of an Ethernet frame with an advertisement, which is all that an answer holds.
pub const FRAME: usize = BODY_AT + BODY;
/// Bytes of a guest's frame that are read here: up to the end of the solicitation's first option.
pub const READ: usize = OPTION_AT + 8;
const IP_AT: usize = ethernet::LENGTH;
const BODY_AT: usize = IP_AT + 40;
const OPTION_AT: usize = BODY_AT + 24;
/// An advertisement and one option.
const BODY: usize = 24 + 8;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Nobody on the way has changed it: the message comes from this link.
pub(crate) const HOP_LIMIT: u8 = 255;
/// "Solicited" and "override": it answers a question, and replaces what was known.
const FLAGS: u8 = 0x60;
pub(crate) const SOURCE_MAC: u8 = 1;
const TARGET_MAC: u8 = 2;

/// True for the types that belong to neighbour discovery: router and neighbour solicitations and
/// advertisements, and redirects.
#[inline(always)]
pub fn is_kind(protocol: u8, kind: u8) -> bool {
    protocol == ICMPV6 && matches!(kind, 133..=137)
}

/// True if the frame, which announces IPv6, holds such a message behind its header.
#[inline(always)]
pub fn is_at(frame: &impl Frame, at: usize) -> bool {
    match frame.read::<41>(at) {
        Some(h) => is_kind(h[6], h[40]),
        None => false,
    }
}

/// A guest's question that may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The guest's own address, from which it asks.
    pub asker: Address,
    /// The address it asks for.
    pub target: Address,
}

impl Question {
    /// The question in a frame from this tap that holds a message of neighbour discovery, and has been found to
    /// come from the guest's own MAC address and to be left as it is by the kernel.
    ///
    /// Refused: a message that was forwarded, is not whole or contradicts itself (`bad_header`, `too_short`),
    /// and everything that is not the guest's own question for
    /// another address of its networks or the router's, from an address of its own or of the link, to the one it asks for or to
    /// that one's group (`spoofed_nd`). A question for the guest's own address is a probe for duplicates, and
    /// nobody here could have one.
    #[inline(always)]
    pub fn of(frame: &impl Frame, tap: &TapEntry) -> Result<Self, DropReason> {
        Ethernet::of(frame)?.to_group_or_gateway()?;
        if frame.read::<1>(BODY_AT) != Some([SOLICITATION]) {
            return Err(DropReason::SpoofedNd); // shorter kinds too, such as a question for routers
        }
        let Some(h) = frame.read::<64>(IP_AT) else {
            return Err(DropReason::TooShort);
        };
        let payload = u16::from_be_bytes([h[4], h[5]]) as u32;
        if h[0] >> 4 != 6 || h[7] != HOP_LIMIT || BODY_AT as u32 + payload > frame.length() {
            return Err(DropReason::BadHeader);
        }
        if payload < 24 {
            return Err(DropReason::TooShort);
        }
        let asker = Address::of(&piece(&h, 8));
        let (to, target) = (Address::of(&piece(&h, 24)), Address::of(&piece(&h, 48)));
        let spoofed = Err(DropReason::SpoofedNd);
        if h[41] != 0 || !(to == target || to == group_of(target)) {
            return spoofed;
        }
        if payload >= 32 {
            let Some(option) = frame.read::<8>(OPTION_AT) else {
                return Err(DropReason::TooShort);
            };
            if option[0] == SOURCE_MAC && (option[1] != 1 || piece::<8, 6>(&option, 2) != tap.mac) {
                return spoofed;
            }
        }
        // In the maps' form an IPv4 address is among the guest's own; here it is none.
        if asker.is_disguised() || target.is_disguised() {
            return spoofed;
        }
        if !asker.is_link_local() && !address::is_own(tap, asker) {
            return spoofed;
        }
        let of_router = target == Address::of(&GATEWAY_LINK_LOCAL);
        if address::is_own(tap, target) || !(of_router || address::is_near(tap, target)) {
            return spoofed;
        }
        Ok(Self { asker, target })
    }

    /// The whole frame that answers: the gateway's MAC address has the address asked for. No byte of the
    /// guest's frame goes back to it unread.
    #[inline(always)]
    pub fn reply(&self, tap: &TapEntry, reply: &mut [u8; FRAME]) {
        let header = Ethernet {
            destination: tap.mac,
            source: GATEWAY_MAC,
            ethertype: ethernet::IPV6,
        };
        put(reply, 0, header.bytes());
        put(reply, IP_AT, [0x60]);
        put(reply, IP_AT + 5, [BODY as u8, ICMPV6, HOP_LIMIT]);
        put(reply, IP_AT + 8, self.target.bytes());
        put(reply, IP_AT + 24, self.asker.bytes());
        put(reply, BODY_AT, [ADVERTISEMENT]);
        put(reply, BODY_AT + 2, self.checksum().to_be_bytes());
        put(reply, BODY_AT + 4, [FLAGS]);
        put(reply, BODY_AT + 8, self.target.bytes());
        put(reply, OPTION_AT, [TARGET_MAC, 1]);
        put(reply, OPTION_AT + 2, GATEWAY_MAC);
    }

    /// Checksum of the answer (RFC 4443, section 2.3): the pseudo header, and the message.
    #[inline(always)]
    fn checksum(&self) -> u16 {
        let m = GATEWAY_MAC;
        let constant = BODY as u64
            + ICMPV6 as u64
            + ((ADVERTISEMENT as u64) << 8)
            + ((FLAGS as u64) << 8)
            + ((TARGET_MAC as u64) << 8)
            + 1
            + u16::from_be_bytes([m[0], m[1]]) as u64
            + u16::from_be_bytes([m[2], m[3]]) as u64
            + u16::from_be_bytes([m[4], m[5]]) as u64;
        // The target stands in both headers.
        let sum = constant + words(self.target) * 2 + words(self.asker);
        let sum = (sum >> 16) + (sum & 0xffff);
        !(((sum >> 16) + (sum & 0xffff)) as u16)
    }
}

/// Sum of the 16-bit words of an address.
#[inline(always)]
fn words(a: Address) -> u64 {
    let (high, low) = a.halves();
    let of = |half: u64| (half >> 48) + (half >> 32 & 0xffff) + (half >> 16 & 0xffff) + (half & 0xffff);
    of(high) + of(low)
}

/// The group in which the owner of an address listens for questions about it (RFC 4291, section 2.7.1).
#[inline(always)]
fn group_of(a: Address) -> Address {
    let [.., x, y, z] = a.bytes();
    Address::of(&[0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, x, y, z])
}
