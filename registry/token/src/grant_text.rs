//! Grants as people write them.
//!
//! | entry | stands for |
//! |---|---|
//! | `tcp/443`, `udp/1000-2000`, `sctp/9` | one destination port, or a range |
//! | `tcp` | every port of it; `udp` and `sctp` likewise |
//! | `icmp` | ICMP and ICMPv6: protocols 1 and 58 |
//! | `proto/47` | an IP protocol by its number, with all its ports if it has any |
//!
//! What is read is sorted and merged, so the same grant has one form however it was written, and reading what
//! was written gives the same grant again. `all` stands for everything and for itself alone.

use crate::{Grant, Grants, MAX_GRANTS};
use std::{fmt, str::FromStr};

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// The protocols that have ports, by their names.
const WITH_PORTS: [(&str, u8); 3] = [("tcp", TCP), ("udp", UDP), ("sctp", SCTP)];
/// The word for everything.
const ALL: &str = "all";
/// The separator of the one-line form.
const SEPARATOR: char = ',';
/// More entries are not read: they could not all be needed for what a token holds.
const ENTRIES_MAX: usize = 1_024;
/// So much of a wrong entry is repeated in the refusal.
const SHOWN_LEN_MAX: usize = 40;

/// Why something is no grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    #[error(
        "`{0}` is no grant: write tcp/443, udp/1000-2000, sctp/9, tcp (all its ports), icmp or proto/47 (a protocol's number)"
    )]
    Form(String),
    #[error("`{0}`: the ports are the wrong way round")]
    Reversed(String),
    #[error("`all` stands for everything: give it alone, or leave the grant out")]
    AllAmongOthers,
    #[error(
        "a pair holds at most {MAX_GRANTS} entries, and these are {0} once sorted and merged (icmp counts as two): join ranges, or grant everything"
    )]
    TooMany(usize),
}

impl Grants {
    /// Reads entries in any order, with any overlaps; none is everything.
    pub fn from_texts<T: AsRef<str>>(texts: &[T]) -> Result<Self, GrantError> {
        if texts.len() > ENTRIES_MAX {
            return Err(GrantError::TooMany(texts.len()));
        }
        if texts.iter().any(|text| text.as_ref() == ALL) {
            return if texts.len() == 1 {
                Ok(Self::all())
            } else {
                Err(GrantError::AllAmongOthers)
            };
        }
        let mut entries = Vec::new();
        for text in texts {
            entries.extend(read(text.as_ref())?);
        }
        let merged = merge(entries);
        let count = merged.len();
        // Sorted, merged and read with sound ports: only the count can be wrong.
        Self::new(merged).map_err(|_| GrantError::TooMany(count))
    }
}

impl Grants {
    /// Whether everything that `other` allows is allowed by this.
    pub fn covers(&self, other: &Self) -> bool {
        let merged = merge(self.entries().to_vec());
        let within = |entry: &Grant| {
            merged.iter().any(|granted| {
                granted.protocol == entry.protocol
                    && granted.first <= entry.first
                    && entry.last <= granted.last
            })
        };
        // A list of grants never is everything: protocols that nobody thought of are not on it.
        self.is_all() || (!other.is_all() && other.entries().iter().all(within))
    }
}

/// The one-line form: `all`, or entries with commas between.
impl FromStr for Grants {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let entries: Vec<&str> = text.split(SEPARATOR).take(ENTRIES_MAX + 1).collect();
        Self::from_texts(&entries)
    }
}

impl fmt::Display for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all() {
            return f.write_str(ALL);
        }
        let has = |protocol| self.entries().iter().any(|entry| entry.protocol == protocol);
        let both = has(ICMP) && has(ICMPV6);
        let mut first = true;
        for entry in self.entries() {
            if both && entry.protocol == ICMPV6 {
                continue;
            }
            if !first {
                write!(f, "{SEPARATOR}")?;
            }
            first = false;
            write_entry(f, entry, both)?;
        }
        Ok(())
    }
}

fn write_entry(f: &mut fmt::Formatter<'_>, entry: &Grant, both_icmp: bool) -> fmt::Result {
    let Grant {
        protocol,
        first,
        last,
    } = *entry;
    if both_icmp && protocol == ICMP {
        return f.write_str("icmp");
    }
    let Some((name, _)) = WITH_PORTS.iter().find(|(_, number)| *number == protocol) else {
        return write!(f, "proto/{protocol}");
    };
    match (first, last) {
        (0, u16::MAX) => f.write_str(name),
        (first, last) if first == last => write!(f, "{name}/{first}"),
        (first, last) => write!(f, "{name}/{first}-{last}"),
    }
}

