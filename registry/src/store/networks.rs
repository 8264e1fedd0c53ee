use super::{
    StoreError,
    columns::{self, Columns},
    worker::{Change, View},
};
use crate::{
    audit::{Actor, Event},
    inventory::{Name, Network, Prefix},
};
use rusqlite::{OptionalExtension, params};
use uuid::Uuid;

impl View<'_> {
    pub fn network(&self, name: &Name) -> Result<Option<Network>, StoreError> {
        let found = self
            .transaction
            .prepare_cached("SELECT id, mtu FROM network WHERE name = ?1")?
            .query_row(params![name.as_str()], |row| Ok((row.uuid(0)?, row.small(1)?)))
            .optional()?;
        let Some((id, mtu)) = found else {
            return Ok(None);
        };
        Ok(Some(Network {
            id,
            name: name.to_string(),
            prefixes: self.prefixes(id)?,
            mtu,
        }))
    }

    pub fn count_vms_of(&self, network: Uuid) -> Result<u64, StoreError> {
        let mut query = self
            .transaction
            .prepare_cached("SELECT count(*) FROM vm WHERE network = ?1")?;
        Ok(query.query_row(params![network.as_bytes()], |row| row.unsigned(0))?)
    }

    /// IPv4 first.
    pub(super) fn prefixes(&self, network: Uuid) -> Result<Vec<Prefix>, StoreError> {
        let mut query = self
            .transaction
            .prepare_cached("SELECT address, length FROM prefix WHERE network = ?1 ORDER BY family")?;
        let rows: Vec<_> = query
            .query_map(params![network.as_bytes()], |row| Ok((row.ip(0)?, row.small(1)?)))?
            .collect::<Result<_, _>>()?;
        let prefix = |(address, length)| {
            Prefix::new(address, length)
                .map_err(|_| StoreError::Inconsistent("a network's prefix that is none"))
        };
        rows.into_iter().map(prefix).collect()
    }
}

impl Change<'_> {
    pub fn insert_network(&self, actor: Actor, network: &Network) -> Result<(), StoreError> {
        self.transaction.execute(
            "INSERT INTO network (id, name, mtu) VALUES (?1, ?2, ?3)",
            params![network.id.as_bytes(), network.name, network.mtu],
        )?;
        for prefix in &network.prefixes {
            self.transaction.execute(
                "INSERT INTO prefix (network, family, address, length) VALUES (?1, ?2, ?3, ?4)",
                params![
                    network.id.as_bytes(),
                    prefix.family().number(),
                    columns::address(prefix.network()),
                    prefix.length()
                ],
            )?;
        }
        self.audit(
            actor,
            &Event::NetworkCreated {
                network: network.id,
                name: &network.name,
                prefixes: network.prefixes.iter().map(ToString::to_string).collect(),
            },
        )
    }

    /// Removes a network that has no VMs.
    pub fn remove_network(&self, actor: Actor, network: &Network) -> Result<(), StoreError> {
        for sql in [
            "DELETE FROM prefix WHERE network = ?1",
            "DELETE FROM network WHERE id = ?1",
        ] {
            self.transaction.execute(sql, params![network.id.as_bytes()])?;
        }
        let name = &network.name;
        self.audit(
            actor,
            &Event::NetworkRemoved {
                network: network.id,
                name,
            },
        )
    }
}
