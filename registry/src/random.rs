//! Random bytes from the kernel, for keys, serial numbers and addresses; never from a seed of our own.

use pairgate_token::{SECRET_KEY_LEN, SecretKey};
use rand::{TryRngCore, rand_core::OsError, rngs::OsRng};
use zeroize::Zeroizing;

pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], OsError> {
    let mut bytes = [0; N];
    OsRng.try_fill_bytes(&mut bytes)?;
    Ok(bytes)
}

pub(crate) fn secret_key() -> Result<SecretKey, OsError> {
    let mut bytes = Zeroizing::new([0; SECRET_KEY_LEN]);
    OsRng.try_fill_bytes(bytes.as_mut_slice())?;
    Ok(SecretKey::from_bytes(*bytes))
}
