//! The next certificate, for whoever has one: enrolled hosts, and the registry itself.
//!
//! A host asks with the certificate that it has. Guarantee: it gets one for the same id, address and key, from
//! half of the old one's life on, and before that the same one again; so asking often writes nothing. It
//! refuses a record that is gone or was reset, and any other key than that of the caller, which is the record's.
//!
//! The registry's own certificate is renewed by the same rule, with the names and addresses that it has, and shown
//! from the next handshake on; the key stays.

use crate::{
    audit::{Actor, Event},
    authority::{Authority, IssueError, RequestedKey},
    enrol::{is_fresh, issue},
    init,
    registry::Registry,
    store::{Change, StoreError, View},
};
use pairgate_api::routes::Role;
use pairgate_identity::{CredentialError, Credentials};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use uuid::Uuid;

/// Why a host has no new certificate.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    #[error("the host's certificate is not the one of its record: enrol again")]
    NotTheHost,
    #[error(
        "the signing request has another key than the certificate it was sent with: a renewal keeps the key"
    )]
    OtherKey,
    #[error("the certificate could not be made: {0}")]
    Issue(#[from] IssueError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why the registry goes on with its old certificate.
#[derive(Debug, thiserror::Error)]
pub enum OwnRenewError {
    #[error("the certificate could not be made: {0}")]
    Issue(#[from] IssueError),
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the registry shows as a server, and the files that it comes from.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) directory: PathBuf,
    pub(crate) credentials: Credentials,
}

impl Registry {
    /// The certificate of a host that holds `public_key`, in PEM.
    pub async fn renew_certificate(
        &self,
        host: Uuid,
        public_key: Vec<u8>,
        key: RequestedKey,
    ) -> Result<String, RenewError> {
        if !key.is(&public_key) {
            return Err(RenewError::OtherKey);
        }
        // Mostly there is nothing to write; whoever asks all the time then does not stand in the way of those who do.
        let fresh = self
            .store
            .read(move |view| fresh(view, host, &public_key))
            .await?;
        if let Some(certificate_pem) = fresh {
            return Ok(certificate_pem);
        }
        let (authority, installation) = (self.authority.clone(), self.installation);
        self.store
            .change_essential(move |change| decide(change, &authority, installation, host, &key))
            .await
    }

    /// Renews the registry's own certificate if half of its life is over.
    pub(crate) async fn renew_own(&self) -> Result<(), OwnRenewError> {
        let (credentials, now_unix_secs) = (&self.own.credentials, self.clock.now_unix_ms() / 1000);
        let facts = credentials.certificate();
        let ends_unix_secs = u64::try_from(facts.not_after).unwrap_or(0);
        if ends_unix_secs.saturating_sub(now_unix_secs) > init::REGISTRY_LIFE_SECS / 2 {
            return Ok(());
        }
        let path = self.own.directory.join(init::REGISTRY.0);
        let failed = |source| OwnRenewError::Write {
            path: path.clone(),
            source,
        };
        let issued = self.authority.issue_registry(
            credentials.identity(),
            &fs::read_to_string(&path).map_err(failed)?,
            now_unix_secs,
            init::REGISTRY_LIFE_SECS,
        )?;
        let expires_unix_ms = issued.ends_unix_secs * 1000;
        let event = move |change: &Change<'_>| {
            change.audit(
                Actor::Registry,
                &Event::RegistryCertificateRenewed { expires_unix_ms },
            )
        };
        self.store.change::<_, StoreError>(event).await?;
        credentials.renew(&issued.certificate_pem)?;
        replace(&path, &issued.certificate_pem).map_err(failed)?;
        tracing::info!(expires_unix_ms, "the registry's own certificate was renewed");
        Ok(())
    }
}

/// The certificate that the holder of this key has, as long as it needs no other.
fn fresh(view: &View<'_>, host: Uuid, public_key: &[u8]) -> Result<Option<String>, RenewError> {
    let enrolled = view
        .enrolled(host)?
        .filter(|enrolled| enrolled.public_key == public_key);
    let enrolled = enrolled.ok_or(RenewError::NotTheHost)?;
    Ok(is_fresh(&enrolled, view.now_unix_ms).then_some(enrolled.certificate_pem))
}

fn decide(
    change: &Change<'_>,
    authority: &Authority,
    installation: Uuid,
    host: Uuid,
    key: &RequestedKey,
) -> Result<String, RenewError> {
    let record = change.host(host)?.ok_or(RenewError::NotTheHost)?;
    let before = change.enrolled(host)?.ok_or(RenewError::NotTheHost)?;
    if !key.is(&before.public_key) {
        return Err(RenewError::NotTheHost);
    }
    if is_fresh(&before, change.now_unix_ms) {
        return Ok(before.certificate_pem);
    }
    let enrolled = issue(change, authority, installation, &record, key)?;
    change.set_enrolled(host, &enrolled)?;
    change.audit(
        Actor::Caller {
            role: Role::Host,
            id: host,
        },
        &Event::HostRenewed {
            host,
            expires_unix_ms: enrolled.certificate_ends_unix_ms,
        },
    )?;
    tracing::info!(%host, expires_unix_ms = enrolled.certificate_ends_unix_ms, "host certificate renewed");
    Ok(enrolled.certificate_pem)
}

/// The new text or the old one, whole, whatever happens in between.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    File::open(directory)?.sync_all()
}
