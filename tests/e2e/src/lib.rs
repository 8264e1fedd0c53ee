//! What the end-to-end tests share: a laboratory with the questions that tests ask of it, frames made by
//! hand, and the attacker who owns one host.

mod again;
pub mod canary;
mod forge;
mod guests;
mod rig;
mod stolen_host;

pub use forge::{Forge, MARK, seal_ipv4};
pub use guests::{At, Carried, GUESTS_ARE, GuestFlood, Listener};
pub use rig::{DB1, DB1_6, DB2, DB2_6, PATIENCE, Rig, WEB1, WEB1_6, carries_mark, vxlan};
pub use stolen_host::{Answer, StolenHost, StolenToken, StolenVm};
