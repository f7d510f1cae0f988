//! How far residuals scatter, and how many parameters the data determine.

use super::Parameter;

pub(super) fn root_mean_square(residuals: &[f64]) -> f64 {
    (residuals.iter().map(|r| r * r).sum::<f64>() / residuals.len() as f64).sqrt()
}

/// 1.4826 times the median of |r|: the standard deviation, if errors are normal (Huber 1981).
pub(super) fn median_absolute_deviation(residuals: &[f64]) -> f64 {
    let mut sizes: Vec<f64> = residuals.iter().map(|r| r.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    let middle = sizes.len() / 2;
    1.4826 * if sizes.len() % 2 == 1 { sizes[middle] } else { 0.5 * (sizes[middle - 1] + sizes[middle]) }
}

/// The share of residuals that count in full, at least one of them.
pub(super) fn unclipped_share(residuals: &[f64], threshold: f64) -> f64 {
    let unclipped = residuals.iter().filter(|r| r.abs() <= threshold).count();
    unclipped.max(1) as f64 / residuals.len() as f64
}

/// The standard deviation s of a residual. s^2 = sum of r^2 over the degrees of freedom; with Huber's loss
/// K^2 (sum of psi^2 / degrees of freedom) / q^2, psi = r cut at the threshold, q the share that is not cut, and
/// K = 1 + (n / m) (1 - q) / q (Huber 1981, the first of his three estimates).
pub(super) fn scale_of(residuals: &[f64], threshold: f64, parameters: usize, degrees_of_freedom: f64) -> f64 {
    let q = unclipped_share(residuals, threshold);
    let correction = 1.0 + parameters as f64 / residuals.len() as f64 * (1.0 - q) / q;
    let squares: f64 = residuals.iter().map(|r| r.clamp(-threshold, threshold).powi(2)).sum();
    correction / q * (squares / degrees_of_freedom).sqrt()
}

/// How many parameters the data determine: gamma = n - sum over priors of C_ii / d_i^2 (MacKay 1992, Bayesian
/// Interpolation).
pub(super) fn told_by_data(parameters: &[Parameter], covariance: &[Vec<f64>]) -> f64 {
    let told_by_priors =
        |(i, parameter): (usize, &Parameter)| parameter.prior.map_or(0.0, |(_, deviation)| (covariance[i][i] / deviation.powi(2)).min(1.0));
    parameters.len() as f64 - parameters.iter().enumerate().map(told_by_priors).sum::<f64>()
}
