//! What the verifier has to look at before it believes a program. It gives up at a million instructions, and how many
//! it takes differs from kernel to kernel: older ones tell fewer states apart.
use crate::{
    device::Tap,
    world::{HOST, HOST6, PIN_DIR, enter_own_namespaces, load_host},
};
use aya::programs::ProgramInfo;
use pairgate_agent::datapath::{Program, XDP_UPLINK};
use std::net::IpAddr;

/// For each program on each kernel. Room to grow, and far from the kernel's own limit; `docs/architecture.md` has what
/// was counted last.
const BUDGET: u32 = 50_000;

#[test]
fn every_program_is_judged_within_the_budget_of_instructions() {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    // The family of the underlay is fixed when a program is loaded, and the rest is left out.
    let underlays = [("IPv4", IpAddr::from(HOST)), ("IPv6", IpAddr::from(HOST6))];
    let mut over = Vec::new();
    println!(
        "verified instructions of at most {BUDGET}, kernel {}",
        release.trim()
    );
    for (underlay, host) in underlays {
        let counts = std::thread::spawn(move || {
            enter_own_namespaces();
            let uplink = Tap::new("uplink").index();
            // Any interface will do as the VXLAN device: without one the way to it is left out.
            let mut loaded = load_host(PIN_DIR, (uplink, uplink), host);
            let count = |info: ProgramInfo| info.verified_instruction_count().expect("known since 5.16");
            let mut counts = Program::ALL
                .map(|program| {
                    let info = loaded.program(program).unwrap().info();
                    (program.name(), count(info.unwrap()))
                })
                .to_vec();
            let guard = loaded.guard().unwrap().info();
            counts.push((XDP_UPLINK, count(guard.unwrap())));
            counts
        });
        for (program, count) in counts.join().unwrap() {
            println!("{program:<12} over {underlay} {count:>8}");
            if count > BUDGET {
                over.push((program, underlay, count));
            }
        }
    }
    assert!(over.is_empty(), "more than {BUDGET} instructions: {over:?}");
}
