//! The same measured of two things in turn, in one run: only the ratio counts.

use serde::Serialize;

#[derive(Debug, Serialize)]
pub(super) struct Against {
    /// All rounds of the one, and of the other.
    pub(super) rounds: [Vec<f64>; 2],
    /// Of the medians.
    pub(super) ratio: f64,
    /// Quartiles of the ratios of each round: how far noise alone carries them.
    pub(super) spread: [f64; 2],
}

impl Against {
    pub(super) fn new(rounds: [Vec<f64>; 2]) -> Self {
        let ratio = median(&rounds[0]) / median(&rounds[1]);
        let mut each: Vec<f64> = rounds[0]
            .iter()
            .zip(&rounds[1])
            .map(|(one, other)| one / other)
            .collect();
        each.sort_by(f64::total_cmp);
        let at = |part: usize| each.get(each.len() * part / 4).copied().unwrap_or(f64::NAN);
        Self {
            spread: [at(1), at(3)],
            rounds,
            ratio,
        }
    }

    pub(super) fn medians(&self) -> [f64; 2] {
        [median(&self.rounds[0]), median(&self.rounds[1])]
    }
}

pub(super) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
