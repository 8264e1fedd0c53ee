//! What is wrong with an installation or a host, and what to do about it: pure.
//!
//! Everything that is not as it should be becomes one [`Ailment`], and none is made without a cure: a red line
//! that does not say what to do next only frightens.

use crate::times::{span, utc};
use pairgate_api::local::{AgentStatus, AuditFinding, LocalVm};
use pairgate_api::rest::{Host, Status};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ailment {
    pub(crate) what: String,
    pub(crate) cure: String,
}

impl Ailment {
    fn new(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            cure: cure.into(),
        }
    }
}

/// A registry whose wall clock is this far from its own time has a fault, as its API says.
const CLOCK_OFF_MS: u64 = 5_000;

/// What is wrong as far as the registry knows.
pub(crate) fn of_installation(status: &Status) -> Vec<Ailment> {
    let hosts = status.hosts.iter();
    of_clock(status)
        .into_iter()
        .chain(of_disk(status))
        .chain(hosts.filter_map(|host| of_registered_host(host, status)))
        .collect()
}

fn of_clock(status: &Status) -> Option<Ailment> {
    let off_ms = status.wall_clock_ahead_ms.unsigned_abs();
    let side = if status.wall_clock_ahead_ms > 0 {
        "ahead of"
    } else {
        "behind"
    };
    (off_ms >= CLOCK_OFF_MS).then(|| {
        Ailment::new(
            format!(
                "the wall clock of the registry's machine is {} {side} registry time, which goes on without it",
                span(off_ms)
            ),
            "see to its time synchronisation; registry time meets it again at the next boot, unless it is ahead of it",
        )
    })
}

fn of_disk(status: &Status) -> Option<Ailment> {
    status.disk_is_full.then(|| {
        Ailment::new(
            "the registry's disk is full: it still denies, moves and removes, and refuses everything else",
            "make room on the disk that holds the registry's state directory; it goes on by itself",
        )
    })
}

/// At most one for each host, the one to be cured first.
fn of_registered_host(host: &Host, status: &Status) -> Option<Ailment> {
    let name = &host.name;
    if host.state == "waiting" {
        return Some(Ailment::new(
            format!("host {name} has not enrolled"),
            format!("start pairgate-agent on {name} with a zero certificate"),
        ));
    }
    if !host.connected {
        let until = match host.lease_ends_unix_ms {
            Some(ends) => format!("its open pairs end by {} at the latest", utc(ends)),
            None => "it has no lease, so it refuses every pair".to_owned(),
        };
        return Some(Ailment::new(
            format!("the agent of host {name} is away; {until}"),
            format!(
                "on {name}: systemctl status pairgate-agent, then pairgate doctor --registry with this registry's address"
            ),
        ));
    }
    if host.lease_ends_unix_ms.is_none() {
        return Some(Ailment::new(
            format!("host {name} is connected and has no lease, so it refuses every pair"),
            format!(
                "on {name}: pairgate status says why, most often a tap that failed or an uplink without its address"
            ),
        ));
    }
    let behind = match host.applied_revision {
        Some(applied) if applied >= status.revision => return None,
        Some(applied) => format!("has applied revision {applied} of {}", status.revision),
        None => format!("has not given a receipt for revision {}", status.revision),
    };
    Some(Ailment::new(
        format!("host {name} {behind}"),
        format!("normal for a moment after a change; if it stays, on {name}: journalctl -u pairgate-agent"),
    ))
}

