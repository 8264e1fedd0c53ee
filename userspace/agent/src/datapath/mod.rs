//! The agent's hands in the kernel: loads the eBPF programs, attaches them and opens their maps.
//!
//! Guarantees: maps and links are pinned, so traffic goes on, and stays filtered, when the agent ends; a
//! restarted agent adopts the maps as they are and replaces the programs in place, with no packet in
//! between seen by neither. What is pinned under another [`ABI_VERSION`](pairgate_abi::ABI_VERSION) is never
//! adopted.
//!
//! Refuses: to load without the kernel's type information (the programs could not see checksum lies), an
//! object that does not fit this agent, a map in the pin directory whose layout is another.
//!
//! **Raw access is not authority.** The accessors of [`Loaded`] write any bytes into any map. Only the one
//! task that owns the maps may hold the ones that authorise (`TAPS`, `PAIRS_OUT`, `PAIRS_IN`, `NEXT_HOPS`,
//! `LEASE`), and writes them through types that prove a token was verified.
//!
//! **Deleting is done only after [`quiesce`].** The kernel may hand the memory of a deleted (or replaced)
//! entry to the next insert while a program on another CPU still reads it. So: delete, `quiesce`, and only
//! then insert another key into that map or say that the entry is gone.

mod attach;
mod attachment;
mod batch;
mod clsact;
mod fill;
mod flows;
mod kernel;
mod left;
mod links;
mod load;
#[cfg(debug_assertions)]
mod log;
pub mod maps;
mod open;
mod pins;
mod pod;
mod sk_buff;
mod xdp;

pub use attach::{AttachError, Program};
pub use attachment::Hook;
pub use fill::MapFill;
pub use kernel::quiesce;
pub use left::{Left, LeftError};
pub use links::{Ahead, PinMapError};
pub use load::{LoadError, LoadOptions, Loaded};
pub use open::OpenError;
pub use pins::{Pins, remove_pins};
pub use pod::Pod;
pub use sk_buff::{Features, LayoutError, running_features, running_layout};
pub use xdp::{GuardError, XDP_UPLINK};
