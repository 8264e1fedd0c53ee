//! Address resolution, which ends at the tap: a guest's question is answered here, whatever address of its
//! network it asks for, and always with the gateway's MAC address. Nothing is learned and nothing forwarded,
//! so there is no answer a guest could forge for another.
//!
//! ```text
//!  0      2      4    5    6      8      14     18     24     28      (from the end of the Ethernet header)
//!  | hw   | proto| hl | pl | op   | sha  | spa  | tha  | tpa  |
//! ```
use crate::{Frame, Metadata, ethernet, ethernet::Ethernet, ipv4};
use pairgate_abi::{DropReason, GATEWAY_MAC, TapEntry};

/// Bytes of an Ethernet frame with an ARP packet, which is all that a reply holds.
pub const FRAME: usize = ethernet::LENGTH + 28;
/// Hardware type Ethernet, protocol IPv4, address lengths 6 and 4.
const FORM: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// A guest's question that may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The address it asks for.
    pub target: [u8; 4],
}

impl Question {
    /// The question in an ARP frame from this tap. `ethernet` has been found to come from the guest's own
    /// MAC address.
    ///
    /// Refused: another form than Ethernet and IPv4 (`bad_header`); every opcode but a request, and a sender
    /// that is not the guest itself (`spoofed_arp`; 0.0.0.0 is allowed only to a guest that probes its own
    /// address). A question for the guest's own address (a probe for duplicates or an announcement) or for
    /// one outside its network is of no interest to anyone here: `multicast`, like everything that wants to
    /// be flooded.
    #[inline(always)]
    pub fn of(
        frame: &impl Frame,
        metadata: &Metadata,
        ethernet: &Ethernet,
        tap: &TapEntry,
    ) -> Result<Self, DropReason> {
        metadata.checksum.finished()?;
        if ethernet.destination != ethernet::BROADCAST {
            ethernet.to_gateway()?;
        }
        let Some(p) = frame.read::<28>(ethernet::LENGTH) else {
            return Err(DropReason::TooShort);
        };
        if [p[0], p[1], p[2], p[3], p[4], p[5]] != FORM {
            return Err(DropReason::BadHeader);
        }
        let sender_mac = [p[8], p[9], p[10], p[11], p[12], p[13]];
        let sender = [p[14], p[15], p[16], p[17]];
        let target = [p[24], p[25], p[26], p[27]];
        if [p[6], p[7]] != REQUEST || sender_mac != tap.mac {
            return Err(DropReason::SpoofedArp);
        }
        if target == tap.ipv4 && (sender == tap.ipv4 || sender == [0; 4]) {
            return Err(DropReason::Multicast);
        }
        if sender != tap.ipv4 {
            return Err(DropReason::SpoofedArp);
        }
        let differs = u32::from_be_bytes(target) ^ u32::from_be_bytes(tap.ipv4);
        if differs & ipv4::mask(tap.ipv4_prefix) != 0 {
            return Err(DropReason::Multicast);
        }
        Ok(Self { target })
    }

    /// The whole frame that answers: the gateway's MAC address has the address asked for. No byte of the
    /// guest's frame goes back to it unread.
    #[inline(always)]
    pub fn reply(&self, tap: &TapEntry) -> [u8; FRAME] {
        let header = Ethernet {
            destination: tap.mac,
            source: GATEWAY_MAC,
            ethertype: ethernet::ARP,
        };
        let mut reply = [0; FRAME];
        put(&mut reply, 0, header.bytes());
        put(&mut reply, 14, FORM);
        put(&mut reply, 20, REPLY);
        put(&mut reply, 22, GATEWAY_MAC);
        put(&mut reply, 28, self.target);
        put(&mut reply, 32, tap.mac);
        put(&mut reply, 38, tap.ipv4);
        reply
    }
}

/// Copies without a check that could fail: `at` is a constant and the loop is unrolled.
#[inline(always)]
pub(crate) fn put<const N: usize, const M: usize>(into: &mut [u8; N], at: usize, bytes: [u8; M]) {
    for (to, from) in into.iter_mut().skip(at).zip(bytes) {
        *to = from;
    }
}
