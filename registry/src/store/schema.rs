//! The tables. Ids are 16-byte UUIDs, addresses 16 bytes (IPv4 as ::ffff:a.b.c.d), times Unix milliseconds by
//! registry time.

use super::auditing::chain_all;
use crate::vault::{Belongs, Vault};
use pairgate_token::SecretKey;
use rusqlite::{Transaction, params};
use rusqlite_migration::{HookError, M, Migrations};
use std::sync::Arc;
use uuid::Uuid;
use zeroize::Zeroizing;

/// Says "this file is a Pairgate registry" in the database header: `PGr1`.
pub(super) const APPLICATION_ID: i32 = 0x5047_7231;

/// From this layout on secret keys are sealed: a store of an earlier one has never had a master key.
pub(super) const SEALED_SINCE: i64 = 2;

/// Every step from an empty file to the current layout; a database of a later version is refused.
pub(super) fn migrations(vault: &Arc<Vault>) -> Migrations<'static> {
    let vault = vault.clone();
    Migrations::new(vec![
        M::up(FIRST),
        M::up_with_hook(SEALED, move |transaction: &Transaction<'_>| {
            seal_all(transaction, &vault)
        }),
        M::up_with_hook(CHAINED, |transaction: &Transaction<'_>| {
            Ok(chain_all(transaction)?)
        }),
        M::up(OPERATORS),
        M::up(ADDRESSES_AND_GRANTS).foreign_key_check(),
        M::up(TIME),
        M::up(MINTED),
        M::up(REMOVED),
        M::up(ONCE),
        M::up(UNANSWERED),
        M::up(FACTS),
    ])
}

