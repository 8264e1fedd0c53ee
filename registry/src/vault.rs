//! The master key, and what is sealed under it in the store.
//!
//! Guarantee: a secret key reaches the disk only sealed (ChaCha20-Poly1305, a fresh random nonce each time),
//! bound to the thing it belongs to: a sealed key that somebody moves to another VM or generation does not
//! open. Whoever has the store's file alone has no secret of it.
//!
//! The master key is one file of its own, 0600, made by `init`. Refuses a file that others can read, one that
//! is no master key, and, by the store's own check value, the master key of another store.

use crate::random;
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use pairgate_token::{SECRET_KEY_LEN, SecretKey};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};
use uuid::Uuid;
use zeroize::{Zeroize, Zeroizing};

/// Begins the file, so that a wrong file is told from a wrong key.
const HEADING: &str = "pairgate-master-key-1:";
const TAG_LEN: usize = 16;
const MASTER_KEY_LEN: usize = 32;
/// A sealed secret: nonce, ciphertext, tag.
pub const SEALED_LEN: usize = NONCE_LEN + SECRET_KEY_LEN + TAG_LEN;
/// What the check value seals; it is no secret, only whether it opens counts.
const CHECK: [u8; SECRET_KEY_LEN] = [0; SECRET_KEY_LEN];
const DOMAIN: &[u8] = b"pairgate/vault/v1\0";

/// What a sealed secret belongs to; part of the seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belongs {
    /// The secret key of one generation of one VM.
    Vm { vm: Uuid, generation: u32 },
    /// The store's check value.
    Store { installation: Uuid },
}

impl Belongs {
    fn bytes(self) -> Vec<u8> {
        let mut bytes = DOMAIN.to_vec();
        match self {
            Self::Vm { vm, generation } => {
                bytes.extend(b"vm\0");
                bytes.extend(vm.as_bytes());
                bytes.extend(generation.to_be_bytes());
            }
            Self::Store { installation } => {
                bytes.extend(b"store\0");
                bytes.extend(installation.as_bytes());
            }
        }
        bytes
    }
}

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    #[error(
        "there is no master key at {path}: name its place with --master-key, or put the file back there; without it the VMs' keys in the store cannot be read"
    )]
    Missing { path: PathBuf },
    #[error("cannot {what} the master key {path}: {source}")]
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "the master key {path} can be read by others (mode {mode:o}): make it 0600 (`chmod 600`), and think about who may have read it"
    )]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{path} is not a master key: check --master-key")]
    Form { path: PathBuf },
    #[error("no random numbers from the kernel: {0}")]
    Random(#[from] rand::rand_core::OsError),
}

/// Why something could not be sealed or opened. Says nothing of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("a secret could not be sealed")]
    Seal,
    #[error("a sealed secret does not open: it was made under another master key, moved, or damaged")]
    Open,
}

/// The master key at work, for as long as the process lives.
pub struct Vault(LessSafeKey);

/// Never shows the key.
impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").finish_non_exhaustive()
    }
}

impl Vault {
    /// Makes a new master key and its file, synced; never overwrites one.
    pub fn make(path: &Path) -> Result<Self, MasterKeyError> {
        let failed = |what| {
            move |source| MasterKeyError::Io {
                what,
                path: path.to_owned(),
                source,
            }
        };
        let key = Zeroizing::new(random::bytes::<MASTER_KEY_LEN>()?);
        let text = Zeroizing::new(format!("{HEADING}{}\n", STANDARD_NO_PAD.encode(*key)));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(failed("make"))?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(failed("write"))?;
        // The name too: what is sealed from now on needs this file to be found again.
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            Some(_) | None => Path::new("."),
        };
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(failed("keep"))?;
        Self::from_key(&key).ok_or_else(|| MasterKeyError::Form {
            path: path.to_owned(),
        })
    }

    pub fn load(path: &Path) -> Result<Self, MasterKeyError> {
        let path = || path.to_owned();
        let failed = |source: io::Error| {
            if source.kind() == io::ErrorKind::NotFound {
                return MasterKeyError::Missing { path: path() };
            }
            let (what, path) = ("read", path());
            MasterKeyError::Io { what, path, source }
        };
        let mode = fs::metadata(path()).map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(MasterKeyError::Exposed { path: path(), mode });
        }
        let text = Zeroizing::new(fs::read(path()).map_err(failed)?);
        key_in(&text)
            .and_then(|key| Self::from_key(&key))
            .ok_or_else(|| MasterKeyError::Form { path: path() })
    }

    fn from_key(key: &[u8; MASTER_KEY_LEN]) -> Option<Self> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key).ok()?;
        Some(Self(LessSafeKey::new(key)))
    }

    pub fn seal(&self, belongs: Belongs, secret: &SecretKey) -> Result<[u8; SEALED_LEN], SealError> {
        self.seal_bytes(belongs, secret.expose_bytes())
    }

    pub fn open(&self, belongs: Belongs, sealed: &[u8; SEALED_LEN]) -> Result<SecretKey, SealError> {
        self.open_bytes(belongs, sealed)
            .map(|bytes| SecretKey::from_bytes(*bytes))
    }

    /// A value that opens under this master key and in this store only.
    pub fn check_value(&self, installation: Uuid) -> Result<[u8; SEALED_LEN], SealError> {
        self.seal_bytes(Belongs::Store { installation }, &CHECK)
    }

    /// Whether this is the master key under which the store's secrets were sealed.
    pub fn is_of(&self, installation: Uuid, check_value: &[u8; SEALED_LEN]) -> bool {
        self.open_bytes(Belongs::Store { installation }, check_value)
            .is_ok()
    }

    fn seal_bytes(
        &self,
        belongs: Belongs,
        secret: &[u8; SECRET_KEY_LEN],
    ) -> Result<[u8; SEALED_LEN], SealError> {
        // Random nonces of 96 bits are safe for 2^32 seals under one key; each placement makes one.
        let nonce: [u8; NONCE_LEN] = random::bytes().map_err(|_| SealError::Seal)?;
        let mut sealed = [0; SEALED_LEN];
        let (head, body) = sealed.split_at_mut(NONCE_LEN);
        let (text, tag_room) = body.split_at_mut(SECRET_KEY_LEN);
        head.copy_from_slice(&nonce);
        text.copy_from_slice(secret);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(belongs.bytes()), text)
            .map_err(|_| SealError::Seal)?;
        tag_room.copy_from_slice(tag.as_ref());
        Ok(sealed)
    }

    fn open_bytes(
        &self,
        belongs: Belongs,
        sealed: &[u8; SEALED_LEN],
    ) -> Result<Zeroizing<[u8; SECRET_KEY_LEN]>, SealError> {
        let (nonce, body) = sealed.split_at(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Open)?;
        let mut body = Zeroizing::new(body.to_vec());
        let text = self
            .0
            .open_in_place(nonce, Aad::from(belongs.bytes()), &mut body)
            .map_err(|_| SealError::Open)?;
        let mut secret = Zeroizing::new([0; SECRET_KEY_LEN]);
        secret.copy_from_slice(text);
        text.zeroize();
        Ok(secret)
    }
}

