//! What the kernel knows about a frame besides its bytes, and in which a guest can lie.
//!
//! * A VLAN tag is taken out of the bytes on arrival and put back on departure: it would ride through
//!   encapsulation onto the underlay.
//! * A segmentation request (GSO) makes one frame many, after every check: of another protocol than the one
//!   that was checked, or thousands of them.
//! * A half-done checksum names two bytes that the kernel will overwrite after every check. Unless they are
//!   the checksum field of the very header that was checked, a guest could rewrite its source address there.
use crate::{
    ip::{Family, Ip},
    transport::{self, Transport},
};
use pairgate_abi::DropReason;

/// A frame's state outside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// It carries a VLAN tag.
    pub vlan: bool,
    /// It is to be cut into segments.
    pub gso: Option<Gso>,
    /// Whether its checksum is finished.
    pub checksum: Checksum,
}

/// A segmentation request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gso {
    /// Bytes of payload in each segment.
    pub size: u32,
    /// What is to be cut, in the kernel's bits.
    pub kind: u32,
}

/// State of a frame's checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// Nothing will be written any more.
    Finished,
    /// The kernel or a device will sum from `start` on, which counts from the frame's first byte, and write
    /// the result `offset` bytes behind it.
    Partial {
        /// Where the sum starts.
        start: u32,
        /// Where it goes, from there.
        offset: u16,
    },
}

impl Metadata {
    /// A frame with nothing outside its bytes.
    pub const PLAIN: Self = Self {
        vlan: false,
        gso: None,
        checksum: Checksum::Finished,
    };

    /// Refuses a segmentation request that no packet of any protocol can have.
    #[inline(always)]
    pub fn check(&self) -> Result<(), DropReason> {
        match self.gso {
            Some(gso) => gso.plausible(self.checksum),
            None => Ok(()),
        }
    }

    /// Refuses everything that would still be done to the frame: for what ends at the tap.
    #[inline(always)]
    pub fn is_final(&self) -> Result<(), DropReason> {
        match (self.gso, self.checksum) {
            (None, Checksum::Finished) => Ok(()),
            _ => Err(DropReason::Offload),
        }
    }
}

impl Gso {
    /// TCP over IPv4: bit 0 of the kernel's `SKB_GSO_*`.
    pub const TCPV4: u32 = 0x1;
    /// TCP over IPv6: bit 4.
    pub const TCPV6: u32 = 0x10;
    /// UDP datagrams of equal size: bit 17.
    pub const UDP_L4: u32 = 0x2_0000;
    /// Remarks that change nothing here: "not checked yet" (bit 1), and TCP's congestion bits (2 and 19).
    const REMARKS: u32 = 0x8_0006;
    /// Smallest TCP segment: a smaller one makes too many packets of one.
    pub const LEAST_TCP: u32 = 256;
    /// Most datagrams of one.
    pub const MOST_UDP: u32 = 128;

    #[inline(always)]
    fn plausible(self, checksum: Checksum) -> Result<(), DropReason> {
        let kind = self.kind & !Self::REMARKS;
        let known = kind == Self::TCPV4 || kind == Self::TCPV6 || kind == Self::UDP_L4;
        if known && self.size > 0 && matches!(checksum, Checksum::Partial { .. }) {
            Ok(())
        } else {
            Err(DropReason::Offload)
        }
    }

    /// Refuses a request that does not fit the packet; returns the length of the largest IP packet it makes.
    /// `exact` says that nothing stands behind the packet.
    #[inline(always)]
    pub fn check(self, ip: &Ip, protocol: u8, transport: &Transport, exact: bool) -> Result<u32, DropReason> {
        let headers = ip.family.header() as u32 + transport.header as u32;
        let kind = self.kind & !Self::REMARKS;
        let fits = match (protocol, ip.family) {
            (transport::TCP, Family::V4) => kind == Self::TCPV4 && self.size >= Self::LEAST_TCP,
            (transport::TCP, Family::V6) => kind == Self::TCPV6 && self.size >= Self::LEAST_TCP,
            (transport::UDP, _) => {
                kind == Self::UDP_L4 && ip.length - headers <= self.size.saturating_mul(Self::MOST_UDP)
            }
            _ => false,
        };
        if fits && exact {
            Ok(headers + self.size)
        } else {
            Err(DropReason::Offload)
        }
    }

    /// Bytes of the largest IP packet among the parts of a packet that was gathered.
    #[inline(always)]
    pub(crate) fn part(self, ip: &Ip, transport: &Transport) -> u32 {
        let part = (ip.family.header() as u32 + transport.header as u32).saturating_add(self.size);
        if part < ip.length { part } else { ip.length }
    }
}

impl Checksum {
    /// Refuses a half-done checksum that is not the one of the transport header at `transport_at`.
    #[inline(always)]
    pub fn check(self, transport_at: u32, protocol: u8) -> Result<(), DropReason> {
        match self {
            Self::Finished => Ok(()),
            Self::Partial { start, offset } => {
                let field = match protocol {
                    transport::TCP => 16,
                    transport::UDP => 6,
                    _ => return Err(DropReason::Offload),
                };
                if start == transport_at && offset == field {
                    Ok(())
                } else {
                    Err(DropReason::Offload)
                }
            }
        }
    }
}
