//! Finds the eBPF object that `cargo xtask build-ebpf` made, so that the agent can carry it.
//!
//! A checkout without it still compiles: the agent built there says which command makes the object.
use std::{env, path::Path};

fn main() {
    println!("cargo::rustc-check-cfg=cfg(datapath_object)");
    println!("cargo::rerun-if-changed=build.rs");
    let Ok(here) = env::var("CARGO_MANIFEST_DIR") else {
        return;
    };
    let object = Path::new(&here).join("../../target/ebpf/pairgate-datapath.o");
    // Naming a file that is not there makes cargo look again at every build, which is what is wanted.
    println!("cargo::rerun-if-changed={}", object.display());
    if object.is_file() {
        println!("cargo::rustc-cfg=datapath_object");
        println!("cargo::rustc-env=PAIRGATE_DATAPATH_OBJECT={}", object.display());
    }
}
