//! Breaking frames: one field, the length, some bytes, everything.
use super::{LONGEST, fields::Field};
use rand::{Rng, rngs::SmallRng, seq::IndexedRandom};

/// Bytes that mean something somewhere in a header.
const TELLING: [u8; 36] = [
    0, 1, 2, 4, 5, 6, 8, 0x0b, 0x0c, 0x0d, 0x0e, 0x11, 0x20, 0x2b, 0x2c, 0x32, 0x33, 0x3a, 0x3b, 0x3c, 0x40,
    0x45, 0x46, 0x4f, 0x50, 0x60, 0x7f, 0x80, 0x81, 0x84, 0x86, 0x87, 0x88, 0xdd, 0xfe, 0xff,
];
/// Pairs of bytes likewise: ethertypes, ports and lengths.
const TELLING_PAIRS: [u16; 22] = [
    0, 1, 2, 8, 20, 28, 40, 53, 80, 443, 1000, 2000, 4789, 40_000, 0x0800, 0x0806, 0x8100, 0x86dd, 0x88a8,
    0x9100, 0x05ff, 0xffff,
];

/// Gives a field another value.
pub(super) fn field(random: &mut SmallRng, frame: &mut [u8], field: &Field) {
    let behind = frame.len().saturating_sub(field.at & !1) as u16;
    let Some(place) = frame.get_mut(field.at..field.at + field.length) else {
        return;
    };
    if let [byte] = place {
        let value = match random.random_range(0..6) {
            0 => random.random(),
            1 => *TELLING.choose(random).unwrap_or(&0),
            2 => *byte ^ 1 << random.random_range(0..8),
            3 => byte.wrapping_add(1 << field.mask.trailing_zeros()),
            4 => byte.wrapping_sub(1 << field.mask.trailing_zeros()),
            _ => !*byte,
        };
        *byte = *byte & !field.mask | value & field.mask;
        return;
    }
    match random.random_range(0..8) {
        0 => random.fill(place),
        1 => place.fill(0),
        2 => place.fill(0xff),
        3 => {
            let at = random.random_range(0..place.len());
            place[at] ^= 1 << random.random_range(0..8);
        }
        4 => add(place, 1),
        5 => add(place, -1),
        6 if place.len() == 2 => {
            let near = random.random_range(0..64_u16);
            place.copy_from_slice(&behind.wrapping_sub(near).to_be_bytes());
        }
        _ => {
            let pair = TELLING_PAIRS.choose(random).unwrap_or(&0).to_be_bytes();
            let at = random.random_range(0..place.len() - 1);
            place[at..at + 2].copy_from_slice(&pair);
        }
    }
}

/// Adds to a number in network order.
fn add(place: &mut [u8], by: i8) {
    let mut carry = i16::from(by);
    for byte in place.iter_mut().rev() {
        let sum = i16::from(*byte) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
}

/// Cuts a frame, or puts bytes behind it.
pub(super) fn length(random: &mut SmallRng, frame: &mut Vec<u8>) {
    let length = match random.random_range(0..4) {
        0 => random.random_range(0..=frame.len()),
        1 => frame.len().saturating_sub(random.random_range(1..24)),
        _ => frame.len() + random.random_range(1..24),
    };
    frame.resize(length.min(LONGEST), 0x5a);
}

/// Changes bytes anywhere, mostly in headers, and sometimes the length.
pub(super) fn bytes(random: &mut SmallRng, frame: &mut Vec<u8>) {
    for _ in 0..random.random_range(1..6) {
        if frame.is_empty() {
            return;
        }
        let at = random.random_range(0..frame.len().min(150));
        frame[at] = match random.random_range(0..4) {
            0 => random.random(),
            1 => *TELLING.choose(random).unwrap_or(&0),
            2 => frame[at] ^ 1 << random.random_range(0..8),
            _ => frame[at].wrapping_add(1),
        };
    }
    if random.random_range(0..4) == 0 {
        length(random, frame);
    }
}

/// Random bytes from some place on: everything, what stands behind the Ethernet header, or behind the next.
pub(super) fn noise(random: &mut SmallRng, frame: &mut Vec<u8>) {
    let keep = *[0, 12, 14, 24, 34, 54, 70].choose(random).unwrap_or(&0);
    let length = random.random_range(15..400);
    frame.resize(length, 0);
    if let Some(rest) = frame.get_mut(keep..) {
        random.fill(rest);
    }
}
