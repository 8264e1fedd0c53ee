//! What systemd is told: ready, how we stand, that we live, that we stop. Without systemd, nothing.
//!
//! **Ready** is when the programs hold the uplink and every tap that is there, and the agent listens, whether or
//! not the registry answers: what is open goes on without it, and a host must come up while it is away. What
//! the agent waits for is in the status line.
//!
//! **Alive** is said only when the keeper has answered, since a host whose keeper hangs applies no denial.

use crate::keeper::{KeeperHandle, View};
use sd_notify::NotifyState;
use std::time::Duration;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

/// How often the status line is looked at, unless the watchdog wants more.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Everything is in place. Only what the kernel did not take is an error worth a line.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// From here on systemd waits for the end.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd could not be told");
    }
}

/// Keeps systemd informed until `stop`.
pub async fn run(keeper: KeeperHandle, connected: watch::Receiver<bool>, stop: CancellationToken) {
    let watchdog = sd_notify::watchdog_enabled();
    // Twice in the time that systemd allows, as its manual wants it.
    let every = watchdog.map_or(LOOK_EVERY, |limit| (limit / 2).min(LOOK_EVERY));
    let mut look = interval(every);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = String::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = look.tick() => {}
        }
        if watchdog.is_some() {
            match timeout(every, keeper.alive()).await {
                Ok(Ok(())) => tell(&[NotifyState::Watchdog]),
                Ok(Err(_)) => return,
                Err(_) => tracing::error!("the keeper does not answer"),
            }
        }
        let line = line(&keeper.view(), *connected.borrow());
        if line != said {
            tell(&[NotifyState::Status(&line)]);
            said = line;
        }
    }
}

/// One line for `systemctl status`.
fn line(view: &View, connected: bool) -> String {
    let guarded = view.guests.values().filter(|guest| guest.state == "guarded");
    let registry = if connected {
        "following the registry"
    } else {
        "the registry is away"
    };
    let revision = match view.applied {
        Some(revision) => format!("revision {revision} in force"),
        None => "no goal state in force yet".to_owned(),
    };
    format!(
        "{registry}; {revision}; {} of {} taps guarded, {} pairs in, {} out",
        guarded.count(),
        view.guests.len(),
        view.counts.incoming(),
        view.counts.outgoing()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_the_agent_waits_for() {
        let text = line(&View::default(), false);
        assert!(
            text.contains("registry is away") && text.contains("no goal state"),
            "{text}"
        );
        assert!(line(&View::default(), true).contains("following the registry"));
    }
}
