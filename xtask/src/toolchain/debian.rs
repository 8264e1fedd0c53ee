//! Second recipe: Debian's `rustc-web` packages, which bring a ready-made `core` for the kernel's target,
//! unpacked below `target/toolchain`, and a `bpf-linker` built against the same LLVM.
//!
//! What is fetched appears under its final name only when it is complete: an interrupted fetch leaves a folder
//! called `….partial`, which the next run throws away.

use super::{Fetch, TARGET, linker};
use crate::outcome::{NeedsCaller, own_arguments};
use crate::place;
use crate::step::{self, Step};
use anyhow::{Context, Result, bail};
use pairgate_machine::apt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The compiler and what must lie beside it, whatever its version.
const PACKAGES: [&str; 3] = ["rustc-web", "libstd-rust-web-dev", "libstd-rust-web-dev-bpf"];

/// An unpacked compiler and its linker.
#[derive(Debug)]
pub(crate) struct Debian {
    compiler: Compiler,
    /// The folder that holds `bpf-linker`.
    linker: PathBuf,
}

/// A compiler that was seen to run and that has `core` for the kernel's target.
#[derive(Clone, Debug)]
struct Compiler {
    root: PathBuf,
    version: String,
    /// Major version of the LLVM it was built with: the linker must have the same.
    llvm: String,
}

impl Debian {
    pub(super) fn find_or_fetch(folder: &Path, fetch: Fetch) -> Result<Self> {
        let compiler = match Compiler::unpacked(&folder.join("root")) {
            Some(compiler) => compiler,
            None if fetch == Fetch::OnlyLook => return Err(go_on("an eBPF compiler is missing").into()),
            None => fetch_compiler(folder)?,
        };
        let linker = match linker::built(folder, &compiler.llvm) {
            Some(linker) => linker,
            None if fetch == Fetch::OnlyLook => return Err(go_on("bpf-linker is missing").into()),
            None => linker::build(folder, &compiler.llvm)?,
        };
        Ok(Self { compiler, linker })
    }

    pub(super) fn describe(&self) -> String {
        format!(
            "Debian's {} unpacked in {}",
            self.compiler.version,
            self.compiler.root.display()
        )
    }

    pub(super) fn cargo_build(&self) -> Command {
        let mut command = Command::new(place::cargo());
        command.arg("build");
        command.env("RUSTC", self.compiler.root.join("usr/bin/rustc"));
        command.env("LD_LIBRARY_PATH", self.compiler.libraries());
        // The kernel's target is not a stable one: this compiler is a stable release all the same.
        command.env("RUSTC_BOOTSTRAP", "1");
        command.env_remove("RUSTUP_TOOLCHAIN").env_remove("RUSTC_WRAPPER");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(self.linker.clone()).chain(std::env::split_paths(&path));
        if let Ok(path) = std::env::join_paths(path) {
            command.env("PATH", path);
        }
        command
    }
}

impl Compiler {
    /// The compiler in this folder, if it is all there.
    fn unpacked(root: &Path) -> Option<Self> {
        let core = root.join("usr/lib/rustlib").join(TARGET).join("lib");
        let mut files = std::fs::read_dir(core).ok()?.filter_map(Result::ok);
        if !files.any(|file| file.file_name().to_string_lossy().starts_with("libcore-")) {
            return None;
        }
        let mut compiler = Self {
            root: root.to_path_buf(),
            version: String::new(),
            llvm: String::new(),
        };
        let mut ask = Command::new(root.join("usr/bin/rustc"));
        let said = step::output(ask.arg("-vV").env("LD_LIBRARY_PATH", compiler.libraries())).ok()?;
        compiler.version = said.lines().next()?.to_owned();
        let llvm = said
            .lines()
            .find_map(|line| line.strip_prefix("LLVM version: "))?;
        compiler.llvm = llvm.split('.').next()?.to_owned();
        Some(compiler)
    }

    /// Where its own libraries lie; the second folder holds those of the package's architecture.
    fn libraries(&self) -> String {
        let lib = self.root.join("usr/lib");
        let native = format!("{}-linux-gnu", std::env::consts::ARCH);
        format!("{}:{}", lib.join(native).display(), lib.display())
    }
}

fn go_on(missing: &str) -> NeedsCaller {
    let again = own_arguments();
    NeedsCaller(format!(
        "{missing}; to let xtask fetch it: sudo -E env \"PATH=$PATH\" cargo xtask {again} \
         (or, if the packages llvm-*-dev are there already: cargo xtask build-ebpf --yes)"
    ))
}

fn fetch_compiler(folder: &Path) -> Result<Compiler> {
    if !apt::is_there() {
        let why = "this machine has no apt-get: install a nightly with rustup (`rustup toolchain install nightly \
                   --component rust-src`) and bpf-linker (`cargo install bpf-linker`), then call this again";
        return Err(NeedsCaller(why.to_owned()).into());
    }
    apt::ensure_known(PACKAGES[0])?;
    let debs = folder.join("debs.partial");
    Step {
        what: "fetching an eBPF compiler",
        usually: "under a minute, 110 MB",
    }
    .watch(|| apt::download(packages, &debs))?;
    let partial = folder.join("root.partial");
    place::fresh(&partial)?;
    Step {
        what: "unpacking the eBPF compiler",
        usually: "20 s",
    }
    .watch(|| apt::unpack(&debs, &partial))?;
    let Some(seen) = Compiler::unpacked(&partial) else {
        bail!(
            "the compiler in {} does not run, or has no core for {TARGET}",
            partial.display()
        );
    };
    let root = folder.join("root");
    if root.exists() {
        std::fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    std::fs::rename(&partial, &root).context("cannot put the unpacked compiler in place")?;
    std::fs::remove_dir_all(&debs).context("cannot remove the packages after unpacking")?;
    Ok(Compiler { root, ..seen })
}

/// All packages to unpack. The names of two carry versions, so they are read from what depends on them.
fn packages() -> Result<Vec<String>> {
    let mut packages: Vec<String> = PACKAGES.iter().map(|&name| name.to_owned()).collect();
    let library = apt::dependency(PACKAGES[1], "libstd-rust-web-")?;
    packages.push(apt::dependency(&library, "libllvm")?);
    packages.push(library);
    Ok(packages)
}
