//! Nonlinear least squares with bounds, priors and a loss that outliers cannot dominate.
//!
//! The solver is the Levenberg-Marquardt method (Levenberg 1944; Marquardt 1963) as in MINPACK (Moré 1978), of the crate
//! `levenberg-marquardt`. This module adds what a fit needs around it: bounds by a change of variable ([`Parameter`]),
//! differences for the Jacobian, priors, Huber's loss, and the covariance ([`Fit`]).
//!
//! Minimised is, with residuals r, weights w and priors (c, d) on the changed variables u,
//!
//! ```text
//! sum over data of w r^2  +  q s^2 sum over priors of ((u - c) / d)^2
//! ```
//!
//! s is the standard deviation of a residual, estimated with the fit, so that d means what it says whatever the
//! residuals' units are. Squares have w = 1 and q = 1. Huber's loss with threshold k has w = min(1, k sigma / |r|), sigma =
//! 1.4826 median |r|, and q is the share of residuals with w = 1 (Huber 1981). Weights and s are settled
//! by repetition. Priors are never down-weighted.

mod covariance;
mod fitted;
mod parameter;
mod scale;
mod solver;

use std::cell::{Cell, RefCell};

use nalgebra::DVector;

use covariance::covariance;
pub use fitted::Fit;
pub use parameter::Parameter;
use scale::{median_absolute_deviation, root_mean_square, scale_of, told_by_data, unclipped_share};
use solver::{Problem, solve};

/// What a residual costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    /// Its square.
    Squares,
    /// Its square up to this many robust standard deviations, linear from there on. 1.345 keeps 95 % of the efficiency
    /// of squares for normal errors (Holland and Welsch 1977).
    Huber(f64),
}

/// Why there is no fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    /// A parameter that cannot be fitted.
    #[error("parameter {index}: {problem}")]
    Parameter {
        /// Its place, from 0.
        index: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// No parameters.
    #[error("there are no parameters to fit")]
    NoParameters,
    /// A threshold that is not above zero.
    #[error("Huber's threshold must be finite and above zero")]
    Threshold,
    /// As many parameters without a prior as residuals, or more.
    #[error("{residuals} residuals are too few for {parameters} parameters without a prior")]
    TooFewResiduals {
        /// How many there are.
        residuals: usize,
        /// How many parameters have no prior.
        parameters: usize,
    },
    /// A residual that is not a number.
    #[error("residual {index} is not finite at the start")]
    Start {
        /// Its place, from 0.
        index: usize,
    },
    /// The solver gave up.
    #[error("no minimum was found after {evaluations} evaluations: {reason}")]
    NoMinimum {
        /// How often the residuals were computed.
        evaluations: usize,
        /// What the solver said.
        reason: String,
    },
    /// Weights or the scale that do not come to rest.
    #[error("weights and scale did not settle in {rounds} rounds")]
    NotSettled {
        /// How often the solver ran.
        rounds: usize,
    },
}

/// The solver runs at most this often while weights and scale settle; the robust scale is held after the first part of
/// them, from which on each round lowers Huber's loss.
const ROUNDS: usize = 200;
const ROUNDS_WITH_A_MOVING_SCALE: usize = 20;
/// Where a tolerance is enough, the fit of this round stands: weights that still change are those of residuals at the threshold.
const ROUNDS_TO_A_TOLERANCE: usize = 40;
/// Weights (absolute) and s (relative) are settled when a round changes them less than this, or than the root of a coarser
/// tolerance.
const SETTLED: f64 = 1e-6;
/// Scales are at least this share of the residuals' root mean square at the start, so that data that are met exactly
/// leave a prior its say on what they do not determine, and leave Huber's loss a threshold.
const LEAST_SCALE: f64 = 1e-8;

/// The tolerance of a fit that goes on until rounding stops it.
pub const EXACT: f64 = f64::EPSILON;

