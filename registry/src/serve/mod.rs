//! The two ways into the registry, on one port: REST for operators, gRPC for agents.
//!
//! Who calls, and whether its role may use the route at all, is settled by `pairgate-identity` before a
//! request gets here. What is left to check is whether the caller may do this very thing.

mod grpc;
mod rest;

use crate::{
    registry::{Registry, StartError},
    settings::Settings,
};
use pairgate_identity::{Now, serve_by, server_config_by};
use std::{net::SocketAddr, path::Path, sync::Arc};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// A service that runs.
#[derive(Debug)]
pub struct Running {
    registry: Arc<Registry>,
    address: SocketAddr,
    tasks: JoinSet<()>,
}

/// The service ended because the disk failed, and not because it was told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store has stopped after a disk failure: repair the disk, then start the registry again")]
pub struct DiskFailed;

/// Opens the installation and serves it until `stop`, or until the disk fails. The master key is looked for in
/// the state directory if no place is given.
pub async fn start(
    directory: &Path,
    master_key: Option<&Path>,
    listen: SocketAddr,
    settings: Settings,
    stop: CancellationToken,
) -> Result<Running, StartError> {
    let registry = Registry::open(directory, master_key, settings, stop.clone()).await?;
    // Certificates end by registry time too: a wall clock that is set back must not bring one back.
    let clock = registry.clock.clone();
    let now = Now::new(move || clock.now_unix_ms() / 1000);
    let tls = server_config_by(&registry.own.credentials, &now)?;
    let cannot_listen = |source| StartError::Listen {
        address: listen,
        source,
    };
    let listener = TcpListener::bind(listen).await.map_err(cannot_listen)?;
    let address = listener.local_addr().map_err(cannot_listen)?;
    let agents = tonic::service::Routes::new(grpc::service(registry.clone()));
    let app = rest::router(registry.clone()).merge(agents.prepare().into_axum_router());
    let mut tasks = JoinSet::new();
    tasks.spawn(registry.clone().open_placements());
    tasks.spawn(registry.clone().keep_house());
    let installation = registry.installation;
    tasks.spawn(serve_by(listener, tls, installation, app, now, stop.clone()));
    let failed = registry.store.failed().clone();
    tasks.spawn(async move {
        tokio::select! {
            () = failed.cancelled() => stop.cancel(),
            () = stop.cancelled() => {}
        }
    });
    Ok(Running {
        registry,
        address,
        tasks,
    })
}

impl Running {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Waits for the end: connections get a second to finish, then what was counted is written down.
    pub async fn wait(mut self) -> Result<(), DiskFailed> {
        while self.tasks.join_next().await.is_some() {}
        if self.registry.store.failed().is_cancelled() {
            return Err(DiskFailed);
        }
        self.registry.close().await;
        Ok(())
    }
}
