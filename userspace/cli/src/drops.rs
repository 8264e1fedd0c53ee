//! `pairgate drops`: what died on a host and why, once or as it happens.

use crate::arguments::{Options, Output};
use crate::client::Agent;
use crate::failure::{Answer, Failure};
use crate::output::{self, Table, reply, shown};
use crate::times::utc;
use clap::Args;
use pairgate_api::local::{DropCount, Drops};
use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{MissedTickBehavior, interval};

/// How often `--follow` looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
#[command(
    after_help = "Examples: why does nothing arrive at a guest of h2? and what dies right now?\n  \
                        pairgate drops --host h2\n  pairgate drops --follow --host h2"
)]
pub(crate) struct Command {
    /// Go on: print every second what was dropped in it, until interrupted; json is one object a line
    #[arg(short, long)]
    follow: bool,
}

pub(crate) async fn run(command: &Command, options: &Options) -> Result<Answer, Failure> {
    let what = match &options.on_host {
        Some(host) => format!("cannot count the drops of {host}"),
        None => "cannot count the drops of this host".to_owned(),
    };
    let agent = Agent::new(options)?;
    if command.follow {
        return follow(&agent, &what, options.output).await;
    }
    let answer = agent.drops(&what).await?;
    reply(&answer, options.output, counts)?;
    Ok(Answer::Yes)
}

async fn follow(agent: &Agent, what: &str, output: Output) -> Result<Answer, Failure> {
    let mut before = agent.drops(what).await?.value.drops;
    if output == Output::Table {
        output::line(&follow_line(
            "TIME",
            "PACKETS",
            "REASON",
            "VM",
            "DIRECTION",
            "MEANING",
        ))?;
    }
    let mut tick = interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.tick().await;
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            _ = &mut interrupted => return Ok(Answer::Yes),
            _ = tick.tick() => {}
        }
        let now = agent.drops(what).await?.value.drops;
        let new = difference(&before, &now);
        before = now;
        if new.is_empty() {
            continue;
        }
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        let text = match output {
            Output::Json => serde_json::json!({"unix_ms": at, "drops": new}).to_string(),
            Output::Table => new
                .iter()
                .map(|count| describe(at, count))
                .collect::<Vec<_>>()
                .join("\n"),
        };
        if !output::line_while_read(&text)? {
            return Ok(Answer::Yes);
        }
    }
}

/// What was dropped between two looks. A count that went back began anew, as after a restart of the agent.
fn difference(before: &[DropCount], now: &[DropCount]) -> Vec<DropCount> {
    let key = |count: &DropCount| {
        (
            count.network.clone(),
            count.vm.clone(),
            count.direction.clone(),
            count.reason.clone(),
        )
    };
    let before: HashMap<_, u64> = before.iter().map(|count| (key(count), count.packets)).collect();
    let new = now.iter().map(|count| {
        let known = before.get(&key(count)).copied().unwrap_or(0);
        let packets = count.packets.checked_sub(known).unwrap_or(count.packets);
        DropCount {
            packets,
            ..count.clone()
        }
    });
    new.filter(|count| count.packets > 0).collect()
}

fn describe(unix_ms: u64, count: &DropCount) -> String {
    let guest = match (&count.vm, &count.network) {
        (Some(vm), Some(network)) => format!("{vm} in {network}"),
        (Some(vm), None) => vm.clone(),
        (None, _) => "-".to_owned(),
    };
    let packets = format!("+{}", count.packets);
    follow_line(
        &utc(unix_ms),
        &packets,
        &count.reason,
        &guest,
        &count.direction,
        &count.meaning,
    )
}

/// Columns of a fixed width, since later lines are not known yet.
fn follow_line(time: &str, packets: &str, reason: &str, vm: &str, direction: &str, meaning: &str) -> String {
    let [reason, vm, direction, meaning] = [reason, vm, direction, meaning].map(shown);
    format!("{time:<24}  {packets:>10}  {reason:<16}  {vm:<24}  {direction:<11}  {meaning}")
}

fn counts(counted: &Drops) -> String {
    let mut dropped = Table::new(["PACKETS", "REASON", "VM", "NETWORK", "DIRECTION", "MEANING"]);
    for drop in &counted.drops {
        dropped.row([
            drop.packets.to_string(),
            drop.reason.clone(),
            or_dash(drop.vm.as_ref()),
            or_dash(drop.network.as_ref()),
            drop.direction.clone(),
            drop.meaning.clone(),
        ]);
    }
    let mut passed = Table::new(["PASSED", "BYTES", "VM", "NETWORK", "DIRECTION"]);
    for pass in &counted.passed {
        passed.row([
            pass.packets.to_string(),
            pass.bytes.to_string(),
            or_dash(pass.vm.as_ref()),
            or_dash(pass.network.as_ref()),
            pass.direction.clone(),
        ]);
    }
    let dropped = if counted.drops.is_empty() {
        "no packet was dropped".into()
    } else {
        dropped.render()
    };
    let passed = if counted.passed.is_empty() {
        "no packet has passed".into()
    } else {
        passed.render()
    };
    format!("{dropped}\n\n{passed}")
}

fn or_dash(text: Option<&String>) -> String {
    text.cloned().unwrap_or_else(|| "-".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_without_a_guest_has_a_line_too() {
        let counted = Drops {
            drops: vec![DropCount {
                vm: None,
                network: None,
                direction: "from_uplink".into(),
                reason: "handle".into(),
                meaning: "unknown handle".into(),
                packets: 3,
            }],
            passed: vec![],
        };
        let text = counts(&counted);
        let line: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(
            line,
            ["3", "handle", "-", "-", "from_uplink", "unknown", "handle"]
        );
        assert!(text.ends_with("no packet has passed"));
    }

    fn drop(vm: &str, reason: &str, packets: u64) -> DropCount {
        DropCount {
            vm: Some(vm.into()),
            network: Some("default".into()),
            direction: "from_tap".into(),
            reason: reason.into(),
            meaning: "red \u{1b}[31m".into(),
            packets,
        }
    }

    #[test]
    fn a_look_shows_what_is_new_and_only_that() {
        let before = [
            drop("a", "no_pair", 5),
            drop("a", "vlan", 7),
            drop("b", "vlan", 7),
        ];
        let now = [
            drop("a", "no_pair", 6),
            drop("a", "vlan", 7),
            drop("b", "vlan", 2),
            drop("c", "vlan", 1),
        ];
        let told: Vec<_> = difference(&before, &now)
            .into_iter()
            .map(|count| (count.vm.unwrap(), count.packets))
            .collect();
        assert_eq!(told, [("a".into(), 1), ("b".into(), 2), ("c".into(), 1)]);
        assert!(difference(&now, &now).is_empty());
    }

    #[test]
    fn a_followed_line_cannot_colour_the_terminal() {
        let line = describe(0, &drop("a", "vlan", 3));
        assert!(
            line.contains("+3  vlan ") && line.ends_with("red \\u{1b}[31m"),
            "{line}"
        );
    }
}
