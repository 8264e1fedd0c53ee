//! How long tokens and leases live, and how long what is dead must be remembered because of it.

use pairgate_token::MAX_LIFE_SECS;

/// Not-before is set back by this much, so that a destination whose clock is a little behind takes the token.
pub const NOT_BEFORE_BACK_SECS: u64 = 30;
/// Longest token life: not-before and expiry may be at most a day apart.
pub const TOKEN_LIFE_MAX_SECS: u64 = MAX_LIFE_SECS - NOT_BEFORE_BACK_SECS;
/// Longest host lease.
pub const LEASE_MAX_SECS: u64 = 86_400;
/// Added to a lease's length wherever its end is awaited: two boot clocks may drift apart by this.
const DRIFT_PER_MILLE: u64 = 1;

/// Chosen at the start of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    token_life_secs: u64,
    lease_secs: u64,
}

/// Why a life time is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("a token life of {0} s is not allowed: choose 1 to {TOKEN_LIFE_MAX_SECS} s")]
    TokenLife(u64),
    #[error("a lease of {0} s is not allowed: choose 1 to {LEASE_MAX_SECS} s")]
    Lease(u64),
}

impl Settings {
    pub fn new(token_life_secs: u64, lease_secs: u64) -> Result<Self, SettingsError> {
        if !(1..=TOKEN_LIFE_MAX_SECS).contains(&token_life_secs) {
            return Err(SettingsError::TokenLife(token_life_secs));
        }
        if !(1..=LEASE_MAX_SECS).contains(&lease_secs) {
            return Err(SettingsError::Lease(lease_secs));
        }
        Ok(Self {
            token_life_secs,
            lease_secs,
        })
    }

    pub fn token_life_secs(self) -> u64 {
        self.token_life_secs
    }

    pub fn lease_secs(self) -> u64 {
        self.lease_secs
    }

    pub fn lease_ms(self) -> u64 {
        self.lease_secs * 1000
    }

    /// When a lease granted now has ended for certain.
    pub fn lease_end_unix_ms(self, now_unix_ms: u64) -> u64 {
        now_unix_ms.saturating_add(with_drift(self.lease_ms()))
    }

    /// When no token minted up to now can be valid any more.
    pub fn tokens_end_unix_ms(self, now_unix_ms: u64) -> u64 {
        now_unix_ms.saturating_add((self.token_life_secs + 1) * 1000)
    }
}

/// What may still be alive from earlier runs of the service, whose settings may have been longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// No lease granted before this start reaches further; 0 if none was ever granted.
    pub leases_end_unix_ms: u64,
    /// No token minted before this start reaches further.
    pub tokens_end_unix_ms: u64,
}

impl Before {
    /// What must be assumed at a start: that the run before granted and minted until this very instant.
    pub fn at_start(self, last: Option<Settings>, now_unix_ms: u64) -> Self {
        let Some(last) = last else {
            return self;
        };
        Self {
            leases_end_unix_ms: self.leases_end_unix_ms.max(last.lease_end_unix_ms(now_unix_ms)),
            tokens_end_unix_ms: self.tokens_end_unix_ms.max(last.tokens_end_unix_ms(now_unix_ms)),
        }
    }

    /// How long something that died now must be remembered: until the last token that could name it has
    /// expired, and one lease more.
    pub fn tombstone_end_unix_ms(self, settings: Settings, now_unix_ms: u64) -> u64 {
        let tokens_end = self
            .tokens_end_unix_ms
            .max(settings.tokens_end_unix_ms(now_unix_ms));
        let lease_ms = with_drift(settings.lease_ms());
        self.leases_end_unix_ms.max(tokens_end.saturating_add(lease_ms))
    }
}

fn with_drift(lease_ms: u64) -> u64 {
    lease_ms
        .saturating_add(lease_ms.saturating_mul(DRIFT_PER_MILLE).div_ceil(1000))
        .saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn life_times_outside_the_bounds_are_refused() {
        assert!(Settings::new(1, 1).is_ok());
        assert!(Settings::new(86_370, 86_400).is_ok());
        assert_eq!(Settings::new(0, 1), Err(SettingsError::TokenLife(0)));
        assert_eq!(Settings::new(86_371, 1), Err(SettingsError::TokenLife(86_371)));
        assert_eq!(Settings::new(1, 0), Err(SettingsError::Lease(0)));
        assert_eq!(Settings::new(1, 86_401), Err(SettingsError::Lease(86_401)));
        assert_eq!(
            Settings::new(u64::MAX, 1),
            Err(SettingsError::TokenLife(u64::MAX))
        );
    }

    #[test]
    fn a_shorter_lease_after_a_restart_does_not_shorten_leases_granted_before() {
        let long = Settings::new(3600, 3600).unwrap();
        let short = Settings::new(1, 1).unwrap();
        let first = Before::default().at_start(None, 1_000_000);
        assert_eq!(first.leases_end_unix_ms, 0, "no lease before the first start");
        let second = first.at_start(Some(long), 2_000_000);
        assert_eq!(second.leases_end_unix_ms, 2_000_000 + 3_603_601);
        let third = second.at_start(Some(short), 2_010_000);
        assert_eq!(third, second, "the long leases of the first run still count");
    }

    #[test]
    fn a_tombstone_outlives_every_token_by_one_lease() {
        let long = Settings::new(3600, 10).unwrap();
        let short = Settings::new(1, 10).unwrap();
        let before = Before::default().at_start(Some(long), 0);
        assert_eq!(before.tombstone_end_unix_ms(short, 5_000), 3_601_000 + 10_011);
        assert_eq!(
            Before::default().tombstone_end_unix_ms(short, 5_000),
            5_000 + 2_000 + 10_011
        );
    }
}
