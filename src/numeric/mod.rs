//! Uncertain values, seeded draws of them, what a sample says, and fits to measurements.

mod distribution;
mod draws;
mod estimate;
mod least_squares;
mod summary;

pub use distribution::Distribution;
pub use draws::uniforms;
pub use estimate::Estimate;
pub use least_squares::{EXACT, Fit, FitError, Loss, Parameter, fit};
pub use summary::{Interval, LEVEL};
