//! A parameter of a fit, and the change of variable that keeps it between its bounds.

/// A parameter to be fitted, in its own units.
///
/// The solver moves a variable u without bounds, from which the parameter x follows:
///
/// | bounds | u | x |
/// |---|---|---|
/// | none | x | u |
/// | low | ln(x - low) | low + exp(u) |
/// | high | -ln(high - x) | high - exp(-u) |
/// | both | ln((x - low) / (high - x)) | low + (high - low) / (1 + exp(-u)) |
///
/// x rises with u in every row. A bound itself is not reached, only approached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameter {
    /// Where the search starts, strictly between the bounds.
    pub start: f64,
    /// Lower bound, or minus infinity.
    pub low: f64,
    /// Upper bound, or infinity.
    pub high: f64,
    /// What is believed before the data: a centre in the parameter's own units and a standard deviation of u. With a lower
    /// bound of zero alone, `(0.8, 0.2)` says 0.8, give or take a factor exp(0.2); with both bounds the deviation is one
    /// of the logit; without bounds it is in the parameter's units.
    pub prior: Option<(f64, f64)>,
}

impl Parameter {
    /// A parameter without bounds.
    #[must_use]
    pub fn free(start: f64) -> Self {
        Self::between(start, f64::NEG_INFINITY, f64::INFINITY)
    }

    /// A parameter above zero.
    #[must_use]
    pub fn positive(start: f64) -> Self {
        Self::between(start, 0.0, f64::INFINITY)
    }

    /// A parameter between `low` and `high`.
    #[must_use]
    pub fn between(start: f64, low: f64, high: f64) -> Self {
        Self { start, low, high, prior: None }
    }

    /// The same with a prior.
    #[must_use]
    pub fn with_prior(self, centre: f64, deviation: f64) -> Self {
        Self { prior: Some((centre, deviation)), ..self }
    }

    /// The changed variable u of the value x.
    #[must_use]
    pub fn variable(&self, x: f64) -> f64 {
        match (self.low.is_finite(), self.high.is_finite()) {
            (false, false) => x,
            (true, false) => (x - self.low).ln(),
            (false, true) => -(self.high - x).ln(),
            (true, true) => ((x - self.low) / (self.high - x)).ln(),
        }
    }

    /// The value x of the changed variable u.
    #[must_use]
    pub fn value(&self, u: f64) -> f64 {
        match (self.low.is_finite(), self.high.is_finite()) {
            (false, false) => u,
            (true, false) => self.low + u.exp(),
            (false, true) => self.high - (-u).exp(),
            (true, true) => (self.low + (self.high - self.low) * logistic(u)).min(self.high),
        }
    }

    /// The derivative dx/du.
    #[must_use]
    pub fn slope(&self, u: f64) -> f64 {
        match (self.low.is_finite(), self.high.is_finite()) {
            (false, false) => 1.0,
            (true, false) => u.exp(),
            (false, true) => (-u).exp(),
            (true, true) => (self.high - self.low) * logistic(u) * logistic(-u),
        }
    }

    /// The step of central differences in u: cbrt(machine epsilon), where the errors of truncation and rounding balance
    /// (Press et al., Numerical Recipes, 2007), times the scale on which u changes. A logarithm or a logit changes on the
    /// scale of 1, unless it lies so far out that the step would vanish beside it; a free parameter on that of its size.
    pub(super) fn step(&self, u: f64) -> f64 {
        let bounded = self.low.is_finite() || self.high.is_finite();
        let scale = if bounded { (1e-3 * u.abs()).max(1.0) } else { u.abs().max(1e-4 * self.start.abs()) };
        f64::EPSILON.cbrt() * if scale > 0.0 { scale } else { 1.0 }
    }

    /// What is wrong with it, if anything.
    pub(super) fn problem(&self) -> Option<&'static str> {
        if self.low.is_nan() || self.high.is_nan() || self.low >= self.high {
            return Some("the lower bound must lie below the upper bound");
        }
        if !self.variable(self.start).is_finite() {
            return Some("the start must be finite and strictly between the bounds");
        }
        match self.prior {
            Some((centre, _)) if !self.variable(centre).is_finite() => {
                Some("the prior's centre must be finite and strictly between the bounds")
            }
            Some((_, deviation)) if !(deviation > 0.0 && deviation.is_finite()) => {
                Some("the prior's deviation must be finite and above zero")
            }
            _ => None,
        }
    }
}

fn logistic(u: f64) -> f64 {
    1.0 / (1.0 + (-u).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_parameter() -> impl Strategy<Value = Parameter> {
        (-10.0..10.0_f64, 0.1..10.0_f64, 0.1..10.0_f64, 0..4_u8).prop_map(|(start, below, above, bounds)| {
            let low = if bounds & 1 == 1 { start - below } else { f64::NEG_INFINITY };
            let high = if bounds & 2 == 2 { start + above } else { f64::INFINITY };
            Parameter::between(start, low, high)
        })
    }

    proptest! {
        #[test]
        fn the_change_of_variable_is_undone(p in any_parameter()) {
            prop_assert!(p.problem().is_none());
            prop_assert!((p.value(p.variable(p.start)) - p.start).abs() < 1e-12 * (1.0 + p.start.abs()) * 10.0);
        }

        #[test]
        fn values_keep_the_bounds_and_rise(p in any_parameter(), u in -800.0..800.0_f64) {
            prop_assert!(p.value(u) >= p.low && p.value(u) <= p.high);
            prop_assert!(p.value(u + 0.1) >= p.value(u));
        }

        #[test]
        fn the_slope_is_the_derivative(p in any_parameter(), u in -3.0..3.0_f64) {
            let difference = (p.value(u + 1e-5) - p.value(u - 1e-5)) / 2e-5;
            prop_assert!((p.slope(u) - difference).abs() < 1e-7 * (1.0 + difference.abs()), "{} {difference}", p.slope(u));
        }
    }

    #[test]
    fn infinite_variables_are_the_bounds() {
        let p = Parameter::between(0.5, 0.0, 1.0);
        assert_eq!((p.value(f64::NEG_INFINITY), p.value(f64::INFINITY)), (0.0, 1.0));
        assert_eq!(Parameter::positive(1.0).value(f64::NEG_INFINITY), 0.0);
    }

    #[test]
    fn what_cannot_be_fitted_is_named() {
        for p in [
            Parameter::between(0.5, 1.0, 0.0),
            Parameter::between(0.5, f64::NAN, 1.0),
            Parameter::positive(0.0),
            Parameter::between(2.0, 0.0, 1.0),
            Parameter::free(f64::NAN),
            Parameter::positive(1.0).with_prior(-1.0, 0.2),
            Parameter::positive(1.0).with_prior(1.0, 0.0),
        ] {
            assert!(p.problem().is_some(), "{p:?}");
        }
    }
}
