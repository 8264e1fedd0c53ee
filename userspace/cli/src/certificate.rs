//! A key of one's own, the request for its certificate, and the two files that come of it.
//!
//! The key is made here and is never sent: what goes to the registry is a signing request.

use crate::failure::Failure;
use rcgen::{CertificateParams, KeyPair};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use zeroize::Zeroizing;

/// A new key that waits for its certificate.
pub(crate) struct Requested {
    what: String,
    key_path: PathBuf,
    certificate_path: PathBuf,
    /// PEM.
    pub(crate) signing_request: String,
}

impl Requested {
    /// Writes the key to PREFIX.key before anything is asked: a certificate without its key would be lost.
    pub(crate) fn new(what: &str, prefix: &Path) -> Result<Self, Failure> {
        let failed = |error: rcgen::Error| Failure::failed(what, error.to_string());
        let key = KeyPair::generate().map_err(failed)?;
        let request = CertificateParams::default()
            .serialize_request(&key)
            .map_err(failed)?;
        let signing_request = request.pem().map_err(failed)?;
        let (key_path, certificate_path) = (with_ending(prefix, "key"), with_ending(prefix, "pem"));
        if certificate_path.exists() {
            return Err(exists(what, &certificate_path));
        }
        write(what, &key_path, &Zeroizing::new(key.serialize_pem()))?;
        Ok(Self {
            what: what.to_owned(),
            key_path,
            certificate_path,
            signing_request,
        })
    }

    /// The certificate has come.
    pub(crate) fn complete(self, certificate_pem: &str) -> Result<(PathBuf, PathBuf), Failure> {
        write(&self.what, &self.certificate_path, certificate_pem)?;
        Ok((self.certificate_path, self.key_path))
    }

    /// No certificate has come; a key without one is good for nothing.
    pub(crate) fn give_up(self) {
        let _ = std::fs::remove_file(&self.key_path);
    }
}

fn with_ending(prefix: &Path, ending: &str) -> PathBuf {
    let mut path = prefix.as_os_str().to_owned();
    path.push(".");
    path.push(ending);
    path.into()
}

fn exists(what: &str, path: &Path) -> Failure {
    Failure::failed(what, format!("{} exists already", path.display())).next("give another --into")
}

/// Private, synced, and never over another file.
fn write(what: &str, path: &Path, text: &str) -> Result<(), Failure> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            return exists(what, path);
        }
        Failure::failed(what, format!("cannot write {}: {error}", path.display()))
    })
}

/// Seconds, as people say them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Length(pub(crate) u64);

#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a length of time is a number and one of s, m, h and d, such as 30m")]
pub(crate) struct BadLength;

impl FromStr for Length {
    type Err = BadLength;

    fn from_str(text: &str) -> Result<Self, BadLength> {
        let unit = text.chars().last().ok_or(BadLength)?;
        let secs = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(BadLength),
        };
        let number = text.strip_suffix(unit).ok_or(BadLength)?;
        let count: u64 = number.parse().map_err(|_| BadLength)?;
        count.checked_mul(secs).map(Self).ok_or(BadLength)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_length_of_time_is_a_number_with_a_unit() {
        let secs = |text: &str| text.parse::<Length>().ok().map(|Length(secs)| secs);
        assert_eq!(secs("90s"), Some(90));
        assert_eq!(secs("2h"), Some(7_200));
        assert_eq!(secs("7d"), Some(604_800));
        for bad in ["", "h", "2", "-1h", "2 h", "2ä", "9999999999999999999d"] {
            assert_eq!(secs(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_key_is_private_never_overwrites_anything_and_goes_if_no_certificate_comes() {
        let directory = tempfile::tempdir().unwrap();
        let prefix = directory.path().join("alice");
        let new = || Requested::new("x", &prefix);
        let requested = new().unwrap_or_else(|failure| panic!("{failure}"));
        assert!(requested.signing_request.contains("CERTIFICATE REQUEST"));
        let key = directory.path().join("alice.key");
        assert_eq!(
            std::fs::metadata(&key).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(new().is_err());
        requested.give_up();
        assert!(!key.exists());
        let requested = new().unwrap_or_else(|failure| panic!("{failure}"));
        requested.complete("pem").unwrap();
        std::fs::remove_file(&key).unwrap();
        assert!(new().is_err(), "the certificate is there");
        assert!(!key.exists(), "and no key was left");
    }
}
