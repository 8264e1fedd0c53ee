//! `pairgate status`: one screen, and an exit code that says whether all is well.
//!
//! What is wrong stands last, nearest to the prompt, in red, each with its cure. With `-o json` standard output
//! is what the API said, unchanged, and what is wrong goes to standard error.

use crate::arguments::{Options, Output};
use crate::client::{Agent, Registry};
use crate::failure::{Answer, Failure};
use crate::health::{self, Ailment};
use crate::output::{self, Table, reply, shown};
use crate::times::{span, utc};
use pairgate_api::local::{AgentStatus, LocalGuard, LocalVm};
use pairgate_api::rest::Status;
use std::net::IpAddr;

pub(crate) async fn run(options: &Options) -> Result<Answer, Failure> {
    let ailments;
    if let Some(host) = &options.on_host {
        let what = format!("cannot tell the status of {host}");
        let answer = Agent::new(options)?.status(&what).await;
        let answer = answer.map_err(Failure::not_an_answer)?;
        reply(&answer, options.output, one_host)?;
        ailments = health::of_host(&answer.value);
    } else {
        let answer = Registry::new(options)?
            .get("cannot tell the status", "status")
            .await;
        let answer = answer.map_err(Failure::not_an_answer)?;
        reply(&answer, options.output, installation)?;
        ailments = health::of_installation(&answer.value);
    }
    conclude(&ailments, options.output)
}

fn conclude(ailments: &[Ailment], form: Output) -> Result<Answer, Failure> {
    match form {
        Output::Table if ailments.is_empty() => output::line("\nhealthy")?,
        Output::Table => output::line(&format!("\n{}", diagnosis(ailments, output::alarming)))?,
        Output::Json if ailments.is_empty() => {}
        Output::Json => output::complain(&diagnosis(ailments, str::to_owned)),
    }
    Ok(if ailments.is_empty() {
        Answer::Yes
    } else {
        Answer::No
    })
}

fn diagnosis(ailments: &[Ailment], paint: impl Fn(&str) -> String) -> String {
    let mut lines = vec![paint(&format!("degraded: {} to cure", ailments.len()))];
    for Ailment { what, cure } in ailments {
        lines.push(paint(&format!("  {}", shown(what))));
        lines.push(format!("    cure: {}", shown(cure)));
    }
    lines.join("\n")
}

fn installation(status: &Status) -> String {
    let mut table = Table::plain();
    table
        .property("registry", &status.version)
        .property("installation", status.installation)
        .property("time", utc(status.unix_ms))
        .property("revision", status.revision)
        .property("networks", status.networks)
        .property("vms", status.vms)
        .property("directions allowed", status.pairs)
        .property("token life", format!("{} s", status.token_life_secs))
        .property("host lease", format!("{} s", status.lease_secs));
    format!("{}\n\n{}", table.render(), crate::host::list(&status.hosts))
}

fn one_host(status: &AgentStatus) -> String {
    let registry = if status.registry_connected {
        "connected"
    } else {
        "not reached"
    };
    let revision = status
        .applied_revision
        .map_or_else(|| "none yet".into(), |revision| revision.to_string());
    let lease = match status.lease_left_ms {
        0 => "ended: every pair of this host is refused".to_owned(),
        left => format!("ends in {}", span(left)),
    };
    let mut table = Table::plain();
    table
        .property("host", format!("{} ({})", status.host, status.host_id))
        .property("address", format!("{} on {}", status.address, status.uplink))
        .property(
            "agent",
            format!("{}, map version {}", status.version, status.abi_version),
        )
        .property("programs by", &status.hook)
        .property("registry", registry)
        .property("revision in force", revision)
        .property("host lease", lease)
        .property(
            "without registry",
            format!("pairs last for another {}", span(status.survives_ms)),
        )
        .property("tombstones", status.tombstones)
        .property(
            "certificate",
            format!("until {}", utc(status.certificate_expires_unix_ms)),
        )
        .property("XDP guard", guard(status.xdp_guard.as_ref()))
        .property("auditor", audit(status));
    format!(
        "{}\n\n{}\n\n{}",
        table.render(),
        vms(&status.vms),
        crate::pairs::table(&status.pairs, &status.vms)
    )
}