const FIRST: &str = "
-- One row: whose store this is, the last change, and what earlier runs may have left alive.
CREATE TABLE installation (
    one                 INTEGER PRIMARY KEY CHECK (one = 1),
    id                  BLOB NOT NULL CHECK (length(id) = 16),
    revision            INTEGER NOT NULL CHECK (revision >= 1),
    token_life_secs     INTEGER,
    lease_secs          INTEGER,
    tokens_end_unix_ms  INTEGER NOT NULL DEFAULT 0,
    leases_end_unix_ms  INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE zero_certificate (
    id                  BLOB PRIMARY KEY CHECK (length(id) = 16),
    owner               TEXT NOT NULL,
    expires_unix_ms     INTEGER NOT NULL,
    uses_left           INTEGER NOT NULL CHECK (uses_left >= 0),
    revoked             INTEGER NOT NULL DEFAULT 0 CHECK (revoked IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE TABLE network (
    id                  BLOB PRIMARY KEY CHECK (length(id) = 16),
    name                TEXT NOT NULL UNIQUE,
    mtu                 INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- At most one per family.
CREATE TABLE prefix (
    network             BLOB NOT NULL REFERENCES network (id),
    family              INTEGER NOT NULL CHECK (family IN (4, 6)),
    address             BLOB NOT NULL CHECK (length(address) = 16),
    length              INTEGER NOT NULL,
    PRIMARY KEY (network, family)
) STRICT, WITHOUT ROWID;

-- The certificate columns are filled by the enrolment, all together.
CREATE TABLE host (
    id                  BLOB PRIMARY KEY CHECK (length(id) = 16),
    name                TEXT NOT NULL UNIQUE,
    address             BLOB NOT NULL UNIQUE CHECK (length(address) = 16),
    agent_port          INTEGER NOT NULL CHECK (agent_port BETWEEN 1 AND 65535),
    overlay_port        INTEGER NOT NULL CHECK (overlay_port BETWEEN 1 AND 65535),
    public_key          BLOB,
    certificate_pem     TEXT,
    certificate_ends_unix_ms INTEGER,
    CHECK ((public_key IS NULL) = (certificate_pem IS NULL)),
    CHECK ((public_key IS NULL) = (certificate_ends_unix_ms IS NULL))
) STRICT, WITHOUT ROWID;

-- generation: the last number burnt; it never goes back, so no number gets a second key or host.
CREATE TABLE vm (
    id                  BLOB PRIMARY KEY CHECK (length(id) = 16),
    network             BLOB NOT NULL REFERENCES network (id),
    name                TEXT NOT NULL,
    address             BLOB NOT NULL CHECK (length(address) = 16),
    mac                 BLOB NOT NULL CHECK (length(mac) = 6),
    generation          INTEGER NOT NULL DEFAULT 0,
    UNIQUE (network, name),
    UNIQUE (network, address),
    UNIQUE (network, mac)
) STRICT, WITHOUT ROWID;
CREATE INDEX vm_by_address ON vm (address);

CREATE TABLE placement (
    vm                  BLOB PRIMARY KEY REFERENCES vm (id),
    host                BLOB NOT NULL REFERENCES host (id),
    generation          INTEGER NOT NULL CHECK (generation >= 1),
    secret_key          BLOB NOT NULL CHECK (length(secret_key) = 32),
    tap                 TEXT NOT NULL,
    open                INTEGER NOT NULL CHECK (open IN (0, 1)),
    UNIQUE (host, tap)
) STRICT, WITHOUT ROWID;
CREATE INDEX placement_waiting ON placement (vm) WHERE open = 0;

-- Hosts that may still act for an older generation of a VM whose placement waits.
CREATE TABLE fence (
    vm                  BLOB NOT NULL REFERENCES placement (vm),
    host                BLOB NOT NULL REFERENCES host (id),
    revision            INTEGER NOT NULL,
    PRIMARY KEY (vm, host)
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT: an id is never used again, also not after its row is gone.
CREATE TABLE pair (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    source              BLOB NOT NULL REFERENCES vm (id),
    destination         BLOB NOT NULL REFERENCES vm (id),
    since_unix_ms       INTEGER NOT NULL,
    UNIQUE (source, destination),
    CHECK (source <> destination)
) STRICT;

CREATE TABLE dead_pair (
    id                  INTEGER PRIMARY KEY,
    source              BLOB NOT NULL,
    destination         BLOB NOT NULL,
    revision            INTEGER NOT NULL,
    until_unix_ms       INTEGER NOT NULL
) STRICT;
CREATE INDEX dead_pair_by_vms ON dead_pair (source, destination);

-- Every generation below the floor is dead.
CREATE TABLE floor (
    vm                  BLOB PRIMARY KEY,
    generation          INTEGER NOT NULL,
    until_unix_ms       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    number              INTEGER PRIMARY KEY AUTOINCREMENT,
    unix_ms             INTEGER NOT NULL,
    actor               TEXT NOT NULL,
    event               TEXT NOT NULL,
    detail              TEXT NOT NULL
) STRICT;
";

/// master_check opens under the right master key only; sealed_key is NULL nowhere once the step is done.
const SEALED: &str = "
ALTER TABLE installation ADD COLUMN master_check BLOB CHECK (length(master_check) = 60);
ALTER TABLE placement ADD COLUMN sealed_key BLOB CHECK (length(sealed_key) = 60);
";

/// previous: hash of the row before. The head is there so that a cut at the end shows.
const CHAINED: &str = "
ALTER TABLE audit ADD COLUMN previous BLOB CHECK (length(previous) = 32);
CREATE TABLE audit_head (
    one                 INTEGER PRIMARY KEY CHECK (one = 1),
    number              INTEGER NOT NULL CHECK (number >= 0),
    hash                BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
";

/// reset: an agent that enrolled before a reset may hold a lease still.
const OPERATORS: &str = "
CREATE TABLE operator (
    id                  BLOB PRIMARY KEY CHECK (length(id) = 16),
    owner               TEXT NOT NULL,
    expires_unix_ms     INTEGER NOT NULL,
    revoked             INTEGER NOT NULL DEFAULT 0 CHECK (revoked IN (0, 1))
) STRICT, WITHOUT ROWID;
ALTER TABLE host ADD COLUMN reset INTEGER NOT NULL DEFAULT 0 CHECK (reset IN (0, 1));
";

/// Every VM had one IPv4 address, and every pair carried everything. The table is made anew, because SQLite drops
/// no column that has to be unique.
const ADDRESSES_AND_GRANTS: &str = "
CREATE TABLE vm_address (
    network             BLOB NOT NULL REFERENCES network (id),
    address             BLOB NOT NULL CHECK (length(address) = 16),
    vm                  BLOB NOT NULL REFERENCES vm (id),
    PRIMARY KEY (network, address)
) STRICT, WITHOUT ROWID;
INSERT INTO vm_address (network, address, vm) SELECT network, address, id FROM vm;
CREATE INDEX vm_address_by_vm ON vm_address (vm);
CREATE INDEX vm_address_by_address ON vm_address (address);

CREATE TABLE vm_without_address (
    id                  BLOB PRIMARY KEY CHECK (length(id) = 16),
    network             BLOB NOT NULL REFERENCES network (id),
    name                TEXT NOT NULL,
    mac                 BLOB NOT NULL CHECK (length(mac) = 6),
    generation          INTEGER NOT NULL DEFAULT 0,
    UNIQUE (network, name),
    UNIQUE (network, mac)
) STRICT, WITHOUT ROWID;
INSERT INTO vm_without_address (id, network, name, mac, generation)
    SELECT id, network, name, mac, generation FROM vm;
DROP TABLE vm;
ALTER TABLE vm_without_address RENAME TO vm;

ALTER TABLE pair ADD COLUMN carries TEXT NOT NULL DEFAULT 'all';
CREATE INDEX pair_by_destination ON pair (destination);
";

/// One row: registry time at one instant of one boot.
const TIME: &str = "
CREATE TABLE registry_time (
    one                 INTEGER PRIMARY KEY CHECK (one = 1),
    boot_id             BLOB NOT NULL CHECK (length(boot_id) = 16),
    boot_ms             INTEGER NOT NULL,
    unix_ms             INTEGER NOT NULL
) STRICT;
";

/// The generations for which a pair's first token has its audit row; 0 before that.
const MINTED: &str = "
ALTER TABLE pair ADD COLUMN minted_source INTEGER NOT NULL DEFAULT 0;
ALTER TABLE pair ADD COLUMN minted_destination INTEGER NOT NULL DEFAULT 0;
";

/// Hosts that were removed.
const REMOVED: &str = "
CREATE TABLE dead_host (
    id                  BLOB PRIMARY KEY CHECK (length(id) = 16),
    until_unix_ms       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// status and body are there once the request has been answered.
const ONCE: &str = "
CREATE TABLE once (
    operator            BLOB NOT NULL CHECK (length(operator) = 16),
    key                 TEXT NOT NULL,
    request             BLOB NOT NULL CHECK (length(request) = 32),
    since_unix_ms       INTEGER NOT NULL,
    status              INTEGER,
    body                BLOB,
    PRIMARY KEY (operator, key),
    CHECK ((status IS NULL) = (body IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX once_by_time ON once (since_unix_ms);
";

/// predecessors_end_unix_ms: when the last lease ends that was granted before the host's last reset. What earlier
/// changes have ended is looked for from both ends.
const UNANSWERED: &str = "
ALTER TABLE host ADD COLUMN predecessors_end_unix_ms INTEGER NOT NULL DEFAULT 0;
CREATE INDEX dead_pair_by_destination ON dead_pair (destination);
";

/// gateway: NULL is the first address of the IPv4 prefix. name_server: in the order of position.
const FACTS: &str = "
ALTER TABLE network ADD COLUMN gateway BLOB CHECK (length(gateway) = 16);
ALTER TABLE network ADD COLUMN domain TEXT;
CREATE TABLE name_server (
    network             BLOB NOT NULL REFERENCES network (id),
    position            INTEGER NOT NULL CHECK (position BETWEEN 0 AND 3),
    address             BLOB NOT NULL CHECK (length(address) = 16),
    PRIMARY KEY (network, position)
) STRICT, WITHOUT ROWID;
";

/// Seals the keys that an earlier version kept as they are; the column they were in goes, and with it, by
/// `secure_delete`, their bytes.
fn seal_all(transaction: &Transaction<'_>, vault: &Vault) -> Result<(), HookError> {
    let failed = |error: crate::vault::SealError| HookError::Hook(error.to_string());
    let mut placements = transaction.prepare("SELECT vm, generation, secret_key FROM placement")?;
    let mut rows = placements.query([])?;
    while let Some(row) = rows.next()? {
        let vm = Uuid::from_bytes(row.get(0)?);
        let generation: u32 = row.get(1)?;
        let bytes = Zeroizing::new(row.get::<_, [u8; 32]>(2)?);
        let sealed = vault
            .seal(Belongs::Vm { vm, generation }, &SecretKey::from_bytes(*bytes))
            .map_err(failed)?;
        transaction.execute(
            "UPDATE placement SET sealed_key = ?2 WHERE vm = ?1",
            params![vm.as_bytes(), sealed],
        )?;
    }
    drop(rows);
    drop(placements);
    transaction.execute("ALTER TABLE placement DROP COLUMN secret_key", [])?;
    let mut installations = transaction.prepare("SELECT id FROM installation")?;
    let ids: Vec<[u8; 16]> = installations
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for id in ids {
        let check = vault.check_value(Uuid::from_bytes(id)).map_err(failed)?;
        transaction.execute("UPDATE installation SET master_check = ?1", params![check])?;
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The layout before secret keys were sealed.
    pub(crate) const UNSEALED: &str = FIRST;

    #[test]
    fn the_steps_are_sound() {
        let directory = tempfile::tempdir().unwrap();
        let vault = Arc::new(Vault::make(&directory.path().join("master.key")).unwrap());
        migrations(&vault).validate().unwrap();
    }
}
