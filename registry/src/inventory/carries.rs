//! What one direction of a pair carries.
//!
//! ```text
//!   allow A B grant             A→B grant      B→A grant
//!   allow A B grant, one way    A→B grant      B→A replies
//! ```

use pairgate_token::{GrantError, Grants};
use std::{fmt, str::FromStr};

/// The word for a direction that only answers.
const REPLIES: &str = "replies";

/// Written as `all`, as entries such as `tcp/443,udp/53`, or as `replies`; the same form in the store and for
/// operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carries {
    Granted(Grants),
    /// Only what belongs to a flow that the destination began.
    Replies,
}

impl Carries {
    /// The two directions of an allowed pair.
    pub fn of_pair(grants: Grants, one_way: bool) -> [Self; 2] {
        let there = Self::Granted(grants);
        let back = if one_way { Self::Replies } else { there.clone() };
        [there, back]
    }

    pub fn replies_only(&self) -> bool {
        match self {
            Self::Granted(_) => false,
            Self::Replies => true,
        }
    }

    /// As a token says it: empty for replies.
    pub fn grants(&self) -> Grants {
        match self {
            Self::Granted(grants) => grants.clone(),
            Self::Replies => Grants::all(),
        }
    }
}

impl fmt::Display for Carries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted(grants) => grants.fmt(f),
            Self::Replies => f.write_str(REPLIES),
        }
    }
}

impl FromStr for Carries {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        if text == REPLIES {
            return Ok(Self::Replies);
        }
        text.parse().map(Self::Granted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_back_from_its_own_form() {
        for form in ["all", "replies", "icmp,tcp/443"] {
            let carries: Carries = form.parse().unwrap();
            assert_eq!(carries.to_string(), form);
            assert_eq!(carries.replies_only(), form == "replies");
        }
        assert!("tcp/443,replies".parse::<Carries>().is_err());
        assert!("".parse::<Carries>().is_err(), "no word is not everything");
    }

    #[test]
    fn only_a_one_way_pair_has_a_direction_of_replies() {
        let grants: Grants = "tcp/443".parse().unwrap();
        let granted = Carries::Granted(grants.clone());
        assert_eq!(
            Carries::of_pair(grants.clone(), false),
            [granted.clone(), granted.clone()]
        );
        assert_eq!(Carries::of_pair(grants, true), [granted, Carries::Replies]);
        assert!(Carries::Replies.grants().is_all());
    }
}
