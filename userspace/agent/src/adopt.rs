//! Taps made by other hands (libvirt, a monitor, a script) that this agent is to take as its own guests': which
//! ones, by name and kind. Pure.
//!
//! Whatever a pattern names is shut the moment it appears, because absence of a row in `TAPS` denies. A pattern
//! that is too wide would therefore cut something off that has nothing to do with guests; so only real taps
//! count, never the uplink, and a pattern begins with two characters that are no `*`.

use std::{fmt, str::FromStr};

/// The kernel's limit for an interface name, without its ending zero.
const LONGEST: usize = 15;
/// Characters before a `*`.
const SHORTEST_STEM: usize = 2;

/// A name, or the beginning of one and `*`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct TapPattern {
    stem: String,
    open: bool,
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("a tap's name has 1 to 15 letters, digits, - and _, and may end in one *")]
    Characters,
    #[error("at least two characters must stand before the *, or it names interfaces that are no guest's")]
    TooWide,
}

impl FromStr for TapPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (stem, open) = match text.strip_suffix('*') {
            Some(stem) => (stem, true),
            None => (text, false),
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !stem.bytes().all(plain) || stem.len() > LONGEST || (stem.is_empty() && !open) {
            return Err(PatternError::Characters);
        }
        if open && stem.len() < SHORTEST_STEM {
            return Err(PatternError::TooWide);
        }
        Ok(Self {
            stem: stem.to_owned(),
            open,
        })
    }
}

impl TryFrom<String> for TapPattern {
    type Error = String;

    /// A file's list may be long: the error says which one it is.
    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map_err(|error| format!("{text:?}: {error}"))
    }
}

impl fmt::Display for TapPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.stem)?;
        f.write_str(if self.open { "*" } else { "" })
    }
}

impl TapPattern {
    fn names(&self, interface: &str) -> bool {
        if self.open {
            interface.starts_with(&self.stem)
        } else {
            interface == self.stem
        }
    }
}

/// Which taps of other hands are ours to guard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adoption {
    pub patterns: Vec<TapPattern>,
    /// Never taken, whatever the patterns say.
    pub uplink: String,
}

impl Adoption {
    /// Whether an interface of this name and kind is.
    pub fn takes(&self, name: &str, is_tap: bool) -> bool {
        is_tap && name != self.uplink && self.patterns.iter().any(|pattern| pattern.names(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adoption(patterns: &[&str]) -> Adoption {
        Adoption {
            patterns: patterns.iter().map(|text| text.parse().unwrap()).collect(),
            uplink: "tap-uplink".to_owned(),
        }
    }

    #[test]
    fn a_pattern_takes_the_taps_it_names_and_nothing_else() {
        let adoption = adoption(&["tap-*", "vnet7"]);
        for (name, is_tap, taken) in [
            ("tap-web1", true, true),
            ("tap-", true, true),
            ("vnet7", true, true),
            ("vnet77", true, false),
            ("xtap-web1", true, false),
            // A bridge, a veth or a tun with such a name is nobody's guest.
            ("tap-web1", false, false),
            ("tap-uplink", true, false),
        ] {
            assert_eq!(adoption.takes(name, is_tap), taken, "{name}");
        }
        assert!(
            !Adoption::default().takes("tap-web1", true),
            "without patterns nothing is taken"
        );
    }

    #[test]
    fn a_pattern_that_would_name_everything_is_refused() {
        for (text, error) in [
            ("*", PatternError::TooWide),
            ("t*", PatternError::TooWide),
            ("", PatternError::Characters),
            ("tap*x", PatternError::Characters),
            ("tap**", PatternError::Characters),
            ("tap/*", PatternError::Characters),
            ("tap.0", PatternError::Characters),
            ("tap-0123456789ab", PatternError::Characters),
        ] {
            assert_eq!(text.parse::<TapPattern>(), Err(error), "{text:?}");
        }
        for text in ["tap-*", "vnet0", "ve*"] {
            assert_eq!(text.parse::<TapPattern>().unwrap().to_string(), text);
        }
    }
}
