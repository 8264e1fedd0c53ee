use super::{
    StoreError,
    columns::{self, Columns},
    worker::{Change, View},
};
use crate::{
    audit::{Actor, Event},
    inventory::{Ipv4Prefix, Name, Network},
};
use rusqlite::{OptionalExtension, params};

impl View<'_> {
    pub fn network(&self, name: &Name) -> Result<Option<Network>, StoreError> {
        let found = self
            .transaction
            .prepare_cached(
                "SELECT network.id, network.mtu, prefix.address, prefix.length
                 FROM network JOIN prefix ON prefix.network = network.id AND prefix.family = 4
                 WHERE network.name = ?1",
            )?
            .query_row(params![name.as_str()], |row| {
                Ok((row.uuid(0)?, row.small(1)?, row.ipv4(2)?, row.small(3)?))
            })
            .optional()?;
        let Some((id, mtu, address, length)) = found else {
            return Ok(None);
        };
        let prefix = Ipv4Prefix::new(address, length)
            .map_err(|_| StoreError::Inconsistent("a network's prefix that is none"))?;
        Ok(Some(Network {
            id,
            name: name.to_string(),
            prefix,
            mtu,
        }))
    }
}

impl Change<'_> {
    pub fn insert_network(&self, actor: Actor, network: &Network) -> Result<(), StoreError> {
        self.transaction.execute(
            "INSERT INTO network (id, name, mtu) VALUES (?1, ?2, ?3)",
            params![network.id.as_bytes(), network.name, network.mtu],
        )?;
        self.transaction.execute(
            "INSERT INTO prefix (network, family, address, length) VALUES (?1, 4, ?2, ?3)",
            params![
                network.id.as_bytes(),
                columns::v4(network.prefix.network()),
                network.prefix.length()
            ],
        )?;
        self.audit(
            actor,
            &Event::NetworkCreated {
                network: network.id,
                name: &network.name,
                prefix: network.prefix.to_string(),
            },
        )
    }
}
