//! The tables. Ids are 16-byte UUIDs, addresses 16 bytes (IPv4 as ::ffff:a.b.c.d), times Unix milliseconds by
//! registry time.

use rusqlite_migration::{M, Migrations};

/// Says "this file is a Pairgate registry" in the database header: `PGr1`.
pub(super) const APPLICATION_ID: i32 = 0x5047_7231;

const STEPS: &[M<'static>] = &[M::up(FIRST)];

/// Every step from an empty file to the current layout; a database of a later version is refused.
pub(super) const MIGRATIONS: Migrations<'static> = Migrations::from_slice(STEPS);

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_are_sound() {
        MIGRATIONS.validate().unwrap();
    }
}
