use crate::{Registry, store::StoreError};
use pairgate_api::rest;

impl Registry {
    pub async fn status(&self) -> Result<rest::Status, StoreError> {
        let (hosts, revision, networks, vms, pairs) = self
            .store
            .read(|view| {
                Ok::<_, StoreError>((
                    view.hosts()?,
                    view.current_revision()?,
                    view.count_networks()?,
                    view.count_vms()?,
                    view.count_pairs()?,
                ))
            })
            .await?;
        Ok(rest::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            installation: self.installation,
            revision,
            unix_ms: self.clock.now_unix_ms(),
            wall_clock_ahead_ms: self.clock.wall_ahead_ms(),
            disk_is_full: self.store.disk_is_full(),
            token_life_secs: self.settings.token_life_secs(),
            lease_secs: self.settings.lease_secs(),
            hosts: hosts.iter().map(|host| self.shown_host(host)).collect(),
            networks,
            vms,
            pairs,
        })
    }
}