fn key_in(text: &[u8]) -> Option<Zeroizing<[u8; MASTER_KEY_LEN]>> {
    let text = std::str::from_utf8(text).ok()?;
    let encoded = text.trim_end_matches('\n').strip_prefix(HEADING)?;
    let decoded = Zeroizing::new(STANDARD_NO_PAD.decode(encoded).ok()?);
    let mut key = Zeroizing::new([0; MASTER_KEY_LEN]);
    if decoded.len() != key.len() {
        return None;
    }
    key.copy_from_slice(&decoded);
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VM: Belongs = Belongs::Vm {
        vm: Uuid::from_u128(1),
        generation: 1,
    };

    fn made() -> (tempfile::TempDir, PathBuf, Vault) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("master.key");
        let vault = Vault::make(&path).unwrap();
        (directory, path, vault)
    }

    #[test]
    fn a_sealed_key_opens_with_its_master_key_for_its_own_generation_and_for_nothing_else() {
        let (_directory, path, vault) = made();
        let secret = SecretKey::from_bytes([7; 32]);
        let sealed = vault.seal(VM, &secret).unwrap();
        assert_ne!(sealed, vault.seal(VM, &secret).unwrap(), "no nonce comes twice");
        let loaded = Vault::load(&path).unwrap();
        assert_eq!(loaded.open(VM, &sealed).unwrap().expose_bytes(), &[7; 32]);
        for other in [
            Belongs::Vm {
                vm: Uuid::from_u128(2),
                generation: 1,
            },
            Belongs::Vm {
                vm: Uuid::from_u128(1),
                generation: 2,
            },
            Belongs::Store {
                installation: Uuid::from_u128(1),
            },
        ] {
            assert!(vault.open(other, &sealed).is_err(), "{other:?}");
        }
        let (_directory, _, stranger) = made();
        assert!(stranger.open(VM, &sealed).is_err());
        for place in 0..SEALED_LEN {
            let mut damaged = sealed;
            damaged[place] ^= 1;
            assert!(vault.open(VM, &damaged).is_err(), "byte {place}");
        }
    }

    #[test]
    fn the_check_value_tells_the_right_master_key_and_the_right_store() {
        let (_directory, _, vault) = made();
        let (_other_directory, _, stranger) = made();
        let installation = Uuid::from_u128(1);
        let check = vault.check_value(installation).unwrap();
        assert!(vault.is_of(installation, &check));
        assert!(!stranger.is_of(installation, &check));
        assert!(!vault.is_of(Uuid::from_u128(2), &check));
    }

    #[test]
    fn a_master_key_that_is_missing_exposed_or_none_is_refused_and_never_overwritten() {
        let (_directory, path, _) = made();
        assert!(matches!(Vault::make(&path), Err(MasterKeyError::Io { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            Vault::load(&path),
            Err(MasterKeyError::Exposed { mode: 0o640, .. })
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for text in [
            "",
            "pairgate-master-key-1:",
            "pairgate-master-key-1:AAAA",
            "-----BEGIN PRIVATE KEY-----",
        ] {
            fs::write(&path, text).unwrap();
            assert!(
                matches!(Vault::load(&path), Err(MasterKeyError::Form { .. })),
                "{text}"
            );
        }
        fs::remove_file(&path).unwrap();
        assert!(matches!(Vault::load(&path), Err(MasterKeyError::Missing { .. })));
    }
}
