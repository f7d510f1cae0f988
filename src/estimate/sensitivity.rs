//! What moves the answer: each uncertain input alone, from its 5 % to its 95 % point, all others at their centre.

use super::results::{Metric, Swing};
use super::{Point, saving};

impl Point {
    /// The swings of the first variant's saving of energy, or of time where energy is not known, largest first.
    pub(super) fn swings(&mut self) -> Vec<Swing> {
        if self.cases.len() < 2 {
            return Vec::new();
        }
        let variant = self.cases[1].name.clone();
        let centre = self.inputs.centre();
        let ends: Vec<(usize, String, [f64; 2])> =
            self.inputs.uncertain().map(|(index, input, ends)| (index, input.name.clone(), ends)).collect();
        let mut swings: Vec<Swing> = Vec::new();
        for (index, input, ends) in ends {
            let at = |point: &mut Self, value: f64| {
                let mut row = centre.clone();
                row[index] = value;
                let outcomes = point.outcomes(&row);
                let of = |metric| Some(saving(outcomes[0].get(metric)?, outcomes[1].get(metric)?));
                of(Metric::Energy).or_else(|| of(Metric::Duration)).unwrap_or_default()
            };
            let ends = [at(self, ends[0]), at(self, ends[1])];
            if (ends[0] - ends[1]).abs() > 1e-9 {
                swings.push(Swing { input, variant: variant.clone(), ends });
            }
        }
        swings.sort_by(|a, b| (b.ends[0] - b.ends[1]).abs().total_cmp(&(a.ends[0] - a.ends[1]).abs()));
        swings
    }
}
