//! A low-rank linear layer: y = (x A) B + b, A of m x r without bias, B of r x n with bias, nothing between.
//!
//! Winata et al. 2020 (arXiv 1910.13923), the linear encoder-decoder unit of the Low-Rank Transformer. It has
//! r (m + n) weights for m n, and keeps x A for backward besides x.

use super::{Context, Layer, matrix};
use crate::ledger::{Tape, Tensor};

/// Both factors, and the bias if there is one.
pub(super) fn weights(tape: &mut Tape, layer: &Layer, rank: f64) -> [Tensor; 2] {
    let factors = [tape.matrix(layer.inputs as f64, rank), tape.matrix(rank, layer.outputs as f64)];
    if layer.bias {
        tape.parameter(layer.outputs as f64);
    }
    factors
}

/// Writes y = (x A) B + b.
pub(super) fn write(tape: &mut Tape, context: &Context<'_>, layer: &Layer, rank: f64, x: Tensor) -> Tensor {
    let (m, n) = (layer.inputs as f64, layer.outputs as f64);
    let inner = matrix::product(tape, context, layer, m, rank, x);
    let out = matrix::product(tape, context, layer, rank, n, inner);
    if layer.bias {
        tape.parameter(n);
    }
    out
}
