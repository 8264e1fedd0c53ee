//! The Ethernet header.
//!
//! ```text
//!  0      6      12     14
//!  | dst  | src  | type |
//! ```
use crate::Frame;
use pairgate_abi::{DropReason, GATEWAY_MAC};

/// Bytes of the header.
pub const LENGTH: usize = 14;
/// IPv4.
pub const IPV4: [u8; 2] = [0x08, 0x00];
/// IPv6.
pub const IPV6: [u8; 2] = [0x86, 0xdd];
/// ARP.
pub const ARP: [u8; 2] = [0x08, 0x06];
/// Every station on the link.
pub const BROADCAST: [u8; 6] = [0xff; 6];

/// An Ethernet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// Destination MAC address.
    pub destination: [u8; 6],
    /// Source MAC address.
    pub source: [u8; 6],
    /// Ethertype, network order; below 0x0600 it is a length (802.3), which pairs do not carry.
    pub ethertype: [u8; 2],
}

impl Ethernet {
    /// The header of a frame.
    #[inline(always)]
    pub fn of(frame: &impl Frame) -> Result<Self, DropReason> {
        let Some(h) = frame.read::<LENGTH>(0) else {
            return Err(DropReason::TooShort);
        };
        Ok(Self {
            destination: [h[0], h[1], h[2], h[3], h[4], h[5]],
            source: [h[6], h[7], h[8], h[9], h[10], h[11]],
            ethertype: [h[12], h[13]],
        })
    }

    /// True if the ethertype announces a VLAN tag: 802.1Q, 802.1ad or one of the older double tags. The
    /// kernel lifts the outermost tag of the first two into the metadata; what is found here was below it.
    #[inline(always)]
    pub fn is_tagged(&self) -> bool {
        matches!(
            self.ethertype,
            [0x81, 0x00] | [0x88, 0xa8] | [0x91, 0x00] | [0x92, 0x00] | [0x93, 0x00]
        )
    }

    /// Refuses every destination that is not the gateway, the only neighbour a guest has.
    #[inline(always)]
    pub fn to_gateway(&self) -> Result<(), DropReason> {
        if self.destination == GATEWAY_MAC {
            Ok(())
        } else if self.destination[0] & 1 == 1 {
            Err(DropReason::Multicast)
        } else {
            Err(DropReason::BadHeader)
        }
    }

    /// The same, but for the groups of IPv6 (RFC 2464, section 7).
    #[inline(always)]
    pub fn to_group_or_gateway(&self) -> Result<(), DropReason> {
        if self.destination[0] == 0x33 && self.destination[1] == 0x33 {
            return Ok(());
        }
        self.to_gateway()
    }

    /// The header's bytes.
    #[inline(always)]
    pub fn bytes(&self) -> [u8; LENGTH] {
        let (d, s, e) = (self.destination, self.source, self.ethertype);
        [
            d[0], d[1], d[2], d[3], d[4], d[5], s[0], s[1], s[2], s[3], s[4], s[5], e[0], e[1],
        ]
    }
}
