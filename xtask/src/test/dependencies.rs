//! Which part may know which: the architecture, as a table that cargo's own graph is held against.
//!
//! A part that is missing from the table, or an edge that is not in it, fails the check: a new edge is a decision,
//! and is made here.

use super::length;
use crate::place::{self, Place};
use crate::step;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::fs;
use std::process::Command;

/// Every package of ours, and the packages of ours that it may use. Nobody may use xtask.
const MAY_USE: &[(&str, &[&str])] = &[
    ("pairgate-abi", &[]),
    ("pairgate-packet", &["pairgate-abi"]),
    ("pairgate-datapath", &["pairgate-abi", "pairgate-packet"]),
    ("pairgate-token", &[]),
    ("pairgate-api", &[]),
    ("pairgate-identity", &["pairgate-api"]),
    (
        "pairgate-registry",
        &["pairgate-api", "pairgate-identity", "pairgate-token"],
    ),
    (
        "pairgate-agent",
        &[
            "pairgate-abi",
            "pairgate-api",
            "pairgate-identity",
            "pairgate-packet",
            "pairgate-token",
        ],
    ),
    (
        "pairgate",
        &["pairgate-api", "pairgate-identity", "pairgate-token"],
    ),
    ("pairgate-machine", &[]),
    ("pairgate-lab", &["pairgate-machine"]),
    (
        "pairgate-e2e",
        &[
            "pairgate-abi",
            "pairgate-agent",
            "pairgate-api",
            "pairgate-identity",
            "pairgate-lab",
            "pairgate-machine",
            "pairgate-packet",
            "pairgate-token",
        ],
    ),
    (
        "pairgate-prove",
        &["pairgate-abi", "pairgate-agent", "pairgate-packet"],
    ),
    (
        "pairgate-fuzz",
        &[
            "pairgate",
            "pairgate-abi",
            "pairgate-agent",
            "pairgate-api",
            "pairgate-identity",
            "pairgate-packet",
            "pairgate-registry",
            "pairgate-token",
        ],
    ),
    ("xtask", &["pairgate-lab", "pairgate-machine"]),
];

/// Folders below `datapath-ebpf/src` whose files must not name each other: the two ways of a packet.
const STRANGERS: (&str, &str) = ("from_tap", "from_uplink");

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// Only packages that lie beside ours have one.
    path: Option<String>,
}

pub(super) fn check(place: &Place) -> Result<()> {
    let mut packages = packages(&place.root)?;
    packages.extend(packages_of_datapath(place)?);
    let mut wrong = wrong_edges(&packages, MAY_USE);
    for (way, other) in [STRANGERS, (STRANGERS.1, STRANGERS.0)] {
        for path in length::sources(&place.datapath().join("src").join(way))? {
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            if names(&text, other) {
                wrong.push(format!("{} names {other}", path.display()));
            }
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("; "));
    }
    eprintln!(
        "{} packages use each other in the right direction",
        packages.len()
    );
    Ok(())
}

fn packages_of_datapath(place: &Place) -> Result<Vec<Package>> {
    let own = packages(&place.datapath())?;
    // Its graph ends in packages that the workspace has too.
    Ok(own
        .into_iter()
        .filter(|package| package.name == "pairgate-datapath")
        .collect())
}

fn packages(folder: &std::path::Path) -> Result<Vec<Package>> {
    let mut command = Command::new(place::cargo());
    command
        .args(["metadata", "--no-deps", "--format-version", "1", "--locked"])
        .current_dir(folder);
    let metadata: Metadata =
        serde_json::from_str(&step::output(&mut command)?).context("cargo's metadata")?;
    Ok(metadata.packages)
}

fn wrong_edges(packages: &[Package], may_use: &[(&str, &[&str])]) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in packages {
        let Some((_, allowed)) = may_use.iter().find(|(name, _)| *name == package.name) else {
            wrong.push(format!("{} is not in the table of packages", package.name));
            continue;
        };
        let ours = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.path.is_some());
        for dependency in ours.filter(|dependency| !allowed.contains(&dependency.name.as_str())) {
            wrong.push(format!("{} must not use {}", package.name, dependency.name));
        }
    }
    wrong
}

/// Whether code, as opposed to a comment, names a module.
fn names(text: &str, module: &str) -> bool {
    text.lines()
        .any(|line| line.split("//").next().is_some_and(|code| code.contains(module)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, uses: &[&str]) -> Package {
        let used = |name: &&str| Dependency {
            name: (*name).to_owned(),
            path: Some(String::new()),
        };
        Package {
            name: name.to_owned(),
            dependencies: uses.iter().map(used).collect(),
        }
    }

    #[test]
    fn an_edge_against_the_direction_is_found() {
        let agent = [package("pairgate-agent", &["pairgate-abi", "pairgate-registry"])];
        assert_eq!(
            wrong_edges(&agent, MAY_USE),
            ["pairgate-agent must not use pairgate-registry"]
        );
        let right = [package("pairgate-agent", &["pairgate-abi"])];
        assert!(wrong_edges(&right, MAY_USE).is_empty());
    }

    #[test]
    fn a_package_that_nobody_placed_is_found() {
        assert_eq!(
            wrong_edges(&[package("stray", &[])], MAY_USE),
            ["stray is not in the table of packages"]
        );
    }

    #[test]
    fn the_table_itself_has_no_circle_and_nobody_uses_xtask() {
        for (position, (name, uses)) in MAY_USE.iter().enumerate() {
            for used in *uses {
                let at = MAY_USE.iter().position(|(name, _)| name == used);
                assert!(
                    at.is_some_and(|at| at < position),
                    "{name} uses {used}, which must stand above it"
                );
                assert_ne!(*used, "xtask");
            }
        }
    }

    #[test]
    fn a_comment_may_name_the_other_way_and_code_may_not() {
        assert!(!names(
            "// as in from_uplink\nlet x = 1; // from_uplink",
            "from_uplink"
        ));
        assert!(names("use crate::from_uplink::verify;", "from_uplink"));
    }
}
