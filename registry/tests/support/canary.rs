//! Secrets that are known to a test, and the search for them in whatever came out.

use base64::{Engine, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE};
use std::fmt::Write;

/// A part of a secret is enough to give it away; and no such part is there by chance.
const PART: usize = 24;
const SHORT_PART: usize = 12;

/// Each with what it is, in every form in which somebody might write bytes.
#[derive(Default)]
pub(crate) struct Canaries(Vec<(String, Vec<u8>)>);

impl Canaries {
    pub(crate) fn plant(&mut self, what: &str, secret: &[u8]) {
        let mut add = |form: &str, bytes: Vec<u8>| self.0.push((format!("{what} as {form}"), bytes));
        let short = &secret[..SHORT_PART];
        let (mut hex, mut escaped) = (String::new(), String::new());
        for byte in short {
            write!(hex, "{byte:02x}").unwrap();
            write!(escaped, "{}", byte.escape_ascii()).unwrap();
        }
        let list = short.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        add("bytes", short.to_vec());
        add("upper-case hexadecimal", hex.to_uppercase().into_bytes());
        add("hexadecimal", hex.into_bytes());
        add("a close list of numbers", list.replace(' ', "").into_bytes());
        add("a list of numbers", list.into_bytes());
        add("escaped bytes", escaped.into_bytes());
        // Wherever in a longer text it begins, one of three shifts has it.
        for shift in 0..3 {
            let part = &secret[shift..shift + PART];
            add("base64", STANDARD.encode(part).into_bytes());
            add("base64url", URL_SAFE.encode(part).into_bytes());
        }
    }

    /// For what is text already, such as a line of a private key.
    pub(crate) fn plant_text(&mut self, what: &str, text: &str) {
        self.0.push((what.to_owned(), text.as_bytes().to_vec()));
    }

    pub(crate) fn found_in(&self, bytes: &[u8]) -> Option<&str> {
        let is_in = |form: &[u8]| {
            let begins = bytes.iter().enumerate().filter(|(_, byte)| **byte == form[0]);
            begins.into_iter().any(|(at, _)| bytes[at..].starts_with(form))
        };
        let found = self.0.iter().find(|(_, form)| is_in(form));
        found.map(|(what, _)| what.as_str())
    }
}
