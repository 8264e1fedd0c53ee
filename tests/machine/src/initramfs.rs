//! The first and only file system of a machine: an archive that the kernel unpacks into memory.

use crate::command;
use crate::kernel::Kernel;
use crate::machine::EXIT;
use crate::modules::{self, Dependencies};
use crate::store::Store;
use anyhow::{Context, Result};
use cpio::newc::{Builder, ModeFileType, trailer};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What every machine does before its own script: file systems, the small programs, modules, loopback.
const BEGINNING: &str = r#"#!/bin/busybox sh
export PATH=/bin:/sbin HOME=/tmp
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mount -t bpf bpf /sys/fs/bpf
for module in $(cat /etc/load); do modprobe "$module" || echo "cannot load $module"; done
ip link set lo up
"#;

/// An archive in the making.
#[derive(Debug, Default)]
pub struct Initramfs {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
enum Entry {
    Folder,
    File { mode: u32, from: Content },
}

#[derive(Debug)]
enum Content {
    Bytes(Vec<u8>),
    HostFile(PathBuf),
}

impl Initramfs {
    /// One with the folders that every system has.
    pub fn new() -> Self {
        let mut new = Self::default();
        for folder in [
            "bin", "dev", "etc", "proc", "root", "run", "sbin", "sys", "tmp", "var",
        ] {
            new.folder(folder);
        }
        new.file("etc/load", Vec::new(), 0o644);
        new
    }

    /// A folder, with those it lies in. Paths are given from the root and without a leading `/`.
    pub fn folder(&mut self, path: &str) {
        let mut at = path;
        while !at.is_empty() {
            self.entries.entry(at.to_owned()).or_insert(Entry::Folder);
            at = at.rsplit_once('/').map_or("", |(above, _)| above);
        }
    }

    /// A file of these bytes.
    pub fn file(&mut self, path: &str, bytes: Vec<u8>, mode: u32) {
        self.put(path, Content::Bytes(bytes), mode);
    }

    /// A copy of a file of this machine, made when the archive is written.
    pub fn copy(&mut self, from: &Path, path: &str, mode: u32) {
        self.put(path, Content::HostFile(from.to_path_buf()), mode);
    }

    /// A program of this machine, with the shared libraries that it is started with here.
    pub fn program(&mut self, from: &Path, path: &str) -> Result<()> {
        self.copy(from, path, 0o755);
        let said = command::output(Command::new("ldd").arg(from))?;
        for library in libraries(&said) {
            let inside = library.trim_start_matches('/');
            self.copy(Path::new(library), inside, 0o755);
        }
        Ok(())
    }

    /// Busybox, which `init` needs.
    pub fn busybox(&mut self, store: &Store) -> Result<()> {
        self.copy(&store.busybox()?, "bin/busybox", 0o755);
        Ok(())
    }

    /// Modules of the kernel by their names, with all they need. They are loaded in the order given;
    /// those that this kernel has built in are there already.
    pub fn modules(&mut self, store: &Store, kernel: &Kernel, names: &[&str]) -> Result<()> {
        let dependencies = Dependencies::of(kernel)?;
        let paths = dependencies.closure(names)?;
        let folder = format!("lib/modules/{}", kernel.version);
        for path in &paths {
            let bytes = modules::read(&kernel.modules.join(path), &store.busybox()?)?;
            self.file(&format!("{folder}/{}", modules::plain(path)), bytes, 0o644);
        }
        let table = dependencies.table(&paths);
        self.file(&format!("{folder}/modules.dep"), table.into_bytes(), 0o644);
        let loaded = names.iter().filter(|name| !dependencies.is_built_in(name));
        let lines: Vec<_> = loaded.copied().collect();
        self.file("etc/load", lines.join("\n").into_bytes(), 0o644);
        Ok(())
    }

    /// The first process: does what every machine must, then this script, then says how that ended and turns the
    /// machine off. The script runs in a shell of its own, so it may `exit`.
    pub fn init(&mut self, script: &str) {
        self.file("etc/script", script.as_bytes().to_vec(), 0o755);
        // The line must be the console's last: what the kernel still has to say comes first.
        let end = format!("sh /etc/script\necho \"{EXIT} $?\"\nsync\npoweroff -f\n");
        self.file("init", format!("{BEGINNING}{end}").into_bytes(), 0o755);
    }

    /// Writes the archive.
    pub fn write(&self, to: &Path) -> Result<()> {
        let file = fs::File::create(to).with_context(|| format!("cannot write {}", to.display()))?;
        let mut out = BufWriter::new(file);
        for (number, (path, entry)) in (1_u32..).zip(&self.entries) {
            out = write_entry(out, number, path, entry)
                .with_context(|| format!("cannot put {path} into {}", to.display()))?;
        }
        let mut out = trailer(out).context("cannot end the archive")?;
        out.flush()
            .with_context(|| format!("cannot write {}", to.display()))
    }

    fn put(&mut self, path: &str, from: Content, mode: u32) {
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(above);
        }
        self.entries.insert(path.to_owned(), Entry::File { mode, from });
    }
}

fn write_entry<W: Write>(out: W, number: u32, path: &str, entry: &Entry) -> Result<W> {
    let name = Builder::new(path).ino(number);
    match entry {
        Entry::Folder => {
            let name = name.mode(0o755).set_mode_file_type(ModeFileType::Directory);
            Ok(name.write(out, 0).finish()?)
        }
        Entry::File { mode, from } => {
            let read;
            let bytes = match from {
                Content::Bytes(bytes) => bytes,
                Content::HostFile(file) => {
                    read = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
                    &read
                }
            };
            let name = name.mode(*mode).set_mode_file_type(ModeFileType::Regular);
            let mut writer = name.write(out, u32::try_from(bytes.len())?);
            writer.write_all(bytes)?;
            Ok(writer.finish()?)
        }
    }
}

/// Paths in what `ldd` says: `name => /path (0x…)`, or `/path (0x…)` for the loader.
fn libraries(said: &str) -> impl Iterator<Item = &str> {
    said.lines().filter_map(|line| {
        let path = line.split("=>").last()?.split_whitespace().next()?;
        path.starts_with('/').then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cpio::newc::Reader;

    #[test]
    fn folders_come_before_what_lies_in_them() {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("x.cpio");
        let mut files = Initramfs::default();
        files.file("a/b/c", b"hello".to_vec(), 0o755);
        files.write(&archive).unwrap();
        let mut input = fs::File::open(&archive).unwrap();
        let mut seen = Vec::new();
        loop {
            let reader = Reader::new(input).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            seen.push((reader.entry().name().to_owned(), reader.entry().mode()));
            input = reader.finish().unwrap();
        }
        let wanted = [("a", 0o040_755), ("a/b", 0o040_755), ("a/b/c", 0o100_755)];
        assert_eq!(seen, wanted.map(|(name, mode)| (name.to_owned(), mode)));
    }

    #[test]
    fn libraries_are_found_in_what_ldd_says() {
        let said =
            "\tlinux-vdso.so.1 (0x7f)\n\tlibm.so.6 => /lib/libm.so.6 (0x7f)\n\t/lib64/ld-linux.so.2 (0x7f)\n";
        assert_eq!(
            libraries(said).collect::<Vec<_>>(),
            ["/lib/libm.so.6", "/lib64/ld-linux.so.2"]
        );
    }
}
