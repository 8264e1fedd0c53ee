//! `pairgate audit`: what was done, by whom, and whether the record of it is whole.

use crate::arguments::{Options, Output};
use crate::certificate::Length;
use crate::client::Registry;
use crate::failure::{Answer, Failure};
use crate::output::{Table, line};
use crate::times::utc;
use clap::Subcommand;
use pairgate_api::audit::{Broken, Chain, Head, Page, Row};
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

/// Rows asked for at once; the registry gives no more.
const PAGE_LEN: u32 = 1_000;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// What was done, oldest first
    #[command(after_help = "Example: what happened in the last two hours?\n  pairgate audit list --since 2h")]
    List {
        /// Only what is not older than this: 90s, 30m, 2h or 7d
        #[arg(long, value_name = "AGE")]
        since: Option<Length>,
    },
    /// Read every row and check that none was changed or cut out
    ///
    /// Each row carries the hash of the row before. The check is made here, from the first row to the last; what
    /// the registry says of its own rows is not believed. The last line gives the newest row's number and hash:
    /// note them somewhere else, and give them with --noted next time, and nobody can have written the whole
    /// record anew in between.
    #[command(
        after_help = "Example: is the record whole, and still the one of last week?\n  \
                      pairgate audit verify --noted 120:1f0c…"
    )]
    Verify {
        /// Number and hash of a row, as an earlier verify has printed them
        #[arg(long, value_name = "NUMBER:HASH")]
        noted: Option<Noted>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Noted(Head);

#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("what was noted is a row's number, a colon and 64 hexadecimal digits")]
pub(crate) struct BadNoted;

impl FromStr for Noted {
    type Err = BadNoted;

    fn from_str(text: &str) -> Result<Self, BadNoted> {
        let (number, hash) = text.split_once(':').ok_or(BadNoted)?;
        let sound = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if hash.len() != 64 || !hash.bytes().all(sound) {
            return Err(BadNoted);
        }
        let number = number.parse().map_err(|_| BadNoted)?;
        let hash = hash.to_owned();
        Ok(Self(Head { number, hash }))
    }
}

pub(crate) async fn run(command: Command, options: &Options) -> Result<Answer, Failure> {
    let registry = Registry::new(options)?;
    match command {
        Command::List { since } => list(&registry, since, options.output).await,
        Command::Verify { noted } => verify(&registry, noted, options.output).await,
    }
}

async fn page(registry: &Registry, what: &str, after: u64, since_unix_ms: u64) -> Result<Page, Failure> {
    let path = format!("audit?after={after}&since_unix_ms={since_unix_ms}&limit={PAGE_LEN}");
    registry.get(what, &path).await.map(|reply| reply.value)
}

async fn list(registry: &Registry, since: Option<Length>, output: Output) -> Result<Answer, Failure> {
    let what = "cannot read the audit";
    let since_unix_ms = since.map_or(0, |Length(secs)| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        now.as_secs().saturating_sub(secs) * 1_000
    });
    let mut rows: Vec<Row> = Vec::new();
    loop {
        let after = rows.last().map_or(0, |row| row.number);
        let page = page(registry, what, after, since_unix_ms).await?;
        // The page after the last one is empty, also while rows are written.
        if page.rows.is_empty() {
            break;
        }
        rows.extend(page.rows);
    }
    match output {
        Output::Json => {
            let text =
                serde_json::to_string(&rows).map_err(|error| Failure::failed(what, error.to_string()))?;
            line(&text)?;
        }
        Output::Table => line(&table(&rows))?,
    }
    Ok(Answer::Yes)
}

fn table(rows: &[Row]) -> String {
    let mut table = Table::new(["NUMBER", "TIME", "WHO", "WHAT", "DETAIL"]);
    for row in rows {
        table.row([
            row.number.to_string(),
            utc(row.unix_ms),
            row.actor.clone(),
            row.event.clone(),
            row.detail.clone(),
        ]);
    }
    table.render()
}

async fn verify(registry: &Registry, noted: Option<Noted>, output: Output) -> Result<Answer, Failure> {
    let what = "cannot read the audit";
    let mut reading = Reading::new(noted);
    let found = loop {
        let page = page(registry, what, reading.chain.number(), 0).await?;
        match reading.take(&page) {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(broken) => break Err(broken),
        }
    };
    let (number, hash) = (reading.chain.number(), reading.chain.hash());
    let (text, answer) = match (&found, output) {
        (Ok(()), Output::Table) => (
            format!("sound: {number} rows\nnote it: {number}:{hash}"),
            Answer::Yes,
        ),
        (Err(broken), Output::Table) => (format!("NOT SOUND: {broken}"), Answer::No),
        (Ok(()), Output::Json) => {
            let head = serde_json::json!({"sound": true, "number": number, "hash": hash});
            (head.to_string(), Answer::Yes)
        }
        (Err(broken), Output::Json) => {
            let broken = serde_json::json!({"sound": false, "because": broken.to_string()});
            (broken.to_string(), Answer::No)
        }
    };
    line(&text)?;
    Ok(answer)
}

/// The whole record, page by page.
struct Reading {
    chain: Chain,
    noted: Option<Head>,
}

impl Reading {
    fn new(noted: Option<Noted>) -> Self {
        Self {
            chain: Chain::default(),
            noted: noted.map(|Noted(head)| head),
        }
    }

    /// Whether there may be more.
    fn take(&mut self, page: &Page) -> Result<bool, Broken> {
        for row in &page.rows {
            self.chain.take(row)?;
            if let Some(noted) = &self.noted {
                self.chain.is_as_noted(noted)?;
            }
        }
        if !page.rows.is_empty() {
            return Ok(true);
        }
        self.chain.end(&page.head)?;
        match &self.noted {
            Some(noted) if noted.number > self.chain.number() => Err(Broken::Missing {
                first: self.chain.number() + 1,
                last: noted.number,
            }),
            Some(_) | None => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_cut_back_behind_what_was_noted_is_not_sound() {
        let hash = "a".repeat(64);
        let noted: Noted = format!("3:{hash}").parse().unwrap();
        let head = Head {
            number: 0,
            hash: "0".repeat(64),
        };
        let page = Page {
            rows: Vec::new(),
            head,
        };
        assert_eq!(Reading::new(None).take(&page), Ok(false));
        let cut = Reading::new(Some(noted)).take(&page);
        assert_eq!(cut, Err(Broken::Missing { first: 1, last: 3 }));
        for bad in ["", "3", "3:abc", ":", "x:y"] {
            assert!(bad.parse::<Noted>().is_err(), "{bad}");
        }
    }
}
