//! Too big for its pair: the guest that sent it, and nobody else, is told so, and how much the pair takes.
//!
//! IPv4: "fragmentation needed" (RFC 792, RFC 1191), also for a packet that could be cut: nothing is ever cut here, and a
//! stack that is told can make smaller ones. IPv6: "packet too big" (RFC 4443, section 3.2). As the rules for both
//! want it (RFC 1122, section 3.2.2; RFC 4443, section 2.4), nothing is said about an ICMP error, and nothing about what
//! was sent to many: that never gets as far as to a pair.
//!
//! The answer comes from the address that the packet was for. There is no router with an address of its own on a tap; a
//! guest sends to that address by this interface, so that an answer from there passes a strict check of the way back
//! (RFC 3704), and its addresses are those of an error that the peer itself could have sent.
//!
//! ```text
//!  0          14           34/54                        42/62
//!  | Ethernet | IPv4/IPv6  | type code sum … MTU        | the guest's packet, from its IP header on
//! ```
use crate::{
    Checksum, Frame, Packet,
    ethernet::{self, Ethernet},
    icmp,
    ip::{Family, put},
    transport::{ICMP, ICMPV6},
};
use pairgate_abi::GATEWAY_MAC;

/// Bytes in front of the guest's packet in an answer over IPv4.
pub const HEADERS_V4: usize = headers(Family::V4);
/// Bytes in front of the guest's packet in an answer over IPv6.
pub const HEADERS_V6: usize = headers(Family::V6);
/// Bytes of the largest answer over IPv4 (RFC 1812, section 4.3.2.3).
const LARGEST_V4: usize = 576;
/// Bytes of the largest answer over IPv6, and the least that every link carries (RFC 8200, section 5).
const LARGEST_V6: usize = 1280;
/// The least that every IPv4 link carries (RFC 791).
const LEAST_V4: u16 = 68;
/// Sums are made of so many bytes at a time.
const STEP: usize = 8;
const TIME_TO_LIVE: u8 = 64;
const DO_NOT_FRAGMENT: u8 = 0x40;

const fn headers(family: Family) -> usize {
    ethernet::LENGTH + family.header() + icmp::HEADER
}

/// Most bytes of a guest's packet that an answer holds, whole steps.
const fn most(family: Family) -> usize {
    let largest = match family {
        Family::V4 => LARGEST_V4,
        Family::V6 => LARGEST_V6,
    };
    (largest - family.header() - icmp::HEADER) / STEP * STEP
}

/// How many bytes of a packet the answer to it holds; none if there must be no answer: to an ICMP error, and with an MTU
/// that a stack must not believe (RFC 791; RFC 8201, section 4).
#[inline(always)]
pub fn quoted(packet: &Packet, mtu: u16) -> Option<u32> {
    let least = match packet.family {
        Family::V4 => LEAST_V4,
        Family::V6 => LARGEST_V6 as u16,
    };
    if packet.is_error || mtu < least {
        return None;
    }
    let most = most(packet.family) as u32;
    // Rounded down where there is less, which no packet is that really exceeds what IPv6 carries everywhere.
    let all = packet.length / STEP as u32 * STEP as u32;
    Some(if all > most { most } else { all })
}

/// The headers of an answer over IPv4. `frame` is the guest's, cut behind what is quoted; `checksum` is the state of its
/// checksum, which will be finished after this; `mac` is the guest's.
#[inline(always)]
pub fn headers_v4(
    frame: &impl Frame,
    checksum: Checksum,
    mac: [u8; 6],
    packet: &Packet,
    mtu: u16,
) -> [u8; HEADERS_V4] {
    let mut answer = [0; HEADERS_V4];
    let (source, destination) = (packet.destination.bytes(), packet.source.bytes());
    let quoted = frame.length() as usize - ethernet::LENGTH;
    let total = (HEADERS_V4 - ethernet::LENGTH + quoted) as u16;
    let address = |a: &[u8; 16]| [a[12], a[13], a[14], a[15]];
    let (from, to) = (address(&source), address(&destination));
    put(&mut answer, 0, towards(mac, Family::V4));
    put(&mut answer, 14, [0x45, 0]);
    put(&mut answer, 16, total.to_be_bytes());
    put(&mut answer, 20, [DO_NOT_FRAGMENT, 0, TIME_TO_LIVE, ICMP]);
    put(&mut answer, 26, from);
    put(&mut answer, 30, to);
    let constant = 0x4500 + ((DO_NOT_FRAGMENT as u64) << 8) + ((TIME_TO_LIVE as u64) << 8 | ICMP as u64);
    let sum = constant + total as u64 + u32::from_be_bytes(from) as u64 + u32::from_be_bytes(to) as u64;
    put(&mut answer, 24, folded(sum).to_be_bytes());
    // Destination unreachable, fragmentation needed.
    put(&mut answer, 34, [3, 4]);
    put(&mut answer, 40, mtu.to_be_bytes());
    let sum = 0x0304 + mtu as u64 + sum_quoted(frame, checksum, Family::V4);
    put(&mut answer, 36, folded(sum).to_be_bytes());
    answer
}

