//! What a gRPC answer that is an error says, in one line: the message if there is one, else the code's meaning.
//! The library's own form prints every cause twice and types with it.

use tonic::Status;

pub fn text(status: &Status) -> String {
    let said = if status.message().is_empty() {
        status.code().description().to_owned()
    } else {
        status.message().to_owned()
    };
    // Another program wrote it: nothing in it may reach a terminal as a command.
    said.chars()
        .filter(|character| !character.is_control())
        .take(LONGEST)
        .collect()
}

/// Characters of a message that are shown.
const LONGEST: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_floods_of_text_do_not_come_through() {
        assert_eq!(
            text(&Status::not_found("no\x1b[31m such\nhost")),
            "no[31m suchhost"
        );
        assert_eq!(text(&Status::internal("x".repeat(10_000))).len(), LONGEST);
        assert!(!text(&Status::unavailable("")).is_empty());
    }
}
