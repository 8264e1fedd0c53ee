//! How a machine is started: the emulator's command.

use crate::kernel::Kernel;
use crate::store::{QEMU, Store};
use anyhow::Result;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A machine to be. Its console is the emulator's stdin and stdout.
#[derive(Clone, Debug)]
pub struct Boot {
    image: PathBuf,
    initramfs: PathBuf,
    memory_mib: u32,
    processors: u32,
    append: String,
    more: Vec<OsString>,
}

impl Boot {
    /// One with 1 GiB and one processor; the emulator is installed if it is not there.
    pub fn new(store: &Store, kernel: &Kernel, initramfs: &Path) -> Result<Self> {
        store.qemu()?;
        Ok(Self {
            image: kernel.image.clone(),
            initramfs: initramfs.to_path_buf(),
            memory_mib: 1024,
            processors: 1,
            append: String::new(),
            more: Vec::new(),
        })
    }

    /// Its memory. The initramfs lies in it twice while it is unpacked.
    #[must_use]
    pub const fn memory_mib(mut self, mebibytes: u32) -> Self {
        self.memory_mib = mebibytes;
        self
    }

    /// How many processors it has; each is a thread of the emulator.
    #[must_use]
    pub const fn processors(mut self, count: u32) -> Self {
        self.processors = count;
        self
    }

    /// Words for the kernel's command line.
    #[must_use]
    pub fn append(mut self, words: &str) -> Self {
        self.append.push(' ');
        self.append.push_str(words);
        self
    }

    /// Words for the emulator, such as devices: it has none but the console by itself.
    #[must_use]
    pub fn arguments<S: Into<OsString>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.more.extend(words.into_iter().map(Into::into));
        self
    }

    /// The command to start, in whatever namespace the caller likes.
    pub fn command(&self) -> Command {
        let mut command = Command::new(QEMU);
        // No files of the user's, no devices nobody asked for, and a kernel that panics ends the machine.
        command.args(["-no-user-config", "-nodefaults", "-no-reboot", "-display", "none"]);
        command.args(["-accel", "tcg", "-cpu", "max"]);
        command.args(["-m", &format!("{}M", self.memory_mib)]);
        command.args(["-smp", &self.processors.to_string()]);
        command.args([
            "-chardev",
            "stdio,id=console,signal=off",
            "-serial",
            "chardev:console",
        ]);
        command.arg("-kernel").arg(&self.image);
        command.arg("-initrd").arg(&self.initramfs);
        // Its look at the timer takes a busy emulator for broken hardware, and panics.
        let kernel = "console=ttyS0 quiet panic=-1 mitigations=off no_timer_check";
        command.args(["-append", &format!("{kernel}{}", self.append)]);
        command.args(&self.more);
        command
    }
}
