//! An operator certificate from the registry's own machine: for the day on which there is no good one left.
//!
//! Whoever may read the CA's key may do this by hand; here it is done rightly, with an audit row. It refuses to work
//! beside a running service, which would not know of it, and to overwrite a file.

use crate::{
    audit::Actor,
    authority::{Authority, IssueError, Kind},
    clock::{BootClock, ClockError},
    init::{self, InitError},
    inventory::Name,
    registry::{StartError, lock},
    store::{OpenError, OperatorCertificate, change_alone},
};
use pairgate_api::routes::Role;
use pairgate_identity::Identity;
use rcgen::KeyPair;
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use uuid::Uuid;

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
pub enum RescueError {
    #[error(
        "{0}; if it is this installation's own service: stop it first, or ask it with `pairgate operator create`"
    )]
    InUse(#[source] StartError),
    #[error("cannot read {path}: {source}; was the installation made with `pairgate-registry init`?")]
    Read { path: PathBuf, source: io::Error },
    #[error("{0} exists already: choose another owner")]
    Exists(PathBuf),
    #[error(transparent)]
    Clock(#[from] ClockError),
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Write(#[from] InitError),
}

/// Makes `operator-OWNER.pem` and `operator-OWNER.key` in the state directory; tells where the certificate is.
pub fn make_operator(
    directory: &Path,
    master_key: Option<&Path>,
    owner: &Name,
) -> Result<PathBuf, RescueError> {
    let _lock = lock(directory).map_err(RescueError::InUse)?;
    let names = [format!("operator-{owner}.pem"), format!("operator-{owner}.key")];
    for name in &names {
        let path = directory.join(name);
        if path.symlink_metadata().is_ok() {
            return Err(RescueError::Exists(path));
        }
    }
    let read = |name: &str| {
        let path = directory.join(name);
        fs::read_to_string(&path).map_err(|source| RescueError::Read { path, source })
    };
    let authority = Authority::from_pem(&read(init::AUTHORITY.0)?, &read(init::AUTHORITY.1)?)?;
    let master_key = master_key.map_or_else(|| directory.join(init::MASTER_KEY), Path::to_owned);
    let clock = BootClock::start()?;
    let store = directory.join(init::STORE);
    let key = KeyPair::generate().map_err(IssueError::Sign)?;
    let issued = change_alone(&store, &master_key, &clock, |change, installation| {
        let identity = Identity {
            installation,
            role: Role::Operator,
            id: Uuid::new_v4(),
        };
        let now_unix_secs = change.now_unix_ms / 1000;
        let issued = authority.issue(
            &identity,
            &Kind::Caller,
            &key,
            now_unix_secs,
            init::OPERATOR_LIFE_SECS,
        )?;
        let operator = OperatorCertificate {
            id: identity.id,
            owner: owner.to_string(),
            expires_unix_ms: issued.ends_unix_secs * 1000,
            revoked: false,
        };
        change
            .insert_operator(Actor::Registry, &operator)
            .map_err(|source| OpenError::Start {
                path: store.clone(),
                source,
            })?;
        Ok::<_, RescueError>(issued)
    })?;
    let [certificate, private] = names;
    init::write(directory, &private, &key.serialize_pem())?;
    init::write(directory, &certificate, &issued.certificate_pem)?;
    Ok(directory.join(certificate))
}