/// Fits `parameters` so that the residuals are small, until a step changes them or their squares by less than a share of
/// `tolerance`. `residuals` gets values in the parameters' own units and returns
/// always as many numbers; where they are not finite, the step that led there is taken back.
///
/// # Errors
///
/// If there is no fit: see [`FitError`].
pub fn fit(parameters: &[Parameter], loss: Loss, tolerance: f64, residuals: impl FnMut(&[f64]) -> Vec<f64>) -> Result<Fit, FitError> {
    for (index, parameter) in parameters.iter().enumerate() {
        if let Some(problem) = parameter.problem() {
            return Err(FitError::Parameter { index, problem });
        }
    }
    if let Loss::Huber(threshold) = loss
        && !(threshold > 0.0 && threshold.is_finite())
    {
        return Err(FitError::Threshold);
    }
    let residuals = RefCell::new(residuals);
    let start: Vec<f64> = parameters.iter().map(|parameter| parameter.variable(parameter.start)).collect();
    let first = (residuals.borrow_mut())(&parameters.iter().map(|parameter| parameter.start).collect::<Vec<_>>());
    check(parameters, &first)?;

    let evaluations = Cell::new(1);
    let least = (LEAST_SCALE * root_mean_square(&first)).max(f64::MIN_POSITIVE.sqrt());
    let mut problem = Problem {
        parameters,
        residuals: &residuals,
        evaluations: &evaluations,
        weights: vec![1.0; first.len()],
        // A weak prior at first: the data say how far residuals scatter.
        prior_scale: 1e5 * least,
        variables: DVector::from_vec(start),
        count: first.len(),
        tolerance,
    };
    let has_priors = parameters.iter().any(|parameter| parameter.prior.is_some());
    let mut degrees_of_freedom = first.len() as f64 - without_prior(parameters) as f64;
    let mut robust_scale = f64::INFINITY;
    let mut scale = f64::NAN;
    for round in 1..=ROUNDS {
        problem = solve(problem)?;
        let Some(now) = problem.evaluate(&problem.variables) else {
            return Err(FitError::NoMinimum { evaluations: evaluations.get(), reason: "residuals are not finite".to_string() });
        };
        let threshold = match loss {
            Loss::Squares => f64::INFINITY,
            Loss::Huber(threshold) => {
                if round <= ROUNDS_WITH_A_MOVING_SCALE {
                    robust_scale = median_absolute_deviation(&now).max(least);
                }
                threshold * robust_scale
            }
        };
        let weights: Vec<f64> = now.iter().map(|r| if r.abs() > threshold { threshold / r.abs() } else { 1.0 }).collect();
        let before = scale;
        let unclipped = unclipped_share(&now, threshold);
        scale = scale_of(&now, threshold, parameters.len(), degrees_of_freedom);
        let used = if has_priors { scale.max(least) } else { scale };
        let covariance = covariance(&problem.data_jacobian(), parameters, used);
        let told = told_by_data(parameters, &covariance);
        degrees_of_freedom = (first.len() as f64 - told).max(1.0);

        let settled = SETTLED.max(tolerance.sqrt());
        let weights_rest = weights.iter().zip(&problem.weights).all(|(new, old)| (new - old).abs() < settled);
        let scale_rests = !has_priors || (scale - before).abs() <= settled * scale || scale.max(before) <= least;
        problem.weights = weights;
        problem.prior_scale = unclipped.sqrt() * used;
        let enough = tolerance > EXACT && round >= ROUNDS_TO_A_TOLERANCE;
        if (weights_rest && scale_rests) || enough {
            let variables: Vec<f64> = problem.variables.iter().copied().collect();
            return Ok(Fit {
                values: problem.values(&problem.variables),
                variables,
                covariance,
                residuals: now,
                weights: problem.weights,
                scale,
                degrees_of_freedom,
                evaluations: evaluations.get(),
                rounds: round,
                parameters: parameters.to_vec(),
            });
        }
    }
    Err(FitError::NotSettled { rounds: ROUNDS })
}

fn check(parameters: &[Parameter], first: &[f64]) -> Result<(), FitError> {
    if parameters.is_empty() {
        return Err(FitError::NoParameters);
    }
    if first.len() <= without_prior(parameters) {
        return Err(FitError::TooFewResiduals { residuals: first.len(), parameters: without_prior(parameters) });
    }
    match first.iter().position(|residual| !residual.is_finite()) {
        Some(index) => Err(FitError::Start { index }),
        None => Ok(()),
    }
}

