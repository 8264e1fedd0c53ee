//! How much of one agent's asking is in work at once.
//!
//! The store does one thing after the other. Without a bound, one stolen host could put so many questions in
//! front of it that the others' leases run out; with it, whoever asks more waits in its own lane.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

/// An honest agent asks for a handful of things at once.
const AT_ONCE: usize = 32;

/// Of agents, installers and reading operators. By the id in the caller's certificate, so there are no more than certificates were issued.
#[derive(Debug, Default)]
pub(crate) struct Lanes(Mutex<HashMap<Uuid, Arc<Semaphore>>>);

/// Held while something is in work.
#[derive(Debug)]
pub(crate) struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Lanes {
    /// Waits for this caller's turn; others are not waited for.
    pub(crate) async fn turn(&self, caller: Uuid) -> Turn {
        let lane = {
            let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let lane = lanes.entry(caller);
            lane.or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE))).clone()
        };
        Turn {
            // Lanes are never closed, so there always is a permit in the end.
            _permit: lane.acquire_owned().await.ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn who_asks_too_much_waits_and_holds_up_nobody_else() {
        let lanes = Lanes::default();
        let (greedy, modest) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut turns = Vec::new();
        for _ in 0..AT_ONCE {
            turns.push(lanes.turn(greedy).await);
        }
        let one_more = lanes.turn(greedy);
        tokio::pin!(one_more);
        assert!(
            timeout(Duration::from_millis(50), one_more.as_mut())
                .await
                .is_err()
        );
        lanes.turn(modest).await;
        turns.pop();
        one_more.await;
    }
}
