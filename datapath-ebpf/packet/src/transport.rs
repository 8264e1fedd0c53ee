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
/// of the source port, an answer in that of the destination port, and both have in the other place a number that belongs
/// to the identifier: so an answer belongs to the flow of its question and to no other, and a question is nobody's
/// answer. All other ICMP answers nothing: it has its type in the place of the destination port.
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
    match (protocol, kind) {
        (ICMP, 8) | (ICMPV6, 128) => Ports {
            source: identifier,
            destination: opposite(identifier),
        },
        (ICMP, 0) | (ICMPV6, 129) => Ports {
            source: opposite(identifier),
            destination: identifier,
        },
        // Two numbers that are nobody's opposite: no question or answer has either.
        _ => Ports {
            source: [0, 3],
            destination: [0xff, kind],
        },
    }
}

/// What stands in the other place of a question with this identifier. Were it one number for all, the question that
/// has this number as its identifier would look the same from both sides, and be its own answer. These go round:
/// 0, 1, 2, and from every other number to 0, so that nothing is the opposite of its opposite.
#[inline(always)]
fn opposite(identifier: [u8; 2]) -> [u8; 2] {
    match identifier {
        [0, 0] => [0, 1],
        [0, 1] => [0, 2],
        _ => [0, 0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// True if the message that was said is let in by the flow that the other one has opened.
    fn answers(protocol: u8, asked: (u8, u16), said: (u8, u16)) -> bool {
        let (asked, said) = (
            message(protocol, asked.0, asked.1.to_be_bytes()),
            message(protocol, said.0, said.1.to_be_bytes()),
        );
        (asked.source, asked.destination) == (said.destination, said.source)
    }

    /// Identifiers that could be taken for something else: those in other messages' places, and any.
    fn telling() -> impl Iterator<Item = u16> {
        (0..=5).chain([0x0102, 0x0300, 0xfffe]).chain(0xff00..=0xffff)
    }

    /// Wrong if false: whoever may only answer could ask, or send redirects, after one ping of the guest.
    #[test]
    fn of_all_icmp_an_answer_alone_answers_and_its_own_question_only() {
        for (protocol, question, answer) in [(ICMP, 8, 0), (ICMPV6, 128, 129)] {
            for identifier in telling() {
                assert!(answers(protocol, (question, identifier), (answer, identifier)));
                for other in telling() {
                    let own = identifier == other;
                    assert_eq!(
                        answers(protocol, (question, identifier), (answer, other)),
                        own,
                        "the answer {other} to the question {identifier}"
                    );
                    // A guest that answers of its own accord has let its question in.
                    assert_eq!(answers(protocol, (answer, identifier), (question, other)), own);
                }
            }
            for asked in 0..=255 {
                let said = (0..=255)
                    .filter(|said| ![(question, answer), (answer, question)].contains(&(asked, *said)));
                for said in said {
                    for identifier in [
                        0,
                        1,
                        2,
                        3,
                        0x0102,
                        0xff00 | u16::from(asked),
                        0xff00 | u16::from(said),
                    ] {
                        for other in [
                            0,
                            1,
                            2,
                            3,
                            0x0102,
                            0xff00 | u16::from(asked),
                            0xff00 | u16::from(said),
                        ] {
                            assert!(
                                !answers(protocol, (asked, identifier), (said, other)),
                                "{said} with {other:#x} answers {asked} with {identifier:#x}"
                            );
                        }
                    }
                }
            }
        }
    }

    /// Wrong if false: a peer that may only answer pings the guest that has pinged it.
    #[test]
    fn no_question_answers_a_question_whatever_their_identifiers() {
        for (protocol, question) in [(ICMP, 8), (ICMPV6, 128)] {
            for identifier in 0..=u16::MAX {
                // Only this one could be it.
                let other = u16::from_be_bytes(opposite(identifier.to_be_bytes()));
                assert!(
                    !answers(protocol, (question, identifier), (question, other)),
                    "{identifier}"
                );
            }
        }
    }
}
