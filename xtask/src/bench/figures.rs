//! Figures of all rounds, and the table made of them.

use super::measures::Measure;
use serde::Serialize;
use std::fmt::Write;

/// All rounds of one measurement, for each ground.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) measure: Measure,
    rounds: Vec<Vec<f64>>,
}

impl Row {
    pub(super) fn new(measure: Measure, grounds: usize) -> Self {
        Self {
            measure,
            rounds: vec![Vec::new(); grounds],
        }
    }

    pub(super) fn add(&mut self, ground: usize, figure: f64) {
        self.rounds[ground].push(figure);
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
    rivals: Vec<Rival>,
    /// For the ratio to the first rival.
    goal: f64,
    /// Small is good.
    goal_is_ceiling: bool,
    reached: bool,
}

#[derive(Debug, Serialize)]
struct Rival {
    name: &'static str,
    figures: Spread,
    /// Pairgate's median to this one's.
    ratio: f64,
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
    /// The first ground is ours, the others have these names.
    pub(super) fn new(rows: Vec<Row>, rivals: &[&'static str]) -> Self {
        Self {
            lines: rows.into_iter().map(|row| Line::of(&row, rivals)).collect(),
        }
    }

    pub(super) fn table(&self) -> String {
        let mut text = format!("\n{:<32} {:<7} {:<25}", "median (least to most)", "", "Pairgate");
        for rival in self.lines.first().iter().flat_map(|line| &line.rivals) {
            let _ = write!(text, " {:<25} ratio", rival.name);
        }
        text.push_str("  goal\n");
        for line in &self.lines {
            let _ = write!(text, "{:<32} {:<7} {:<25}", line.name, line.unit, line.pairgate);
            for rival in &line.rivals {
                let _ = write!(text, " {:<25} {:>5.2}", rival.figures, rival.ratio);
            }
            let goal = if line.goal_is_ceiling { "≤" } else { "≥" };
            let verdict = if line.reached { "" } else { "  MISSED" };
            let _ = writeln!(text, "  {goal} {:.1}{verdict}", line.goal);
        }
        text.push_str("\nThe goal is for the first ratio. Only ratios of one run say something.\n");
        text
    }
}

impl Line {
    fn of(row: &Row, rivals: &[&'static str]) -> Self {
        let mut spreads = row.rounds.iter().map(|figures| Spread::of(figures));
        let pairgate = spreads.next().unwrap_or(Spread::of(&[]));
        let rivals = rivals.iter().zip(spreads).map(|(&name, figures)| Rival {
            name,
            figures,
            ratio: pairgate.median / figures.median,
        });
        let rivals: Vec<_> = rivals.collect();
        let (goal, goal_is_ceiling) = row.measure.goal();
        let reached = rivals.first().is_some_and(|rival| {
            if goal_is_ceiling {
                rival.ratio <= goal
            } else {
                rival.ratio >= goal
            }
        });
        Self {
            name: row.measure.name(),
            unit: row.measure.unit(),
            pairgate,
            rivals,
            goal,
            goal_is_ceiling,
            reached,
        }
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
        let rows = [Measure::AnswerMedian, Measure::Stream].map(|measure| {
            let mut row = Row::new(measure, 2);
            row.add(0, 2.0);
            row.add(1, 1.0);
            row
        });
        let figures = Figures::new(rows.into(), &["another"]);
        let reached: Vec<_> = figures.lines.iter().map(|line| line.reached).collect();
        assert_eq!(reached, [false, true], "{}", figures.table());
    }
}
