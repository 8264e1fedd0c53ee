//! What the kernel knows about a frame besides its bytes, and in which a guest can lie.
//!
//! * A VLAN tag is taken out of the bytes on arrival and put back on departure: it would ride through
//!   encapsulation onto the underlay.
//! * A segmentation request makes one frame many, after every check.
//! * A half-done checksum names two bytes that the kernel will overwrite after every check. Unless they are
//!   the checksum field of the very header that was checked, a guest could rewrite its source address there.
use crate::transport;
use pairgate_abi::DropReason;

/// A frame's state outside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// It carries a VLAN tag.
    pub vlan: bool,
    /// It is to be cut into segments.
    pub gso: bool,
    /// Whether its checksum is finished.
    pub checksum: Checksum,
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
        gso: false,
        checksum: Checksum::Finished,
    };
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

    /// Refuses any half-done checksum.
    #[inline(always)]
    pub fn finished(self) -> Result<(), DropReason> {
        match self {
            Self::Finished => Ok(()),
            Self::Partial { .. } => Err(DropReason::Offload),
        }
    }
}
