//! Address resolution, which ends at the tap: a guest's question is answered here, whatever address of its
//! network it asks for, and always with the gateway's MAC address. Nothing is learned and nothing forwarded,
//! so there is no answer a guest could forge for another.
//!
//! ```text
//!  0      2      4    5    6      8      14     18     24     28      (from the end of the Ethernet header)
//!  | hw   | proto| hl | pl | op   | sha  | spa  | tha  | tpa  |
//! ```
use crate::{
    Frame,
    address::{self, Address},
    ethernet,
    ethernet::Ethernet,
    ip::put,
};
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
    /// The guest's own address, from which it asks.
    pub asker: [u8; 4],
    /// The address it asks for.
    pub target: [u8; 4],
}

impl Question {
    /// The question in an ARP frame from this tap, which has been found to come from the guest's own MAC address
    /// and to be left as it is by the kernel.
    ///
    /// Refused: another form than Ethernet and IPv4 (`bad_header`); every opcode but a request, and a sender
    /// that is not the guest itself (`spoofed_arp`; 0.0.0.0 is allowed only to a guest that probes its own
    /// address). A question for the guest's own address (a probe for duplicates or an announcement) or for
    /// one outside its networks is of no interest to anyone here: `multicast`, like everything that wants to
    /// be flooded.
    #[inline(always)]
    pub fn of(frame: &impl Frame, tap: &TapEntry) -> Result<Self, DropReason> {
        let ethernet = Ethernet::of(frame)?;
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
        let (asks, asked) = (Address::of_ipv4(sender), Address::of_ipv4(target));
        let (asks_for_itself, of_its_own) = (address::is_own(tap, asked), address::is_own(tap, asks));
        if asks_for_itself && (of_its_own || sender == [0; 4]) {
            return Err(DropReason::Multicast);
        }
        if !of_its_own {
            return Err(DropReason::SpoofedArp);
        }
        if !address::is_near(tap, asked) {
            return Err(DropReason::Multicast);
        }
        Ok(Self {
            asker: sender,
            target,
        })
    }

    /// The whole frame that answers: the gateway's MAC address has the address asked for. No byte of the
    /// guest's frame goes back to it unread.
    #[inline(always)]
    pub fn reply(&self, tap: &TapEntry, reply: &mut [u8; FRAME]) {
        let header = Ethernet {
            destination: tap.mac,
            source: GATEWAY_MAC,
            ethertype: ethernet::ARP,
        };
        put(reply, 0, header.bytes());
        put(reply, 14, FORM);
        put(reply, 20, REPLY);
        put(reply, 22, GATEWAY_MAC);
        put(reply, 28, self.target);
        put(reply, 32, tap.mac);
        put(reply, 38, self.asker);
    }
}
