//! Making an installation: its CA, its first certificates and its empty store.
//!
//! Guarantee: a state directory holds a whole installation or is refused. Everything is made in a directory
//! beside the final names and moved in one by one, the store last; a directory that holds any of the names is
//! never touched, because overwriting a CA key would cut off every host for good. Nor is one that holds other
//! things and is open to others: to close it could cut off whoever uses them.

use crate::{
    authority::{Authority, IssueError, Kind, ServerAddress},
    clock::{BootClock, Clock, ClockError},
    store::{self, OpenError, OperatorCertificate, ZeroCertificate},
    vault::{MasterKeyError, Vault},
};
use nix::fcntl::{Flock, FlockArg};
use pairgate_api::routes::Role;
use pairgate_identity::Identity;
use rcgen::KeyPair;
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};
use uuid::Uuid;

pub(crate) const STORE: &str = "registry.db";
pub(crate) const MASTER_KEY: &str = "master.key";
pub(crate) const AUTHORITY: (&str, &str) = ("ca.pem", "ca.key");
pub(crate) const REGISTRY: (&str, &str) = ("registry.pem", "registry.key");
pub(crate) const OPERATOR: (&str, &str) = ("operator.pem", "operator.key");
const ZERO: (&str, &str) = ("zero.pem", "zero.key");
const UNFINISHED: &str = ".init";

const DAY_SECS: u64 = 86_400;
pub(crate) const REGISTRY_LIFE_SECS: u64 = 365 * DAY_SECS;
pub(crate) const OPERATOR_LIFE_SECS: u64 = 365 * DAY_SECS;
const ZERO_LIFE_SECS: u64 = 7 * DAY_SECS;
const ZERO_USES: u32 = 1000;

/// Why there is no installation.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error(
        "{path} exists already: {directory} holds an installation or a part of one; choose another --state-dir"
    )]
    Exists { directory: PathBuf, path: PathBuf },
    #[error(
        "{directory} holds other things and is open to others (mode {mode:o}): choose another --state-dir, or close it (`chmod 700`)"
    )]
    Open { directory: PathBuf, mode: u32 },
    #[error("{directory} is being filled by another `init`: wait for it, or choose another --state-dir")]
    InUse { directory: PathBuf },
    #[error("cannot {what} {path}: {source}")]
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    #[error(transparent)]
    Clock(#[from] ClockError),
}

/// Owner of the first certificates.
pub(crate) const OWNER: &str = "init";

/// Makes an installation whose registry is reached by these addresses; tells its id.
pub fn init(directory: &Path, addresses: &[ServerAddress]) -> Result<Uuid, InitError> {
    let names = [AUTHORITY, REGISTRY, OPERATOR, ZERO]
        .into_iter()
        .flat_map(|(certificate, key)| [certificate, key]);
    // The store comes last: where it is, everything is.
    let names: Vec<&str> = names.chain([MASTER_KEY, STORE]).collect();
    refuse_existing(directory, &names)?;
    claim_directory(directory)?;
    let _lock = lock(directory)?;
    // Another one may have finished in between.
    refuse_existing(directory, &names)?;
    let unfinished = directory.join(UNFINISHED);
    if unfinished.symlink_metadata().is_ok() {
        fs::remove_dir_all(&unfinished).map_err(io_error("remove", &unfinished))?;
    }
    make_directory(&unfinished)?;
    let installation = fill(&unfinished, addresses)?;
    for name in &names {
        let (from, to) = (unfinished.join(name), directory.join(name));
        fs::rename(&from, &to).map_err(io_error("rename to", &to))?;
    }
    fs::remove_dir(&unfinished).map_err(io_error("remove", &unfinished))?;
    sync(directory)?;
    if let Some(parent) = directory.canonicalize().ok().as_deref().and_then(Path::parent) {
        sync(parent)?;
    }
    Ok(installation)
}

