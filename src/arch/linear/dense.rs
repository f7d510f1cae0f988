//! A dense linear layer: y = x W + b, W of m x n.

use super::{Context, Layer, matrix};
use crate::ledger::{Tape, Tensor};

/// The matrix, and the bias if there is one.
pub(super) fn weights(tape: &mut Tape, layer: &Layer) -> Tensor {
    let weight = tape.matrix(layer.inputs as f64, layer.outputs as f64);
    if layer.bias {
        tape.parameter(layer.outputs as f64);
    }
    weight
}

/// Writes y = x W + b. The bias is added inside the product.
pub(super) fn write(tape: &mut Tape, context: &Context<'_>, layer: &Layer, x: Tensor) -> Tensor {
    let (m, n) = (layer.inputs as f64, layer.outputs as f64);
    let out = matrix::product(tape, context, layer, m, n, x);
    if layer.bias {
        tape.parameter(n);
    }
    out
}
