//! This host's identity: read from the state directory, or asked for once with a zero certificate.
//!
//! The key is made here and never leaves. It is on disk before the registry is asked, so that an agent which
//! dies in between asks again with the same key and gets the same certificate. `host.pem` is written last:
//! where it exists everything else does.

use crate::{
    answer,
    certificate::{Life, Stage},
    renew::wall_unix_ms,
};
use pairgate_api::{
    grpc::{EnrolRequest, EnrolResponse, registry_client::RegistryClient},
    routes::Role,
};
use pairgate_identity::{CredentialError, Credentials, Expect, channel, client_config};
use pairgate_token::address_from_bytes;
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tonic::{Code, Status};
use uuid::Uuid;
use zeroize::Zeroizing;

/// Between two tries while the registry cannot be reached.
const RETRY: Duration = Duration::from_secs(2);

/// What the registry said about this host, in `host.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    pub host_id: Uuid,
    pub name: String,
    pub address: IpAddr,
    /// Where peers reach this agent.
    pub agent_port: u16,
    /// Where this host receives the overlay.
    pub overlay_port: u16,
}

/// Who this host is.
#[derive(Debug)]
pub struct Enrolled {
    pub credentials: Credentials,
    pub record: HostRecord,
}

/// What a zero certificate needs besides itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZeroFiles {
    pub authority: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Why this host has no identity.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    #[error(
        "this host has no certificate yet in {0}; give --authority, --zero-cert and --zero-key so that it can enrol"
    )]
    NoZero(PathBuf),
    #[error("cannot use {path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{path} is not what an agent wrote: {why}; move it away to enrol again")]
    Content { path: PathBuf, why: String },
    #[error("{0}")]
    Credentials(#[from] CredentialError),
    #[error("a key or request could not be made: {0}")]
    Request(#[from] rcgen::Error),
    #[error("the registry refused to enrol host {host}: {}", answer::text(status))]
    Refused { host: String, status: Box<Status> },
    #[error("the certificate from the registry is not usable: {0}")]
    Wrong(&'static str),
    #[error("{state_dir} belongs to host {found}, not {asked}; name that host, or another --state-dir")]
    OtherHost {
        state_dir: PathBuf,
        found: String,
        asked: String,
    },
}

/// The identity in the state directory; if there is none yet, or it has run out while this host was away, a
/// new one from the registry.
pub async fn identity(
    state_dir: &Path,
    host: &str,
    registry: &str,
    zero: Option<ZeroFiles>,
) -> Result<Enrolled, EnrolError> {
    if !state_dir.join("host.pem").exists() {
        let zero = zero.ok_or_else(|| EnrolError::NoZero(state_dir.to_owned()))?;
        enrol(state_dir, host, registry, &zero).await?;
    } else if has_run_out(&load(state_dir)?) {
        match zero {
            Some(zero) => {
                tracing::warn!(
                    "this host's certificate has run out; it enrols again with the key that it has"
                );
                enrol(state_dir, host, registry, &zero).await?;
            }
            None => tracing::error!(
                "this host's certificate has run out and nobody will take it; give a zero certificate to enrol again"
            ),
        }
    }
    let credentials = load(state_dir)?;
    let path = state_dir.join("host.json");
    let text = fs::read(&path).map_err(file(&path))?;
    let record: HostRecord = serde_json::from_slice(&text).map_err(|error| EnrolError::Content {
        path,
        why: error.to_string(),
    })?;
    if record.name != host {
        return Err(EnrolError::OtherHost {
            state_dir: state_dir.to_owned(),
            found: record.name,
            asked: host.to_owned(),
        });
    }
    fits(&credentials, &record)?;
    Ok(Enrolled { credentials, record })
}

fn load(state_dir: &Path) -> Result<Credentials, CredentialError> {
    let at = |name| state_dir.join(name);
    Credentials::load(&at("ca.pem"), &at("host.pem"), &at("host.key"))
}

/// By this host's own clock: no other is there before the registry has answered.
fn has_run_out(credentials: &Credentials) -> bool {
    let facts = credentials.certificate();
    Life::of(facts.not_before, facts.not_after).stage(wall_unix_ms()) == Stage::Ended
}

/// A request for another certificate for the key that this host has.
pub fn signing_request(state_dir: &Path) -> Result<Vec<u8>, EnrolError> {
    let (key, _) = own_key(&state_dir.join("host.key"))?;
    let request = rcgen::CertificateParams::default().serialize_request(&key)?;
    Ok(request.der().to_vec())
}

/// Keeps a newer certificate for the next start.
pub fn write_certificate(state_dir: &Path, pem: &str) -> Result<(), EnrolError> {
    write_private(&state_dir.join("host.pem"), pem.as_bytes())
}

async fn enrol(state_dir: &Path, host: &str, registry: &str, zero: &ZeroFiles) -> Result<(), EnrolError> {
    let zero = Credentials::load(&zero.authority, &zero.certificate, &zero.key)?;
    let installation = zero.identity().installation;
    let expect = Expect {
        role: Role::Registry,
        id: None,
        installation: Some(installation),
    };
    let mut client = RegistryClient::new(channel(registry, client_config(&zero)?, expect));
    let request = EnrolRequest {
        host: host.to_owned(),
        signing_request: signing_request(state_dir)?,
    };
    let (_, key_pem) = own_key(&state_dir.join("host.key"))?;
    let answer = loop {
        match client.enrol(request.clone()).await {
            Ok(answer) => break answer.into_inner(),
            Err(status) if status.code() == Code::Unavailable => {
                tracing::warn!(%registry, why = %answer::text(&status), "the registry cannot be reached to enrol, will be tried again");
                let jitter = rand::rng().random_range(0.5..1.5);
                tokio::time::sleep(RETRY.mul_f64(jitter)).await;
            }
            Err(status) => {
                return Err(EnrolError::Refused {
                    host: host.to_owned(),
                    status: Box::new(status),
                });
            }
        }
    };
    let record = record(host, &answer)?;
    let credentials = Credentials::from_pem(&answer.authority_pem, &answer.certificate_pem, &key_pem)?;
    if credentials.identity().installation != installation {
        return Err(EnrolError::Wrong("it is of another installation"));
    }
    fits(&credentials, &record)?;
    let json = serde_json::to_vec_pretty(&record).map_err(|error| EnrolError::Content {
        path: state_dir.join("host.json"),
        why: error.to_string(),
    })?;
    write_private(&state_dir.join("ca.pem"), answer.authority_pem.as_bytes())?;
    write_private(&state_dir.join("host.json"), &json)?;
    write_private(&state_dir.join("host.pem"), answer.certificate_pem.as_bytes())?;
    tracing::info!(%host, id = %record.host_id, address = %record.address, "enrolled");
    Ok(())
}

/// The key of an earlier try, or a new one.
fn own_key(path: &Path) -> Result<(rcgen::KeyPair, Zeroizing<String>), EnrolError> {
    match fs::read_to_string(path).map(Zeroizing::new) {
        Ok(pem) => Ok((rcgen::KeyPair::from_pem(&pem)?, pem)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = rcgen::KeyPair::generate()?;
            let pem = Zeroizing::new(key.serialize_pem());
            write_private(path, pem.as_bytes())?;
            Ok((key, pem))
        }
        Err(source) => Err(file(path)(source)),
    }
}

fn record(host: &str, answer: &EnrolResponse) -> Result<HostRecord, EnrolError> {
    use EnrolError::Wrong;
    let host_id = crate::goal::read_id(&answer.host_id).ok_or(Wrong("the answer names no host id"))?;
    let address = <[u8; 16]>::try_from(&answer.host_address[..]);
    let address = address.map_err(|_| Wrong("the answer names no address"))?;
    let port = |port: u32| u16::try_from(port).ok().filter(|port| *port != 0);
    Ok(HostRecord {
        host_id,
        name: host.to_owned(),
        address: address_from_bytes(address),
        agent_port: port(answer.agent_port).ok_or(Wrong("the answer names no agent port"))?,
        overlay_port: port(answer.overlay_port).ok_or(Wrong("the answer names no overlay port"))?,
    })
}

/// The certificate says what the record says. The certificate is what peers see, so they must not differ.
fn fits(credentials: &Credentials, record: &HostRecord) -> Result<(), EnrolError> {
    let identity = credentials.identity();
    if identity.role != Role::Host {
        return Err(EnrolError::Wrong("it is not a host's"));
    }
    if identity.id != record.host_id {
        return Err(EnrolError::Wrong("it is of another host"));
    }
    if credentials.address() != Some(record.address) {
        return Err(EnrolError::Wrong("it is for another address"));
    }
    Ok(())
}

/// Writes a file that only its owner reads; after a power cut it is there whole or not at all.
fn write_private(path: &Path, content: &[u8]) -> Result<(), EnrolError> {
    let mut new = path.to_owned().into_os_string();
    new.push(".new");
    let new = PathBuf::from(new);
    let write = || {
        let mut out = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        out.write_all(content)?;
        out.sync_all()?;
        fs::rename(&new, path)?;
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::File::open(directory)?.sync_all()
    };
    write().map_err(file(path))
}

fn file(path: &Path) -> impl Fn(io::Error) -> EnrolError {
    let path = path.to_owned();
    move |source| EnrolError::File {
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("host.key");
        let (_, first) = own_key(&path).unwrap();
        let (_, second) = own_key(&path).unwrap();
        assert_eq!(*first, *second);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn without_a_certificate_or_a_way_to_get_one_it_says_what_is_missing() {
        let directory = tempfile::tempdir().unwrap();
        let error = identity(directory.path(), "h1", "127.0.0.1:1", None)
            .await
            .unwrap_err();
        assert!(matches!(error, EnrolError::NoZero(_)));
        assert!(error.to_string().contains("--zero-cert"));
    }
}
