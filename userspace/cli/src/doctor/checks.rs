//! What can be seen on the machine itself.

use super::{Finding, kernel as system};
use crate::health;
use nix::sys::statfs::{FsType, statfs};
use pairgate_api::local::{AgentStatus, LocalVm};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

/// Oldest kernel that the packet tests run on.
const KERNEL_MIN: (u32, u32) = (6, 1);
/// What the overlay adds to a guest's packet over IPv4: IPv4, UDP, VXLAN and the inner Ethernet header.
const OVERLAY_BYTES_V4: u32 = 50;
const OVERLAY_BYTES_V6: u32 = 70;
/// What `statfs` says of a BPF file system.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

pub(super) fn kernel() -> Vec<Finding> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease");
    let hook = match system::knows_tcx() {
        Ok(true) => Finding::ok("hook", "TCX"),
        // Their modules are loaded when the first program is attached.
        Ok(false) => Finding::ok(
            "hook",
            "clsact filters, since this kernel does not know TCX (6.6); it needs CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF, built in or as modules",
        ),
        Err(error) => Finding::unknown("hook", error.to_string(), "run as root"),
    };
    let btf = if Path::new("/sys/kernel/btf/vmlinux").exists() {
        Finding::ok("BTF", "/sys/kernel/btf/vmlinux is there")
    } else {
        Finding::bad(
            "BTF",
            "/sys/kernel/btf/vmlinux is missing",
            "boot a kernel built with CONFIG_DEBUG_INFO_BTF, and mount /sys",
        )
    };
    vec![version(release), hook, btf]
}

fn version(release: io::Result<String>) -> Finding {
    let release = match &release {
        Ok(text) => text.trim(),
        Err(error) => return Finding::unknown("kernel", error.to_string(), "mount /proc"),
    };
    match major_minor(release) {
        Some(found) if found >= KERNEL_MIN => Finding::ok("kernel", release),
        Some(_) => Finding::bad("kernel", release, "boot a kernel 6.1 or later"),
        None => Finding::unknown(
            "kernel",
            format!("{release} is no version"),
            "compare it with 6.1 by hand",
        ),
    }
}

