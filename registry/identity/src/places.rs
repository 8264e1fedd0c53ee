//! How many connections are open, and whose.
//!
//! A *stranger* has not shown a certificate yet. Anybody on the underlay can be one, silent and in any number,
//! so strangers never keep anybody out: whoever comes beyond the bound takes the place of the one that has
//! waited longest. An honest handshake is over long before its turn comes.
//!
//! A *member* has shown a certificate of the installation. Its places are counted by the identity in it, so
//! that one stolen certificate cannot take those of the others.

use crate::Identity;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio_util::sync::CancellationToken;

/// Strangers at once: half of the descriptors that a process usually gets, so that a daemon can still open what
/// it needs while strangers take all of these.
const STRANGERS: usize = 512;
/// Members' connections at once; above any installation's number of agents.
const MEMBERS: usize = 4096;
/// Of them, those of one identity: an agent needs one, an operator's programs some dozens.
const MEMBERS_EACH: usize = 128;

#[derive(Debug, Default)]
pub(crate) struct Places(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    /// By the order in which they came.
    strangers: BTreeMap<u64, CancellationToken>,
    came: u64,
    members: HashMap<Identity, usize>,
}

impl Places {
    /// Nothing panics while it holds the lock, so a poisoned one holds sound values.
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for whoever has just come.
    pub(crate) fn stranger(self: &Arc<Self>) -> Stranger {
        let mut held = self.lock();
        if held.strangers.len() >= STRANGERS
            && let Some((_, oldest)) = held.strangers.pop_first()
        {
            oldest.cancel();
        }
        held.came += 1;
        let (number, cut_off) = (held.came, CancellationToken::new());
        held.strangers.insert(number, cut_off.clone());
        Stranger {
            places: self.clone(),
            number,
            cut_off,
        }
    }

    /// Cuts off the older half of the strangers: for when there are no descriptors left.
    pub(crate) fn make_room(&self) {
        let mut held = self.lock();
        for _ in 0..held.strangers.len().div_ceil(2) {
            if let Some((_, oldest)) = held.strangers.pop_first() {
                oldest.cancel();
            }
        }
    }

    /// A place for the holder of a certificate; none if it has its share or all are taken.
    pub(crate) fn member(self: &Arc<Self>, identity: Identity) -> Option<Member> {
        let mut held = self.lock();
        if held.members.values().sum::<usize>() >= MEMBERS {
            return None;
        }
        let its = held.members.entry(identity).or_default();
        if *its >= MEMBERS_EACH {
            return None;
        }
        *its += 1;
        Some(Member {
            places: self.clone(),
            identity,
        })
    }
}

/// The place of a connection without a certificate; given back when dropped.
#[derive(Debug)]
pub(crate) struct Stranger {
    places: Arc<Places>,
    number: u64,
    cut_off: CancellationToken,
}

impl Stranger {
    /// Resolves when the place has gone to a later one.
    pub(crate) async fn cut_off(&self) {
        self.cut_off.cancelled().await;
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.places.lock().strangers.remove(&self.number);
    }
}

/// The place of a connection with a certificate; given back when dropped.
#[derive(Debug)]
pub(crate) struct Member {
    places: Arc<Places>,
    identity: Identity,
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut held = self.places.lock();
        if let Some(its) = held.members.get_mut(&self.identity) {
            *its -= 1;
            if *its == 0 {
                held.members.remove(&self.identity);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pairgate_api::routes::Role;
    use uuid::Uuid;

    fn identity(id: u128) -> Identity {
        Identity {
            installation: Uuid::nil(),
            role: Role::Host,
            id: Uuid::from_u128(id),
        }
    }

    #[test]
    fn of_too_many_strangers_the_one_that_waits_longest_is_cut_off() {
        let places = Arc::new(Places::default());
        let mut strangers: Vec<_> = (0..STRANGERS).map(|_| places.stranger()).collect();
        assert!(strangers.iter().all(|stranger| !stranger.cut_off.is_cancelled()));
        // A place that was given back is free again.
        drop(strangers.remove(1));
        let _freed = places.stranger();
        assert!(!strangers[0].cut_off.is_cancelled());
        let newest = places.stranger();
        assert!(strangers[0].cut_off.is_cancelled() && !strangers[1].cut_off.is_cancelled());
        assert!(!newest.cut_off.is_cancelled());
        places.make_room();
        assert!(strangers[STRANGERS / 4].cut_off.is_cancelled() && !newest.cut_off.is_cancelled());
    }

    #[test]
    fn one_certificate_cannot_take_the_places_of_the_others() {
        let places = Arc::new(Places::default());
        let mut greedy: Vec<_> = (0..MEMBERS_EACH)
            .map(|_| places.member(identity(1)).unwrap())
            .collect();
        assert!(places.member(identity(1)).is_none());
        assert!(places.member(identity(2)).is_some());
        greedy.pop();
        assert!(places.member(identity(1)).is_some(), "a place comes back");
        drop(greedy);
        assert!(
            places.lock().members.is_empty(),
            "nothing is kept of who has gone"
        );
    }

    #[test]
    fn there_is_a_bound_for_all_members_together() {
        let places = Arc::new(Places::default());
        let taken: Vec<_> = (0..MEMBERS)
            .map(|number| places.member(identity((number % 100) as u128)).unwrap())
            .collect();
        assert!(places.member(identity(1_000)).is_none());
        drop(taken);
        assert!(places.member(identity(1_000)).is_some());
    }
}
