//! Packets by name: what is said, and what becomes of it from tap to uplink, from uplink to tap and from tap to tap,
//! in each family and over an underlay of each. One line is one case; a file holds one class.
//!
//! The columns of a line are its name, how its frame differs from a valid one, and three words for the three ways:
//! `passes`, `held`, `answered`, `not ours`, or the reason of the drop. Where a frame passes, every byte that comes
//! out is compared.

mod addresses;
mod course;
mod ethernet;
mod extension;
mod fragments;
mod grants;
mod header;
mod icmp;
mod seed;
mod states;
mod table;
mod transport;
mod tunnels;

use crate::world::{HOST, HOST6};
use course::Course;
use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
};
use table::Case;

fn all() -> Vec<Case> {
    [
        ethernet::cases(),
        header::cases(),
        addresses::cases(),
        fragments::cases(),
        extension::cases(),
        transport::cases(),
        icmp::cases(),
        tunnels::cases(),
        states::cases(),
        grants::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn run_over(underlay: std::net::IpAddr) {
    let mut course = Course::on(underlay);
    let cases = all();
    // Every line that fails is shown, not the first alone.
    let failed = cases
        .iter()
        .filter(|case| catch_unwind(AssertUnwindSafe(|| course.run(case))).is_err());
    let failed: Vec<_> = failed.map(|case| case.name).collect();
    assert!(
        failed.is_empty(),
        "{} lines fail over {underlay}: {failed:#?}",
        failed.len()
    );
    println!(
        "{} named cases in {} runs over {underlay}",
        cases.len(),
        course.runs
    );
}

/// Wrong if it fails: a frame of a class that has been thought of does something else than has been decided.
#[test]
fn every_named_case_ends_as_its_line_says_over_ipv4() {
    run_over(HOST.into());
}

#[test]
fn every_named_case_ends_as_its_line_says_over_ipv6() {
    run_over(HOST6.into());
}

#[test]
fn every_case_has_a_name_of_its_own() {
    let mut names = BTreeSet::new();
    for case in all() {
        assert!(names.insert(case.name), "{} is there twice", case.name);
    }
}
