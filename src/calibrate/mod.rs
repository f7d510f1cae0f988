//! From tables of measured runs to what devices and software stacks achieve, and to predictions of other runs.

mod prepare;
mod run;
mod stack;

pub use prepare::{Prepared, Workshop, speeds};
pub use run::{COLUMNS, OPTIONAL, Run, RunPhase, RunTable};
pub use stack::Stack;
