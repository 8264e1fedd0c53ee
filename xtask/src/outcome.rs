//! How a command of xtask can end besides well: it failed (exit 1), or it needs something from the person
//! who called it (exit 2).

/// What the caller has to do before the command can go on; one line, with the command to type.
#[derive(Debug)]
pub(crate) struct NeedsCaller(pub(crate) String);

impl std::fmt::Display for NeedsCaller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NeedsCaller {}

/// The line that continues as root with the caller's own cargo.
pub(crate) fn continue_as_root(arguments: &str) -> NeedsCaller {
    NeedsCaller(format!(
        "needs root, go on with: sudo -E env \"PATH=$PATH\" cargo xtask {arguments}"
    ))
}

/// The arguments that xtask was called with, as one would type them again.
pub(crate) fn own_arguments() -> String {
    let quoted: Vec<_> = std::env::args().skip(1).map(|word| quoted(&word)).collect();
    quoted.join(" ")
}

/// A word as a shell takes it for one.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./=:-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_stage_of_two_words_stays_one_argument() {
        assert_eq!(quoted("--stage=oracle"), "--stage=oracle");
        assert_eq!(quoted("kernel 6.1"), "'kernel 6.1'");
        assert_eq!(quoted("a'b"), r"'a'\''b'");
        assert_eq!(quoted(""), "''");
    }
}
