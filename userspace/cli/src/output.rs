//! Everything that is printed.
//!
//! Names and texts come from servers, and one that was taken over must not be able to move the cursor, hide a
//! line or reverse the reading direction of an operator's terminal: [`Table`] escapes every cell by itself.

use crate::arguments::Output;
use crate::client::Reply;
use crate::failure::Failure;
use comfy_table::presets;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

/// Prints an answer: the API's own JSON, or what `table` makes of it.
pub(crate) fn reply<T>(
    reply: &Reply<T>,
    output: Output,
    table: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    match output {
        Output::Json => line(&json_for_terminal(&reply.body)),
        Output::Table => line(&table(&reply.value)),
    }
}

/// Prints one text and a line's end to standard output.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    line_while_read(text).map(|_| ())
}

/// The same, and whether anybody still reads: whoever prints without end must stop then.
pub(crate) fn line_while_read(text: &str) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{}", text.trim_end()).and_then(|()| stdout.flush());
    match written {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(
            Failure::could_not_tell("cannot print the answer", error.to_string())
                .next("the question was answered; ask again with standard output open"),
        ),
        Ok(()) => Ok(true),
    }
}

/// Prints a value of our own as JSON.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<(), Failure> {
    match serde_json::to_string(value) {
        Ok(text) => line(&json_for_terminal(&text)),
        Err(error) => Err(Failure::could_not_tell(
            "cannot print the answer",
            error.to_string(),
        )),
    }
}

/// Texts from outside, one a line.
pub(crate) fn lines(texts: &[String]) -> String {
    let safe: Vec<_> = texts.iter().map(|text| shown(text)).collect();
    safe.join("\n")
}

/// What an operator has to see first, in red where that is wanted: on a terminal, and unless `NO_COLOR` is set.
pub(crate) fn alarming(text: &str) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if plain || !io::stdout().is_terminal() {
        return text.to_owned();
    }
    format!("\u{1b}[31m{text}\u{1b}[0m")
}

/// Prints to standard error; if that is closed there is nobody left to tell.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Rows under headings, columns set apart by two spaces.
pub(crate) struct Table(comfy_table::Table);

impl Table {
    pub(crate) fn new<const N: usize>(headings: [&str; N]) -> Self {
        let mut table = Self::plain();
        table.0.set_header(headings);
        table
    }

    /// Without headings: one property a row.
    pub(crate) fn plain() -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING);
        Self(table)
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) -> &mut Self {
        self.0.add_row(cells.map(|cell| shown(&cell)));
        self
    }

    pub(crate) fn property(&mut self, name: &str, value: impl ToString) -> &mut Self {
        self.row([name.to_owned(), value.to_string()])
    }

    pub(crate) fn render(mut self) -> String {
        for column in self.0.column_iter_mut() {
            column.set_padding((0, 2));
        }
        self.0.trim_fmt()
    }
}

/// A text from outside, safe for a terminal and for one line.
pub(crate) fn shown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if is_dangerous(character) {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    safe
}

/// The same JSON with characters escaped that JSON allows in strings and a terminal would obey. Outside
/// strings JSON has no such characters except white space.
fn json_for_terminal(body: &str) -> String {
    let mut safe = String::with_capacity(body.len());
    for character in body.chars() {
        if is_dangerous(character) && !matches!(character, '\n' | '\r' | '\t') {
            // None of them lies outside the basic plane, so one escape is enough.
            let _ = write!(safe, "\\u{:04x}", u32::from(character));
        } else {
            safe.push(character);
        }
    }
    safe
}

/// Control characters, and those that change the reading direction, break lines or take no room.
fn is_dangerous(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up_and_escapes_every_cell() {
        let mut table = Table::new(["NAME", "STATE"]);
        table
            .row(["a".into(), "x".into()])
            .row(["longer".into(), "\u{1b}[31m\r\nred\u{202e}".into()]);
        assert_eq!(
            table.render(),
            "NAME    STATE\na       x\nlonger  \\u{1b}[31m\\r\\nred\\u{202e}"
        );
    }

    #[test]
    fn json_keeps_its_meaning_when_it_is_made_safe() {
        let body = "{\"a\":\"\u{9b}31m\u{202e}\u{7f}é\",\n\t\"b\":18446744073709551615}";
        let safe = json_for_terminal(body);
        assert_eq!(
            safe,
            "{\"a\":\"\\u009b31m\\u202e\\u007fé\",\n\t\"b\":18446744073709551615}"
        );
        let (before, after): (serde_json::Value, serde_json::Value) = (
            serde_json::from_str(body).unwrap(),
            serde_json::from_str(&safe).unwrap(),
        );
        assert_eq!(before, after);
    }
}
