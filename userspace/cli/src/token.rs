//! `pairgate token`: judges a token right here, asking nobody.
//!
//! `verify` needs the destination VM's key and applies every rule in the contract's order. `inspect` may go
//! without: then the tag stays unchecked and "valid" is about the form alone, which standard error says. Both
//! print one JSON object whatever `-o` says. Key files are read into memory that is overwritten, and errors
//! say where a key is malformed, never what it holds.

use crate::failure::{Answer, Failure};
use crate::output;
use clap::{Args, Subcommand};
use pairgate_api::local::{GrantClaim, TokenClaims};
use pairgate_token::{Claims, Grant, Refusal, SECRET_KEY_LEN, SecretKey, UnverifiedToken};
use serde::Serialize;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Digits in a key file.
const KEY_DIGITS: usize = SECRET_KEY_LEN * 2;
/// Most bytes that are read as a token. Far above any token's length, so that what is too long for one still gets
/// its verdict; a stream without end does not.
const TOKEN_INPUT_LIMIT: u64 = 16 << 20;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what a token says; its tag is checked only with --key-file
    #[command(after_help = "Example:\n  pairgate token inspect - < token.txt")]
    Inspect {
        /// 64 hexadecimal digits: the secret key of the destination VM's placement
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
        #[command(flatten)]
        subject: Subject,
    },
    /// Say whether a token is genuine and well made, and with --at whether it holds then
    #[command(after_help = "Prints {\"valid\":true,\"claims\":{...}} and ends with 0, or \
                      {\"valid\":false,\"refused_because\":\"word\"} and ends with 1.\n\n\
                      Example:\n  pairgate token verify --key-file db1.key --at $(date +%s) - < token.txt")]
    Verify {
        /// 64 hexadecimal digits: the secret key of the destination VM's placement
        #[arg(long, value_name = "FILE")]
        key_file: PathBuf,
        #[command(flatten)]
        subject: Subject,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Subject {
    /// The token as base64url text, or - to read it from standard input, where no other user can see it
    // Bytes that are no token may well begin with a hyphen, and deserve the same answer as others.
    #[arg(allow_hyphen_values = true)]
    token: OsString,
    /// Judge the time too: is the token early or expired at this instant?
    #[arg(long, value_name = "UNIX_SECS")]
    at: Option<u64>,
}

pub(crate) fn run(command: Command) -> Result<Answer, Failure> {
    let (key_file, subject) = match command {
        Command::Inspect { key_file, subject } => (key_file, subject),
        Command::Verify { key_file, subject } => (Some(key_file), subject),
    };
    let key = key_file.as_deref().map(read_key_file).transpose()?;
    let Subject { token, at } = subject;
    let judged = judge(&token_text(token)?, key.as_ref(), at);
    output::line(&json(&judged)?)?;
    match judged {
        Ok(_) => {
            if key.is_none() {
                output::complain(
                    "note: the tag was not checked, anybody can have made this; give --key-file",
                );
            }
            Ok(Answer::Yes)
        }
        Err(_) => Ok(Answer::No),
    }
}

/// The claims, or the word.
fn judge(text: &[u8], key: Option<&SecretKey>, at: Option<u64>) -> Result<Claims, &'static str> {
    let claims = read(text, key).map_err(Refusal::word)?;
    if let Some(unix_secs) = at {
        claims.judge(unix_secs).map_err(|untimely| untimely.word())?;
    }
    Ok(claims)
}

fn read(text: &[u8], key: Option<&SecretKey>) -> Result<Claims, Refusal> {
    let token = UnverifiedToken::from_text(text)?;
    match key {
        Some(key) => token.verify(key).map(|token| token.claims().clone()),
        None => token.claims_without_proof(),
    }
}

fn token_text(token: OsString) -> Result<Vec<u8>, Failure> {
    if token != "-" {
        return Ok(token.into_vec());
    }
    let mut text = Vec::new();
    let read = io::stdin()
        .lock()
        .take(TOKEN_INPUT_LIMIT + 1)
        .read_to_end(&mut text);
    read.map_err(|error| Failure::could_not_tell("cannot read the token", error.to_string()))?;
    if text.len() as u64 > TOKEN_INPUT_LIMIT {
        return Err(
            Failure::could_not_tell("cannot read the token", "standard input holds over 16 MiB")
                .next("check what is sent there: a token is at most a few hundred characters"),
        );
    }
    without_newline(&mut text);
    Ok(text)
}

/// Wrong contents end with 3 like a missing file, not with 1 or 2: the command line is in order, and nothing
/// has been found out about the token.
fn read_key_file(path: &Path) -> Result<SecretKey, Failure> {
    let what = format!("cannot read the key file {}", path.display());
    // Room for the digits, one newline, and one byte more to see that there is too much. Never grows, so no
    // copy of the key stays behind.
    let mut text = Zeroizing::new(Vec::with_capacity(KEY_DIGITS + 2));
    let read = File::open(path).and_then(|file| fill(file, &mut text));
    read.map_err(|error| Failure::could_not_tell(&what, error.to_string()).next("check --key-file"))?;
    without_newline(&mut text);
    SecretKey::from_hex(&text).map_err(|error| {
        Failure::could_not_tell(&what, error.to_string())
            .next("the file must hold 64 hexadecimal digits and at most one newline after them")
    })
}

/// Reads up to the room that there is, and no further.
fn fill(mut file: File, text: &mut Vec<u8>) -> io::Result<()> {
    let mut byte = Zeroizing::new([0]);
    while text.len() < text.capacity() {
        match file.read(byte.as_mut_slice()) {
            Ok(0) => break,
            Ok(_) => text.extend_from_slice(byte.as_slice()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Drops one newline from the end, as editors and `echo` leave it; a second one is part of the text.
fn without_newline(text: &mut Vec<u8>) {
    if text.last() == Some(&b'\n') {
        text.pop();
    }
}

fn json(judged: &Result<Claims, &'static str>) -> Result<String, Failure> {
    let text = match judged {
        Ok(claims) => serde_json::to_string(&Valid {
            valid: true,
            claims: claims_json(claims),
        }),
        Err(word) => serde_json::to_string(&Invalid {
            valid: false,
            refused_because: word,
        }),
    };
    text.map_err(|error| Failure::could_not_tell("cannot print the answer", error.to_string()))
}

#[derive(Serialize)]
struct Valid {
    valid: bool,
    claims: TokenClaims,
}

#[derive(Serialize)]
struct Invalid {
    valid: bool,
    refused_because: &'static str,
}

/// With the names and types of the public vectors: a contract with whoever reads this output.
fn claims_json(claims: &Claims) -> TokenClaims {
    let grant = |entry: &Grant| GrantClaim {
        protocol: entry.protocol,
        first: entry.first,
        last: entry.last,
    };
    TokenClaims {
        flags: u8::from(claims.replies_only),
        dst_port: claims.overlay_port,
        pair_id: claims.pair_id,
        src_generation: claims.source_generation,
        dst_generation: claims.destination_generation,
        network: claims.network,
        src_vm: claims.source_vm,
        dst_vm: claims.destination_vm,
        src_addr: claims.source_address,
        dst_addr: claims.destination_address,
        src_host: claims.source_host,
        dst_host: claims.destination_host,
        not_before: claims.not_before_unix_secs,
        expires: claims.expires_unix_secs,
        grants: claims.grants.entries().iter().map(grant).collect(),
    }
}
