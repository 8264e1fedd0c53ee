//! The IPv4 header, and what its addresses may be.
//!
//! ```text
//!  0       1       2       4       6        8       9       10      12      16      20
//!  | 4 | 5 | tos   | total | ident | frag   | ttl   | proto | sum   | source| dest  |
//! ```
use crate::Frame;
use pairgate_abi::DropReason;

/// Bytes of the header: options are refused, so it is always this long and everything behind it stands at a
/// constant place.
pub const LENGTH: usize = 20;

/// The parts of an IPv4 header that decisions use. Its lengths hold, its addresses may be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4 {
    /// Bytes of header and payload.
    pub total: u16,
    /// Flags and fragment offset.
    pub fragment: u16,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Source address.
    pub source: [u8; 4],
    /// Destination address.
    pub destination: [u8; 4],
}

impl Ipv4 {
    /// The header at `at`. Refuses other versions, options, and a total length below the header's or beyond
    /// the frame's end.
    #[inline(always)]
    pub fn at(frame: &impl Frame, at: usize) -> Result<Self, DropReason> {
        let Some(h) = frame.read::<LENGTH>(at) else {
            return Err(DropReason::TooShort);
        };
        let total = u16::from_be_bytes([h[2], h[3]]);
        if h[0] != 0x45 || (total as usize) < LENGTH || at as u32 + total as u32 > frame.length() {
            return Err(DropReason::BadHeader);
        }
        Ok(Self {
            total,
            fragment: u16::from_be_bytes([h[6], h[7]]),
            protocol: h[9],
            source: [h[12], h[13], h[14], h[15]],
            destination: [h[16], h[17], h[18], h[19]],
        })
    }

    /// True for every part of a packet that is not the whole: "more fragments" is set or the offset is not 0.
    #[inline(always)]
    pub fn is_fragment(&self) -> bool {
        self.fragment & 0x3fff != 0
    }
}

/// The network mask of a prefix length; lengths over 32 count as 32.
#[inline(always)]
pub fn mask(prefix: u8) -> u32 {
    match prefix {
        0 => 0,
        1..=31 => u32::MAX << (32 - prefix as u32),
        _ => u32::MAX,
    }
}

/// Refuses destinations that no single peer can have, seen from a guest with this address and prefix.
///
/// Flooding addresses are `multicast`: groups, the limited broadcast, 0.0.0.0 (its forgotten spelling) and
/// the guest's subnet broadcast. Addresses that cannot stand on a wire at all are `bad_header`: loopback,
/// the rest of 0/8 and of 240/4, and the guest's own address, as no honest stack sends itself a frame (and
/// no pair leads there, so it must not raise an event for one).
#[inline(always)]
pub fn check_destination(own: [u8; 4], prefix: u8, destination: [u8; 4]) -> Result<(), DropReason> {
    let (to, from) = (u32::from_be_bytes(destination), u32::from_be_bytes(own));
    let hosts = !mask(prefix);
    // A prefix of 31 or 32 has no broadcast address (RFC 3021).
    let broadcast = prefix <= 30 && (to ^ from) & !hosts == 0 && to & hosts == hosts;
    if to == 0 || to == u32::MAX || destination[0] & 0xf0 == 0xe0 || broadcast {
        return Err(DropReason::Multicast);
    }
    if to == from || matches!(destination[0], 0 | 127 | 240..=255) {
        return Err(DropReason::BadHeader);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_networks_with_room_for_it_have_a_broadcast_address() {
        let of = |last, prefix, to| check_destination([10, 0, 0, last], prefix, [10, 0, 0, to]);
        assert_eq!(of(1, 30, 3), Err(DropReason::Multicast));
        assert_eq!(of(1, 24, 255), Err(DropReason::Multicast));
        assert_eq!(
            of(1, 24, 3),
            Ok(()),
            "the end of a smaller network is a peer in this one"
        );
        assert_eq!(
            of(0, 31, 1),
            Ok(()),
            "the other end of a link was taken for everyone"
        );
        assert_eq!(of(1, 32, 2), Ok(()));
        assert_eq!(
            of(1, 0, 255),
            Ok(()),
            "the broadcast address of everything is the limited one"
        );
        assert_eq!(of(1, 33, 255), Ok(()), "a length over 32 is no longer a network");
    }
}
