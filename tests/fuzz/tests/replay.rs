//! The corpus, and every input that ever made a target fail, without cargo-fuzz.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use pairgate_fuzz::targets;
use std::{fs, path::Path};

/// Runs each target on the files of its folder.
fn replay(folder: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    // A folder that git has nothing in is not there.
    for entry in fs::read_dir(&folder).into_iter().flatten() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let target = targets()
            .find(|target| target.name == name)
            .unwrap_or_else(|| panic!("no target is called {name}"));
        for input in fs::read_dir(entry.path()).unwrap() {
            let path = input.unwrap().path();
            // A failure names its input above the panic's own words.
            eprintln!("{}", path.display());
            (target.run)(&fs::read(path).unwrap());
        }
    }
}

#[test]
fn what_once_made_a_target_fail_does_so_no_more() {
    replay("regressions");
}

#[test]
fn no_target_fails_on_its_corpus_and_each_has_one() {
    replay("corpus");
    for target in targets() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(target.name);
        let files = fs::read_dir(&folder).map_or(0, Iterator::count);
        assert!(
            files > 0,
            "{} has no corpus: run cargo xtask fuzz {0} and keep a few inputs",
            target.name
        );
    }
}

#[test]
fn every_target_is_a_program_too() {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("run/fuzz_targets");
    let mut programs: Vec<_> = fs::read_dir(programs)
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let mut targets: Vec<_> = targets().map(|target| target.name.to_owned()).collect();
    programs.sort_unstable();
    targets.sort_unstable();
    assert_eq!(programs, targets);
}

#[test]
fn no_target_fails_on_nothing_or_on_one_byte() {
    for target in targets() {
        (target.run)(&[]);
        for byte in 0..=255_u8 {
            (target.run)(&[byte]);
        }
    }
}
