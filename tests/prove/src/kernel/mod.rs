//! The loaded programs and their maps.

mod counters;
mod host;
mod sys;

pub use counters::Counters;
pub use host::{Host, now_ns};
pub use sys::{Ran, RawMap, TestRun};
