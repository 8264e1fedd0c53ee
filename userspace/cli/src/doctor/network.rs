//! What can be seen through the network: the registry, its clock, and the agents of other hosts.

use super::Finding;
use crate::arguments::Options;
use crate::client::{Registry, with_port};
use crate::times::span;
use pairgate_api::AGENT_PORT;
use pairgate_api::local::AgentStatus;
use pairgate_api::rest::{Host, Status};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a connection may take within one underlay.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// By how much the clocks may differ: certificates and logs bear this, and a token's not-before is set back by it.
const CLOCK_LIMIT_MS: u64 = 30_000;

/// What was found on the way to the registry.
pub(super) struct AskedRegistry {
    pub(super) findings: Vec<Finding>,
    /// All hosts, if it could be asked.
    pub(super) hosts: Option<Vec<Host>>,
}

pub(super) async fn registry(options: &Options) -> AskedRegistry {
    const CLOCK: &str = "clock";
    let (reached, hosts, clock) = match (&options.registry, Registry::new(options)) {
        (None, _) => (
            Finding::unknown(
                "registry",
                "not tried: its address was not given",
                "say --registry HOST",
            ),
            None,
            Err("the registry was not asked".to_owned()),
        ),
        // No operator certificate here, as usual on a host: the way alone can be tried.
        (Some(target), Err(failure)) => (
            reach("registry", &with_port(target)).await,
            None,
            Err(failure.why().to_owned()),
        ),
        (Some(target), Ok(registry)) => {
            let asked = Instant::now();
            match registry.get::<Status>("cannot ask the registry", "status").await {
                Ok(status) => {
                    let here = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                    let seen = format!("{} answers, version {}", with_port(target), status.value.version);
                    let clock = clock(millis(here), status.value.unix_ms, millis(asked.elapsed()));
                    (Finding::ok("registry", seen), Some(status.value.hosts), Ok(clock))
                }
                Err(failure) => (
                    Finding::bad(
                        "registry",
                        failure.why(),
                        "check that pairgate-registry runs, that no firewall is in the way, and that --cert and --authority are of its installation",
                    ),
                    None,
                    // An operator's certificate was given: asking for it again would be no cure.
                    Ok(Finding::unknown(
                        CLOCK,
                        "not compared: the registry did not answer",
                        "mend the way to the registry first, then run this again",
                    )),
                ),
            }
        }
    };
    let clock = clock.unwrap_or_else(|why| {
        let cure = "give --registry, --authority, --cert and --key of an operator";
        Finding::unknown(CLOCK, format!("not compared: {why}"), cure)
    });
    AskedRegistry {
        findings: vec![reached, clock],
        hosts,
    }
}

/// The registry's answer was made at some instant of the round trip, so that much is no difference.
fn clock(here_unix_ms: u64, registry_unix_ms: u64, round_trip_ms: u64) -> Finding {
    let differ = here_unix_ms
        .abs_diff(registry_unix_ms)
        .saturating_sub(round_trip_ms);
    let seen = format!("differs from the registry's by {}", span(differ));
    if differ <= CLOCK_LIMIT_MS {
        return Finding::ok("clock", seen);
    }
    Finding::bad(
        "clock",
        seen,
        "let NTP set both clocks; certificates are judged by them",
    )
}

