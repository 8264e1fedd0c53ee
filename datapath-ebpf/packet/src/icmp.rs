//! ICMP of both families: questions and answers, which belong to a flow like everything else, and errors, which belong
//! to the flow of the packet that they carry.
//!
//! An error's sender chooses all of it, so it is believed only as far as it could have sent anything: the packet
//! inside must be one from the error's receiver to the error's sender, and the error is then judged by grants and flow
//! tables as a packet of that flow. It needs no grant of its own, and opens nothing.
//!
//! ```text
//!  0      1      2      4          8                 28/48     36/56
//!  | type | code | sum  | …        | IPv4/IPv6 header | 8 bytes | …
//! ```
use crate::{
    Frame,
    ip::{Family, Ip, piece},
    nd,
    transport::{ICMP, ICMPV6, Ports, Transport, has_ports},
};
use pairgate_abi::DropReason;

/// Bytes of an ICMP header; an error's packet follows.
pub const HEADER: usize = 8;
/// Bytes behind the IP header of the packet inside an error that every error carries (RFC 792).
const LEAST: usize = 8;
/// Bytes behind an IP header that decisions may read: an ICMP error, and the headers that it carries. They are taken
/// into the kernel's own memory before anything is judged: what is not could still be changed by a sender whose pages
/// it shares, between the judgement and the delivery.
pub const READ: usize = HEADER + Family::V6.header() + LEAST;
const _: () = assert!(READ >= crate::transport::READ);

/// True for errors. IPv4: destination unreachable, source quench, time exceeded, parameter problem. IPv6: every type
/// below 128 (RFC 4443, section 2.1), those included that nobody has defined yet.
#[inline(always)]
pub fn is_error(protocol: u8, kind: u8) -> bool {
    match protocol {
        ICMP => matches!(kind, 3 | 4 | 11 | 12),
        ICMPV6 => kind < 128,
        _ => false,
    }
}

/// True for the messages of IPv4 routers: redirects (RFC 792), router advertisements and solicitations (RFC 1256). No
/// guest is a router for another. Those of IPv6 are neighbour discovery.
#[inline(always)]
pub fn is_of_routers(protocol: u8, kind: u8) -> bool {
    protocol == ICMP && matches!(kind, 5 | 9 | 10)
}

/// What the packet inside an error says, which stands at `at`; `ip` is the header of the error. The flow's ports as
/// packets in the error's direction have them.
///
/// Refused: fewer bytes than every error has (`too_short`); a packet that did not go from where the error goes to where
/// it comes from, one that no guest can have sent (options, fragments, extension headers, neighbour discovery), and an error about
/// an error or a redirect, which there must not be (RFC 1122, section 3.2.2; RFC 4443, section 2.4): `inner`.
#[inline(always)]
pub(crate) fn about(frame: &impl Frame, at: usize, ip: &Ip) -> Result<Transport, DropReason> {
    let short = DropReason::TooShort;
    if ip.payload() < (HEADER + ip.family.header() + LEAST) as u32 {
        return Err(short);
    }
    let (inside, h): (_, [u8; LEAST]) = match ip.family {
        Family::V4 => {
            let Some(q) = frame.read_far::<{ 20 + LEAST }>(at) else {
                return Err(short);
            };
            (Ip::of_v4(&piece(&q, 0)), piece(&q, 20))
        }
        Family::V6 => {
            let Some(q) = frame.read_far::<{ 40 + LEAST }>(at) else {
                return Err(short);
            };
            (Ip::of_v6(&piece(&q, 0)), piece(&q, 40))
        }
    };
    let Ok(inside) = inside else {
        return Err(DropReason::Inner);
    };
    if inside.source != ip.destination || inside.destination != ip.source || inside.check_whole().is_err() {
        return Err(DropReason::Inner);
    }
    let protocol = inside.protocol;
    let sent = if has_ports(protocol) {
        Ports {
            source: [h[0], h[1]],
            destination: [h[2], h[3]],
        }
    } else if protocol != ICMP && protocol != ICMPV6 {
        Ports::default()
    } else if is_error(protocol, h[0]) || is_of_routers(protocol, h[0]) || nd::is_kind(protocol, h[0]) {
        return Err(DropReason::Inner);
    } else {
        ports(protocol, h[0], [h[4], h[5]])
    };
    Ok(Transport {
        protocol,
        is_error: true,
        ports: Ports {
            source: sent.destination,
            destination: sent.source,
        },
        header: 0,
    })
}

/// Where a message that is no error comes from and goes to. A question (echo) has its identifier in the place of the
/// source port, an answer in that of the destination port, and both have in the other place a number that belongs to
/// the identifier: so an answer belongs to the flow of its question and to no other, and a question is nobody's
/// answer. All other ICMP answers nothing: it has its type in the place of the destination port.
#[inline(always)]
pub(crate) fn ports(protocol: u8, kind: u8, identifier: [u8; 2]) -> Ports {
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
            ports(protocol, asked.0, asked.1.to_be_bytes()),
            ports(protocol, said.0, said.1.to_be_bytes()),
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