/// The same over IPv6.
#[inline(always)]
pub fn headers_v6(
    frame: &impl Frame,
    checksum: Checksum,
    mac: [u8; 6],
    packet: &Packet,
    mtu: u16,
) -> [u8; HEADERS_V6] {
    let mut answer = [0; HEADERS_V6];
    let payload = (icmp::HEADER + frame.length() as usize - ethernet::LENGTH) as u16;
    put(&mut answer, 0, towards(mac, Family::V6));
    put(&mut answer, 14, [0x60]);
    put(&mut answer, 18, payload.to_be_bytes());
    put(&mut answer, 20, [ICMPV6, TIME_TO_LIVE]);
    put(&mut answer, 22, packet.destination.bytes());
    put(&mut answer, 38, packet.source.bytes());
    // Packet too big.
    put(&mut answer, 54, [2, 0]);
    put(&mut answer, 60, mtu.to_be_bytes());
    let sum = 0x0200
        + mtu as u64
        + payload as u64
        + ICMPV6 as u64
        + packet.destination.sum()
        + packet.source.sum()
        + sum_quoted(frame, checksum, Family::V6);
    put(&mut answer, 56, folded(sum).to_be_bytes());
    answer
}

/// The Ethernet header of an answer.
#[inline(always)]
fn towards(mac: [u8; 6], family: Family) -> [u8; ethernet::LENGTH] {
    Ethernet {
        destination: mac,
        source: GATEWAY_MAC,
        ethertype: family.ethertype(),
    }
    .bytes()
}

/// The sum of what is quoted, in numbers of four bytes, as it will be when the guest's checksum is finished.
///
/// Who finishes it adds up everything from the transport header on, the checksum's field included, and puts the
/// complement there: then all of it together is the complement of what the guest has left in the field.
#[inline(always)]
fn sum_quoted(frame: &impl Frame, checksum: Checksum, family: Family) -> u64 {
    let transport_at = ethernet::LENGTH + family.header();
    match checksum {
        Checksum::Finished => sum_of(frame, ethernet::LENGTH + most(family)),
        Checksum::Partial { offset, .. } => {
            let left = match offset {
                16 => frame.read(transport_at + 16),
                _ => frame.read(transport_at + 6),
            };
            let field = u16::from_be_bytes(left.unwrap_or_default());
            // Only the IP header: 20 bytes are not whole steps.
            let header = match family {
                Family::V4 => {
                    let last = u32::from_be_bytes(frame.read(ethernet::LENGTH + 16).unwrap_or_default());
                    sum_of(frame, ethernet::LENGTH + 16) + last as u64
                }
                Family::V6 => sum_of(frame, transport_at),
            };
            header + !field as u64
        }
    }
}

/// The sum of the bytes from the IP header on and before `end`, as far as the frame has them.
#[inline(always)]
fn sum_of(frame: &impl Frame, end: usize) -> u64 {
    let (mut at, mut sum) = (ethernet::LENGTH, 0);
    while at < end {
        let Some(step) = frame.read::<STEP>(at) else {
            break;
        };
        let step = u64::from_be_bytes(step);
        sum += (step >> 32) + (step & 0xffff_ffff);
        at += STEP;
    }
    sum
}

/// The complement of a sum in 16 bits (RFC 1071), for sums of no more than 65 535 numbers of four bytes: then the last
/// step carries nothing.
#[inline(always)]
fn folded(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong if it fails: an answer is written over what it quotes, or leaves a gap before it.
    #[test]
    fn what_is_quoted_begins_where_the_headers_end() {
        assert_eq!([Family::V4, Family::V6].map(headers), [42, 62]);
    }

    /// Wrong if it fails: a guest's stack drops the answer, because its checksum lacks a carry.
    #[test]
    fn every_carry_of_a_sum_comes_around() {
        let most = (LARGEST_V6 / 4) as u64 * u64::from(u32::MAX);
        let ends = [
            0,
            1,
            0xfffe,
            0xffff,
            0x1_0000,
            0x1_ffff,
            0xffff_0000,
            0xffff_ffff,
            0x1_0000_0000,
        ];
        let near = ends.map(|end| {
            [
                end,
                end + 0xffff,
                end + 0xffff_0000,
                end + (319 << 32),
                most - end,
            ]
        });
        for sum in near.into_iter().flatten() {
            // A number leaves the same rest under 65 535 however its digits are added up; nothing but nothing makes 0.
            let rest = (sum % 0xffff) as u16;
            let added = if rest == 0 && sum > 0 { 0xffff } else { rest };
            assert_eq!(folded(sum), !added, "{sum:#x}");
        }
    }
}
