//! The problem as the crate `levenberg-marquardt` sees it: weighted residuals and their Jacobian.

use std::cell::{Cell, RefCell};

use levenberg_marquardt::{LeastSquaresProblem, LevenbergMarquardt, TerminationReason};
use nalgebra::storage::Owned;
use nalgebra::{DMatrix, DVector, Dyn};

use super::{FitError, Parameter};

/// One start of the solver computes the residuals at most this often for each variable, and one time more.
const PATIENCE: usize = 100;
/// It is started at most this often.
const STARTS: usize = 20;
/// What a residual counts as where it is not finite: more than any that is, so that the solver steps back.
const FAILED: f64 = 1e150;

/// Residuals, weighted, and one row a prior, as functions of the changed variables.
pub(super) struct Problem<'a, F> {
    pub(super) parameters: &'a [Parameter],
    pub(super) residuals: &'a RefCell<F>,
    pub(super) evaluations: &'a Cell<usize>,
    pub(super) weights: Vec<f64>,
    pub(super) prior_scale: f64,
    pub(super) variables: DVector<f64>,
    /// How many residuals there are.
    pub(super) count: usize,
    /// From which relative change on the solver goes on.
    pub(super) tolerance: f64,
}

impl<F: FnMut(&[f64]) -> Vec<f64>> Problem<'_, F> {
    pub(super) fn values(&self, variables: &DVector<f64>) -> Vec<f64> {
        self.parameters.iter().zip(variables.iter()).map(|(parameter, u)| parameter.value(*u)).collect()
    }

    /// The residuals, if they can be used.
    pub(super) fn evaluate(&self, variables: &DVector<f64>) -> Option<Vec<f64>> {
        self.evaluations.set(self.evaluations.get() + 1);
        let residuals = (self.residuals.borrow_mut())(&self.values(variables));
        (residuals.len() == self.count && residuals.iter().all(|r| r.is_finite())).then_some(residuals)
    }

    /// The Jacobian of the residuals by central differences: one-sided where one side fails, zero where both do.
    pub(super) fn data_jacobian(&self) -> DMatrix<f64> {
        let mut jacobian = DMatrix::zeros(self.count, self.parameters.len());
        for (column, parameter) in self.parameters.iter().enumerate() {
            let step = parameter.step(self.variables[column]);
            let side = |shift: f64| {
                let mut variables = self.variables.clone();
                variables[column] += shift;
                (variables[column], self.evaluate(&variables))
            };
            let (mut right, mut above) = side(step);
            let (mut left, mut below) = side(-step);
            if above.is_none() {
                (right, above) = side(0.0);
            } else if below.is_none() {
                (left, below) = side(0.0);
            }
            if let (Some(above), Some(below)) = (above, below) {
                for row in 0..self.count {
                    jacobian[(row, column)] = (above[row] - below[row]) / (right - left);
                }
            }
        }
        jacobian
    }

    /// Column, centre and weight of each prior's row.
    fn priors(&self) -> impl Iterator<Item = (usize, f64, f64)> {
        let row = |(column, parameter): (usize, &Parameter)| {
            parameter.prior.map(|(centre, deviation)| (column, parameter.variable(centre), self.prior_scale / deviation))
        };
        self.parameters.iter().enumerate().filter_map(row)
    }
}

impl<F: FnMut(&[f64]) -> Vec<f64>> LeastSquaresProblem<f64, Dyn, Dyn> for Problem<'_, F> {
    type ResidualStorage = Owned<f64, Dyn>;
    type JacobianStorage = Owned<f64, Dyn, Dyn>;
    type ParameterStorage = Owned<f64, Dyn>;

    fn set_params(&mut self, variables: &DVector<f64>) {
        self.variables.copy_from(variables);
    }

    fn params(&self) -> DVector<f64> {
        self.variables.clone()
    }

    fn residuals(&self) -> Option<DVector<f64>> {
        let data = self.evaluate(&self.variables).unwrap_or_else(|| vec![FAILED; self.count]);
        let data = data.iter().zip(&self.weights).map(|(r, weight)| weight.sqrt() * r);
        let priors = self.priors().map(|(column, centre, weight)| weight * (self.variables[column] - centre));
        Some(DVector::from_vec(data.chain(priors).collect()))
    }

    fn jacobian(&self) -> Option<DMatrix<f64>> {
        let mut jacobian = self.data_jacobian();
        for (mut row, weight) in jacobian.row_iter_mut().zip(&self.weights) {
            row *= weight.sqrt();
        }
        for (column, _, weight) in self.priors() {
            let row = jacobian.nrows();
            jacobian = jacobian.insert_row(row, 0.0);
            jacobian[(row, column)] = weight;
        }
        Some(jacobian)
    }
}

/// Runs the solver to its tolerance. With the least one, a flat minimum is found to half as many digits as its depth. It scales each variable by the steepest slope that it has seen, which makes it
/// creep where a slope vanishes, as on the way to a bound; therefore it is started anew where it runs out of patience.
pub(super) fn solve<F: FnMut(&[f64]) -> Vec<f64>>(mut problem: Problem<'_, F>) -> Result<Problem<'_, F>, FitError> {
    let tolerance = problem.tolerance;
    let solver = LevenbergMarquardt::new().with_ftol(tolerance).with_xtol(tolerance).with_gtol(tolerance).with_patience(PATIENCE);
    for start in 1.. {
        let report;
        (problem, report) = solver.minimize(problem);
        match report.termination {
            TerminationReason::ResidualsZero
            | TerminationReason::Orthogonal
            | TerminationReason::Converged { .. }
            | TerminationReason::NoImprovementPossible(_) => break,
            TerminationReason::LostPatience if start < STARTS => {}
            reason => return Err(FitError::NoMinimum { evaluations: problem.evaluations.get(), reason: format!("{reason:?}") }),
        }
    }
    Ok(problem)
}