fn read(text: &str) -> Result<Vec<Grant>, GrantError> {
    let wrong = || GrantError::Form(shown(text));
    if text == "icmp" {
        return Ok(vec![whole(ICMP), whole(ICMPV6)]);
    }
    let (name, rest) = match text.split_once('/') {
        Some((name, rest)) => (name, Some(rest)),
        None => (text, None),
    };
    if name == "proto" {
        let protocol = rest.and_then(number).ok_or_else(wrong)?;
        return Ok(vec![whole(u8::try_from(protocol).map_err(|_| wrong())?)]);
    }
    let known = WITH_PORTS.iter().find(|(known, _)| *known == name);
    let (_, protocol) = *known.ok_or_else(wrong)?;
    let Some(ports) = rest else {
        return Ok(vec![whole(protocol)]);
    };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last) = (number(first).ok_or_else(wrong)?, number(last).ok_or_else(wrong)?);
    if first > last {
        return Err(GrantError::Reversed(shown(text)));
    }
    Ok(vec![Grant {
        protocol,
        first,
        last,
    }])
}

fn whole(protocol: u8) -> Grant {
    let last = if WITH_PORTS.iter().any(|(_, number)| *number == protocol) {
        u16::MAX
    } else {
        0
    };
    Grant {
        protocol,
        first: 0,
        last,
    }
}