fn guard(guard: Option<&LocalGuard>) -> String {
    let Some(LocalGuard { setting, on, why }) = guard else {
        return "this agent has none".to_owned();
    };
    match why {
        Some(why) if !on => format!("off ({setting}): {why}"),
        Some(_) | None if *on => format!("on ({setting})"),
        Some(_) | None => format!("off ({setting})"),
    }
}

fn audit(status: &AgentStatus) -> String {
    let counts = status.found.iter().map(|(kind, count)| format!("{kind} {count}"));
    let found = counts.collect::<Vec<_>>().join(", ");
    match (found.as_str(), status.findings.len()) {
        ("", _) => "everything as declared since the agent's start".to_owned(),
        (found, 0) => format!("everything as declared; found and mended so far: {found}"),
        (found, standing) => format!("{standing} not as declared, see below; found so far: {found}"),
    }
}

fn list(addresses: &[IpAddr]) -> String {
    let texts: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
    texts.join(", ")
}

fn vms(vms: &[LocalVm]) -> String {
    let mut table = Table::new(["VM", "NETWORK", "ADDRESSES", "GENERATION", "TAP", "STATE"]);
    for vm in vms {
        table.row([
            vm.name.clone(),
            vm.network.clone(),
            list(&vm.addresses),
            vm.generation.to_string(),
            vm.tap.clone(),
            vm.state.clone(),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pairgate_api::local::LocalPair;
    use uuid::Uuid;

    #[test]
    fn a_host_without_lease_says_that_it_refuses_everything() {
        let (web1, db1) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let status = AgentStatus {
            version: "0.1.0".into(),
            abi_version: 1,
            host: "h1".into(),
            host_id: Uuid::from_u128(3),
            address: [192, 0, 2, 1].into(),
            uplink: "up0".into(),
            hook: "TCX".into(),
            registry_connected: false,
            applied_revision: None,
            lease_left_ms: 0,
            survives_ms: 0,
            vms: vec![LocalVm {
                id: web1,
                name: "web1".into(),
                network: "default".into(),
                addresses: vec![[10, 77, 0, 11].into()],
                generation: 1,
                tap: "tap-web1".into(),
                state: "guarded".into(),
                gateway: None,
                dns: Vec::new(),
                domain: None,
                mtu: 1500,
                told: Vec::new(),
            }],
            pairs: vec![LocalPair {
                pair_id: u64::MAX,
                way: "out".into(),
                source: web1,
                destination: db1,
                peer_host: [192, 0, 2, 2].into(),
                left_ms: 0,
                claims: None,
            }],
            tombstones: 0,
            certificate_expires_unix_ms: 0,
            certificate_overdue: false,
            certificate_why: None,
            xdp_guard: None,
            findings: Vec::new(),
            found: Default::default(),
        };
        let text = one_host(&status);
        assert!(
            text.contains("ended: every pair of this host is refused"),
            "{text}"
        );
        assert!(
            text.contains("not reached") && text.contains("none yet"),
            "{text}"
        );
        let pair: Vec<_> = text.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(
            pair,
            [
                "out",
                "web1",
                &db1.to_string(),
                "192.0.2.2",
                "expired",
                "18446744073709551615"
            ]
        );
    }

    #[test]
    fn a_guard_that_is_off_says_why() {
        let said = |on: bool, why: Option<&str>| {
            guard(Some(&LocalGuard {
                setting: "auto".into(),
                on,
                why: why.map(str::to_owned),
            }))
        };
        assert_eq!(said(true, None), "on (auto)");
        assert_eq!(
            said(false, Some("the uplink is a veth")),
            "off (auto): the uplink is a veth"
        );
        assert_eq!(guard(None), "this agent has none");
    }
}
