//! Packets as a file that can be read, kept and tried again.
//!
//! ```text
//! # what went wrong
//! host v6-device
//! mood events-spent
//! packet from_tap guest mark=0 gso=0/0
//! 02504700000102000000000b0800…
//! expect grant
//! ```
//! A packet's bytes may take several lines; what is expected of it need not be said, then both sides must only agree. The packets go through one after another, because one can change what
//! becomes of the next.
use crate::{
    bench::{Bench, Fault, Mood},
    oracle::{Baggage, Input},
    world::{Kind, Link, Links, own::Own},
};
use anyhow::{Context, Result, bail, ensure};
use pairgate_agent::datapath::Program;
use std::{fmt::Write, path::Path};

/// A host and the packets that went through it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// What it shows.
    pub about: String,
    /// Which kind of host.
    pub kind: Kind,
    /// What is used up before.
    pub mood: Mood,
    /// The packets; interfaces by their place in [`Link::ALL`], because indices differ.
    pub packets: Vec<(Link, Input)>,
    /// What must come of each, by its number, in one word.
    pub expected: Vec<(usize, String)>,
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes(line: &str) -> Result<Vec<u8>> {
    let digits: Vec<u8> = line.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    ensure!(digits.len().is_multiple_of(2), "an odd number of digits");
    let pair = |pair: &[u8]| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?);
    digits.chunks(2).map(pair).collect()
}

impl Replay {
    /// The packets of a host, with interfaces by their index.
    pub fn of(about: &str, kind: Kind, mood: Mood, links: &Links, inputs: &[Input]) -> Result<Self> {
        let named = |input: &Input| {
            let link = links
                .link(input.interface)
                .context("an interface that the host has not")?;
            Ok((link, input.clone()))
        };
        Ok(Self {
            about: about.to_owned(),
            kind,
            mood,
            packets: inputs.iter().map(named).collect::<Result<_>>()?,
            expected: Vec::new(),
        })
    }

    /// As text.
    pub fn written(&self) -> String {
        let mut text = String::new();
        for line in self.about.lines() {
            let _ = writeln!(text, "# {line}");
        }
        let _ = writeln!(text, "host {}\nmood {}", self.kind, self.mood);
        for (number, (link, input)) in self.packets.iter().enumerate() {
            let Baggage {
                mark,
                gso_size,
                gso_segments,
            } = input.baggage;
            let program = input.program.name();
            let _ = writeln!(
                text,
                "packet {program} {} mark={mark:#x} gso={gso_size}/{gso_segments}",
                link.name()
            );
            for line in input.frame.chunks(48) {
                let _ = writeln!(text, "{}", hex(line));
            }
            for (_, word) in self.expected.iter().filter(|(of, _)| *of == number) {
                let _ = writeln!(text, "expect {word}");
            }
        }
        text
    }

    /// From text.
    pub fn parse(text: &str) -> Result<Self> {
        let mut replay = Self {
            about: String::new(),
            kind: Kind::ALL[0],
            mood: Mood::default(),
            packets: Vec::new(),
            expected: Vec::new(),
        };
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "#" => replay.about = format!("{}{rest}\n", replay.about),
                "host" => replay.kind = rest.parse()?,
                "mood" => replay.mood = rest.parse()?,
                "expect" => {
                    let last = replay.packets.len().checked_sub(1);
                    replay
                        .expected
                        .push((last.context("no packet to expect anything of")?, rest.to_owned()));
                }
                "packet" => replay.packets.push(packet(rest)?),
                _ => match replay.packets.last_mut() {
                    Some((_, input)) => input.frame.extend(bytes(line).with_context(|| line.to_owned())?),
                    None => bail!("not a line of a replay: {line:?}"),
                },
            }
        }
        ensure!(!replay.packets.is_empty(), "a replay without packets");
        Ok(replay)
    }

    /// Puts the packets through both sides; the words of what becomes of them, if those agree.
    pub fn run(&self, own: &Own) -> Result<Result<Vec<&'static str>, String>> {
        let mut bench = Bench::new(self.kind, &own.links)?;
        bench.begin(self.mood)?;
        let mut words = Vec::new();
        for (number, (link, input)) in self.packets.iter().enumerate() {
            let mut input = input.clone();
            input.interface = own.links.index(*link);
            if input.baggage.mark == OWN_MARK {
                input.baggage.mark = bench.mark();
            }
            match bench.check_alone(&input) {
                Ok(outcome) => {
                    let mut expected = self.expected.iter().filter(|(of, _)| *of == number);
                    if let Some((_, word)) = expected.find(|(_, word)| word != outcome.word) {
                        return Ok(Err(format!(
                            "packet {number}: both say {}, and not {word}",
                            outcome.word
                        )));
                    }
                    words.push(outcome.word);
                }
                Err(Fault::Differs(what)) => return Ok(Err(format!("packet {number}: {what}"))),
                Err(Fault::Failed(error)) => return Err(error),
            }
        }
        match bench.settle() {
            Ok(()) => Ok(Ok(words)),
            Err(Fault::Differs(what)) => Ok(Err(what)),
            Err(Fault::Failed(error)) => Err(error),
        }
    }
}

/// Stands for the mark of the programs, which is another each time they are loaded.
pub const OWN_MARK: u32 = 0x6d61_726b;

fn packet(line: &str) -> Result<(Link, Input)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [program, link, mark, gso] = words[..] else {
        bail!("not a packet: {line:?}");
    };
    let mark = mark.strip_prefix("mark=0x").context("mark=0x…")?;
    let gso = gso.strip_prefix("gso=").and_then(|gso| gso.split_once('/'));
    let (size, segments) = gso.context("gso=size/segments")?;
    let found = Link::ALL.into_iter().find(|known| known.name() == link);
    let input = Input {
        program: Program::from_name(program).context("no such program")?,
        interface: 0,
        baggage: Baggage {
            mark: u32::from_str_radix(mark, 16)?,
            gso_size: size.parse()?,
            gso_segments: segments.parse()?,
        },
        frame: Vec::new(),
    };
    Ok((found.context("no such interface")?, input))
}

/// Tries the replays in these files, or in every file of these folders, and says what each came to.
pub fn all(paths: &[impl AsRef<Path>], own: &Own) -> Result<()> {
    let mut files = Vec::new();
    for path in paths.iter().map(AsRef::as_ref) {
        if path.is_dir() {
            for entry in std::fs::read_dir(path)? {
                files.push(entry?.path());
            }
        } else {
            files.push(path.to_path_buf());
        }
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    let mut wrong = Vec::new();
    for file in files {
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let replay = Replay::parse(&text).with_context(|| file.display().to_string())?;
        let name = file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        match replay.run(own)? {
            Ok(words) => println!("same  {name}: {}", words.join(", ")),
            Err(what) => {
                println!("OTHER {name}: {what}");
                wrong.push(name);
            }
        }
    }
    ensure!(
        wrong.is_empty(),
        "the kernel and the oracle differ: {}",
        wrong.join(", ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_says_the_same_when_it_is_read_again() {
        let text = "# one\nhost v6-busy\nmood lease-ended\npacket from_tap guest mark=0x1 gso=2/3\n0102\nexpect grant\n";
        let replay = Replay::parse(text).unwrap();
        assert_eq!(replay.packets[0].1.frame, [1, 2]);
        assert_eq!(Replay::parse(&replay.written()).unwrap(), replay);
        for wrong in ["", "0102", "packet from_tap guest mark=1 gso=0/0", "host v5"] {
            Replay::parse(wrong).unwrap_err();
        }
    }
}
