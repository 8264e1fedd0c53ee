//! Packets by name: what is said, and what becomes of it from tap to uplink, from uplink to tap and from tap to tap,
//! in each family and over an underlay of each. One line is one case; a file holds one class.
//!
//! The columns of a line are its name, how its frame differs from a valid one, and three words for the three ways:
//! `passes`, `held`, `answered`, `not ours`, `refused` (by the kernel, before any program), or the reason of the drop.
//! Where a frame passes, what comes out is compared with what must.

mod addresses;
mod course;
mod device;
mod errors;
mod ethernet;
mod extension;
mod fragments;
mod grants;
mod guard;
mod header;
mod icmp;
mod offload;
mod outer;
mod questions;
mod seed;
mod sizes;
mod states;
mod table;
mod transport;
mod tunnels;
mod wired;

use crate::world::{HOST, HOST6};
use course::Course;
use pairgate_abi::DROP_REASONS;
use std::{
    collections::BTreeSet,
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
};
use table::{Case, NOTHING};

/// A line of any table.
enum Line {
    Packet(Case),
    Outer(outer::Outer),
    Guard(guard::Guard),
    Wired(wired::Wired),
}

impl Line {
    fn name(&self) -> &'static str {
        match self {
            Self::Packet(line) => line.name,
            Self::Outer(line) => line.name,
            Self::Guard(line) => line.name,
            Self::Wired(line) => line.name,
        }
    }

    fn outcomes(&self) -> Vec<&'static str> {
        match self {
            Self::Packet(line) => {
                let families = [line.four, line.six].into_iter().flatten();
                families.flat_map(|(_, outcomes)| outcomes).collect()
            }
            Self::Outer(line) => line.outcomes().collect(),
            Self::Guard(line) => vec![line.outcome],
            Self::Wired(line) => {
                let words = [line.four, line.six].into_iter().flatten();
                words.filter(|word| !word.contains(" or ")).collect()
            }
        }
    }

    /// True if it is run in both families, each of the three ways.
    fn is_everywhere(&self) -> bool {
        let ways = match self {
            Self::Packet(Case {
                four: Some((_, four)),
                six: Some((_, six)),
                ..
            }) => [*four, *six],
            Self::Wired(line) => [line.four, line.six],
            Self::Packet(_) | Self::Outer(_) | Self::Guard(_) => return false,
        };
        !ways.as_flattened().contains(&NOTHING)
    }

    fn run(&self, course: &mut Course) {
        match self {
            Self::Packet(line) => course.run(line),
            Self::Outer(line) => outer::run(course, line),
            Self::Guard(line) => guard::run(course, line),
            Self::Wired(line) => wired::run(course, line),
        }
    }
}

/// Lines for test runs.
fn lines() -> Vec<Line> {
    let packets = [
        ethernet::cases(),
        header::cases(),
        addresses::cases(),
        fragments::cases(),
        extension::cases(),
        transport::cases(),
        icmp::cases(),
        errors::cases(),
        tunnels::cases(),
        questions::cases(),
        states::cases(),
        grants::cases(),
    ];
    let packets = packets.into_iter().flatten().map(Line::Packet);
    let outer = outer::cases().into_iter().map(Line::Outer);
    packets
        .chain(outer)
        .chain(guard::cases().into_iter().map(Line::Guard))
        .collect()
}

/// Lines for real taps.
fn wired_lines() -> Vec<Line> {
    let lines = [sizes::cases(), offload::cases()].into_iter().flatten();
    lines.map(Line::Wired).collect()
}

/// Runs every line, so that all that fail are shown and not the first alone.
fn run(mut course: Course, lines: &[Line]) {
    let mut fails = |line: &&Line| catch_unwind(AssertUnwindSafe(|| line.run(&mut course))).is_err();
    let failed: Vec<_> = lines.iter().filter(|line| fails(line)).map(Line::name).collect();
    assert!(
        failed.is_empty(),
        "{} of {} lines fail: {failed:#?}",
        failed.len(),
        lines.len()
    );
    println!("{} named cases, {} runs", lines.len(), course.runs);
}

fn run_over(underlay: IpAddr) {
    run(Course::on(underlay), &lines());
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
fn every_named_case_ends_as_its_line_says_through_real_taps() {
    run(Course::running(), &wired_lines());
}

/// Wrong if it fails: what comes in by the VXLAN device may do what it may not on the uplink.
#[test]
fn every_packet_ends_as_its_line_says_behind_the_vxlan_device_too() {
    let mut crossing = device::Crossing::new();
    let lines = lines();
    let packets = lines.iter().filter_map(|line| match line {
        Line::Packet(case) => Some(case),
        Line::Outer(_) | Line::Guard(_) | Line::Wired(_) => None,
    });
    let mut fails = |case: &&Case| catch_unwind(AssertUnwindSafe(|| crossing.run(case))).is_err();
    let failed: Vec<_> = packets.filter(|case| fails(case)).map(|case| case.name).collect();
    assert!(failed.is_empty(), "{} lines fail: {failed:#?}", failed.len());
    println!("{} runs behind the VXLAN device", crossing.runs);
}

/// Wrong if it fails: a case hides another, or a reason for a drop that no line has could be given for anything.
#[test]
fn the_cases_have_names_of_their_own_and_every_drop_reason_among_them() {
    let lines: Vec<_> = lines().into_iter().chain(wired_lines()).collect();
    let (mut names, mut words) = (BTreeSet::new(), BTreeSet::new());
    for line in &lines {
        assert!(names.insert(line.name()), "{} is there twice", line.name());
        words.extend(line.outcomes());
    }
    assert!(names.len() >= 600, "{} named cases", names.len());
    let missing: Vec<_> = DROP_REASONS
        .iter()
        .map(|reason| reason.word())
        .filter(|word| !words.contains(word))
        .collect();
    assert_eq!(missing, [""; 0], "no line dies of it");
    let everywhere = lines.iter().filter(|line| line.is_everywhere()).count();
    assert!(
        everywhere >= 600,
        "{everywhere} cases go all ways in both families"
    );
    println!(
        "{} named cases, {everywhere} of them in both families and all three ways",
        names.len()
    );
}
