//! Proof by comparison: the same packets and maps through the decision crate here and through the loaded programs in
//! the kernel must come to the same action, bytes, mark, counters and changes of the maps.
//!
//! * [`oracle`]: what must come of a packet: the decisions over plain tables;
//! * [`world`]: what stands in the tables, of every kind of host;
//! * [`kernel`]: the loaded programs over maps filled the same way, run by `BPF_PROG_TEST_RUN`;
//! * [`bench`]: both side by side, compared packet by packet;
//! * [`generate`]: the packets; [`sweep`]: those of which every one is tried;
//! * [`guard`]: no proof, but what the guard in the uplink's driver costs and saves;
//! * [`run`]: many of them; [`failure`], [`shrink`] and [`replay`]: what becomes of one that differs.
//!
//! A test run has no VLAN tag, unfinished checksum, kind of segmentation or tunnel outside the bytes; what depends on
//! those is tried on real devices by the packet tests of `tests/e2e`.

pub mod bench;
pub mod failure;
pub mod generate;
pub mod guard;
pub mod kernel;
pub mod oracle;
pub mod record;
pub mod replay;
pub mod run;
pub mod shrink;
pub mod sweep;
pub mod tally;
pub mod world;