fn fill(directory: &Path, addresses: &[ServerAddress]) -> Result<Uuid, InitError> {
    let now_unix_ms = BootClock::start()?.now_unix_ms();
    let now_unix_secs = now_unix_ms / 1000;
    let installation = Uuid::new_v4();
    let (authority, key_pem) = Authority::make(now_unix_secs)?;
    write(directory, AUTHORITY.0, authority.certificate_pem())?;
    write(directory, AUTHORITY.1, &key_pem)?;
    let leaf = |role, kind, life_secs, (certificate, key): (&str, &str)| {
        let identity = Identity {
            installation,
            role,
            id: Uuid::new_v4(),
        };
        let pair = KeyPair::generate().map_err(IssueError::Sign)?;
        let issued = authority.issue(&identity, &kind, &pair, now_unix_secs, life_secs)?;
        write(directory, certificate, &issued.certificate_pem)?;
        write(directory, key, &pair.serialize_pem())?;
        Ok::<_, InitError>((identity.id, issued.ends_unix_secs))
    };
    leaf(
        Role::Registry,
        Kind::Registry(addresses.to_vec()),
        REGISTRY_LIFE_SECS,
        REGISTRY,
    )?;
    let (operator, ends_unix_secs) = leaf(Role::Operator, Kind::Caller, OPERATOR_LIFE_SECS, OPERATOR)?;
    let operator = OperatorCertificate {
        id: operator,
        owner: OWNER.to_owned(),
        expires_unix_ms: ends_unix_secs * 1000,
        revoked: false,
    };
    let (zero, ends_unix_secs) = leaf(Role::Zero, Kind::Caller, ZERO_LIFE_SECS, ZERO)?;
    let zero = ZeroCertificate {
        id: zero,
        owner: OWNER.to_owned(),
        expires_unix_ms: ends_unix_secs * 1000,
        uses_left: ZERO_USES,
        revoked: false,
    };
    let path = directory.join(STORE);
    let vault = Arc::new(Vault::make(&directory.join(MASTER_KEY))?);
    store::create(&path, &vault, installation, &operator, &zero, now_unix_ms)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(io_error("protect", &path))?;
    sync(&path)?;
    sync(directory)?;
    Ok(installation)
}

fn refuse_existing(directory: &Path, names: &[&str]) -> Result<(), InitError> {
    for name in names {
        let path = directory.join(name);
        if path.symlink_metadata().is_ok() {
            let directory = directory.to_owned();
            return Err(InitError::Exists { directory, path });
        }
    }
    Ok(())
}

/// Two at once would move each other's files about.
fn lock(directory: &Path) -> Result<Flock<File>, InitError> {
    let file = File::open(directory).map_err(io_error("open", directory))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| InitError::InUse {
        directory: directory.to_owned(),
    })
}

/// Makes the state directory, or closes it to others if that takes nothing away from anybody.
fn claim_directory(path: &Path) -> Result<(), InitError> {
    let mode = match fs::metadata(path) {
        Ok(found) => found.permissions().mode() & 0o777,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return make_directory(path),
        Err(error) => return Err(io_error("look at", path)(error)),
    };
    let mut names = fs::read_dir(path).map_err(io_error("list", path))?;
    let holds_others = names.any(|entry| entry.is_ok_and(|entry| entry.file_name() != UNFINISHED));
    if mode & 0o077 != 0 && holds_others {
        let directory = path.to_owned();
        return Err(InitError::Open { directory, mode });
    }
    make_directory(path)
}

