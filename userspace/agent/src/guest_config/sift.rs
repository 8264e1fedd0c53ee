//! What of a guest's message reaches the codec. Pure and total.
//!
//! The codec is made for messages of well-meaning peers: some options of a wrong length stop it with a panic or put it
//! out of step. So a guest's message is gone through here first, by lengths alone, and what is left holds only the
//! options that an answer depends on, each of a length that it can have.

use super::answer::Silence;

/// What is in front of the options of a DHCPv4 message, the cookie included (RFC 2131, section 2).
const HEAD_4: usize = 240;
/// RFC 2131, section 3.
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Associations that are answered; a guest has one interface here.
const ASSOCIATIONS: usize = 4;
/// Addresses that an association may name.
const NAMED: usize = 8;
/// A DUID has at most 128 bytes behind its kind (RFC 8415, section 11.1).
const LONGEST_DUID: usize = 130;

/// A DHCPv4 message with its kind (53), the address it asks for (50), its server (54) and its client's name (61), and
/// nothing else. An option that is there twice, cut short, or of a wrong length makes it unreadable.
pub(super) fn dhcp4(message: &[u8]) -> Result<Vec<u8>, Silence> {
    const END: u8 = 255;
    let unreadable = Silence::Unreadable;
    let (head, mut rest) = message.split_at_checked(HEAD_4).ok_or(unreadable)?;
    if !head.ends_with(&COOKIE) {
        return Err(unreadable);
    }
    let mut sifted = head.to_vec();
    let mut seen = [false; 256];
    loop {
        match rest {
            [] | [END, ..] => break,
            [0, behind @ ..] => rest = behind,
            [code, length, behind @ ..] => {
                let (value, behind) = behind.split_at_checked(usize::from(*length)).ok_or(unreadable)?;
                rest = behind;
                let fits = match code {
                    50 | 54 => value.len() == 4,
                    53 => value.len() == 1,
                    61 => !value.is_empty(),
                    _ => continue,
                };
                let again = seen
                    .get_mut(usize::from(*code))
                    .is_none_or(|seen| std::mem::replace(seen, true));
                if !fits || again {
                    return Err(unreadable);
                }
                sifted.extend([*code, *length]);
                sifted.extend(value);
            }
            [_] => return Err(unreadable),
        }
    }
    sifted.push(END);
    Ok(sifted)
}

/// A DHCPv6 message with its client (1), its server (2), "at once" (14) and its associations (3, 4, 25) with the
/// addresses that they name, and nothing else. More associations or addresses than a guest can use are left out.
pub(super) fn dhcp6(message: &[u8]) -> Result<Vec<u8>, Silence> {
    let unreadable = Silence::Unreadable;
    let (head, rest) = message.split_at_checked(4).ok_or(unreadable)?;
    let mut sifted = head.to_vec();
    let (mut ids, mut associations) = ([false; 2], 0);
    for option in options(rest) {
        let (code, value) = option?;
        match code {
            1 | 2 => {
                let again = ids
                    .get_mut(usize::from(code - 1))
                    .is_none_or(|seen| std::mem::replace(seen, true));
                if again || value.is_empty() || value.len() > LONGEST_DUID {
                    return Err(unreadable);
                }
                put(&mut sifted, code, value);
            }
            14 if value.is_empty() => put(&mut sifted, code, value),
            14 => return Err(unreadable),
            3 | 4 | 25 if associations < ASSOCIATIONS => {
                associations += 1;
                let fixed = if code == 4 { 4 } else { 12 };
                let (head, inside) = value.split_at_checked(fixed).ok_or(unreadable)?;
                let mut association = head.to_vec();
                if code != 25 {
                    named(inside, &mut association)?;
                }
                put(&mut sifted, code, &association);
            }
            _ => {}
        }
    }
    Ok(sifted)
}

/// The addresses in an association, without what stands behind them.
fn named(inside: &[u8], association: &mut Vec<u8>) -> Result<(), Silence> {
    const ADDRESS: u16 = 5;
    const ADDRESS_AND_TIMES: usize = 24;
    let mut count = 0;
    for option in options(inside) {
        let (code, value) = option?;
        if code == ADDRESS && count < NAMED {
            count += 1;
            put(
                association,
                ADDRESS,
                value.get(..ADDRESS_AND_TIMES).ok_or(Silence::Unreadable)?,
            );
        }
    }
    Ok(())
}

/// Code and value of each option of a DHCPv6 message; an error, and then nothing, where one is cut short.
fn options(mut rest: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), Silence>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let next = split(rest);
        rest = next.map_or(&[], |(_, _, behind)| behind);
        Some(
            next.map(|(code, value, _)| (code, value))
                .ok_or(Silence::Unreadable),
        )
    })
}

fn split(rest: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (head, behind) = rest.split_at_checked(4)?;
    let [code_high, code_low, length_high, length_low] = *head else {
        return None;
    };
    let length = u16::from_be_bytes([length_high, length_low]);
    let (value, behind) = behind.split_at_checked(usize::from(length))?;
    Some((u16::from_be_bytes([code_high, code_low]), value, behind))
}

fn put(message: &mut Vec<u8>, code: u16, value: &[u8]) {
    let Ok(length) = u16::try_from(value.len()) else {
        return; // longer than the frame that it came in
    };
    message.extend(code.to_be_bytes());
    message.extend(length.to_be_bytes());
    message.extend(value);
}