fn without_prior(parameters: &[Parameter]) -> usize {
    parameters.iter().filter(|parameter| parameter.prior.is_none()).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::uniforms;
    use proptest::prelude::*;
    use statrs::distribution::{ContinuousCDF, Normal};

    fn close(found: f64, expected: f64, relative: f64) {
        assert!((found - expected).abs() <= relative * expected.abs(), "{found} is not {expected}");
    }

    fn normal_errors(name: &str, count: usize) -> Vec<f64> {
        let normal = Normal::standard();
        uniforms(1, name, count).into_iter().map(|u| normal.inverse_cdf(u)).collect()
    }

    /// Residuals of a straight line b0 + b1 x.
    fn line<'a>(x: &'a [f64], y: &'a [f64]) -> impl Fn(&[f64]) -> Vec<f64> + 'a {
        move |b| x.iter().zip(y).map(|(x, y)| b[0] + b[1] * x - y).collect()
    }

    #[test]
    fn a_straight_line_has_the_covariance_of_the_textbook() {
        // Draper and Smith, Applied Regression Analysis (1998): s^2 / Sxx and s^2 sum x^2 / (n Sxx).
        let x = [1.0, 2.0, 3.0, 4.0, 5.0];
        let y = [1.1, 1.9, 3.2, 3.8, 5.0];
        let found = fit(&[Parameter::free(0.0), Parameter::free(0.0)], Loss::Squares, EXACT, line(&x, &y)).unwrap();
        close(found.values[1], 0.97, 1e-9);
        close(found.values[0], 0.09, 1e-8);
        let squares: f64 = found.residuals.iter().map(|r| r * r).sum();
        let variance = squares / 3.0;
        close(found.scale, variance.sqrt(), 1e-9);
        close(found.covariance[1][1], variance / 10.0, 1e-8);
        close(found.covariance[0][0], variance * 55.0 / 50.0, 1e-8);
        close(found.covariance[0][1], -variance * 3.0 / 10.0, 1e-8);
        assert_eq!((found.degrees_of_freedom, found.rounds), (3.0, 1));
        // At x = 3, the mean, a prediction knows only the mean of five.
        let gradient = found.gradient(|b| b[0] + 3.0 * b[1]);
        close(found.prediction_deviation(&gradient), (variance / 5.0).sqrt(), 1e-8);
        // t of 3 degrees of freedom at 97.5 %: 3.182 in every table.
        let (low, high) = found.interval(1, 0.95);
        close(high - low, 2.0 * 3.182_446_305 * found.deviation(1), 1e-8);
    }

    #[test]
    fn huber_shrugs_off_an_outlier() {
        let x: Vec<f64> = (0..20).map(f64::from).collect();
        let mut y: Vec<f64> = x.iter().zip(normal_errors("line", 20)).map(|(x, e)| 1.0 + 2.0 * x + 0.1 * e).collect();
        y[17] += 50.0;
        let start = [Parameter::free(0.0), Parameter::free(1.0)];
        let squares = fit(&start, Loss::Squares, EXACT, line(&x, &y)).unwrap();
        let huber = fit(&start, Loss::Huber(1.345), EXACT, line(&x, &y)).unwrap();
        assert!((squares.values[1] - 2.0).abs() > 0.3, "{:?}", squares.values);
        assert!((huber.values[1] - 2.0).abs() < 3.0 * huber.deviation(1), "{huber:?}");
        assert!(huber.deviation(1) < 0.01 && huber.weights[17] < 0.01 && huber.scale < 0.2, "{huber:?}");
        // The estimate solves Huber's equations: sum of weight times residual times gradient is zero.
        let sum: f64 = (0..20).map(|i| huber.weights[i] * huber.residuals[i] * x[i]).sum();
        assert!(sum.abs() < 1e-4, "{sum}");
    }

    #[test]
    fn huber_on_normal_errors_is_nearly_squares() {
        let errors = normal_errors("errors", 4000);
        let mean = |b: &[f64]| errors.iter().map(|e| b[0] - e).collect();
        let squares = fit(&[Parameter::free(1.0)], Loss::Squares, EXACT, mean).unwrap();
        let huber = fit(&[Parameter::free(1.0)], Loss::Huber(1.345), EXACT, mean).unwrap();
        close(squares.scale, 1.0, 0.03);
        // 95 % efficiency: the variance of the estimate is 1 / 0.95 times that of squares.
        close((huber.deviation(0) / squares.deviation(0)).powi(2), 1.0 / 0.95, 0.03);
    }

    #[test]
    fn huber_takes_data_that_are_met_exactly() {
        let mean = |b: &[f64]| [1.0, 1.0, 1.0, 1.0, 9.0].iter().map(|y| b[0] - y).collect();
        let found = fit(&[Parameter::free(0.0)], Loss::Huber(1.345), EXACT, mean).unwrap();
        assert!((found.values[0] - 1.0).abs() < 1e-4, "{found:?}");
    }

    /// Data that determine the product of two parameters only, with a scatter of 1 % times `unit`.
    fn product(unit: f64) -> impl Fn(&[f64]) -> Vec<f64> {
        let errors = normal_errors("product", 30);
        move |b| errors.iter().map(|e| unit * ((b[0] * b[1]).ln() - 6_f64.ln() + 0.01 * e)).collect()
    }

    #[test]
    fn a_prior_determines_what_the_data_do_not() {
        let a = Parameter::positive(1.0).with_prior(2.0, 0.2);
        let found = fit(&[a, Parameter::positive(1.0)], Loss::Squares, EXACT, product(1.0)).unwrap();
        close(found.values[0], 2.0, 1e-3);
        close(found.values[1], 3.0, 1e-2);
        close(found.covariance[0][0].sqrt(), 0.2, 1e-3);
        close(found.covariance[1][1].sqrt(), 0.2, 1e-2);
        close(found.degrees_of_freedom, 29.0, 1e-3);
        // The product is known far better than either.
        let gradient = found.gradient(|b| (b[0] * b[1]).ln());
        close(found.prediction_deviation(&gradient), found.scale / 30_f64.sqrt(), 1e-3);
        // A prior's deviation means the same in every unit of the residuals, and under Huber's loss.
        for other in [
            fit(&[a, Parameter::positive(1.0)], Loss::Squares, EXACT, product(1e6)).unwrap(),
            fit(&[a, Parameter::positive(1.0)], Loss::Squares, EXACT, product(1e-6)).unwrap(),
            fit(&[a, Parameter::positive(1.0)], Loss::Huber(1.345), EXACT, product(1.0)).unwrap(),
        ] {
            close(other.values[0], 2.0, 1e-3);
            close(other.covariance[0][0].sqrt(), 0.2, 1e-3);
        }
    }

    #[test]
    fn without_a_prior_what_is_not_determined_is_infinite() {
        let found = fit(&[Parameter::positive(1.0), Parameter::between(1.0, 0.0, 90.0)], Loss::Squares, EXACT, product(1.0)).unwrap();
        close(found.values[0] * found.values[1], 6.0, 1e-2);
        assert_eq!((found.deviation(0), found.deviation(1)), (f64::INFINITY, f64::INFINITY));
        assert_eq!((found.interval(0, 0.9), found.interval(1, 0.9)), ((0.0, f64::INFINITY), (0.0, 90.0)));
        assert_eq!(found.prediction_deviation(&[1.0, 0.0]), f64::INFINITY);
        assert_eq!(found.prediction_deviation(&[0.0, 0.0]), 0.0);
    }

    #[test]
    fn a_prior_and_data_weigh_by_their_variances() {
        // Normal mean with a normal prior: the precision-weighted mean (Gelman et al., Bayesian Data Analysis, 2013).
        let errors = normal_errors("mean", 25);
        let found =
            fit(&[Parameter::free(0.0).with_prior(2.0, 0.3)], Loss::Squares, EXACT, |b| errors.iter().map(|e| b[0] - (1.0 + e)).collect())
                .unwrap();
        let mean = 1.0 + errors.iter().sum::<f64>() / 25.0;
        let (data, prior) = (25.0 / found.scale.powi(2), 1.0 / 0.3_f64.powi(2));
        close(found.values[0], (data * mean + prior * 2.0) / (data + prior), 1e-6);
        close(found.covariance[0][0], 1.0 / (data + prior), 1e-6);
        close(found.degrees_of_freedom, 25.0 - data / (data + prior), 1e-5);
    }

    #[test]
    fn exact_data_and_fewer_residuals_than_parameters_leave_priors_their_say() {
        let parameters = [Parameter::positive(1.0).with_prior(2.0, 0.2), Parameter::positive(1.0).with_prior(5.0, 0.2)];
        let found = fit(&parameters, Loss::Squares, EXACT, |b| vec![(b[0] * b[1]).ln() - 12_f64.ln()]).unwrap();
        assert!(found.values.iter().all(|value| value.is_finite()), "{found:?}");
        assert!(found.deviation(0) <= 0.2 * 1.01 * found.values[0] && found.degrees_of_freedom >= 1.0, "{found:?}");
        let exact = fit(&parameters[..1], Loss::Squares, EXACT, |b| vec![b[0] - 3.0; 4]).unwrap();
        close(exact.values[0], 3.0, 1e-9);
    }

    #[test]
    fn residuals_that_fail_on_the_way_are_stepped_back_from() {
        let mut calls = 0;
        let found = fit(&[Parameter::free(40.0)], Loss::Squares, EXACT, |b| {
            calls += 1;
            // The logarithm has no value below zero, where the first step leads.
            if b[0] > 0.0 { vec![b[0].ln() - 0.1, b[0].ln() + 0.1] } else { vec![f64::NAN] }
        })
        .unwrap();
        close(found.values[0], 1.0, 1e-7);
        assert_eq!(calls, found.evaluations);
    }

    #[test]
    fn what_cannot_be_fitted_is_an_error() {
        let two = [Parameter::free(1.0), Parameter::free(1.0)];
        let few = fit(&two, Loss::Squares, EXACT, |b| b.to_vec()).unwrap_err();
        assert_eq!(few, FitError::TooFewResiduals { residuals: 2, parameters: 2 });
        let start = fit(&two, Loss::Squares, EXACT, |_| vec![0.0, 1.0, f64::NAN]).unwrap_err();
        assert_eq!(start, FitError::Start { index: 2 });
        assert_eq!(fit(&[], Loss::Squares, EXACT, |_| vec![1.0]).unwrap_err(), FitError::NoParameters);
        assert_eq!(fit(&two, Loss::Huber(0.0), EXACT, |_| vec![1.0; 3]).unwrap_err(), FitError::Threshold);
        let outside = fit(&[Parameter::positive(-1.0)], Loss::Squares, EXACT, |_| vec![1.0; 3]).unwrap_err();
        assert!(matches!(outside, FitError::Parameter { index: 0, .. }), "{outside}");
    }

    proptest! {
        #[test]
        fn bounds_hold_and_nothing_panics(
            y in prop::collection::vec(-20.0..20.0_f64, 4..12),
            start in 0.01..0.99_f64,
            huber in any::<bool>(),
            prior in prop::option::of((0.1..2.9_f64, 0.01..3.0_f64)),
        ) {
            // Many of these minima lie beyond a bound; the solver need not find all of them.
            let parameters = [
                Parameter { prior, ..Parameter::between(3.0 * start, 0.0, 3.0) },
                Parameter::positive(start),
                Parameter::between(-start, f64::NEG_INFINITY, 0.0),
            ];
            let loss = if huber { Loss::Huber(1.345) } else { Loss::Squares };
            let model = |b: &[f64]| y.iter().enumerate().map(|(i, y)| b[0] + b[1] * (b[2] * i as f64).exp() - y).collect();
            if let Ok(found) = fit(&parameters, loss, EXACT, model) {
                for (i, parameter) in parameters.iter().enumerate() {
                    let (low, high) = found.interval(i, 0.9);
                    prop_assert!(parameter.low <= low && low <= found.values[i], "{i} {found:?}");
                    prop_assert!(found.values[i] <= high && high <= parameter.high, "{i} {found:?}");
                    prop_assert!(found.deviation(i) >= 0.0, "{i} {found:?}");
                }
                let gradient = found.gradient(|b| b.iter().sum());
                prop_assert!(found.prediction_deviation(&gradient) >= 0.0, "{gradient:?} {found:?}");
            }
        }
    }
}
