//! Secret keys, and the only place where they are used.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use zeroize::Zeroizing;

/// Bytes in a secret key.
pub const SECRET_KEY_LEN: usize = 32;

/// HMAC-SHA256 takes keys in blocks of this many bytes.
const BLOCK_LEN: usize = 64;

/// The secret key of one VM and placement generation.
///
/// It is overwritten when dropped, prints as nothing, and leaves this type only through
/// [`SecretKey::expose_bytes`]. It cannot be compared: tags are, in constant time.
#[derive(Clone)]
pub struct SecretKey(Zeroizing<[u8; SECRET_KEY_LEN]>);

/// Why something is not a secret key. Never says what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("a secret key has 32 bytes, this has {len}")]
    Length { len: usize },
    #[error("a secret key is written as 64 hexadecimal digits, this has {len} characters")]
    HexLength { len: usize },
    #[error("a secret key is written as 64 hexadecimal digits, character {position} is none")]
    HexDigit { position: usize },
}

impl SecretKey {
    /// The caller overwrites its own copy.
    pub fn from_bytes(bytes: [u8; SECRET_KEY_LEN]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub fn from_slice(bytes: &[u8]) -> Result<Self, KeyError> {
        bytes
            .try_into()
            .map(Self::from_bytes)
            .map_err(|_| KeyError::Length { len: bytes.len() })
    }

    /// From 64 hexadecimal digits of either case, and nothing around them.
    pub fn from_hex(text: &[u8]) -> Result<Self, KeyError> {
        let (pairs, rest) = text.as_chunks::<2>();
        if pairs.len() != SECRET_KEY_LEN || !rest.is_empty() {
            return Err(KeyError::HexLength { len: text.len() });
        }
        // Made first and filled in place, so that a refusal half-way leaves nothing behind.
        let mut key = Self::from_bytes([0; SECRET_KEY_LEN]);
        for (index, (byte, [high, low])) in key.0.iter_mut().zip(pairs).enumerate() {
            let high = hex_digit(*high).ok_or(KeyError::HexDigit {
                position: index * 2 + 1,
            })?;
            let low = hex_digit(*low).ok_or(KeyError::HexDigit {
                position: index * 2 + 2,
            })?;
            *byte = high << 4 | low;
        }
        Ok(key)
    }

    /// The key itself, for the two who may hold it: the registry's store, and the message that carries it
    /// inside TLS to the agent of the host where the VM is placed.
    pub fn expose_bytes(&self) -> &[u8; SECRET_KEY_LEN] {
        &self.0
    }

    /// `HMAC-SHA256(key, label ‖ 0x00 ‖ …)`, ready for the rest of the message. The label keeps one use of a
    /// key from standing for another.
    pub(crate) fn mac(&self, label: &str) -> Hmac<Sha256> {
        // HMAC fills a short key up with zeros to one block (RFC 2104); done here, so that no length can be
        // wrong and nothing can fail.
        let mut block = Zeroizing::new([0; BLOCK_LEN]);
        for (to, from) in block.iter_mut().zip(self.0.iter()) {
            *to = *from;
        }
        let mut mac = Hmac::<Sha256>::new((&*block).into());
        mac.update(label.as_bytes());
        mac.update(&[0]);
        mac
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

fn hex_digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        b'A'..=b'F' => Some(character - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_hex_of_either_case() {
        let lower = SecretKey::from_hex(&b"0f".repeat(32)).unwrap();
        let upper = SecretKey::from_hex(&b"0F".repeat(32)).unwrap();
        assert_eq!(lower.expose_bytes(), &[0x0f; 32]);
        assert_eq!(upper.expose_bytes(), &[0x0f; 32]);
    }

    #[test]
    fn hex_that_is_short_long_odd_or_not_hex_is_refused() {
        for len in [0, 1, 62, 63, 65, 66, 128] {
            let text = vec![b'0'; len];
            assert_eq!(
                SecretKey::from_hex(&text).unwrap_err(),
                KeyError::HexLength { len }
            );
        }
        let mut text = vec![b'0'; 64];
        text[63] = b'g';
        assert_eq!(
            SecretKey::from_hex(&text).unwrap_err(),
            KeyError::HexDigit { position: 64 }
        );
        text[63] = b'\n';
        assert_eq!(
            SecretKey::from_hex(&text).unwrap_err(),
            KeyError::HexDigit { position: 64 }
        );
    }

    #[test]
    fn a_key_prints_as_nothing() {
        let key = SecretKey::from_bytes([0xab; 32]);
        let text = format!("{key:?} {key:#?}");
        assert!(!text.contains("ab") && !text.contains("171"), "{text}");
    }
}
