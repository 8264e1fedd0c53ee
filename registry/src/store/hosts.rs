use super::{
    StoreError,
    columns::{self, Columns, number},
    worker::{Change, View},
};
use crate::{
    audit::{Actor, Event},
    inventory::{Host, Name},
};
use rusqlite::{OptionalExtension, Row, params};
use std::net::IpAddr;
use uuid::Uuid;

/// What an enrolment gave to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    /// Subject public key info, DER.
    pub public_key: Vec<u8>,
    pub certificate_pem: String,
    pub certificate_ends_unix_ms: u64,
}

const HOST: &str = "SELECT id, name, address, agent_port, overlay_port, public_key FROM host";

fn host(row: &Row<'_>) -> rusqlite::Result<Host> {
    Ok(Host {
        id: row.uuid(0)?,
        name: row.get(1)?,
        address: row.ip(2)?,
        agent_port: row.small(3)?,
        overlay_port: row.small(4)?,
        public_key: row.get(5)?,
    })
}

impl View<'_> {
    pub fn host(&self, id: Uuid) -> Result<Option<Host>, StoreError> {
        let found = self
            .transaction
            .prepare_cached(&format!("{HOST} WHERE id = ?1"))?
            .query_row(params![id.as_bytes()], host)
            .optional()?;
        Ok(found)
    }

    pub fn host_by_name(&self, name: &Name) -> Result<Option<Host>, StoreError> {
        let found = self
            .transaction
            .prepare_cached(&format!("{HOST} WHERE name = ?1"))?
            .query_row(params![name.as_str()], host)
            .optional()?;
        Ok(found)
    }

    pub fn hosts(&self) -> Result<Vec<Host>, StoreError> {
        let mut query = self
            .transaction
            .prepare_cached(&format!("{HOST} ORDER BY name"))?;
        let rows = query.query_map([], host)?.collect::<Result<_, _>>()?;
        Ok(rows)
    }

    /// At most `rows` hosts after this name.
    pub fn list_hosts(&self, after: &str, rows: u32) -> Result<Vec<Host>, StoreError> {
        let mut query = self
            .transaction
            .prepare_cached(&format!("{HOST} WHERE name > ?1 ORDER BY name LIMIT ?2"))?;
        let rows = query
            .query_map(params![after, rows], host)?
            .collect::<Result<_, _>>()?;
        Ok(rows)
    }

    /// Every host that may hold a lease of an earlier run: one that is enrolled, and one that was before a reset.
    /// With each, when the last lease ends that was granted before its last reset.
    pub fn hosts_that_may_hold_a_lease(&self) -> Result<Vec<(Uuid, u64)>, StoreError> {
        let mut query = self.transaction.prepare_cached(
            "SELECT id, predecessors_end_unix_ms FROM host WHERE public_key IS NOT NULL OR reset = 1",
        )?;
        let rows = query
            .query_map([], |row| Ok((row.uuid(0)?, row.unsigned(1)?)))?
            .collect::<Result<_, _>>()?;
        Ok(rows)
    }

    pub fn host_address_is_taken(&self, address: IpAddr) -> Result<bool, StoreError> {
        self.exists("SELECT 1 FROM host WHERE address = ?1", address)
    }

    /// In any network: no guest may have the address of a host, or frames to the host could be meant for it.
    pub fn is_a_guests_address(&self, address: IpAddr) -> Result<bool, StoreError> {
        self.exists("SELECT 1 FROM vm_address WHERE address = ?1", address)
    }

    fn exists(&self, sql: &str, address: IpAddr) -> Result<bool, StoreError> {
        let mut query = self.transaction.prepare_cached(sql)?;
        Ok(query.exists(params![columns::address(address)])?)
    }

    /// What the host's enrolment gave to it; none before.
    pub fn enrolled(&self, host: Uuid) -> Result<Option<Enrolled>, StoreError> {
        let found = self
            .transaction
            .query_row(
                "SELECT public_key, certificate_pem, certificate_ends_unix_ms FROM host
                 WHERE id = ?1 AND public_key IS NOT NULL",
                params![host.as_bytes()],
                |row| {
                    Ok(Enrolled {
                        public_key: row.get(0)?,
                        certificate_pem: row.get(1)?,
                        certificate_ends_unix_ms: row.unsigned(2)?,
                    })
                },
            )
            .optional()?;
        Ok(found)
    }
}

impl Change<'_> {
    pub fn insert_host(&self, actor: Actor, host: &Host) -> Result<(), StoreError> {
        self.transaction.execute(
            "INSERT INTO host (id, name, address, agent_port, overlay_port) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                host.id.as_bytes(),
                host.name,
                columns::address(host.address),
                host.agent_port,
                host.overlay_port
            ],
        )?;
        self.audit(
            actor,
            &Event::HostCreated {
                host: host.id,
                name: &host.name,
                address: host.address,
            },
        )
    }

    /// Lets the record wait again; its revision makes the host's stream look, and end. `leases_end_unix_ms`: of
    /// those granted so far.
    pub fn reset_host(&self, actor: Actor, host: Uuid, leases_end_unix_ms: u64) -> Result<(), StoreError> {
        let reset = self.transaction.execute(
            "UPDATE host SET public_key = NULL, certificate_pem = NULL, certificate_ends_unix_ms = NULL, reset = 1,
                    predecessors_end_unix_ms = max(predecessors_end_unix_ms, ?2)
             WHERE id = ?1 AND public_key IS NOT NULL",
            params![host.as_bytes(), number(leases_end_unix_ms)],
        )?;
        if reset == 0 {
            return Ok(());
        }
        self.revision()?;
        self.audit(actor, &Event::HostReset { host })
    }

    /// Removes a host that no placement and no fence names; its revision makes the host's stream look, and end.
    pub fn remove_host(&self, actor: Actor, host: &Host, until_unix_ms: u64) -> Result<u64, StoreError> {
        let revision = self.revision()?;
        self.transaction
            .execute("DELETE FROM host WHERE id = ?1", params![host.id.as_bytes()])?;
        self.transaction.execute(
            "INSERT INTO dead_host (id, until_unix_ms) VALUES (?1, ?2)",
            params![host.id.as_bytes(), number(until_unix_ms)],
        )?;
        let (id, name) = (host.id, &host.name);
        self.audit(actor, &Event::HostRemoved { host: id, name })?;
        Ok(revision)
    }

    pub fn set_enrolled(&self, host: Uuid, enrolled: &Enrolled) -> Result<(), StoreError> {
        self.transaction.execute(
            "UPDATE host SET public_key = ?2, certificate_pem = ?3, certificate_ends_unix_ms = ?4
             WHERE id = ?1",
            params![
                host.as_bytes(),
                enrolled.public_key,
                enrolled.certificate_pem,
                number(enrolled.certificate_ends_unix_ms)
            ],
        )?;
        Ok(())
    }
}
