//! Block-pruned linear layers: whole blocks of s x s weights are zero, and neither held nor multiplied.
//!
//! Gray, Radford and Kingma 2017 (GPU Kernels for Block-Sparse Weights): of ceil(m / s) ceil(n / s) blocks a share is left,
//! each a dense product of its own, so that any hardware saves them: 2 s^2 FLOPs a row and block, in both gradients too;
//! s^2 weights a block, and one index of 4 bytes.

use serde::{Deserialize, Serialize};

use super::matrix::values;
use super::{INSIDE, Layer, among};
use crate::arch::config::LinearComponent;
use crate::document::Problem;
use crate::ledger::{Held, Shape, Tape, Tensor};

/// Settings of block-pruned layers.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Blocks {
    /// Share of the blocks that are left.
    pub density: f64,
    /// Rows and columns of a block.
    #[serde(default = "usual")]
    pub size: u64,
    /// Which layers are pruned.
    #[serde(default)]
    pub components: Option<Vec<LinearComponent>>,
}

fn usual() -> u64 {
    32
}

impl Blocks {
    pub(in crate::arch) fn check(&self) -> Result<(), Problem> {
        if self.size == 0 || self.size > 4096 {
            return Err(Problem::new("size", self.size.to_string(), "1 to 4096 rows and columns"));
        }
        check_density(self.density)
    }

    pub(super) fn touches(&self, layer: &Layer) -> bool {
        among(self.components.as_ref(), INSIDE, layer)
    }

    pub(super) fn product(&self, tape: &mut Tape, name: &'static str, whole: Held, x: Tensor) -> Tensor {
        let (rows, columns, size) = (whole.rows, whole.columns, self.size as f64);
        let count = ((rows / size).ceil() * (columns / size).ceil() * self.density).round().max(1.0);
        let elements = count * size * size;
        let held = Held { share: elements / (rows * columns), index_bits: 32.0 / (size * size), ..whole };
        let weight = values(tape, held, x);
        let tokens = x.elements / rows;
        tape.matmul_blocks(name, x, weight, Shape { batch: count, m: tokens, n: size, k: size }, tokens * columns)
    }

    pub(super) fn note(&self) -> String {
        format!(
            "block-pruned layers multiply the {} % of their blocks that are left, with kernels that know them; their efficiency is taken to be \
             that of other products",
            100.0 * self.density
        )
    }
}

/// Checks that a pruning leaves something and prunes something.
pub(super) fn check_density(density: f64) -> Result<(), Problem> {
    if density > 0.0 && density < 1.0 { Ok(()) } else { Err(Problem::new("density", density.to_string(), "above 0 and below 1")) }
}
