//! Does the steps, one request each, in their order.
//!
//! The first refusal ends it: what was done stays, and a later run goes on from there. A denial without every
//! receipt stands all the same, so the rest goes on and the end of the run tells.

use super::compare::Step;
use super::{Report, State};
use crate::client::Registry;
use crate::failure::Failure;
use crate::output;
use pairgate_api::rest::{Denial, Network, NewDenial, NewNetwork, NewPair, NewPlacement, NewVm, Pair, Vm};
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

/// Does one step; a failure inside `Ok` is a denial that stands without every receipt.
async fn one(registry: &Registry, step: &Step, timeout_secs: u64) -> Result<Option<Failure>, Failure> {
    match step {
        Step::CreateNetwork { network, prefixes } => {
            let what = format!("cannot create network {network}");
            let body = NewNetwork {
                name: network.clone(),
                prefixes: prefixes.clone(),
            };
            registry.post::<Network>(&what, "networks", &body).await?;
        }
        Step::CreateVm {
            network,
            vm,
            address,
            mac,
        } => {
            let what = format!("cannot create VM {vm}");
            let body = NewVm {
                name: vm.clone(),
                address: *address,
                mac: mac.clone(),
            };
            registry
                .post::<Vm>(&what, &format!("networks/{network}/vms"), &body)
                .await?;
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
            ..
        } => {
            let what = format!("cannot allow {one} and {other} to talk");
            let body = NewPair {
                source: one.clone(),
                destination: other.clone(),
            };
            registry
                .post::<Vec<Pair>>(&what, &format!("networks/{network}/pairs"), &body)
                .await?;
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
                return Ok(Some(crate::pair::unanswered(&denial, timeout_secs)));
            }
        }
    }
    Ok(None)
}