/// What is wrong as far as the host itself knows.
pub(crate) fn of_host(status: &AgentStatus) -> Vec<Ailment> {
    let mut ailments = Vec::new();
    if !status.registry_connected {
        ailments.push(Ailment::new(
            format!(
                "the registry is not reached: nothing new opens, and what is open lasts for another {}",
                span(status.survives_ms)
            ),
            "check that pairgate-registry runs, and the agent's log: it says if the registry refuses this host (reset or removed); then run pairgate doctor here with --registry",
        ));
    }
    if status.applied_revision.is_none() {
        ailments.push(Ailment::new(
            "no goal state is in force yet, so nothing is accepted from other hosts",
            "normal for seconds after a start; if it stays: journalctl -u pairgate-agent",
        ));
    }
    if status.lease_left_ms == 0 {
        ailments.push(Ailment::new(
            "the host lease has ended: every pair of this host is refused",
            format!(
                "it comes back by itself when the registry answers and {} carries {}",
                status.uplink, status.address
            ),
        ));
    }
    ailments.extend(of_certificate(status));
    ailments.extend(status.vms.iter().filter_map(of_guest));
    ailments.extend(status.findings.iter().map(of_finding));
    ailments
}

/// What the auditor sees and may not touch.
pub(crate) fn of_finding(finding: &AuditFinding) -> Ailment {
    let cure = match finding.kind.as_str() {
        "pin" => {
            "mount a BPF file system where the pins were, the agent pins everything anew; until then do not stop it"
        }
        "foreign" => {
            "find out whose it is; one that only counts or watches can stay, any other goes behind ours, or off this interface"
        }
        "altered" => {
            "find out who writes into our maps; the registry's next answer, or a new start of the agent, ends it"
        }
        "device" => {
            "undo it with the command named; nothing that guests say gets there while our programs are on"
        }
        "guard" => "take away what stands in its way, or set xdp_guard to \"auto\" or \"off\"",
        _ => "journalctl -u pairgate-agent says what the kernel answered",
    };
    Ailment::new(&finding.what, cure)
}

fn of_certificate(status: &AgentStatus) -> Option<Ailment> {
    if !status.certificate_overdue {
        return None;
    }
    let why = status.certificate_why.as_deref();
    let why = why.unwrap_or("no try has been made yet");
    Some(Ailment::new(
        format!(
            "this host's certificate ends at {} and was not renewed: {why}",
            utc(status.certificate_expires_unix_ms)
        ),
        "the agent tries on by itself while it holds; once it has run out: start the agent with a zero certificate",
    ))
}

