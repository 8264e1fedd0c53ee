//! The pages that name tests: whatever they name exists, so that a test that goes or gets another name takes its
//! place on the page along. Needs neither root nor a laboratory.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cells of a page's tables, row by row; headings and the lines under them left out.
fn rows(page: &str) -> Vec<Vec<String>> {
    let text = read(&root().join("docs").join(page));
    let lines: Vec<_> = text.lines().collect();
    let is_rule = |line: Option<&&str>| line.is_some_and(|line| line.starts_with("|--"));
    let rows = lines.iter().enumerate().filter(|(at, line)| {
        line.starts_with('|') && !line.starts_with("|--") && !is_rule(lines.get(at + 1))
    });
    rows.map(|(_, line)| {
        line.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect()
    })
    .collect()
}

/// What a cell names, between backticks.
fn named(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Every name in the case tables: the first thing between quotes in a line that is a case.
fn cases() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in fs::read_dir(root().join("tests/e2e/tests/packets/cases")).unwrap() {
        for line in read(&file.unwrap().path()).lines() {
            let line = line.trim();
            let is_case = ["both(", "pair(", "differ(", "v4(", "v6(", "line(", "Guard {"]
                .iter()
                .any(|maker| line.starts_with(maker));
            if is_case && let Some(name) = line.split('"').nth(1) {
                names.insert(name.to_owned());
            }
        }
    }
    assert!(names.len() >= 600, "only {} cases were found", names.len());
    names
}

/// True if the file has a test of that name.
fn is_test(reference: &str) -> bool {
    let Some((file, name)) = reference.split_once("::") else {
        return false;
    };
    let here = root().join("tests/e2e/tests").join(file);
    let path = if here.exists() { here } else { root().join(file) };
    let Ok(text) = fs::read_to_string(path) else {
        return false;
    };
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let begins = [format!("fn {name}("), format!("async fn {name}(")];
    lines.iter().enumerate().any(|(at, line)| {
        let above = &lines[at.saturating_sub(6)..at];
        let marked = above
            .iter()
            .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"));
        marked && begins.iter().any(|begin| line.starts_with(begin.as_str()))
    })
}

/// Wrong if it fails: a page says that something is shown by a test that is not there.
#[test]
fn whatever_the_pages_name_exists() {
    let cases = cases();
    let is_case = |name: &str| match name.strip_suffix('*') {
        Some(start) => cases.iter().any(|case| case.starts_with(start)),
        None => cases.contains(name),
    };
    let mut missing = Vec::new();
    for page in ["attacks.md", "invariants.md"] {
        for row in rows(page) {
            let shown_by = row.last().unwrap();
            let names = named(shown_by);
            if names.is_empty() && !shown_by.contains("open: ") {
                missing.push(format!("{page}: {} is shown by nothing", row[0]));
            }
            let unknown = names.iter().filter(|name| !is_test(name) && !is_case(name));
            missing.extend(unknown.map(|name| format!("{page}: {}: {name}", row[0])));
        }
    }
    assert!(
        missing.is_empty(),
        "these tests do not exist (any more); mend the pages: {missing:#?}"
    );
}

/// Wrong if it fails: an attack was struck from the page, or stands there twice.
#[test]
fn every_attack_of_the_groups_that_are_promised_has_one_row() {
    let rows = rows("attacks.md");
    let ids = |prefix: &'static str, numbers: std::ops::RangeInclusive<u32>| {
        numbers.map(move |n| format!("{prefix}{n}"))
    };
    for id in ids("G", 1..=38).chain(ids("U", 1..=17)).chain(ids("F", 6..=10)) {
        assert_eq!(rows.iter().filter(|row| row[0] == id).count(), 1, "{id}");
    }
}