/// One spelling per number: no sign, no leading zero.
fn number(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|digit| digit.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

fn merge(mut entries: Vec<Grant>) -> Vec<Grant> {
    entries.sort_unstable_by_key(|entry| (entry.protocol, entry.first, entry.last));
    let mut merged: Vec<Grant> = Vec::new();
    for entry in entries {
        match merged.last_mut() {
            Some(before)
                if before.protocol == entry.protocol
                    && u32::from(entry.first) <= u32::from(before.last) + 1 =>
            {
                before.last = before.last.max(entry.last);
            }
            Some(_) | None => merged.push(entry),
        }
    }
    merged
}

/// A wrong entry may hold anything, and be as long as a request.
fn shown(text: &str) -> String {
    text.escape_debug().take(SHOWN_LEN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn form(texts: &[&str]) -> Result<String, GrantError> {
        Grants::from_texts(texts).map(|grants| grants.to_string())
    }

    #[test]
    fn however_a_grant_is_written_it_has_one_form() {
        for (texts, canonical) in [
            (&[][..], "all"),
            (&["all"], "all"),
            (&["tcp/443"], "tcp/443"),
            (&["udp/53", "tcp/443"], "tcp/443,udp/53"),
            (&["tcp/80", "tcp/443", "tcp/80"], "tcp/80,tcp/443"),
            (&["tcp/10-20", "tcp/15-30", "tcp/31"], "tcp/10-31"),
            (&["tcp/1-65535", "tcp/0"], "tcp"),
            (&["proto/6"], "tcp"),
            (&["icmp"], "icmp"),
            (&["proto/58", "tcp/1", "proto/1"], "icmp,tcp/1"),
            (&["proto/58"], "proto/58"),
            (&["proto/1", "udp"], "proto/1,udp"),
            (&["sctp/9", "proto/47", "proto/47"], "proto/47,sctp/9"),
        ] {
            assert_eq!(form(texts).as_deref(), Ok(canonical), "{texts:?}");
        }
    }

    /// However often it repeats itself, a line is read as far as a list may go, and not cut in silence.
    #[test]
    fn a_line_holds_as_many_entries_as_a_list() {
        let line = |entries| vec!["tcp/1"; entries].join(",").parse::<Grants>();
        assert_eq!(
            line(ENTRIES_MAX).map(|grants| grants.to_string()),
            Ok("tcp/1".into())
        );
        assert_eq!(line(ENTRIES_MAX + 1), Err(GrantError::TooMany(ENTRIES_MAX + 1)));
    }

    #[test]
    fn what_is_no_grant_is_refused_by_its_name() {
        for bad in [
            "",
            " ",
            "tcp/",
            "tcp/-1",
            "tcp/1-",
            "tcp/-",
            "tcp/065",
            "tcp/+1",
            "tcp/65536",
            "tcp/1-2-3",
            "tcp 443",
            "TCP/443",
            "icmp/8",
            "icmp6",
            "proto",
            "proto/",
            "proto/256",
            "proto/047",
            "proto/6/443",
            "replies",
            "tcp/443,udp/53",
            "https",
            "tcp/٤٤٣",
        ] {
            assert_eq!(form(&[bad]), Err(GrantError::Form(shown(bad))), "{bad}");
        }
        assert_eq!(form(&["tcp/2-1"]), Err(GrantError::Reversed("tcp/2-1".into())));
        assert_eq!(form(&["tcp/1", "all"]), Err(GrantError::AllAmongOthers));
        let hostile = format!("\u{1b}[2J\n\u{202e}{}", "x".repeat(70_000));
        let told = form(&[&hostile]).unwrap_err().to_string();
        assert!(
            told.len() < 300 && !told.contains(['\u{1b}', '\n', '\u{202e}']),
            "{told}"
        );
    }

    #[test]
    fn a_grant_covers_what_lies_within_it_and_nothing_more() {
        let grants = |text: &str| text.parse::<Grants>().unwrap();
        for (held, asked, covered) in [
            ("all", "all", true),
            ("all", "tcp/1", true),
            ("tcp,udp,icmp", "all", false),
            ("tcp/1-9,udp/53", "tcp/3-9", true),
            ("tcp/1-9,udp/53", "tcp/3-10", false),
            ("tcp/1-9", "udp/3", false),
            ("proto/1", "icmp", false),
            ("icmp", "proto/58", true),
        ] {
            assert_eq!(grants(held).covers(&grants(asked)), covered, "{held} {asked}");
        }
        let unmerged = Grants::new(vec![
            Grant {
                protocol: TCP,
                first: 1,
                last: 9,
            },
            Grant {
                protocol: TCP,
                first: 10,
                last: 20,
            },
        ]);
        assert!(unmerged.unwrap().covers(&grants("tcp/5-15")));
    }

    #[test]
    fn the_bound_is_counted_after_merging() {
        let apart: Vec<String> = (0..17).map(|port| format!("tcp/{}", port * 2)).collect();
        assert_eq!(Grants::from_texts(&apart), Err(GrantError::TooMany(17)));
        assert!(Grants::from_texts(&apart[..16]).is_ok());
        let together: Vec<String> = (0..1_000).map(|port| format!("tcp/{port}")).collect();
        assert_eq!(Grants::from_texts(&together).unwrap().to_string(), "tcp/0-999");
        assert_eq!(
            Grants::from_texts(&vec!["icmp"; 1_025]),
            Err(GrantError::TooMany(1_025))
        );
    }

    proptest! {
        /// Wrong if false: a stored grant would come back as another one, or a pair would carry what nobody wrote.
        #[test]
        fn the_form_reads_back_as_the_same_grant_and_means_what_was_written(
            ranges in proptest::collection::vec((prop::sample::select(vec!["tcp", "udp", "sctp"]), 0u16..40, 0u16..6), 0..16),
            numbers in proptest::collection::vec(any::<u8>(), 0..4),
            asked in (prop::sample::select(vec![6u8, 17, 132, 1, 58, 47]), 0u16..50),
        ) {
            let mut texts: Vec<String> = ranges
                .iter()
                .map(|(name, first, more)| format!("{name}/{first}-{}", first + more))
                .collect();
            texts.extend(numbers.iter().map(|number| format!("proto/{number}")));
            let Ok(grants) = Grants::from_texts(&texts) else {
                return Ok(());
            };
            prop_assert_eq!(grants.to_string().parse::<Grants>(), Ok(grants.clone()));
            let (protocol, port) = asked;
            let port = if [6, 17, 132].contains(&protocol) { port } else { 0 };
            let of = |name: &str| WITH_PORTS.contains(&(name, protocol));
            let written = ranges.iter().any(|(name, first, more)| of(name) && (*first..=first + more).contains(&port))
                || numbers.contains(&protocol);
            let granted = grants.entries().iter().any(|entry| {
                entry.protocol == protocol && (entry.first..=entry.last).contains(&port)
            });
            prop_assert_eq!(granted, written);
        }

        #[test]
        fn no_text_at_all_makes_it_fail_in_another_way(text in "\\PC{0,60}") {
            let _ = text.parse::<Grants>();
        }
    }
}
