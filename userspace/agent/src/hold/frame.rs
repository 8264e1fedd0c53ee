//! A held first packet: the kernel's record read into something that can be judged and sent. Pure.

use super::LONGEST;
use crate::clock::BootTime;
use pairgate_abi::{Held, OutKey};
use pairgate_packet::{Bytes, Checksum, Packet, ethernet, ip::Family, ip::Ip, transport::Transport};

/// A packet that its guest may say, whole and with a finished checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldFrame {
    pub key: OutKey,
    /// The sending tap's counter slot.
    pub slot: u32,
    pub raised: BootTime,
    pub packet: Packet,
    /// Ethernet header and packet, nothing behind it.
    bytes: Vec<u8>,
}

impl HeldFrame {
    /// None if the record contradicts itself. The program has judged the frame before it handed it over; this
    /// only finds again what it found.
    pub fn read(record: &Held) -> Option<Self> {
        let length = usize::try_from(record.length).ok()?;
        let shown = record.frame.get(..length)?;
        let family = match shown.get(12..14)? {
            kind if kind == ethernet::IPV4 => Family::V4,
            kind if kind == ethernet::IPV6 => Family::V6,
            _ => return None,
        };
        let frame = Bytes(shown);
        let ip = Ip::at(&frame, ethernet::LENGTH, family).ok()?;
        ip.check_whole().ok()?;
        let transport_at = ethernet::LENGTH + family.header();
        let transport = Transport::at(&frame, transport_at, &ip).ok()?;
        if (ip.source.bytes(), ip.destination.bytes()) != (record.source, record.destination) {
            return None;
        }
        let packet = Packet::of(&ip, &transport);
        let mut bytes = shown
            .get(..usize::try_from(packet.frame_length()).ok()?)?
            .to_vec();
        checksum(record)
            .check(u32::try_from(transport_at).ok()?, ip.protocol)
            .ok()?;
        finish_checksum(&mut bytes, record.checksum_start, record.checksum_offset)?;
        let key = OutKey {
            tap: record.tap,
            source: record.source,
            destination: record.destination,
        };
        Some(Self {
            key,
            slot: record.slot,
            raised: BootTime::from_nanos(record.at_ns),
            packet,
            bytes,
        })
    }

    /// Whether it has waited for so long that its sender has sent it again.
    pub fn is_old(&self, now: BootTime) -> bool {
        self.raised.after(LONGEST) <= now
    }

    /// The IP packet.
    pub fn packet_bytes(&self) -> &[u8] {
        self.bytes.get(ethernet::LENGTH..).unwrap_or_default()
    }
}

/// What the record says of its checksum: written anywhere else it could change an address after it was compared.
fn checksum(record: &Held) -> Checksum {
    match record.checksum_start {
        0 => Checksum::Finished,
        start => Checksum::Partial {
            start: start.into(),
            offset: record.checksum_offset,
        },
    }
}

