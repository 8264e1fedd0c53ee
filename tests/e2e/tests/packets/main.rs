//! The loaded programs, packet by packet: what goes in, what must come out, which counter moves.
//!
//! `BPF_PROG_TEST_RUN` carries most of it; VLAN tags, checksum lies and segmentation requests, which it cannot
//! make, go through real taps. Every test lives in namespaces of its own (network and mounts, so no pin
//! outlives it) and needs root; without it every test here fails and says so.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

mod attach;
mod big;
mod cases;
mod checksums;
mod configuration;
mod counts;
mod crossing;
mod device;
mod devices;
mod draining;
mod errors;
mod frames;
mod from_tap;
mod from_uplink;
mod grants;
mod held;
mod host_stack;
mod hostile;
mod ipv6;
mod lies;
mod next_door;
mod no_program;
mod opening;
mod others;
mod pairs;
mod run;
mod segments;
mod too_big;
mod used;
mod verified;
mod vouching;
mod world;
mod xdp;
