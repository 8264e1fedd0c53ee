//! The first bytes behind an IP header: enough to know the flow, and that the header is whole.
use crate::{Frame, ipv4::Ipv4};
use pairgate_abi::DropReason;

/// ICMP.
pub const ICMP: u8 = 1;
/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// SCTP.
pub const SCTP: u8 = 132;

/// Bytes of the transport header that decisions may read.
pub const READ: usize = 20;

/// A flow's ports, network order; zeros for protocols without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// Source port.
    pub source: [u8; 2],
    /// Destination port.
    pub destination: [u8; 2],
}

impl Ports {
    /// The ports of the packet whose transport header stands at `at`.
    ///
    /// Refuses a known protocol whose header does not fit into the packet (`too_short`, also a TCP header
    /// that announces more options than there are bytes) and one that contradicts the packet (`bad_header`:
    /// a UDP length that is not exactly the payload's, a TCP header length below 20). Protocols that are not
    /// known have no ports and pass.
    #[inline(always)]
    pub fn at(frame: &impl Frame, at: usize, ipv4: &Ipv4) -> Result<Self, DropReason> {
        let length = ipv4.total - crate::ipv4::LENGTH as u16;
        let short = DropReason::TooShort;
        match ipv4.protocol {
            TCP => {
                if length < 20 {
                    return Err(short);
                }
                let header = (frame.read::<1>(at + 12).ok_or(short)?[0] >> 4) as u16 * 4;
                if header < 20 {
                    return Err(DropReason::BadHeader);
                }
                if header > length {
                    return Err(short);
                }
                Self::read(frame, at)
            }
            UDP => {
                if length < 8 {
                    return Err(short);
                }
                if u16::from_be_bytes(frame.read(at + 4).ok_or(short)?) != length {
                    return Err(DropReason::BadHeader);
                }
                Self::read(frame, at)
            }
            SCTP => {
                if length < 12 {
                    return Err(short);
                }
                Self::read(frame, at)
            }
            ICMP if length < 8 => Err(short),
            _ => Ok(Self::default()),
        }
    }

    #[inline(always)]
    fn read(frame: &impl Frame, at: usize) -> Result<Self, DropReason> {
        let Some(p) = frame.read::<4>(at) else {
            return Err(DropReason::TooShort);
        };
        Ok(Self {
            source: [p[0], p[1]],
            destination: [p[2], p[3]],
        })
    }
}
