//! Hashes as text: lower-case digits, two a byte.

use std::fmt::Write;

pub(crate) fn encode<const N: usize>(bytes: &[u8; N]) -> String {
    let mut text = String::with_capacity(2 * N);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// None unless it is exactly what [`encode`] makes.
pub(crate) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(digits[0])? << 4 | digit(digits[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_encoded_is_decoded() {
        assert_eq!(encode(&[0x00, 0xff, 0x1a]), "00ff1a");
        assert_eq!(decode("00ff1a"), Some([0x00, 0xff, 0x1a]));
        for bad in ["", "00ff1", "00ff1A", "00ff1a0", "00fg1a", "é0ff1"] {
            assert_eq!(decode::<3>(bad), None, "{bad}");
        }
    }
}
