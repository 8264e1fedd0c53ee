//! Questions of guests for their configuration, made of arbitrary numbers: sound ones with a few faults.

use crate::world::{GUEST, GUEST_MAC, GUEST6};
use arbitrary::{Result, Unstructured};
use etherparse::{Icmpv6Type, PacketBuilder};
use pairgate_abi::GATEWAY_MAC;

pub(crate) const MAC: [u8; 6] = GUEST_MAC;
const ALL_SERVERS: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2];
const ALL_ROUTERS: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
const LINK_LOCAL: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x11];
/// Most options of a message, and of an association.
const OPTIONS: usize = 12;

/// A guest's frame with a question of one of the three protocols.
pub(crate) fn built(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let to = match u.int_in_range(0..=2_u8)? {
        0 => [0xff; 6],
        1 => [0x33, 0x33, 0, 0, 0, 2],
        _ => GATEWAY_MAC,
    };
    let ethernet = PacketBuilder::ethernet2(MAC, to);
    let hops = *u.choose(&[255, 64, 1])?;
    let mut frame = Vec::new();
    let written = match u.int_in_range(0..=4_u8)? {
        0 | 1 => {
            let (source, destination) = if u.arbitrary()? {
                ([0; 4], [255; 4])
            } else {
                (GUEST, pairgate_abi::SERVER_V4)
            };
            let message = dhcp4(u)?;
            ethernet
                .ipv4(source, destination, hops)
                .udp(68, 67)
                .write(&mut frame, &message)
        }
        2 | 3 => {
            let message = dhcp6(u)?;
            ethernet
                .ipv6(LINK_LOCAL, ALL_SERVERS, hops)
                .udp(546, 547)
                .write(&mut frame, &message)
        }
        _ => {
            let source = *u.choose(&[LINK_LOCAL, [0; 16], GUEST6])?;
            let rest = u.bytes(u.len().min(64))?;
            ethernet
                .ipv6(source, ALL_ROUTERS, hops)
                .icmpv6(Icmpv6Type::RouterSolicitation)
                .write(&mut frame, rest)
        }
    };
    written.unwrap();
    for _ in 0..u.int_in_range(0..=2_u8).unwrap_or(0) {
        let at = u.int_in_range(0..=frame.len() - 1)?;
        frame[at] = u.arbitrary()?;
    }
    Ok(frame)
}

/// RFC 2131, section 2.
fn dhcp4(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut message = vec![1, 1, 6, 0];
    message.extend(u.arbitrary::<[u8; 8]>()?);
    message.extend(*u.choose(&[[0; 4], GUEST, [10, 77, 0, 99]])?);
    message.resize(28, 0);
    message.extend(MAC);
    message.resize(236, 0);
    message.extend([99, 130, 83, 99]);
    message.extend([53, 1, u.int_in_range(0..=9)?]);
    for _ in 0..u.int_in_range(0..=OPTIONS)? {
        let code = *u.choose(&[50, 54, 61, 53, 12, 55, 57, 60, 81, 82, 0, 255, 52])?;
        let value = match code {
            50 | 54 => u
                .choose(&[GUEST, [10, 77, 0, 99], pairgate_abi::SERVER_V4])?
                .to_vec(),
            _ => value(u)?,
        };
        let length = u8::try_from(value.len()).unwrap_or(u8::MAX);
        message.push(code);
        message.push(if u.ratio(1, 12)? { u.arbitrary()? } else { length });
        message.extend(value);
    }
    message.push(255);
    Ok(message)
}

/// RFC 8415, section 8.
fn dhcp6(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut message = vec![u.int_in_range(0..=13)?];
    message.extend(u.arbitrary::<[u8; 3]>()?);
    option6(&mut message, 1, &[0, 3, 0, 1, 2, 0, 0, 0, 0, 0x11]);
    for _ in 0..u.int_in_range(0..=OPTIONS)? {
        let code = *u.choose(&[1, 2, 3, 4, 25, 6, 8, 14, 39])?;
        let value = match code {
            2 if u.arbitrary()? => [&[0, 3, 0, 1][..], &GATEWAY_MAC].concat(),
            3 | 25 => association(u, 12)?,
            4 => association(u, 4)?,
            14 => Vec::new(),
            _ => value(u)?,
        };
        option6(&mut message, code, &value);
        if u.ratio(1, 12)? {
            let cut = u.int_in_range(0..=4)?;
            message.truncate(message.len() - cut);
        }
    }
    Ok(message)
}

fn association(u: &mut Unstructured<'_>, fixed: usize) -> Result<Vec<u8>> {
    let mut inside = vec![0; fixed];
    inside[3] = u.int_in_range(1..=3)?;
    for _ in 0..u.int_in_range(0..=OPTIONS)? {
        let code = *u.choose(&[5, 26, 13])?;
        let any = u.arbitrary()?;
        let address = *u.choose(&[GUEST6, LINK_LOCAL, any])?;
        let value = match u.int_in_range(0..=3_u8)? {
            0 => value(u)?,
            _ => [&address[..], &[0; 8]].concat(),
        };
        option6(&mut inside, code, &value);
    }
    Ok(inside)
}

fn option6(message: &mut Vec<u8>, code: u16, value: &[u8]) {
    message.extend(code.to_be_bytes());
    message.extend(u16::try_from(value.len()).unwrap_or(0).to_be_bytes());
    message.extend(value);
}

/// Up to 40 bytes of anything.
fn value(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let length = u.int_in_range(0..=40)?;
    Ok(u.bytes(length)?.to_vec())
}