/// Computes the transport checksum that the guest left to the hardware: the sum of everything from `start` to the
/// packet's end, in which the place of the checksum already holds the sum of the pseudo-header (RFC 1071). A sum of
/// zero is written as all ones: zero means "none" in UDP.
fn finish_checksum(frame: &mut [u8], start: u16, offset: u16) -> Option<()> {
    if start == 0 {
        return Some(());
    }
    let covered = frame.get_mut(usize::from(start)..)?;
    let at = usize::from(offset);
    // The place must be whole before anything is written to it.
    covered.get(at..at + 2)?;
    let mut sum = 0_u32;
    for word in covered.chunks(2) {
        let word = [
            word.first().copied().unwrap_or(0),
            word.get(1).copied().unwrap_or(0),
        ];
        // At most a thousand words of 16 bits: the sum of 32 bits has room for them.
        sum += u32::from(u16::from_be_bytes(word));
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    let folded = !u16::try_from(sum).ok()?;
    let written = if folded == 0 { 0xffff } else { folded };
    covered
        .get_mut(at..at + 2)?
        .copy_from_slice(&written.to_be_bytes());
    Some(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use etherparse::{
        IpNumber, Ipv4Header, Ipv6Header, PacketBuilder, TcpHeader, UdpHeader, checksum::Sum16BitWords,
    };
    use pairgate_abi::{EVENT_MISS, HELD_BYTES};
    use proptest::prelude::*;

    pub(crate) const FOUR: [[u8; 4]; 2] = [[10, 77, 0, 11], [10, 77, 0, 21]];
    const SIX: [[u8; 16]; 2] = [
        [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x11],
        [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x21],
    ];

    fn wide(address: [u8; 4]) -> [u8; 16] {
        let mut wide = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
        wide[12..].copy_from_slice(&address);
        wide
    }

    /// The kernel's record of a frame between the two guests.
    pub(crate) fn record(frame: &[u8], six: bool, partial: Option<u16>) -> Held {
        let mut held = Held {
            kind: EVENT_MISS,
            tap: 7,
            slot: 1,
            length: frame.len() as u32,
            source: if six { SIX[0] } else { wide(FOUR[0]) },
            destination: if six { SIX[1] } else { wide(FOUR[1]) },
            at_ns: 5,
            checksum_start: partial.map_or(0, |_| if six { 54 } else { 34 }),
            checksum_offset: partial.unwrap_or(0),
            reserved: [0; 6],
            frame: [0; HELD_BYTES],
        };
        held.frame[..frame.len()].copy_from_slice(frame);
        held
    }

    /// A frame with its checksums finished.
    pub(crate) fn whole(six: bool, tcp: bool, payload: &[u8]) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2([2; 6], pairgate_abi::GATEWAY_MAC);
        let builder = if six {
            builder.ipv6(SIX[0], SIX[1], 64)
        } else {
            builder.ipv4(FOUR[0], FOUR[1], 64)
        };
        let mut frame = Vec::new();
        if tcp {
            builder
                .tcp(50_000, 443, 1, 1000)
                .syn()
                .write(&mut frame, payload)
                .unwrap();
        } else {
            builder.udp(50_000, 53).write(&mut frame, payload).unwrap();
        }
        frame
    }

    /// The same as a guest with checksum offload sends it: the sum of the pseudo-header in the place.
    fn partial(mut frame: Vec<u8>, six: bool, tcp: bool) -> (Vec<u8>, u16) {
        let (at, offset) = (if six { 54 } else { 34 }, if tcp { 16 } else { 6 });
        let length = (frame.len() - at) as u32;
        let protocol = if tcp { 6 } else { 17 };
        let mut sum = Sum16BitWords::new();
        let mut sum = if six {
            sum.add_16bytes(SIX[0]).add_16bytes(SIX[1])
        } else {
            sum.add_4bytes(FOUR[0]).add_4bytes(FOUR[1])
        };
        let sum = sum
            .add_4bytes(length.to_be_bytes())
            .add_2bytes([0, protocol])
            .ones_complement();
        let place = at + offset as usize;
        // The complement of the complement: the sum itself.
        frame[place..place + 2].copy_from_slice(&(!sum.to_be()).to_be_bytes());
        (frame, offset)
    }

    proptest! {
        /// Wrong if false: a guest's first segments and datagrams would be dropped by the other's stack.
        #[test]
        fn a_finished_checksum_is_the_one_that_the_guest_would_have_written(
            six: bool, tcp: bool, payload in prop::collection::vec(any::<u8>(), 0..1400),
        ) {
            let finished = whole(six, tcp, &payload);
            let (left_open, offset) = partial(finished.clone(), six, tcp);
            let held = HeldFrame::read(&record(&left_open, six, Some(offset))).unwrap();
            prop_assert_eq!(held.packet_bytes(), &finished[14..]);
            prop_assert_eq!(held.packet.ports.destination, if tcp { [1, 187] } else { [0, 53] });
        }

        /// Wrong if false: a broken record would stop the agent.
        #[test]
        fn no_record_panics(
            frame in prop::collection::vec(any::<u8>(), 0..200), length: u32, start: u16, offset: u16,
        ) {
            let mut held = record(&frame, false, None);
            (held.length, held.checksum_start, held.checksum_offset) = (length, start, offset);
            let _ = HeldFrame::read(&held);
        }
    }

    #[test]
    fn a_sum_of_zero_is_written_as_all_ones() {
        // All words add up to ffff, so the complement is zero.
        let mut frame = [0_u8; 42];
        frame[34] = 0xff;
        frame[35] = 0xff;
        finish_checksum(&mut frame, 34, 6).unwrap();
        assert_eq!(frame[40..], [0xff, 0xff]);
    }

    #[test]
    fn what_stands_behind_the_packet_is_not_sent_on() {
        let mut padded = whole(false, false, b"x");
        let length = padded.len();
        padded.resize(60, 0xee);
        let held = HeldFrame::read(&record(&padded, false, None)).unwrap();
        assert_eq!(held.packet_bytes().len() + 14, length);
    }

    #[test]
    fn a_record_of_other_addresses_than_its_frame_is_not_read() {
        let mut lying = record(&whole(false, true, b""), false, None);
        lying.source[15] ^= 1;
        assert_eq!(HeldFrame::read(&lying), None);
    }

    #[test]
    fn a_record_whose_checksum_goes_elsewhere_is_not_read() {
        let (frame, offset) = partial(whole(false, true, b"hello"), false, true);
        assert!(HeldFrame::read(&record(&frame, false, Some(offset))).is_some());
        // The UDP place, and the packet's own source address.
        for (start, offset) in [(34, 6), (26, 0), (33, 17)] {
            let mut lying = record(&frame, false, Some(offset));
            lying.checksum_start = start;
            assert_eq!(HeldFrame::read(&lying), None, "{start} {offset}");
        }
    }

    #[test]
    fn the_builders_of_these_tests_agree_with_a_second_opinion() {
        let frame = whole(true, false, b"hello");
        let header = Ipv6Header::from_slice(&frame[14..]).unwrap().0;
        let udp = UdpHeader::from_slice(&frame[54..]).unwrap().0;
        assert_eq!(udp.calc_checksum_ipv6(&header, b"hello").unwrap(), udp.checksum);
        let frame = whole(false, true, b"hello");
        let header = Ipv4Header::from_slice(&frame[14..]).unwrap().0;
        assert_eq!(header.protocol, IpNumber::TCP);
        let tcp = TcpHeader::from_slice(&frame[34..]).unwrap().0;
        assert_eq!(tcp.calc_checksum_ipv4(&header, b"hello").unwrap(), tcp.checksum);
    }
}
