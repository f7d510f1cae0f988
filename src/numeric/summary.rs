//! What a sample of draws says.

/// The share of draws inside a stated interval.
pub const LEVEL: f64 = 0.9;

/// A central value and the interval that holds [`LEVEL`] of the draws, equal tails.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The result at the central value of every input.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// The interval of `draws` around `value`. `draws` is reordered. Without draws the interval is the value.
    #[must_use]
    pub fn of(value: f64, draws: &mut [f64]) -> Self {
        // Most fixed results have draws that are all the same: nothing to select.
        let Some(first) = draws.first().copied() else { return Self { value, low: value, high: value } };
        if draws.iter().all(|draw| *draw == first) {
            return Self { value, low: first, high: first };
        }
        let tail = (1.0 - LEVEL) / 2.0;
        Self { value, low: quantile(draws, tail), high: quantile(draws, 1.0 - tail) }
    }

    /// The same interval in another unit.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        Self { value: self.value * factor, low: self.low * factor, high: self.high * factor }
    }
}

/// The sample quantile with linear interpolation (Hyndman and Fan 1996, type 7).
fn quantile(draws: &mut [f64], p: f64) -> f64 {
    let position = p * (draws.len() - 1) as f64;
    let below = position.floor() as usize;
    let (_, low, rest) = draws.select_nth_unstable_by(below, f64::total_cmp);
    let low = *low;
    let high = rest.iter().copied().min_by(f64::total_cmp).unwrap_or(low);
    low + (position - below as f64) * (high - low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_seven_quantiles() {
        let mut draws: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        let interval = Interval::of(50.0, &mut draws);
        assert!((interval.low - 5.0).abs() < 1e-9 && (interval.high - 95.0).abs() < 1e-9, "{interval:?}");
        assert_eq!(quantile(&mut [1.0, 2.0, 3.0, 4.0], 0.5), 2.5);
        assert_eq!(Interval::of(3.0, &mut []), Interval { value: 3.0, low: 3.0, high: 3.0 });
    }
}
