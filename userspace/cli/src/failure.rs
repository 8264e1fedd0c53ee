//! How a command ends.

use crate::output::shown;
use std::fmt;

/// The answer to a question that could be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes,
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Failed,
    Usage,
    CouldNotTell,
}

/// Why there is no answer, or why nothing was done: what failed, why, and the next step.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    what: String,
    why: String,
    next: Option<String>,
}

impl Failure {
    /// It was tried, and refused.
    pub(crate) fn failed(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(Kind::Failed, what, why)
    }

    /// The command line is wrong, whatever the state of the world.
    pub(crate) fn usage(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(Kind::Usage, what, why)
    }

    /// Nobody knows: not reached, not understood, or the answer was lost.
    pub(crate) fn could_not_tell(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(Kind::CouldNotTell, what, why)
    }

    fn new(kind: Kind, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            why: why.into(),
            next: None,
        }
    }

    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// For questions whose 1 is an answer: a refusal must not look like it.
    pub(crate) fn not_an_answer(mut self) -> Self {
        if self.kind == Kind::Failed {
            self.kind = Kind::CouldNotTell;
        }
        self
    }

    /// The same failure in the middle of more work.
    pub(crate) fn after(mut self, place: &str) -> Self {
        self.what = format!("{place}: {}", self.what);
        self
    }

    /// The reason alone, for a line among others.
    pub(crate) fn why(&self) -> &str {
        &self.why
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::CouldNotTell => 3,
        }
    }
}

impl fmt::Display for Failure {
    /// Everything is escaped here: the texts hold what servers and files said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", shown(&self.what))?;
        write!(f, "\n  why: {}", shown(&self.why))?;
        if let Some(next) = &self.next {
            write!(f, "\n  next: {}", shown(next))?;
        }
        Ok(())
    }
}

/// An error with all its causes, in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Many libraries repeat the cause in their own text.
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_that_of_the_contract() {
        assert_eq!(Failure::failed("a", "b").exit_code(), 1);
        assert_eq!(Failure::usage("a", "b").exit_code(), 2);
        assert_eq!(Failure::could_not_tell("a", "b").exit_code(), 3);
    }

    #[test]
    fn a_failure_says_what_why_and_next_and_cannot_move_the_cursor() {
        let failure = Failure::failed("cannot create x", "\u{1b}[2Jtaken\nfake line").next("choose another");
        assert_eq!(
            failure.to_string(),
            "error: cannot create x\n  why: \\u{1b}[2Jtaken\\nfake line\n  next: choose another"
        );
    }
}
