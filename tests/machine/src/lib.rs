//! Virtual machines for tests: Debian's stock kernels under QEMU's software emulation, with an initramfs of our own.
//!
//! Nothing is installed but QEMU itself; kernels and busybox are unpacked below a folder of the caller's, and a
//! second call finds them there. Hardware virtualisation is not used: where it is to be had at all, inside a machine
//! that is virtual itself, it may open and still not run a stock kernel.
//!
//! ```no_run
//! # use pairgate_machine::{Boot, Initramfs, Machine, Release, Store};
//! # use std::{path::Path, time::Duration};
//! # fn main() -> anyhow::Result<()> {
//! let store = Store::at(Path::new("target/machine"));
//! let kernel = store.kernel(Release::V6_1)?; // fetched if it is not there; so are QEMU and busybox
//! let mut files = Initramfs::new();
//! files.busybox(&store)?;
//! files.modules(&store, &kernel, &["tun", "virtio_net"])?; // with all they need; loaded before the script runs
//! files.program(Path::new("target/debug/something"), "bin/something")?; // with its shared libraries
//! files.init("something --verbose");
//! let initramfs = Path::new("target/machine/something.cpio");
//! files.write(initramfs)?;
//!
//! let boot = Boot::new(&store, &kernel, initramfs)?.memory_mib(512).arguments(["-netdev", "user,id=n"]);
//! let mut machine = Machine::start(boot.command(), Path::new("target/machine/something.log"))?;
//! let code = machine.run_to_end(Duration::from_secs(120), |line| println!("{line}"))?; // what the script ended with
//! # assert_eq!(code, 0);
//! # Ok(())
//! # }
//! ```
//!
//! A machine dies with its [`Machine`] and with the thread that started it. One that has to outlive its maker is
//! started by the caller from [`Boot::command`].

pub mod apt;
mod boot;
pub mod command;
mod initramfs;
mod kernel;
mod machine;
mod modules;
mod store;

pub use boot::Boot;
pub use initramfs::Initramfs;
pub use kernel::{Kernel, Release};
pub use machine::{EXIT, Machine};
pub use store::Store;