fn major_minor(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(['.', '-', '+']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The pins' folder, or the nearest one above it that exists, must be on a BPF file system.
pub(super) fn bpf_file_system(pin_dir: &Path) -> Finding {
    const CHECK: &str = "bpffs";
    let Some(there) = pin_dir.ancestors().find(|folder| folder.exists()) else {
        return Finding::unknown(
            CHECK,
            format!("nothing of {} exists", pin_dir.display()),
            "name an absolute path with --pin-dir",
        );
    };
    match statfs(there) {
        Ok(found) if found.filesystem_type() == FsType(BPF_FS_MAGIC) => {
            Finding::ok(CHECK, format!("{} is on one", there.display()))
        }
        Ok(_) => Finding::bad(
            CHECK,
            format!("{} is on another file system", there.display()),
            "mount -t bpf bpf /sys/fs/bpf, or name the agent's --pin-dir",
        ),
        Err(error) => Finding::unknown(CHECK, format!("{}: {error}", there.display()), "run as root"),
    }
}

/// What a guest may send must fit through the uplink with the overlay's headers around it.
pub(super) fn mtu(agent: Option<&AgentStatus>) -> Vec<Finding> {
    const CHECK: &str = "MTU";
    let Some(agent) = agent else {
        let why = "the agent would know uplink and taps";
        return vec![Finding::unknown(CHECK, why, "start the agent first")];
    };
    let uplink = match system::mtu(&agent.uplink) {
        Ok(mtu) => mtu,
        Err(error) => {
            let why = format!("no uplink {} in this network namespace: {error}", agent.uplink);
            return vec![Finding::unknown(
                CHECK,
                why,
                "run it in the agent's network namespace",
            )];
        }
    };
    if agent.vms.is_empty() {
        let seen = format!(
            "{} has {uplink}: guests may have {}",
            agent.uplink,
            uplink.saturating_sub(overlay_bytes(agent))
        );
        return vec![Finding::ok(CHECK, seen)];
    }
    let guests = agent.vms.iter().map(|vm| match system::mtu(&vm.tap) {
        Ok(guest) => fits((&agent.uplink, uplink), (vm, guest), overlay_bytes(agent)),
        Err(error) => Finding::bad(
            CHECK,
            format!("no tap {}: {error}", vm.tap),
            "pairgate status says what became of it",
        ),
    });
    guests.collect()
}

/// What our headers take of the uplink's MTU.
fn overlay_bytes(agent: &AgentStatus) -> u32 {
    match agent.address {
        IpAddr::V4(_) => OVERLAY_BYTES_V4,
        IpAddr::V6(_) => OVERLAY_BYTES_V6,
    }
}

fn fits((uplink, uplink_mtu): (&str, u32), (vm, guest_mtu): (&LocalVm, u32), overlay: u32) -> Finding {
    let (needed, tap) = (guest_mtu.saturating_add(overlay), &vm.tap);
    let seen = format!("{uplink} has {uplink_mtu}, {tap} has {guest_mtu} and needs {needed}");
    if uplink_mtu >= needed {
        return Finding::ok("MTU", seen);
    }
    let cure = format!(
        "ip link set {uplink} mtu {needed}, on every host and switch between them, or pairgate network set {} --mtu {}; full-sized packets die until then, and guests are told to send smaller ones",
        vm.network,
        uplink_mtu.saturating_sub(overlay),
    );
    Finding::bad("MTU", seen, cure)
}

/// What the agent's auditor says: it looks at maps, pins, programs, interfaces and their settings all the time.
pub(super) fn audit(agent: Option<&AgentStatus>) -> Vec<Finding> {
    const CHECK: &str = "auditor";
    let Some(agent) = agent else {
        let why = "the agent would know what is not as declared";
        return vec![Finding::unknown(CHECK, why, "start the agent first")];
    };
    if agent.findings.is_empty() {
        return vec![Finding::ok(
            CHECK,
            "programs, pins, maps and taps are as declared",
        )];
    }
    let findings = agent.findings.iter().map(|finding| {
        let ailment = health::of_finding(finding);
        Finding::bad(CHECK, named(&ailment.what), ailment.cure)
    });
    findings.collect()
}

/// Adds the name of a program to what speaks of it by its number, which the agent has no right to ask for.
fn named(what: &str) -> String {
    let number = what
        .split_once("program ")
        .and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    match number.map(system::program_name) {
        Some(Ok(name)) => format!("{what}; its name is {name}"),
        Some(Err(_)) | None => what.to_owned(),
    }
}

/// Settings of the kernel that cost speed or safety when they are wrong. None of them is changed here.
pub(super) fn sysctls() -> Vec<Finding> {
    vec![
        sysctl(
            "net.core.bpf_jit_enable",
            |value| value != "0",
            "0 lets the kernel interpret every program",
        ),
        sysctl(
            "kernel.unprivileged_bpf_disabled",
            |value| value != "0",
            "0 lets every user load programs",
        ),
        sysctl(
            "kernel.bpf_stats_enabled",
            |value| value == "0",
            "1 takes the time of every program run",
        ),
        // These hold for taps too, whatever a tap's own setting says.
        sysctl(
            "net.ipv4.conf.all.route_localnet",
            |value| value == "0",
            "1 lets 127.0.0.1 be spoken to from outside, if our programs are taken off",
        ),
        sysctl(
            "net.ipv4.conf.all.accept_local",
            |value| value == "0",
            "1 lets others speak with this host's own addresses, if our programs are taken off",
        ),
        sysctl(
            "net.ipv4.conf.all.proxy_arp",
            |value| value == "0",
            "1 answers for addresses of others",
        ),
    ]
}

fn sysctl(name: &'static str, good: impl Fn(&str) -> bool, meaning: &str) -> Finding {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    match fs::read_to_string(path) {
        Ok(value) if good(value.trim()) => Finding::ok(name, value.trim()),
        Ok(value) => {
            let value = value.trim();
            let other = if value == "0" { "1" } else { "0" };
            Finding::bad(
                name,
                format!("{value}; {meaning}"),
                format!("sysctl -w {name}={other}"),
            )
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Finding::unknown(
            name,
            "not shown in this network namespace or by this kernel",
            "look in the machine's first network namespace",
        ),
        Err(error) => Finding::unknown(name, error.to_string(), "run as root"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_kernel_is_judged_by_its_numbers_whatever_its_makers_append() {
        for (release, state) in [
            ("6.1.0-42-amd64", State::Ok),
            ("6.18-rc1", State::Ok),
            ("7.0.1-cloud-amd64\n", State::Ok),
            ("6.0.19", State::Bad),
            ("5.15.0-91-generic", State::Bad),
            ("nonsense", State::Unknown),
            ("", State::Unknown),
        ] {
            assert_eq!(version(Ok(release.to_owned())).state, state, "{release}");
        }
    }

    #[test]
    fn the_overlay_needs_its_headers_room_on_the_uplink_and_no_less() {
        let vm: LocalVm = serde_json::from_value(serde_json::json!({
            "id": uuid::Uuid::nil(), "name": "a", "network": "blue", "addresses": [], "generation": 1,
            "tap": "tap-a", "state": "guarded",
        }))
        .unwrap();
        for (overlay, least) in [(OVERLAY_BYTES_V4, 1550), (OVERLAY_BYTES_V6, 1570)] {
            assert_eq!(fits(("up0", least), (&vm, 1500), overlay).state, State::Ok);
            let tight = fits(("up0", least - 1), (&vm, 1500), overlay);
            assert_eq!(tight.state, State::Bad);
            let cure = tight.cure.unwrap();
            assert!(cure.contains(&format!("ip link set up0 mtu {least}")), "{cure}");
            assert!(cure.contains("pairgate network set blue --mtu 1499"), "{cure}");
        }
    }

    #[test]
    fn a_folder_on_another_file_system_is_no_place_for_pins() {
        let finding = bpf_file_system(Path::new("/proc/self/nothing"));
        assert_eq!(finding.state, State::Bad, "{finding:?}");
    }

    #[test]
    fn a_setting_is_told_with_the_command_that_mends_it() {
        let finding = sysctl("kernel.ostype", |value| value != "Linux", "a test");
        assert_eq!(finding.state, State::Bad);
        assert_eq!(finding.cure.as_deref(), Some("sysctl -w kernel.ostype=0"));
        assert_eq!(
            sysctl("kernel.ostype", |value| value == "Linux", "").state,
            State::Ok
        );
        assert_eq!(sysctl("kernel.no_such_thing", |_| true, "").state, State::Unknown);
    }
}
