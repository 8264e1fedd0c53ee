//! The first bytes behind an IP header: enough to know the flow, and that the header is whole.
use crate::{Frame, ip::Ip};
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

/// A flow's ports, network order; zeros for protocols without. An ICMP question (echo) has its identifier in the place
/// of the source port, an answer in that of the destination port: so an answer belongs to the flow of its question and
/// to no other, and a question is nobody's answer. All other ICMP answers nothing: it has its type in the place of
/// the destination port.
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
    /// The flow's ports.
    pub ports: Ports,
    /// Bytes of the header, for TCP and UDP; else 0.
    pub header: u8,
}

/// True if grants name ports of the protocol.
#[inline(always)]
pub fn has_ports(protocol: u8) -> bool {
    matches!(protocol, TCP | UDP | SCTP)
}

impl Transport {
    /// The transport header at `at` of the packet with this IP header.
    ///
    /// Refuses a known protocol whose header does not fit into the packet (`too_short`, also a TCP header
    /// that announces more options than there are bytes) and one that contradicts the packet (`bad_header`:
    /// a UDP length that is not exactly the payload's, a TCP header length below 20). Protocols that are not
    /// known have no ports and pass.
    #[inline(always)]
    pub fn at(frame: &impl Frame, at: usize, ip: &Ip) -> Result<Self, DropReason> {
        let (payload, protocol) = (ip.payload(), ip.protocol_again(frame, at));
        let short = DropReason::TooShort;
        let least = match protocol {
            TCP => 20,
            SCTP => 12,
            UDP | ICMP | ICMPV6 => 8,
            _ => return Ok(Self::default()),
        };
        if payload < least {
            return Err(short);
        }
        let Some(h) = frame.read::<8>(at) else {
            return Err(short);
        };
        let ports = Ports {
            source: [h[0], h[1]],
            destination: [h[2], h[3]],
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
                Ok(Self { ports, header })
            }
            UDP if u16::from_be_bytes([h[4], h[5]]) as u32 != payload => Err(DropReason::BadHeader),
            UDP => Ok(Self { ports, header: 8 }),
            SCTP => Ok(Self { ports, header: 0 }),
            _ => Ok(Self {
                ports: message(protocol, h[0], [h[4], h[5]]),
                header: 0,
            }),
        }
    }
}

/// Where a message of ICMP comes from and goes to.
#[inline(always)]
fn message(protocol: u8, kind: u8, identifier: [u8; 2]) -> Ports {
    let nobody = [0; 2];
    match (protocol, kind) {
        (ICMP, 8) | (ICMPV6, 128) => Ports {
            source: identifier,
            destination: nobody,
        },
        (ICMP, 0) | (ICMPV6, 129) => Ports {
            source: nobody,
            destination: identifier,
        },
        // Not 0, which is where a flow of this kind would come from.
        _ => Ports {
            source: nobody,
            destination: [0xff, kind],
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong if false: whoever may only answer could ask, or send redirects, after one ping of the guest.
    #[test]
    fn of_all_icmp_an_answer_alone_answers_and_its_own_question_only() {
        for (protocol, question, answer) in [(ICMP, 8, 0), (ICMPV6, 128, 129)] {
            let answers = |asked: (u8, [u8; 2]), said: (u8, [u8; 2])| {
                let (asked, said) = (
                    message(protocol, asked.0, asked.1),
                    message(protocol, said.0, said.1),
                );
                (asked.source, asked.destination) == (said.destination, said.source)
            };
            assert!(answers((question, [1, 2]), (answer, [1, 2])));
            assert!(!answers((question, [1, 2]), (answer, [1, 3])));
            for asked in 0..=255 {
                for said in (0..=255).filter(|said| (asked, *said) != (question, answer)) {
                    // A guest that answers of its own accord has let its question in.
                    if (asked, said) != (answer, question) {
                        assert!(!answers((asked, [1, 2]), (said, [1, 2])), "{asked} {said}");
                    }
                }
            }
        }
    }
}
