//! The model against what was recorded: ledgers against real modules.

mod modules;

pub use modules::{Comparison, Explanation, Recording, Verdict};
