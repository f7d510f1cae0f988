//! N:M pruned linear layers: of M neighbours at most N are no zeros, so that hardware can skip the rest.
//!
//! Mishra et al. 2021 (arXiv 2104.08378): a matrix of m x n is held as its values, m n N / M, and ceil(log2 M) bits
//! each that say where it stands. Training holds the whole matrix, and each forward pass compresses it (Zhou et al. 2021,
//! arXiv 2102.04010): the optimizer's memory is that of the dense layer. The gradient of the input needs the transposed
//! matrix, which has the pattern only where it was chosen to (`transposable`; Hubara et al. 2021, arXiv 2102.08124); the
//! gradient of the weight is dense.
//!
//! FLOPs stay dense in the ledger, 2 m n a row: an accelerator saves only what its profile states a rate for.

use serde::{Deserialize, Serialize};

use super::matrix::{Values, values};
use super::{INSIDE, Layer, among};
use crate::arch::config::LinearComponent;
use crate::document::Problem;
use crate::ledger::{Held, Keeps, Pattern, Tape, Tensor, Unit, Units};

/// Settings of N:M pruned layers.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NOfM {
    /// Elements kept of a group of neighbours.
    #[serde(default = "two")]
    pub keep: u32,
    /// Neighbours of a group.
    #[serde(default = "four")]
    pub of: u32,
    /// Whether the transposed matrix has the pattern too, so that the gradient of the input can use it.
    #[serde(default)]
    pub transposable: bool,
    /// Which layers are pruned.
    #[serde(default)]
    pub components: Option<Vec<LinearComponent>>,
}

fn two() -> u32 {
    2
}

fn four() -> u32 {
    4
}

impl NOfM {
    /// Checks that the pattern is one.
    pub(in crate::arch) fn check(&self) -> Result<(), Problem> {
        if self.keep == 0 || self.keep >= self.of || self.of > 64 {
            let allowed = "keep below of, of at most 64, as in { keep = 2, of = 4 }";
            return Err(Problem::new("keep", format!("{}:{}", self.keep, self.of), allowed));
        }
        Ok(())
    }

    pub(super) fn touches(&self, layer: &Layer) -> bool {
        among(self.components.as_ref(), INSIDE, layer)
    }

    pub(super) fn values(&self, tape: &mut Tape, whole: Held, fixed: bool, x: Tensor) -> Values {
        let pattern = Pattern { keep: self.keep, of: self.of };
        let index_bits = f64::from(u32::BITS - (self.of - 1).leading_zeros());
        let forward = Unit::Pattern(pattern);
        let units = Units { forward, input_gradient: if self.transposable { forward } else { Unit::Dense }, ..Units::default() };
        if fixed {
            return Values { weight: values(tape, Held { share: pattern.density(), index_bits, ..whole }, x), units };
        }
        let weight = tape.held(Held { density: pattern.density(), index_bits, ..whole });
        let elements = weight.elements * pattern.density();
        Values {
            weight: tape.operation("compress N:M", f64::from(self.of) / f64::from(self.keep), &[weight], elements, Keeps::Nothing),
            units,
        }
    }

    pub(super) fn note(&self) -> String {
        format!(
            "{}:{} pruned layers count their dense FLOPs: only an accelerator whose profile states a rate for the pattern saves some, in \
             the forward pass{}; while it trains, the matrices are held whole",
            self.keep,
            self.of,
            if self.transposable { " and in the gradient of the input" } else { " alone" }
        )
    }
}
