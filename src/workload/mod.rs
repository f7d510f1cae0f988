//! The built-in GPU workload: kernels of a transformer's training step, to measure what they take and draw.
//!
//! It is run as `lowcarb measure -- lowcarb workload`. Cases are plain data (`cases`, `standard`); a device runs them one after the
//! other (`phases`) and says in marks (`marks`) which one runs. The one device there is (`cuda`, with the cargo feature of that
//! name) is NVIDIA's.

mod cases;
#[cfg(feature = "cuda")]
mod cuda;
mod marks;
mod operands;
mod phases;
mod standard;

pub use cases::{COLUMNS, Case, Kernel, csv};
#[cfg(feature = "cuda")]
pub use cuda::Gpu;
pub use marks::{Marks, VARIABLE, is_phase_name};
pub use operands::{Contents, Operand};
pub use phases::{Device, Done, Outcome, Ready, Trouble, forecast, run};
pub use standard::standard;

/// Seconds of a phase, unless told otherwise: some twenty readings of a power sensor that is read every tenth of a second.
pub const SECONDS_PER_KERNEL: f64 = 2.0;