fn make_directory(path: &Path) -> Result<(), InitError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(io_error("make", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(io_error("protect", path))
}

pub(crate) fn write(directory: &Path, name: &str, text: &str) -> Result<(), InitError> {
    let path = directory.join(name);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
    written.map_err(io_error("write", &path))
}

fn sync(path: &Path) -> Result<(), InitError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(io_error("sync", path))
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InitError {
    let path = path.to_owned();
    move |source| InitError::Io { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modes(directory: &Path) -> Vec<(String, u32)> {
        let mut modes: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
                (entry.file_name().into_string().unwrap(), mode)
            })
            .collect();
        modes.sort();
        modes
    }

    #[test]
    fn an_installation_is_whole_private_and_made_only_once() {
        let base = tempfile::tempdir().unwrap();
        let directory = base.path().join("state");
        let addresses = [
            "192.0.2.254".parse().unwrap(),
            "registry.example".parse().unwrap(),
        ];
        init(&directory, &addresses).unwrap();
        let names = [
            "ca.key",
            "ca.pem",
            "master.key",
            "operator.key",
            "operator.pem",
            "registry.db",
            "registry.key",
            "registry.pem",
            "zero.key",
            "zero.pem",
        ];
        let expected: Vec<_> = names.iter().map(|name| (name.to_string(), 0o600)).collect();
        assert_eq!(modes(&directory), expected);
        assert_eq!(
            fs::metadata(&directory).unwrap().permissions().mode() & 0o777,
            0o700
        );
        let key = fs::read(directory.join("ca.key")).unwrap();
        assert!(matches!(
            init(&directory, &addresses),
            Err(InitError::Exists { .. })
        ));
        assert_eq!(
            fs::read(directory.join("ca.key")).unwrap(),
            key,
            "nothing was touched"
        );
    }

    #[test]
    fn a_directory_that_others_use_is_refused_and_left_as_it_is() {
        let base = tempfile::tempdir().unwrap();
        let (used, address) = (base.path().join("used"), ["192.0.2.254".parse().unwrap()]);
        fs::create_dir(&used).unwrap();
        fs::write(used.join("passwd"), "root").unwrap();
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&used, open.clone()).unwrap();
        assert!(matches!(init(&used, &address), Err(InitError::Open { .. })));
        assert_eq!(modes(base.path()), [("used".to_owned(), 0o755)]);
        assert_eq!(modes(&used).len(), 1, "nothing was put there");

        // One that holds nothing belongs to whoever names it.
        fs::remove_file(used.join("passwd")).unwrap();
        init(&used, &address).unwrap();
        assert_eq!(modes(base.path()), [("used".to_owned(), 0o700)]);

        // An installation's own directory is not even closed when it is refused.
        fs::set_permissions(&used, open).unwrap();
        assert!(matches!(init(&used, &address), Err(InitError::Exists { .. })));
        assert_eq!(modes(base.path()), [("used".to_owned(), 0o755)]);
    }

    #[test]
    fn of_several_at_once_one_makes_the_installation_and_it_is_whole() {
        let base = tempfile::tempdir().unwrap();
        let directory = base.path().join("state");
        let address = ["192.0.2.254".parse().unwrap()];
        let made = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..6)
                .map(|_| scope.spawn(|| init(&directory, &address)))
                .collect();
            tries
                .into_iter()
                .map(|one| usize::from(one.join().unwrap().is_ok()))
                .sum::<usize>()
        });
        assert_eq!(made, 1);
        assert_eq!(modes(&directory).len(), 10);
        pairgate_identity::Credentials::load(
            &directory.join(AUTHORITY.0),
            &directory.join(REGISTRY.0),
            &directory.join(REGISTRY.1),
        )
        .unwrap();
    }

    #[test]
    fn an_unfinished_init_is_begun_again_and_half_an_installation_is_refused() {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join(UNFINISHED)).unwrap();
        fs::write(base.path().join(UNFINISHED).join("ca.key"), "half").unwrap();
        init(base.path(), &["192.0.2.254".parse().unwrap()]).unwrap();
        fs::remove_file(base.path().join(STORE)).unwrap();
        let again = init(base.path(), &["192.0.2.254".parse().unwrap()]);
        assert!(
            matches!(again, Err(InitError::Exists { .. })),
            "a lost store must not look like a new installation"
        );
    }
}
