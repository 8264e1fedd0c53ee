//! Which modules of a kernel a machine needs: those asked for, and what they need in turn.

use crate::command;
use crate::kernel::Kernel;
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The lines of `modules.dep`: path to paths, below the folder of modules.
pub(crate) struct Dependencies {
    lines: BTreeMap<String, Vec<String>>,
    built_in: BTreeSet<String>,
}

impl Dependencies {
    pub(crate) fn of(kernel: &Kernel) -> Result<Self> {
        let read = |name: &str| {
            let file = kernel.modules.join(name);
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
        };
        Ok(Self::parse(&read("modules.dep")?, &read("modules.builtin")?))
    }

    fn parse(dependencies: &str, built_in: &str) -> Self {
        let lines = dependencies.lines().filter_map(|line| line.split_once(':'));
        Self {
            lines: lines
                .map(|(path, needs)| {
                    let needs = needs.split_whitespace().map(str::to_owned).collect();
                    (path.to_owned(), needs)
                })
                .collect(),
            built_in: built_in.lines().map(name_of).collect(),
        }
    }

    pub(crate) fn is_built_in(&self, name: &str) -> bool {
        self.built_in.contains(&name_of(name))
    }

    /// Paths of the modules of these names and of all they need. What is built into the kernel has none.
    pub(crate) fn closure(&self, names: &[&str]) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        for name in names {
            if self.is_built_in(name) {
                continue;
            }
            let wanted = name_of(name);
            let Some(path) = self.lines.keys().find(|path| name_of(path) == wanted) else {
                bail!("this kernel has no module {name}, neither built in nor beside it");
            };
            self.add(path, &mut found);
        }
        Ok(found)
    }

    fn add(&self, path: &str, found: &mut BTreeSet<String>) {
        if found.insert(path.to_owned()) {
            for needed in self.lines.get(path).into_iter().flatten() {
                self.add(needed, found);
            }
        }
    }

    /// The lines for these modules, for files that are no longer compressed.
    pub(crate) fn table(&self, paths: &BTreeSet<String>) -> String {
        let mut table = String::new();
        for path in paths {
            let needs = self.lines.get(path).into_iter().flatten();
            let needs: Vec<_> = needs.map(|path| plain(path)).collect();
            table.push_str(&format!("{}: {}\n", plain(path), needs.join(" ")));
        }
        table
    }
}

/// The path of a module after unpacking.
pub(crate) fn plain(path: &str) -> &str {
    path.strip_suffix(".xz").unwrap_or(path)
}

/// A module's bytes, unpacked.
pub(crate) fn read(file: &Path, busybox: &Path) -> Result<Vec<u8>> {
    if file.extension().is_some_and(|extension| extension == "xz") {
        return command::bytes(Command::new(busybox).arg("xzcat").arg(file));
    }
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// The name by which a module is asked for: of `a/b-c.ko.xz`, `b_c`.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_comes_with_all_it_needs_and_what_is_built_in_is_not_missed() {
        let table = "a/vxlan.ko.xz: a/udp-tunnel.ko.xz\na/udp-tunnel.ko.xz: b/base.ko.xz\nb/base.ko.xz:\nother.ko.xz:\n";
        let known = Dependencies::parse(table, "kernel/net/packet/af_packet.ko\n");
        let found = known.closure(&["vxlan", "af_packet"]).unwrap();
        assert_eq!(
            known.table(&found),
            "a/udp-tunnel.ko: b/base.ko\na/vxlan.ko: a/udp-tunnel.ko\nb/base.ko: \n"
        );
        assert!(known.closure(&["missing"]).is_err());
    }
}
