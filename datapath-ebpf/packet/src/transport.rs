//! The first bytes behind an IP header: enough to know the flow, and that the header is whole.
use crate::{Frame, icmp, ip::Ip};
use pairgate_abi::DropReason;

/// ICMP.
pub const ICMP: u8 = 1;
/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// ICMP for IPv6.
pub const ICMPV6: u8 = 58;
/// SCTP.
pub const SCTP: u8 = 132;

/// Bytes of the transport header that decisions may read.
pub const READ: usize = 20;

/// A flow's ports, network order; zeros for protocols without. Those of ICMP are in [`icmp::ports`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// Source port.
    pub source: [u8; 2],
    /// Destination port.
    pub destination: [u8; 2],
}

/// What decisions use of a transport header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transport {
    /// Protocol of the flow: the packet's own, or that of the packet that an ICMP error is about.
    pub protocol: u8,
    /// It is an ICMP error.
    pub is_error: bool,
    /// The flow's ports, as packets in this direction have them.
    pub ports: Ports,
    /// Bytes of the header, for TCP and UDP; else 0.
    pub header: u8,
}

/// True if grants name ports of the protocol.
#[inline(always)]
pub fn has_ports(protocol: u8) -> bool {
    matches!(protocol, TCP | UDP | SCTP)
}

/// True for the ports at which DHCP clients of either version listen (RFC 2131, section 4.1; RFC 8415, section 7.2). Every
/// guest is configured by its own host, and a client believes whoever answers first, from whatever port: no pair carries
/// it.
#[inline(always)]
fn is_to_clients(destination: [u8; 2]) -> bool {
    destination == [0, 68] || destination == [0x02, 0x22]
}

impl Transport {
    /// The transport header at `at` of the packet with this IP header.
    ///
    /// Refuses a known protocol whose header does not fit into the packet (`too_short`, also a TCP header
    /// that announces more options than there are bytes) and one that contradicts the packet (`bad_header`:
    /// a UDP length that is not exactly the payload's, a TCP header length below 20); of ICMP, routers' messages
    /// (`spoofed_nd`) and errors about what the other end has not sent here (`inner`). Protocols that are not known have
    /// no ports and pass.
    #[inline(always)]
    pub fn at(frame: &impl Frame, at: usize, ip: &Ip) -> Result<Self, DropReason> {
        let (payload, protocol) = (ip.payload(), ip.protocol_again(frame, at));
        let short = DropReason::TooShort;
        let own = Self {
            protocol,
            ..Self::default()
        };
        let least = match protocol {
            TCP => 20,
            SCTP => 12,
            UDP | ICMP | ICMPV6 => 8,
            _ => return Ok(own),
        };
        if payload < least {
            return Err(short);
        }
        let Some(h) = frame.read::<8>(at) else {
            return Err(short);
        };
        let own = Self {
            ports: Ports {
                source: [h[0], h[1]],
                destination: [h[2], h[3]],
            },
            ..own
        };
        match protocol {
            TCP => {
                let Some([offset]) = frame.read::<1>(at + 12) else {
                    return Err(short);
                };
                let header = (offset >> 4) * 4;
                if header < 20 {
                    return Err(DropReason::BadHeader);
                }
                if header as u32 > payload {
                    return Err(short);
                }
                Ok(Self { header, ..own })
            }
            UDP if u16::from_be_bytes([h[4], h[5]]) as u32 != payload => Err(DropReason::BadHeader),
            UDP if is_to_clients(own.ports.destination) => Err(DropReason::SpoofedNd),
            UDP => Ok(Self { header: 8, ..own }),
            SCTP => Ok(own),
            _ if icmp::is_of_routers(protocol, h[0]) => Err(DropReason::SpoofedNd),
            _ if icmp::is_error(protocol, h[0]) => icmp::about(frame, at + icmp::HEADER, ip),
            _ => Ok(Self {
                ports: icmp::ports(protocol, h[0], [h[4], h[5]]),
                ..own
            }),
        }
    }
}
