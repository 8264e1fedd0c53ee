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
    std::env::args().skip(1).collect::<Vec<_>>().join(" ")
}
