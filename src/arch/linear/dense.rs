//! A dense linear layer: y = x W + b, W of m x n.

use super::Layer;
use crate::ledger::{Shape, Tape, Tensor};

/// The matrix, and the bias if there is one.
pub(super) fn weights(tape: &mut Tape, layer: &Layer) -> Tensor {
    let weight = tape.matrix(layer.inputs as f64, layer.outputs as f64);
    if layer.bias {
        tape.parameter(layer.outputs as f64);
    }
    weight
}

/// Writes y = x W + b. The bias is added inside the product.
pub(super) fn write(tape: &mut Tape, layer: &Layer, x: Tensor) -> Tensor {
    let (m, n) = (layer.inputs as f64, layer.outputs as f64);
    let weight = weights(tape, layer);
    tape.matmul(layer.name, x, weight, Shape::product(x.elements / m, n, m))
}
