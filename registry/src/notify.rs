//! What systemd is told: ready, that we live, that we stop. Without systemd, nothing.
//!
//! **Ready** is when the store is open and the port listens. **Alive** is said only when both of the store's threads
//! have answered: a registry that cannot write down a denial is worth a restart.

use crate::{Registry, store::StoreError};
use sd_notify::NotifyState;
use std::{sync::Arc, time::Duration};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

/// Requests are answered from here on.
pub fn ready() {
    tell(NotifyState::Ready);
}

/// From here on systemd waits for the end.
pub fn stopping() {
    tell(NotifyState::Stopping);
}

/// Only what the kernel did not take is an error worth a line.
fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "systemd could not be told");
    }
}

/// Tells that we live, as often as systemd wants to hear it; ends with the service.
pub async fn run(registry: Arc<Registry>, stop: CancellationToken) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    // Twice in the time that it allows, as its manual wants it.
    let every = limit / 2;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if is_alive(&registry, every).await {
            tell(NotifyState::Watchdog);
        } else {
            tracing::error!("the store does not answer");
        }
    }
}

/// Writes nothing, and so waits for no disk, but for its turn.
async fn is_alive(registry: &Registry, limit: Duration) -> bool {
    let both = async {
        registry.store.read(|view| view.current_revision()).await?;
        registry.store.change_renewing(|_| Ok::<_, StoreError>(())).await
    };
    matches!(timeout(limit, both).await, Ok(Ok(())))
}
