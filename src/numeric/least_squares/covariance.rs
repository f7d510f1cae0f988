//! The covariance of fitted variables.

use nalgebra::DMatrix;

use super::Parameter;

/// A direction counts as not determined if its singular value lies below this share of the largest, each column scaled
/// to length 1. Columns come from differences, which are right to about 1e-10.
const UNDETERMINED: f64 = 1e-9;
/// A variable is not determined if it has more than this share in such a direction.
const SHARE: f64 = 1e-4;

/// C = (J^T J / s^2 + D^-2)^-1, J the Jacobian of the residuals and D the deviations of the priors, by the singular
/// values of J with a row s / d for each prior (Golub and Van Loan, Matrix Computations, 2013).
///
/// A variable that neither the data nor a prior determines has infinite variance, and covariances of zero; the others get
/// what the pseudo-inverse gives them.
pub(super) fn covariance(jacobian: &DMatrix<f64>, parameters: &[Parameter], scale: f64) -> Vec<Vec<f64>> {
    let count = parameters.len();
    let mut stacked = jacobian.clone().insert_rows(jacobian.nrows(), count, 0.0);
    for (column, parameter) in parameters.iter().enumerate() {
        if let Some((_, deviation)) = parameter.prior {
            stacked[(jacobian.nrows() + column, column)] = scale / deviation;
        }
    }
    let lengths: Vec<f64> = stacked.column_iter().map(|column| if column.amax() > 0.0 { column.norm() } else { 1.0 }).collect();
    for (mut column, length) in stacked.column_iter_mut().zip(&lengths) {
        column /= *length;
    }
    let infinite = || (0..count).map(|i| (0..count).map(|j| if i == j { f64::INFINITY } else { 0.0 }).collect()).collect();
    let Some(decomposition) = stacked.try_svd(false, true, f64::EPSILON, 10_000) else { return infinite() };
    let Some(directions) = decomposition.v_t else { return infinite() };
    let largest = decomposition.singular_values.amax();
    let mut covariance = vec![vec![0.0; count]; count];
    let mut undetermined = vec![false; count];
    for (direction, value) in directions.row_iter().zip(decomposition.singular_values.iter()) {
        if *value <= UNDETERMINED * largest {
            for i in 0..count {
                undetermined[i] |= direction[i].abs() > SHARE;
            }
            continue;
        }
        for i in 0..count {
            for j in 0..count {
                covariance[i][j] += direction[i] * direction[j] * (scale / value).powi(2) / (lengths[i] * lengths[j]);
            }
        }
    }
    for i in (0..count).filter(|i| undetermined[*i]) {
        covariance[i].fill(0.0);
        covariance.iter_mut().for_each(|row| row[i] = 0.0);
        covariance[i][i] = f64::INFINITY;
    }
    covariance
}
