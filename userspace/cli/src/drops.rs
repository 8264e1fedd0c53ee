//! `pairgate drops`.

use crate::arguments::Options;
use crate::client::Agent;
use crate::failure::{Answer, Failure};
use crate::output::{Table, reply};
use pairgate_api::local::Drops;

pub(crate) async fn run(options: &Options) -> Result<Answer, Failure> {
    let what = match &options.on_host {
        Some(host) => format!("cannot count the drops of {host}"),
        None => "cannot count the drops of this host".to_owned(),
    };
    let answer = Agent::new(options)?.drops(&what).await?;
    reply(&answer, options.output, counts)?;
    Ok(Answer::Yes)
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
    use pairgate_api::local::DropCount;

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
}
