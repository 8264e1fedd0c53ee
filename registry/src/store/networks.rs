use super::{
    StoreError,
    columns::{self, Columns},
    worker::{Change, View},
};
use crate::{
    audit::{Actor, Event},
    inventory::{Facts, Name, Network, Prefix},
};
use rusqlite::{OptionalExtension, params};
use std::net::IpAddr;
use uuid::Uuid;

impl View<'_> {
    pub fn network(&self, name: &Name) -> Result<Option<Network>, StoreError> {
        let found = self
            .transaction
            .prepare_cached("SELECT id FROM network WHERE name = ?1")?
            .query_row(params![name.as_str()], |row| row.uuid(0))
            .optional()?;
        let Some(id) = found else {
            return Ok(None);
        };
        let prefixes = self.prefixes(id)?;
        Ok(Some(Network {
            id,
            name: name.to_string(),
            facts: self.facts(id, &prefixes)?,
            prefixes,
        }))
    }

    /// What guests of the network with these prefixes are told.
    pub(super) fn facts(&self, network: Uuid, prefixes: &[Prefix]) -> Result<Facts, StoreError> {
        let mut facts = Facts::of(prefixes);
        let mut query = self
            .transaction
            .prepare_cached("SELECT mtu, domain, gateway FROM network WHERE id = ?1")?;
        let gateway = query.query_row(params![network.as_bytes()], |row| {
            facts.mtu = row.small(0)?;
            facts.domain = row.get(1)?;
            let set: Option<[u8; 16]> = row.get(2)?;
            set.map(|_| row.ip(2)).transpose()
        })?;
        match gateway {
            Some(IpAddr::V4(gateway)) => facts.gateway = Some(gateway),
            Some(IpAddr::V6(_)) => return Err(StoreError::Inconsistent("a gateway that is not of IPv4")),
            None => {}
        }
        let mut query = self
            .transaction
            .prepare_cached("SELECT address FROM name_server WHERE network = ?1 ORDER BY position")?;
        facts.dns = query
            .query_map(params![network.as_bytes()], |row| row.ip(0))?
            .collect::<Result<_, _>>()?;
        Ok(facts)
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
            params![network.id.as_bytes(), network.name, network.facts.mtu],
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
        self.write_facts(network)?;
        self.audit(
            actor,
            &Event::NetworkCreated {
                network: network.id,
                name: &network.name,
                prefixes: network.prefixes.iter().map(ToString::to_string).collect(),
                facts: &network.facts,
            },
        )
    }

    /// Tells the guests of the network what `facts` says now; their hosts hear of it with the new revision.
    pub fn configure_network(&self, actor: Actor, network: &Network) -> Result<(), StoreError> {
        self.revision()?;
        self.write_facts(network)?;
        let facts = &network.facts;
        let network = network.id;
        self.audit(actor, &Event::NetworkConfigured { network, facts })
    }

    /// The default gateway stays unsaid: it follows from the prefixes.
    fn write_facts(&self, network: &Network) -> Result<(), StoreError> {
        let (id, facts) = (network.id, &network.facts);
        let default = Facts::of(&network.prefixes).gateway;
        let gateway = facts.gateway.filter(|gateway| Some(*gateway) != default);
        self.transaction.execute(
            "UPDATE network SET mtu = ?2, domain = ?3, gateway = ?4 WHERE id = ?1",
            params![
                id.as_bytes(),
                facts.mtu,
                facts.domain,
                gateway.map(|gateway| columns::address(gateway.into()))
            ],
        )?;
        self.transaction.execute(
            "DELETE FROM name_server WHERE network = ?1",
            params![id.as_bytes()],
        )?;
        for (position, server) in (0u8..).zip(&facts.dns) {
            self.transaction.execute(
                "INSERT INTO name_server (network, position, address) VALUES (?1, ?2, ?3)",
                params![id.as_bytes(), position, columns::address(*server)],
            )?;
        }
        Ok(())
    }

    /// Removes a network that has no VMs.
    pub fn remove_network(&self, actor: Actor, network: &Network) -> Result<(), StoreError> {
        for sql in [
            "DELETE FROM prefix WHERE network = ?1",
            "DELETE FROM name_server WHERE network = ?1",
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
