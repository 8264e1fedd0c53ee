//! Names of taps. The registry chooses them and they end up in paths and netlink messages, so only plain ones
//! are taken.

use std::fmt;

/// The kernel's limit for an interface name, without its ending zero.
const LONGEST: usize = 15;

/// An interface name of letters, digits, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TapName(String);

impl TapName {
    /// None if it is empty, too long, or holds anything that means something in a path or to the kernel.
    pub fn new(name: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let good = !name.is_empty() && name.len() <= LONGEST && name.bytes().all(plain);
        good.then(|| Self(name.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TapName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_taken() {
        for good in ["tap-web1", "t", "tap_0123456789a"] {
            assert!(TapName::new(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "..",
            "a/b",
            "tap.1",
            "tap 1",
            "tap-0123456789ab",
            "tap%d",
            "täp",
            "tap\0",
        ] {
            assert!(TapName::new(bad).is_none(), "{bad}");
        }
    }
}
