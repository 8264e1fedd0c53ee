//! Does the steps, one request each, in their order.
//!
//! The first refusal ends it: what was done stays, and a later run goes on from there. What ends pairs
//! without every receipt stands all the same, so the rest goes on and the end of the run tells.

use super::compare::Step;
use super::{Report, State};
use crate::client::Registry;
use crate::ending::unanswered;
use crate::failure::Failure;
use crate::output;
use pairgate_api::rest::{
    Allowed, Denial, Network, NewAddresses, NewDenial, NewNetwork, NewPair, NewPlacement, NewVm, Readdressed,
    Vm,
};
use std::time::Duration;

pub(super) async fn all(registry: &Registry, report: &mut Report, timeout_secs: u64) -> Result<(), Failure> {
    let count = report.changes.len();
    let mut unconfirmed = None;
    for (done, change) in report.changes.iter_mut().enumerate() {
        let place = format!("[{}/{count}]", done + 1);
        output::complain(&format!("{place} {}", output::shown(&change.step.to_string())));
        match one(registry, &change.step, timeout_secs).await {
            Ok(None) => change.state = State::Done,
            Ok(Some(why)) => {
                change.state = State::Unconfirmed;
                unconfirmed = Some(why);
            }
            Err(failure) => {
                change.state = State::Failed;
                let stopped = format!("stopped at change {} of {count}", done + 1);
                return Err(failure.after(&stopped));
            }
        }
    }
    unconfirmed.map_or(Ok(()), Err)
}

/// Does one step; a failure inside `Ok` is a change that stands without every receipt.
async fn one(registry: &Registry, step: &Step, timeout_secs: u64) -> Result<Option<Failure>, Failure> {
    let mut unconfirmed = None;
    match step {
        Step::CreateNetwork {
            network,
            prefixes,
            told,
        } => {
            let what = format!("cannot create network {network}");
            let body = NewNetwork {
                name: network.clone(),
                prefixes: prefixes.clone(),
                gateway: told.gateway,
                dns: told.dns.clone().unwrap_or_default(),
                domain: told.domain.clone().filter(|domain| !domain.is_empty()),
                mtu: told.mtu,
            };
            registry.post::<Network>(&what, "networks", &body).await?;
        }
        Step::SetNetwork { network, told } => {
            let what = format!("cannot configure network {network}");
            let path = format!("networks/{network}");
            registry.patch::<Network>(&what, &path, told).await?;
        }
        Step::CreateVm {
            network,
            vm,
            addresses,
            mac,
        } => {
            let what = format!("cannot create VM {vm}");
            let body = NewVm {
                name: vm.clone(),
                addresses: addresses.clone(),
                mac: mac.clone(),
            };
            registry
                .post::<Vm>(&what, &format!("networks/{network}/vms"), &body)
                .await?;
        }
        Step::SetAddresses {
            network,
            vm,
            addresses,
            instead_of: _,
        } => {
            let what = format!("cannot give VM {vm} other addresses");
            let body = NewAddresses {
                addresses: addresses.clone(),
                timeout_ms: timeout_secs * 1_000,
            };
            let (path, wait) = (
                format!("networks/{network}/vms/{vm}/addresses"),
                Duration::from_secs(timeout_secs),
            );
            let set = registry
                .put_and_wait::<Readdressed>(&what, &path, &body, wait)
                .await?
                .value;
            if !set.ended.applied {
                return Ok(Some(unanswered("the change", &set.ended, timeout_secs)));
            }
        }
        Step::PlaceVm {
            network, vm, host, ..
        } => {
            let what = format!("cannot place VM {vm} on {host}");
            let body = NewPlacement { host: host.clone() };
            let path = format!("networks/{network}/vms/{vm}/placement");
            registry.post::<Vm>(&what, &path, &body).await?;
        }
        Step::AllowPair {
            network,
            between: [one, other],
            grant,
            one_way,
            instead_of,
        } => {
            let what = format!("cannot allow {one} and {other} to talk");
            let body = |timeout_secs: u64| NewPair {
                source: one.clone(),
                destination: other.clone(),
                grant: grant.split(',').map(str::to_owned).collect(),
                one_way: *one_way,
                timeout_ms: timeout_secs * 1_000,
            };
            let path = format!("networks/{network}/pairs");
            // Of thousands of new pairs none is waited for; what ends is, also what an earlier denial was to end.
            let new = instead_of.is_none().then_some(0);
            for timeout_secs in new.into_iter().chain([timeout_secs]) {
                let wait = Duration::from_secs(timeout_secs);
                let allowed = registry
                    .post_and_wait::<Allowed>(&what, &path, &body(timeout_secs), wait)
                    .await?
                    .value;
                if allowed.ended.applied {
                    return Ok(None);
                }
                unconfirmed = Some(unanswered("the new grant", &allowed.ended, timeout_secs));
            }
        }
        Step::DenyPair {
            network,
            between: [one, other],
        } => {
            let what = format!("cannot confirm that {one} and {other} have stopped talking");
            let body = NewDenial {
                source: one.clone(),
                destination: other.clone(),
                timeout_ms: timeout_secs * 1_000,
            };
            let (path, wait) = (
                format!("networks/{network}/denials"),
                Duration::from_secs(timeout_secs),
            );
            let denial = registry
                .post_and_wait::<Denial>(&what, &path, &body, wait)
                .await?
                .value;
            if !denial.applied {
                return Ok(Some(unanswered("the denial", &denial, timeout_secs)));
            }
        }
    }
    Ok(unconfirmed)
}