/// The agents that this host must be able to reach.
pub(super) async fn peers(agent: Option<&AgentStatus>, hosts: Option<&[Host]>) -> Vec<Finding> {
    const CHECK: &str = "peer agent";
    let Some(own) = agent.map(|agent| agent.address) else {
        let why = "not tried: without its agent this host's own address is not known";
        return vec![Finding::unknown(CHECK, why, "start the agent first")];
    };
    let peers = peers_of(own, agent, hosts);
    if peers.is_empty() {
        return match hosts {
            Some(_) => vec![Finding::ok(CHECK, "there is no other enrolled host")],
            None => vec![Finding::unknown(
                CHECK,
                "not tried: no pair is open, and the registry was not asked for hosts",
                "give --registry, --authority, --cert and --key of an operator",
            )],
        };
    }
    let tries: Vec<_> = peers
        .into_iter()
        .map(|(address, name)| tokio::spawn(async move { (name, reach(CHECK, &address.to_string()).await) }))
        .collect();
    let mut findings = Vec::new();
    for one in tries {
        // A try can only end by itself: nothing cancels it, and it does not panic.
        if let Ok((name, mut finding)) = one.await {
            finding.seen = format!("{name}: {}", finding.seen);
            findings.push(finding);
        }
    }
    findings
}

fn peers_of(
    own: IpAddr,
    agent: Option<&AgentStatus>,
    hosts: Option<&[Host]>,
) -> BTreeMap<SocketAddr, String> {
    if let Some(hosts) = hosts {
        let others = hosts
            .iter()
            .filter(|host| host.address != own && host.state == "enrolled");
        return others
            .map(|host| (SocketAddr::new(host.address, host.agent_port), host.name.clone()))
            .collect();
    }
    let pairs = agent
        .iter()
        .flat_map(|agent| &agent.pairs)
        .filter(|pair| pair.peer_host != own);
    pairs
        .map(|pair| {
            (
                SocketAddr::new(pair.peer_host, AGENT_PORT),
                pair.peer_host.to_string(),
            )
        })
        .collect()
}

/// Whether something listens there; who it is, the agents prove to each other by certificates.
async fn reach(check: &'static str, target: &str) -> Finding {
    let cure = "check that it runs there, that a route leads there, and that no firewall drops this TCP port";
    match timeout(CONNECT_LIMIT, TcpStream::connect(target)).await {
        Ok(Ok(_)) => Finding::ok(check, format!("{target} can be connected to")),
        Ok(Err(error)) => Finding::bad(check, format!("{target}: {error}"), cure),
        Err(_) => Finding::bad(
            check,
            format!("{target}: no answer within {} s", CONNECT_LIMIT.as_secs()),
            cure,
        ),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn the_way_to_the_registry_is_not_counted_as_a_wrong_clock() {
        assert_eq!(clock(1_000_000, 965_000, 5_000).state, State::Ok);
        assert_eq!(clock(1_000_000, 964_999, 5_000).state, State::Bad);
        assert_eq!(clock(965_000, 1_000_001, 5_000).state, State::Bad);
    }

    #[tokio::test]
    async fn a_port_that_nobody_holds_is_bad_and_one_that_listens_is_ok() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap().to_string();
        assert_eq!(reach("x", &target).await.state, State::Ok);
        // Bound and not listening: refuses, and nobody else gets the port meanwhile.
        let held = tokio::net::TcpSocket::new_v4().unwrap();
        held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let target = held.local_addr().unwrap().to_string();
        assert_eq!(reach("x", &target).await.state, State::Bad);
    }

    #[test]
    fn only_other_hosts_that_have_enrolled_are_tried() {
        let host = |name: &str, last: u8, state: &str| {
            serde_json::json!({"id": "00000000-0000-0000-0000-000000000001", "name": name,
                "address": format!("192.0.2.{last}"), "agent_port": 7, "overlay_port": 4789, "state": state,
                "connected": true, "applied_revision": null, "lease_ends_unix_ms": null})
        };
        let hosts = serde_json::json!([
            host("h1", 1, "enrolled"),
            host("h2", 2, "enrolled"),
            host("h3", 3, "waiting")
        ]);
        let hosts: Vec<Host> = serde_json::from_value(hosts).unwrap();
        let peers = peers_of([192, 0, 2, 1].into(), None, Some(&hosts));
        assert_eq!(
            peers,
            BTreeMap::from([("192.0.2.2:7".parse().unwrap(), "h2".to_owned())])
        );
    }
}
