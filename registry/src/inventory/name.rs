use std::{fmt, str::FromStr};

/// Longest name, in bytes.
const LEN_MAX: usize = 63;

/// A name that may stand in paths, logs, metrics and interface names without quoting: `[a-z0-9-]{1,63}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// The text is no name. Does not repeat it: it may hold anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to 63 characters out of a-z, 0-9 and '-'")]
pub struct NameError;

impl Name {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.is_empty() || text.len() > LEN_MAX || !text.bytes().all(allowed) {
            return Err(NameError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_could_harm_a_log_a_path_or_a_query_are_refused() {
        for bad in [
            "",
            "A",
            "web_1",
            "web 1",
            "../x",
            "a/b",
            "ä",
            "web\n",
            "web\0",
            "w\u{202e}eb",
            "';--",
            "%77",
        ] {
            assert_eq!(bad.parse::<Name>(), Err(NameError), "{bad:?}");
        }
        assert!("a".repeat(63).parse::<Name>().is_ok());
        assert!("a".repeat(64).parse::<Name>().is_err());
        assert!("web-1".parse::<Name>().is_ok());
    }

    proptest! {
        #[test]
        fn exactly_the_names_of_the_stated_form_are_taken(text in "[a-z0-9A-Z_. -]{0,70}") {
            let stated = (1..=63).contains(&text.len())
                && text.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-'));
            prop_assert_eq!(text.parse::<Name>().is_ok(), stated);
        }
    }
}
