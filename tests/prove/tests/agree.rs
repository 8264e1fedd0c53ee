//! The short form of the proof, for whoever runs the tests of one package: `cargo xtask test` and `cargo xtask prove`
//! run the long ones.
use pairgate_prove::{
    replay,
    run::{self, Order},
    world::own::Own,
};
use std::path::Path;

fn order(packets: u64) -> Order {
    Order {
        packets,
        seed: 0x5061_6972_6761_7465,
        threads: 1,
        failures: Path::new(env!("CARGO_TARGET_TMPDIR")).join("prove"),
        must_be_complete: false,
    }
}

/// Wrong if false: the programs do something else with a packet than the decisions say, or change the maps otherwise.
#[test]
fn the_loaded_programs_and_the_decisions_agree_on_packets_of_every_kind() {
    run::run(&order(200_000)).unwrap();
}

/// Wrong if false: a fault that was mended is back.
#[test]
fn every_past_failure_comes_to_what_it_should() {
    let replays = Path::new(env!("CARGO_MANIFEST_DIR")).join("replays");
    replay::all(&[replays], &Own::enter().unwrap()).unwrap();
}
