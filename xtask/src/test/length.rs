//! A file that can be read at one sitting: no Rust source is longer than [`MOST_LINES`].

use crate::place::Place;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

const MOST_LINES: usize = 600;

pub(super) fn check(place: &Place) -> Result<()> {
    let sources = sources(&place.root)?;
    let mut long = Vec::new();
    for path in &sources {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let lines = text.lines().count();
        if lines > MOST_LINES {
            long.push(format!("{} has {lines} lines", path.display()));
        }
    }
    if !long.is_empty() {
        bail!(
            "no Rust source may have more than {MOST_LINES} lines: {}",
            long.join("; ")
        );
    }
    eprintln!("{} Rust sources, none over {MOST_LINES} lines", sources.len());
    Ok(())
}

/// Every Rust source of the checkout, without what was built.
pub(super) fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if name != "target" && name != ".git" {
                found.extend(sources(&path)?);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}
