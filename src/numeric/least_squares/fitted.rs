//! What a fit found, and how well it knows it.

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::Parameter;

/// A fit that came to rest.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// The parameters, in their own units.
    pub values: Vec<f64>,
    /// The changed variables u (see [`Parameter`]).
    pub variables: Vec<f64>,
    /// The covariance of the changed variables. What is not determined has infinite variance and covariances of zero.
    pub covariance: Vec<Vec<f64>>,
    /// The residuals at the minimum, without weights and priors.
    pub residuals: Vec<f64>,
    /// What each of them counted, 0 to 1.
    pub weights: Vec<f64>,
    /// The standard deviation s of a residual.
    pub scale: f64,
    /// Residuals less the parameters that the data determine; a parameter that a prior alone determines is none of them.
    /// At least 1.
    pub degrees_of_freedom: f64,
    /// How often the residuals were computed, differences included.
    pub evaluations: usize,
    /// How often the solver ran until weights and scale were settled.
    pub rounds: usize,
    pub(super) parameters: Vec<Parameter>,
}

impl Fit {
    /// The standard deviation of parameter `i` in its own units, to first order: |dx/du| sqrt(C_ii). Infinite if it is not
    /// determined.
    #[must_use]
    pub fn deviation(&self, i: usize) -> f64 {
        let variance = self.covariance[i][i];
        if variance.is_finite() { self.parameters[i].slope(self.variables[i]) * variance.sqrt() } else { f64::INFINITY }
    }

    /// The interval that holds parameter `i` with probability `level`, in its own units: u +- t sqrt(C_ii), Student's t,
    /// changed back, so that it stays within the bounds. The bounds themselves if it is not determined.
    #[must_use]
    pub fn interval(&self, i: usize, level: f64) -> (f64, f64) {
        let reach = self.student(level) * self.covariance[i][i].sqrt();
        let parameter = &self.parameters[i];
        (parameter.value(self.variables[i] - reach), parameter.value(self.variables[i] + reach))
    }

    /// The quantile t for an interval of probability `level`: a value that is fitted lies within t deviations.
    #[must_use]
    pub fn student(&self, level: f64) -> f64 {
        let student = StudentsT::new(0.0, 1.0, self.degrees_of_freedom);
        student.map_or(f64::INFINITY, |student| student.inverse_cdf(0.5 + 0.5 * level))
    }

    /// The standard deviation of a prediction, to first order: sqrt(g^T C g), `gradient` with respect to the changed
    /// variables ([`Fit::gradient`]). The scatter of a new observation is not in it: that is [`Fit::scale`]. Infinite if
    /// the prediction depends on a parameter that is not determined.
    #[must_use]
    pub fn prediction_deviation(&self, gradient: &[f64]) -> f64 {
        let depends: Vec<usize> = (0..gradient.len()).filter(|i| gradient[*i] != 0.0).collect();
        let term = |i: usize, j: usize| gradient[i] * self.covariance[i][j] * gradient[j];
        depends.iter().map(|i| depends.iter().map(|j| term(*i, *j)).sum::<f64>()).sum::<f64>().max(0.0).sqrt()
    }

    /// The gradient of `f`, a function of the parameters in their own units, with respect to the changed variables, at the
    /// fit, by central differences.
    pub fn gradient(&self, f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
        let derivative = |i: usize| {
            let step = self.parameters[i].step(self.variables[i]);
            let side = |u: f64| {
                let mut values = self.values.clone();
                values[i] = self.parameters[i].value(u);
                f(&values)
            };
            let (left, right) = (self.variables[i] - step, self.variables[i] + step);
            (side(right) - side(left)) / (right - left)
        };
        (0..self.parameters.len()).map(derivative).collect()
    }
}
