//! Where two cases of a sweep change places.

use super::results::{CaseResult, Results};

/// A word for what is measured, a word for more of it, and the measure.
type Measure<'a> = (&'a str, &'a str, &'a dyn Fn(&CaseResult) -> Option<f64>);

impl Results {
    /// Where two cases of a sweep change places, in time of a step and in memory, as sentences.
    #[must_use]
    pub fn crossings(&self) -> Vec<String> {
        let mut names: Vec<&str> = Vec::new();
        for case in &self.cases {
            if case.at.is_some() && !names.contains(&case.name.as_str()) {
                names.push(&case.name);
            }
        }
        let step = |case: &CaseResult| case.phases.first().map(|phase| phase.step.total().value());
        let memory = |case: &CaseResult| case.memory.as_ref().map(|memory| memory.needed.value());
        let measures: [Measure<'_>; 2] = [("time", "slower", &step), ("memory", "larger", &memory)];
        let mut out = Vec::new();
        for (word, worse, measure) in measures {
            for (index, first) in names.iter().enumerate() {
                for second in &names[index + 1..] {
                    let series = |name: &str| -> Vec<(f64, f64)> {
                        self.cases.iter().filter(|case| case.name == name).filter_map(|case| Some((case.at?, measure(case)?))).collect()
                    };
                    for (at, sign) in crossing(&series(first), &series(second)) {
                        let (over, under) = if sign > 0.0 { (first, second) } else { (second, first) };
                        let key = self.sweep_key.as_deref().unwrap_or_default();
                        let key = key.rsplit('.').next().unwrap_or_default().replace('_', " ");
                        out.push(format!(
                            "{word}: {over} becomes {worse} than {under} at a {key} of about {}",
                            crate::units::significant(at.round())
                        ));
                    }
                }
            }
        }
        out
    }
}

/// Where two series on the same points cross: the point, by linear interpolation of the log ratio over the log of the
/// key, and the sign of the first over the second beyond it.
fn crossing(first: &[(f64, f64)], second: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let ratio: Vec<(f64, f64)> = first.iter().zip(second).map(|(a, b)| (a.0, (a.1 / b.1).ln())).collect();
    ratio
        .windows(2)
        .filter(|pair| pair[0].1 * pair[1].1 < 0.0 && pair[0].0 > 0.0)
        .map(|pair| {
            let share = pair[0].1 / (pair[0].1 - pair[1].1);
            ((pair[0].0.ln() + share * (pair[1].0.ln() - pair[0].0.ln())).exp(), pair[1].1.signum())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_cross_where_their_ratio_is_one() {
        let points = [64.0, 128.0, 256.0];
        let first: Vec<(f64, f64)> = points.iter().map(|x| (*x, x * x)).collect();
        let second: Vec<(f64, f64)> = points.iter().map(|x| (*x, 100.0 * x)).collect();
        let found = crossing(&first, &second);
        assert_eq!(found.len(), 1);
        assert!((found[0].0 - 100.0).abs() < 1e-9 && found[0].1 > 0.0);
    }
}