fn of_guest(vm: &LocalVm) -> Option<Ailment> {
    let cure = match vm.state.as_str() {
        // Absent: other hands make that tap, most often when the VM is started.
        "guarded" | "absent" => return None,
        "waiting" => {
            "normal for seconds after a change; if it stays: journalctl -u pairgate-agent".to_owned()
        }
        _ => format!(
            "free the name {} or repair what it says; the agent tries again by itself",
            vm.tap
        ),
    };
    let what = format!(
        "the tap {} of VM {} is not guarded: {}",
        vm.tap, vm.name, vm.state
    );
    Some(Ailment::new(what, cure))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_full_disk_is_a_fault() {
        let status = json!({"version": "0", "installation": "00000000-0000-0000-0000-000000000001", "revision": 5,
            "unix_ms": 0, "wall_clock_ahead_ms": 0, "disk_is_full": true, "token_life_secs": 1, "lease_secs": 1,
            "hosts": [], "networks": 0, "vms": 0, "pairs": 0});
        assert_eq!(of_installation(&serde_json::from_value(status).unwrap()).len(), 1);
    }

    #[test]
    fn a_wall_clock_that_has_left_registry_time_is_a_fault_on_either_side() {
        for (ahead_ms, said) in [
            (4_999, None),
            (5_000, Some("ahead of")),
            (-3_600_000, Some("behind")),
        ] {
            let status = json!({"version": "0", "installation": "00000000-0000-0000-0000-000000000001",
                "revision": 5, "unix_ms": 0, "wall_clock_ahead_ms": ahead_ms, "disk_is_full": false, "token_life_secs": 1, "lease_secs": 1,
                "hosts": [], "networks": 0, "vms": 0, "pairs": 0});
            let ailments = of_installation(&serde_json::from_value(status).unwrap());
            assert_eq!(ailments.len(), usize::from(said.is_some()), "{ahead_ms}");
            assert!(
                said.is_none_or(|said| ailments[0].what.contains(said)),
                "{ahead_ms}"
            );
        }
    }

    fn installation(host: Value) -> Vec<Ailment> {
        let mut full = json!({"id": "00000000-0000-0000-0000-000000000001", "name": "h1", "address": "192.0.2.1",
            "agent_port": 7444, "overlay_port": 4789, "state": "enrolled", "connected": true,
            "applied_revision": 5, "lease_ends_unix_ms": 1_000});
        let parts = full.as_object_mut().unwrap();
        parts.extend(host.as_object().unwrap().clone());
        let status = json!({"version": "0", "installation": "00000000-0000-0000-0000-000000000001", "revision": 5,
            "unix_ms": 0, "wall_clock_ahead_ms": 0, "disk_is_full": false, "token_life_secs": 1, "lease_secs": 1, "hosts": [full], "networks": 0, "vms": 0, "pairs": 0});
        of_installation(&serde_json::from_value(status).unwrap())
    }

    #[test]
    fn a_host_is_healthy_only_if_nothing_is_missing() {
        assert!(installation(json!({})).is_empty());
        assert!(installation(json!({"applied_revision": 6})).is_empty());
        for (host, words) in [
            (json!({"state": "waiting", "connected": false}), "not enrolled"),
            (
                json!({"connected": false}),
                "1970-01-01T00:00:01.000Z at the latest",
            ),
            (
                json!({"connected": false, "lease_ends_unix_ms": null}),
                "refuses every pair",
            ),
            (json!({"lease_ends_unix_ms": null}), "has no lease"),
            (json!({"applied_revision": 4}), "revision 4 of 5"),
            (json!({"applied_revision": null}), "receipt for revision 5"),
        ] {
            let ailments = installation(host.clone());
            assert_eq!(ailments.len(), 1, "{host}: {ailments:?}");
            assert!(ailments[0].what.contains(words), "{ailments:?}");
            assert!(!ailments[0].cure.is_empty());
        }
    }

    fn host(changed: Value) -> Vec<Ailment> {
        let mut full = json!({"version": "0", "abi_version": 1, "host": "h1",
            "host_id": "00000000-0000-0000-0000-000000000001", "address": "192.0.2.1", "uplink": "up0",
            "registry_connected": true, "applied_revision": 3, "lease_left_ms": 5_000, "survives_ms": 61_000,
            "vms": [], "pairs": [], "tombstones": 0});
        full.as_object_mut()
            .unwrap()
            .extend(changed.as_object().unwrap().clone());
        of_host(&serde_json::from_value(full).unwrap())
    }

    #[test]
    fn every_fault_of_a_host_has_its_own_line_and_cure() {
        assert!(host(json!({})).is_empty());
        let guest = |state: &str| {
            json!({"id": "00000000-0000-0000-0000-000000000002", "name": "web1",
            "network": "default", "addresses": ["10.0.0.1"], "generation": 1, "tap": "tap-web1", "state": state})
        };
        assert!(host(json!({"vms": [guest("guarded"), guest("absent")]})).is_empty());
        let all = host(
            json!({"registry_connected": false, "applied_revision": null, "lease_left_ms": 0,
            "vms": [guest("guarded"), guest("waiting"), guest("failed: no room")]}),
        );
        let overdue = host(
            json!({"certificate_expires_unix_ms": 1_000, "certificate_overdue": true,
            "certificate_why": "the registry is away"}),
        );
        assert_eq!(overdue.len(), 1, "{overdue:?}");
        assert!(
            overdue[0].what.contains("1970-01-01T00:00:01.000Z") && overdue[0].what.contains("is away"),
            "{overdue:?}"
        );
        let words = [
            "1 min 1 s",
            "no goal state",
            "lease has ended",
            "waiting",
            "no room",
        ];
        assert_eq!(all.len(), words.len(), "{all:?}");
        for (ailment, words) in all.iter().zip(words) {
            assert!(
                ailment.what.contains(words) && !ailment.cure.is_empty(),
                "{ailment:?}"
            );
        }
    }
}
