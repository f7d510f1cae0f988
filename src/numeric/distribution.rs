//! The distributions an uncertain input can have.

use statrs::distribution::{ContinuousCDF, Normal};

/// What is believed of an input, in base units. A value that exists is valid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// One value.
    Fixed(f64),
    /// Anything from `low` to `high`, equally.
    Uniform {
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
    },
    /// From `low` to `high`, most likely `mode`.
    Triangular {
        /// Lower end.
        low: f64,
        /// Most likely value.
        mode: f64,
        /// Upper end.
        high: f64,
    },
    /// Normal, cut at zero, because no quantity here is negative.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        standard_deviation: f64,
    },
    /// Lognormal: `median` times or divided by `geometric_standard_deviation` in two cases of three.
    Lognormal {
        /// Median.
        median: f64,
        /// Geometric standard deviation, 1 or more.
        geometric_standard_deviation: f64,
    },
}

impl Distribution {
    /// The value that a calculation by hand would take: mode, mean, median or middle.
    #[must_use]
    pub fn centre(&self) -> f64 {
        match *self {
            Self::Fixed(value) => value,
            Self::Uniform { low, high } => 0.5 * (low + high),
            Self::Triangular { mode, .. } => mode,
            Self::Normal { mean, .. } => mean,
            Self::Lognormal { median, .. } => median,
        }
    }

    /// The value below which a share `p` of the probability lies, `p` strictly between 0 and 1.
    ///
    /// Triangular: Evans, Hastings and Peacock, Statistical Distributions (2000), chapter 40.
    #[must_use]
    pub fn quantile(&self, p: f64) -> f64 {
        match *self {
            Self::Fixed(value) => value,
            Self::Uniform { low, high } => low + p * (high - low),
            Self::Triangular { low, mode, high } => {
                let span = high - low;
                if span <= 0.0 {
                    return mode;
                }
                let turn = (mode - low) / span;
                if p < turn { low + (p * span * (mode - low)).sqrt() } else { high - ((1.0 - p) * span * (high - mode)).sqrt() }
            }
            Self::Normal { mean, standard_deviation } => (mean + standard_deviation * standard_normal(p)).max(0.0),
            Self::Lognormal { median, geometric_standard_deviation } => {
                median * (geometric_standard_deviation.ln() * standard_normal(p)).exp()
            }
        }
    }

    /// The distribution of `factor` times the value.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        match *self {
            Self::Fixed(value) => Self::Fixed(value * factor),
            Self::Uniform { low, high } => Self::Uniform { low: low * factor, high: high * factor },
            Self::Triangular { low, mode, high } => Self::Triangular { low: low * factor, mode: mode * factor, high: high * factor },
            Self::Normal { mean, standard_deviation } => {
                Self::Normal { mean: mean * factor, standard_deviation: standard_deviation * factor }
            }
            Self::Lognormal { median, geometric_standard_deviation } => {
                Self::Lognormal { median: median * factor, geometric_standard_deviation }
            }
        }
    }

    /// The triangular distribution around `mode` that has its 5 % and 95 % points at `from` and `to`, cut at `bounds`.
    ///
    /// With l and h what it reaches below and above its mode, (l - mode + from)^2 = 0.05 (l + h) l, and alike for h.
    #[must_use]
    pub fn triangular_through(from: f64, mode: f64, to: f64, bounds: (f64, f64)) -> Self {
        const TAIL: f64 = 0.05;
        let (below, above) = (mode - from, to - mode);
        let reach = |inner: f64, other: f64| {
            let half = inner + 0.5 * TAIL * other;
            (half + (half * half - (1.0 - TAIL) * inner * inner).max(0.0).sqrt()) / (1.0 - TAIL)
        };
        let (mut l, mut h) = (below, above);
        for _ in 0..60 {
            l = reach(below, h);
            h = reach(above, l);
        }
        Self::Triangular { low: (mode - l).max(bounds.0), mode, high: (mode + h).min(bounds.1) }
    }

    /// Whether draws differ.
    #[must_use]
    pub fn is_uncertain(&self) -> bool {
        self.quantile(0.001) != self.quantile(0.999)
    }
}

fn standard_normal(p: f64) -> f64 {
    Normal::standard().inverse_cdf(p)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_quantiles() {
        let triangular = Distribution::Triangular { low: 0.0, mode: 1.0, high: 2.0 };
        assert_eq!(triangular.quantile(0.5), 1.0);
        assert!((triangular.quantile(0.125) - 0.5).abs() < 1e-12);
        let normal = Distribution::Normal { mean: 100.0, standard_deviation: 10.0 };
        assert!((normal.quantile(0.95) - 116.448_536_27).abs() < 1e-6);
        let lognormal = Distribution::Lognormal { median: 5.0, geometric_standard_deviation: 2.0 };
        assert!((lognormal.quantile(0.5) - 5.0).abs() < 1e-12);
        assert_eq!(Distribution::Triangular { low: 1.0, mode: 1.0, high: 1.0 }.quantile(0.3), 1.0);
        assert_eq!(Distribution::Normal { mean: 1.0, standard_deviation: 10.0 }.quantile(0.01), 0.0);
    }

    #[test]
    fn a_triangle_goes_through_its_ends() {
        for (from, mode, to) in [(0.2156, 0.5, 0.7844), (0.6, 0.74, 0.8), (0.97, 0.977, 0.98)] {
            let found = Distribution::triangular_through(from, mode, to, (0.0, 1.0));
            assert!((found.quantile(0.05) - from).abs() < 1e-9 && (found.quantile(0.95) - to).abs() < 1e-9, "{found:?}");
        }
        let cut = Distribution::triangular_through(0.536, 0.803, 0.995, (0.0, 1.0));
        assert!(matches!(cut, Distribution::Triangular { high: 1.0, .. }), "{cut:?}");
    }

    fn any_distribution() -> impl Strategy<Value = Distribution> {
        let three = (0.0..10.0_f64, 0.0..10.0_f64, 0.0..10.0_f64);
        prop_oneof![
            (0.0..10.0_f64).prop_map(Distribution::Fixed),
            (0.0..10.0_f64, 0.0..10.0_f64).prop_map(|(low, add)| Distribution::Uniform { low, high: low + add }),
            three.prop_map(|(low, a, b)| Distribution::Triangular { low, mode: low + a, high: low + a + b }),
            (0.0..10.0_f64, 0.0..5.0_f64).prop_map(|(mean, standard_deviation)| Distribution::Normal { mean, standard_deviation }),
            (0.1..10.0_f64, 1.0..4.0_f64)
                .prop_map(|(median, geometric_standard_deviation)| Distribution::Lognormal { median, geometric_standard_deviation }),
        ]
    }

    proptest! {
        #[test]
        fn quantiles_rise_and_stay_finite(d in any_distribution(), p in 0.001..0.998_f64) {
            prop_assert!(d.quantile(p).is_finite());
            prop_assert!(d.quantile(p) >= 0.0);
            prop_assert!(d.quantile(p) <= d.quantile(p + 0.001) + 1e-12);
        }
    }
}
