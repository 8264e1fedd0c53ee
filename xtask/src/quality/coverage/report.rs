//! What `llvm-cov export` says, with the counts of all copies of a function added up.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Export {
    data: Vec<Data>,
}

#[derive(Deserialize)]
struct Data {
    functions: Vec<Function>,
}

#[derive(Deserialize)]
struct Function {
    filenames: Vec<String>,
    /// Start line and column, end line and column, count, file, expanded file, kind.
    regions: Vec<[u64; 8]>,
    /// Start line and column, end line and column, count if true, count if false, file, and what is not needed.
    branches: Vec<Value>,
}

/// A region that is code, and not a comment, a gap or a macro.
const CODE: u64 = 0;

/// File, start line, start column, end line, end column.
type Place = (String, u64, u64, u64, u64);

/// How often each piece of code and each side of a condition was reached.
#[derive(Debug, Default)]
pub(super) struct Report {
    pieces: BTreeMap<Place, u64>,
    branches: BTreeMap<Place, (u64, u64)>,
}

/// What no test reaches.
#[derive(Debug)]
pub(super) struct Gap {
    /// From the checkout's root.
    pub(super) file: String,
    line: u64,
    column: u64,
    what: &'static str,
    /// The line.
    pub(super) code: String,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "  {}:{}:{} {}: {}",
            self.file, self.line, self.column, self.what, self.code
        )
    }
}

impl Report {
    /// Of the code below these folders.
    pub(super) fn read(text: &str, folders: &[PathBuf]) -> Result<Self> {
        let export: Export = serde_json::from_str(text).context("what llvm-cov says")?;
        let mut report = Self::default();
        for function in export.data.into_iter().flat_map(|data| data.functions) {
            let file = |at: u64| {
                let file = function.filenames.get(usize::try_from(at).ok()?)?;
                let inside = folders.iter().any(|folder| Path::new(file).starts_with(folder));
                inside.then(|| file.clone())
            };
            for [line, column, end_line, end_column, count, at, _, kind] in function.regions {
                if let (CODE, Some(file)) = (kind, file(at)) {
                    let place = (file, line, column, end_line, end_column);
                    let sum = report.pieces.entry(place).or_default();
                    *sum = sum.saturating_add(count);
                }
            }
            for branch in &function.branches {
                let numbers = branch
                    .as_array()
                    .map(|fields| fields.iter().filter_map(Value::as_u64));
                let numbers: Vec<u64> = numbers.into_iter().flatten().collect();
                let [line, column, end_line, end_column, yes, no, at, ..] = numbers[..] else {
                    continue;
                };
                if let Some(file) = file(at) {
                    let place = (file, line, column, end_line, end_column);
                    let sum = report.branches.entry(place).or_default();
                    *sum = (sum.0.saturating_add(yes), sum.1.saturating_add(no));
                }
            }
        }
        ensure!(
            !report.pieces.is_empty() && !report.branches.is_empty(),
            "llvm-cov has found no code or no conditions"
        );
        Ok(report)
    }

    /// Everything that was not reached, in the order of the files.
    pub(super) fn gaps(&self, root: &Path) -> Result<Vec<Gap>> {
        let mut gaps = Vec::new();
        let mut sources = Sources::default();
        let pieces = self.pieces.iter().filter(|(_, count)| **count == 0);
        for (place, _) in pieces {
            gaps.extend(sources.gap(root, place, "is not reached")?);
        }
        for (place, (yes, no)) in &self.branches {
            if *yes == 0 {
                gaps.extend(sources.gap(root, place, "is never true")?);
            }
            if *no == 0 {
                gaps.extend(sources.gap(root, place, "is never false")?);
            }
        }
        gaps.sort_by(|one, other| {
            (&one.file, one.line, one.column).cmp(&(&other.file, other.line, other.column))
        });
        Ok(gaps)
    }

    /// Pieces of code and sides of conditions in a folder, without those of the tests.
    pub(super) fn counts(&self, folder: &Path) -> Result<(usize, usize)> {
        let mut sources = Sources::default();
        let mut counts = (0, 0);
        let inside = |place: &&Place| Path::new(&place.0).starts_with(folder);
        for place in self.pieces.keys().filter(inside) {
            counts.0 += usize::from(sources.is_code(place)?);
        }
        for place in self.branches.keys().filter(inside) {
            counts.1 += 2 * usize::from(sources.is_code(place)?);
        }
        Ok(counts)
    }
}

/// The files' lines, up to where their tests begin.
#[derive(Default)]
struct Sources(BTreeMap<String, Vec<String>>);

impl Sources {
    fn lines(&mut self, file: &str) -> Result<&[String]> {
        if !self.0.contains_key(file) {
            let text = fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
            let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
            self.0.insert(file.to_owned(), lines.map(str::to_owned).collect());
        }
        Ok(self.0.get(file).map_or(&[], Vec::as_slice))
    }

    /// The line of a place; none if it belongs to a test.
    fn line(&mut self, place: &Place) -> Result<Option<String>> {
        let at = usize::try_from(place.1)?.saturating_sub(1);
        Ok(self.lines(&place.0)?.get(at).cloned())
    }

    fn is_code(&mut self, place: &Place) -> Result<bool> {
        Ok(self.line(place)?.is_some())
    }

    fn gap(&mut self, root: &Path, place: &Place, what: &'static str) -> Result<Option<Gap>> {
        let code = self.line(place)?;
        let file = Path::new(&place.0).strip_prefix(root).ok();
        Ok(file.zip(code).map(|(file, code)| Gap {
            file: file.display().to_string(),
            line: place.1,
            column: place.2,
            what,
            code: code.trim().to_owned(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPORT: &str = r#"{"data": [{"functions": [
        {"filenames": ["a.rs"], "regions": [[1, 1, 2, 1, 0, 0, 0, 0], [9, 1, 9, 2, 0, 0, 0, 0]],
         "branches": [[1, 3, 1, 5, 4, 0, 0, 0, 4]]},
        {"filenames": ["a.rs"], "regions": [[1, 1, 2, 1, 3, 0, 0, 0], [2, 1, 2, 2, 0, 0, 0, 0]],
         "branches": [[1, 3, 1, 5, 0, 2, 0, 0, 4], [2, 3, 2, 5, 1, 0, 0, 0, 4]]}
    ]}]}"#;

    #[test]
    fn copies_count_together_and_tests_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.rs");
        fs::write(&file, "one\n  two\n#[cfg(test)]\nmod tests {}\n").unwrap();
        let report = Report::read(
            &EXPORT.replace("a.rs", file.to_str().unwrap()),
            &[folder.path().to_path_buf()],
        )
        .unwrap();
        assert_eq!(report.counts(folder.path()).unwrap(), (2, 4));
        let gaps: Vec<_> = report
            .gaps(folder.path())
            .unwrap()
            .iter()
            .map(Gap::to_string)
            .collect();
        assert_eq!(
            gaps,
            ["  a.rs:2:1 is not reached: two", "  a.rs:2:3 is never false: two"]
        );
    }
}
