//! Bounds of the keeper, each with its reason.

use pairgate_abi::limits::PAIRS;
use std::time::Duration;

/// Commands waiting for the keeper. Each takes microseconds unless a goal state closes pairs; a full queue
/// makes the sender wait, which is the wanted effect.
pub const COMMANDS: usize = 256;

/// Incoming pairs of one peer host: an eighth of the map, so that a stolen host cannot take the map away from
/// the others.
pub const PAIRS_PER_PEER: usize = PAIRS as usize / 8;

/// Outgoing pairs of one guest, likewise.
pub const PAIRS_PER_TAP: usize = PAIRS as usize / 8;

/// Entries that are not counted on: the kernel keeps a few for itself on each CPU.
pub const PAIRS_RESERVE: usize = 1024;

/// How long an expired entry stays, so that its packets are counted as `expired` and not as something that
/// never was. It authorises nothing in this time.
pub const LINGER: Duration = Duration::from_secs(60);

/// How long a pair's older handle lives on once a newer token has been accepted: what is in flight arrives.
pub const OLD_HANDLE_LIFE: Duration = Duration::from_secs(30);

/// Random picks for a free handle. With the map full one pick in eight million is taken.
pub const HANDLE_TRIES: usize = 8;

/// Between two looks at what has expired.
pub const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Between two tries of what failed, and two looks at the taps' counters.
pub const TICK: Duration = Duration::from_secs(1);

/// How long a receipt waits for guests to read what was queued to them before the change.
pub const DRAIN_LIMIT: Duration = Duration::from_millis(50);

/// Between two looks at a queue that is being drained.
pub const DRAIN_POLL: Duration = Duration::from_millis(1);
