//! Finding a secret wherever it may have been written, in whatever form people and libraries write bytes.

use std::{
    collections::{BTreeSet, HashMap},
    fs, io,
    path::{Path, PathBuf},
};

/// Bytes that must stand nowhere, and what to call them without saying them.
#[derive(Clone)]
pub struct Secret {
    pub name: String,
    needles: Vec<(&'static str, Vec<u8>)>,
}

/// Says only the name.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Secret {
    /// A part of 12 bytes is as good as the whole: nothing else looks like it.
    pub fn new(name: impl Into<String>, bytes: &[u8]) -> Self {
        let mut needles = Vec::new();
        let halves = [bytes, bytes.get(bytes.len() / 2..).unwrap_or_default()];
        for part in halves.iter().filter_map(|half| half.get(..12)) {
            let each = |one: fn(&u8) -> String, between: &str| {
                part.iter()
                    .map(one)
                    .collect::<Vec<_>>()
                    .join(between)
                    .into_bytes()
            };
            needles.push(("bytes", part.to_vec()));
            needles.push(("hexadecimal", each(|byte| format!("{byte:02x}"), "")));
            needles.push(("capital hexadecimal", each(|byte| format!("{byte:02X}"), "")));
            needles.push(("hexadecimal with colons", each(|byte| format!("{byte:02x}"), ":")));
            needles.push(("a list of numbers", each(u8::to_string, ", ")));
            needles.push(("a JSON list", each(u8::to_string, ",")));
            needles.push(("escaped bytes", each(|byte| format!("\\x{byte:02x}"), "")));
            needles.push(("escaped bytes", part.escape_ascii().to_string().into_bytes()));
        }
        // Inside a longer text a byte may begin at any of three places of a group of base64.
        for skip in 0..3 {
            let part = bytes.get(skip..skip + 12).unwrap_or_default();
            for (kind, alphabet) in [("base64", b"+/"), ("base64url", b"-_")] {
                needles.push((kind, base64(part, *alphabet)));
            }
        }
        needles.retain(|(_, needle)| needle.len() >= 12);
        Self {
            name: name.into(),
            needles,
        }
    }
}

/// A search for many secrets at once: each text is gone through once, however many there are.
#[derive(Debug)]
pub struct Search<'a> {
    /// Whether anything begins with these two bytes: nearly always not.
    begins: Vec<bool>,
    by_start: HashMap<&'a [u8], Vec<Needle<'a>>>,
}

#[derive(Clone, Copy, Debug)]
struct Needle<'a> {
    secret: &'a Secret,
    form: &'static str,
    bytes: &'a [u8],
}

/// No needle is shorter.
const START: usize = 8;

impl<'a> Search<'a> {
    pub fn new(secrets: &'a [Secret]) -> Self {
        let mut search = Self {
            begins: vec![false; 1 << 16],
            by_start: HashMap::new(),
        };
        for secret in secrets {
            for (form, bytes) in &secret.needles {
                search.begins[usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))] = true;
                let needle = Needle { secret, form, bytes };
                search.by_start.entry(&bytes[..START]).or_default().push(needle);
            }
        }
        search
    }

    /// Which secrets stand there, and in which form.
    pub fn in_text(&self, text: &[u8]) -> BTreeSet<(&'a str, &'static str)> {
        let mut found = BTreeSet::new();
        for (at, two) in text.windows(2).enumerate() {
            if !self.begins[usize::from(two[0]) << 8 | usize::from(two[1])] {
                continue;
            }
            let rest = &text[at..];
            let start = rest.get(..START).and_then(|start| self.by_start.get(start));
            for needle in start
                .into_iter()
                .flatten()
                .filter(|needle| rest.starts_with(needle.bytes))
            {
                found.insert((needle.secret.name.as_str(), needle.form));
            }
        }
        found
    }
}

/// Without padding, of a length that needs none.
fn base64(bytes: &[u8], last_two: [u8; 2]) -> Vec<u8> {
    let digit = |six: u8| match six {
        0..=25 => b'A' + six,
        26..=51 => b'a' + six - 26,
        52..=61 => b'0' + six - 52,
        62 => last_two[0],
        _ => last_two[1],
    };
    bytes
        .chunks_exact(3)
        .flat_map(|three| {
            let [a, b, c] = [three[0], three[1], three[2]];
            [a >> 2, (a & 3) << 4 | b >> 4, (b & 15) << 2 | c >> 6, c & 63].map(digit)
        })
        .collect()
}

/// Every file below a folder, with its content.
pub fn files(folder: &Path) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                found.push((entry.path(), fs::read(entry.path())?));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 32] = [
        0x9f, 0x02, 0xe1, 0x37, 0x5c, 0x80, 0xfb, 0x11, 0x6e, 0xd4, 0x29, 0xa8, 0x43, 0xbe, 0x70, 0x05, 0xc7,
        0x3a, 0x98, 0x64, 0xf2, 0x1d, 0x8b, 0x56, 0xea, 0x0f, 0xb3, 0x47, 0x22, 0xd9, 0x7e, 0x6a,
    ];

    #[test]
    fn a_secret_is_found_in_every_form_and_at_every_place() {
        let secrets = [
            Secret::new("the test's", &BYTES),
            Secret::new("another", &[7; 32]),
        ];
        let search = Search::new(&secrets);
        let names = |text: &[u8]| {
            search
                .in_text(text)
                .into_iter()
                .map(|(name, _)| name)
                .collect::<Vec<_>>()
        };
        let hexadecimal: String = BYTES.iter().map(|byte| format!("{byte:02x}")).collect();
        for text in [
            BYTES.to_vec(),
            BYTES[16..].to_vec(),
            hexadecimal.clone().into_bytes(),
            hexadecimal.to_uppercase().into_bytes(),
            format!("{BYTES:?}").into_bytes(),
            format!("{:?}", bytes_debug(&BYTES)).into_bytes(),
        ] {
            let text = [b"before ".to_vec(), text, b" after".to_vec()].concat();
            assert!(
                names(&text).contains(&"the test's"),
                "{:?}",
                String::from_utf8_lossy(&text)
            );
            assert!(!names(&text).contains(&"another"));
        }
        for before in 0..3 {
            // What stands in front of it inside a longer thing, a token for example.
            let mut whole = vec![7; before];
            whole.extend(BYTES);
            whole.resize(whole.len().next_multiple_of(3), 0);
            for alphabet in [b"+/", b"-_"] {
                assert!(!names(&base64(&whole, *alphabet)).is_empty(), "after {before}");
            }
        }
        assert!(names(&[0; 100]).is_empty());
        assert!(names(&BYTES[..8]).is_empty(), "eight bytes may be anything");
    }

    fn bytes_debug(bytes: &[u8]) -> impl std::fmt::Debug {
        // As the `bytes` crate and `escape_ascii` print them.
        struct Escaped(String);
        impl std::fmt::Debug for Escaped {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        Escaped(bytes.escape_ascii().to_string())
    }
}
