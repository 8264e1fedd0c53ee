//! The IP headers of both families, in one form.
//!
//! ```text
//! IPv4  0       1       2       4       6        8       9       10      12      16      20
//!       | 4 | 5 | tos   | total | ident | frag   | ttl   | proto | sum   | source| dest  |
//! IPv6  0               4         6      7           8          24            40
//!       | 6, tc, label  | payload | next | hop limit | source   | destination |
//! ```
use crate::{Frame, address::Address, ethernet};
use pairgate_abi::DropReason;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address in the form of the contract.
    #[inline(always)]
    pub fn of(a: &[u8; 16]) -> Self {
        if Address::of(a).is_ipv4() {
            Self::V4
        } else {
            Self::V6
        }
    }

    /// Bytes of the header: options are refused and no extension header is carried, so it is always this long
    /// and everything behind it stands at a constant place.
    #[inline(always)]
    pub const fn header(self) -> usize {
        match self {
            Self::V4 => 20,
            Self::V6 => 40,
        }
    }

    /// The ethertype.
    #[inline(always)]
    pub const fn ethertype(self) -> [u8; 2] {
        match self {
            Self::V4 => ethernet::IPV4,
            Self::V6 => ethernet::IPV6,
        }
    }
}

/// The parts of an IP header that decisions use. Its lengths hold, its addresses may be anything that an
/// address of its family can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Its family.
    pub family: Family,
    /// Protocol of the payload; for IPv6 the next header.
    pub protocol: u8,
    /// True for every part of a packet that is not the whole.
    pub fragment: bool,
    /// Bytes of header and payload.
    pub length: u32,
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
}

impl Ip {
    /// The header at `at`. Refuses other versions, IPv4 options, lengths below the header's or beyond the
    /// frame's end, and IPv6 addresses that stand for IPv4 or for nothing.
    #[inline(always)]
    pub fn at(frame: &impl Frame, at: usize, family: Family) -> Result<Self, DropReason> {
        let ip = match family {
            Family::V4 => Self::v4(frame, at)?,
            Family::V6 => Self::v6(frame, at)?,
        };
        if at as u32 + ip.length > frame.length() {
            return Err(DropReason::BadHeader);
        }
        Ok(ip)
    }

    #[inline(always)]
    fn v4(frame: &impl Frame, at: usize) -> Result<Self, DropReason> {
        match frame.read(at) {
            Some(header) => Self::of_v4(&header),
            None => Err(DropReason::TooShort),
        }
    }

    /// The IPv4 header in these bytes, which may be those of a packet that is not here as a whole.
    #[inline(always)]
    pub(crate) fn of_v4(h: &[u8; 20]) -> Result<Self, DropReason> {
        let length = u16::from_be_bytes([h[2], h[3]]) as u32;
        if h[0] != 0x45 || length < 20 {
            return Err(DropReason::BadHeader);
        }
        Ok(Self {
            family: Family::V4,
            protocol: h[9],
            // "More fragments" is set or the offset is not 0.
            fragment: u16::from_be_bytes([h[6], h[7]]) & 0x3fff != 0,
            length,
            source: Address::of_ipv4([h[12], h[13], h[14], h[15]]),
            destination: Address::of_ipv4([h[16], h[17], h[18], h[19]]),
        })
    }

    #[inline(always)]
    fn v6(frame: &impl Frame, at: usize) -> Result<Self, DropReason> {
        match frame.read(at) {
            Some(header) => Self::of_v6(&header),
            None => Err(DropReason::TooShort),
        }
    }

    /// The IPv6 header in these bytes, likewise.
    #[inline(always)]
    pub(crate) fn of_v6(h: &[u8; 40]) -> Result<Self, DropReason> {
        let (source, destination) = (Address::of(&piece(h, 8)), Address::of(&piece(h, 24)));
        if h[0] >> 4 != 6 || source.is_disguised() || destination.is_disguised() {
            return Err(DropReason::BadHeader);
        }
        Ok(Self {
            family: Family::V6,
            protocol: h[6],
            fragment: h[6] == FRAGMENT,
            length: 40 + u16::from_be_bytes([h[4], h[5]]) as u32,
            source,
            destination,
        })
    }

    /// Refuses fragments, and every IPv6 extension header (IANA's list, the encrypting one included): what stands
    /// behind one is not where this looks.
    #[inline(always)]
    pub fn check_whole(&self) -> Result<(), DropReason> {
        if self.fragment {
            return Err(DropReason::Fragment);
        }
        match (self.family, self.protocol) {
            (Family::V6, 0 | 43 | 50 | 51 | 60 | 135 | 139 | 140 | 253 | 254) => {
                Err(DropReason::ExtensionHeader)
            }
            _ => Ok(()),
        }
    }

    /// The protocol, read from the frame once more; `end` is where the header ends. Where the way forks by it, the
    /// kernel's verifier would follow the number that it has seen in each branch through everything that comes
    /// after; it does not know that this one is the same.
    #[inline(always)]
    pub(crate) fn protocol_again(&self, frame: &impl Frame, end: usize) -> u8 {
        let at = match self.family {
            Family::V4 => end - 20 + 9,
            Family::V6 => end - 40 + 6,
        };
        match frame.read::<1>(at) {
            Some([protocol]) => protocol,
            None => self.protocol, // never: the header was read
        }
    }

    /// Bytes behind the header.
    #[inline(always)]
    pub fn payload(&self) -> u32 {
        self.length - self.family.header() as u32
    }
}

/// IPv6's fragment header.
const FRAGMENT: u8 = 44;

/// Bytes of an array, at a constant place within it.
#[inline(always)]
pub(crate) fn piece<const N: usize, const M: usize>(from: &[u8; N], at: usize) -> [u8; M] {
    let mut piece = [0; M];
    piece.copy_from_slice(&from[at..at + M]);
    piece
}

/// Puts bytes into an array, at a constant place within it.
#[inline(always)]
pub(crate) fn put<const N: usize, const M: usize>(into: &mut [u8; N], at: usize, bytes: [u8; M]) {
    into[at..at + M].copy_from_slice(&bytes);
}
