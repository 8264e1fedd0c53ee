//! Bounds of the keeper, each with its reason.

use pairgate_abi::limits::{PAIRS, REFUSALS, SLOTS};
use std::time::Duration;

/// Commands waiting for the keeper. Each takes microseconds unless a goal state closes pairs; a full queue
/// makes the sender wait, which is the wanted effect.
pub const COMMANDS: usize = 256;

/// Incoming pairs of one peer host: an eighth of the map, so that a stolen host cannot take the map away from
/// the others.
pub const PAIRS_PER_PEER: usize = PAIRS as usize / 8;

/// What the second handles of pairs that are being renewed may add to that.
pub const RENEWALS_PER_PEER: usize = PAIRS_PER_PEER / 4;

/// Outgoing pairs of one guest, likewise.
pub const PAIRS_PER_TAP: usize = PAIRS as usize / 8;

/// Entries that are not counted on: the kernel keeps a few for itself on each CPU.
pub const PAIRS_RESERVE: usize = 1024;

/// How long an expired entry stays, so that its packets are counted as `expired` and not as something that
/// never was. It authorises nothing in this time.
pub const LINGER: Duration = Duration::from_secs(60);

/// How long a pair's older handle lives on once a newer token has been accepted: what is in flight arrives.
pub const OLD_HANDLE_LIFE: Duration = Duration::from_secs(30);

/// How long a refusal is remembered.
pub const REFUSAL_LIFE: Duration = Duration::from_secs(5);

/// Refusals remembered for one guest: its share of the map.
pub const REFUSALS_PER_TAP: usize = (REFUSALS / SLOTS) as usize;

/// Random picks for a free handle. With the map full one pick in eight million is taken.
pub const HANDLE_TRIES: usize = 8;

/// Between two looks at what has expired.
pub const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Between two looks of the auditor at everything: what is not as declared stays for no longer, and for the time that a
/// walk takes.
pub const AUDIT_EVERY: Duration = Duration::from_secs(3);

/// Entries that one step of a walk through the maps of pairs reads, one step each [`LOOK`]: a few milliseconds. The two
/// maps together take 32 steps when they are full.
pub const AUDITED_AT_ONCE: usize = 8192;

/// Taps whose settings are read in one look; each has a dozen files.
pub const SETTINGS_AT_ONCE: usize = 64;

/// Between two tries of what failed, and two looks at the taps' counters.
pub const TICK: Duration = Duration::from_secs(1);

/// How long a receipt waits for guests to read what was queued to them before the change.
pub const DRAIN_LIMIT: Duration = Duration::from_millis(50);

/// Between two looks at a queue that is being drained.
pub const DRAIN_POLL: Duration = Duration::from_millis(1);

/// Pairs whose packets are made smaller in one go, when the uplink's MTU has fallen: each one costs a wait for
/// running programs, and the keeper has other things to do as well.
pub const NARROWED_AT_ONCE: usize = 64;

/// Between two looks at what is due: renewals and unused pairs. An eighth of the time that a token of the
/// shortest sensible life leaves for its renewal.
pub const LOOK: Duration = Duration::from_millis(100);

/// How long a pair may go unused before it is removed, unless the command line says otherwise.
pub const IDLE: Duration = Duration::from_secs(300);

/// How much longer than its sender a receiver keeps an unused pair, besides an eighth of the time: a packet on
/// its way, and looks that come late.
pub const RECEIVER_GRACE: Duration = Duration::from_secs(2);

/// Shortest and longest time between two looks at a pair whose renewal waits for a packet.
pub const RELOOK: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Longest pause before a renewal that failed is tried again.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Renewals and other errands waiting to be run; what finds no room comes again after its pause.
pub const ERRANDS: usize = 1024;
