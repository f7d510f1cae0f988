//! Uncertain values, seeded draws of them, and what a sample says.

mod distribution;
mod draws;
mod estimate;
mod summary;

pub use distribution::Distribution;
pub use draws::uniforms;
pub use estimate::Estimate;
pub use summary::{Interval, LEVEL};
