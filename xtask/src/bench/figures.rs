//! Figures of all rounds, and the table made of them.

use super::measures::Measure;
use serde::Serialize;
use std::fmt::Write;

/// All rounds of one measurement.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) measure: Measure,
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

impl Row {
    pub(super) fn new(measure: Measure) -> Self {
        Self {
            measure,
            ours: Vec::new(),
            theirs: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, ours: f64, theirs: f64) {
        self.ours.push(ours);
        self.theirs.push(theirs);
    }
}

/// What a run has found.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    lines: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    name: &'static str,
    unit: &'static str,
    pairgate: Spread,
    kernel_vxlan_and_bridge: Spread,
    /// Median to median.
    ratio: f64,
    goal: f64,
    /// Small is good.
    goal_is_ceiling: bool,
    reached: bool,
}

/// Of all rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(figures: &[f64]) -> Self {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            at(middle)
        } else {
            f64::midpoint(at(middle.saturating_sub(1)), at(middle))
        };
        Self {
            least: at(0),
            median,
            most: at(sorted.len().saturating_sub(1)),
        }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { least, median, most } = self;
        f.pad(&format!("{median:.1} ({least:.1} to {most:.1})"))
    }
}

impl Figures {
    pub(super) fn new(rows: Vec<Row>) -> Self {
        let lines = rows.into_iter().map(|row| {
            let (ours, theirs) = (Spread::of(&row.ours), Spread::of(&row.theirs));
            let ratio = ours.median / theirs.median;
            let (goal, goal_is_ceiling) = row.measure.goal();
            Line {
                name: row.measure.name(),
                unit: row.measure.unit(),
                pairgate: ours,
                kernel_vxlan_and_bridge: theirs,
                ratio,
                goal,
                goal_is_ceiling,
                reached: if goal_is_ceiling {
                    ratio <= goal
                } else {
                    ratio >= goal
                },
            }
        });
        Self {
            lines: lines.collect(),
        }
    }

    pub(super) fn table(&self) -> String {
        let mut text = format!(
            "\n{:<32} {:<7} {:<24} {:<24} {:>5}  goal\n",
            "median (least to most)", "", "Pairgate", "kernel VXLAN + bridge", "ratio"
        );
        for line in &self.lines {
            let goal = if line.goal_is_ceiling { "≤" } else { "≥" };
            let verdict = if line.reached { "" } else { "  MISSED" };
            let _ = writeln!(
                text,
                "{:<32} {:<7} {:<24} {:<24} {:>5.2}  {goal} {:.1}{verdict}",
                line.name, line.unit, line.pairgate, line.kernel_vxlan_and_bridge, line.ratio, line.goal
            );
        }
        text.push_str("\nOnly the ratio says something; the rival filters nothing and proves nothing.\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_stands_in_the_middle_whatever_the_order() {
        let spread = Spread::of(&[5.0, 1.0, 3.0]);
        assert_eq!((spread.least, spread.median, spread.most), (1.0, 3.0, 5.0));
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 9.0]).median, 3.0);
    }

    #[test]
    fn a_latency_is_good_when_small_and_a_rate_when_large() {
        let mut latency = Row::new(Measure::AnswerMedian);
        let mut rate = Row::new(Measure::Stream);
        for row in [&mut latency, &mut rate] {
            row.add(2.0, 1.0);
        }
        let figures = Figures::new(vec![latency, rate]);
        let reached: Vec<_> = figures.lines.iter().map(|line| line.reached).collect();
        assert_eq!(reached, [false, true], "{}", figures.table());
    }
}
