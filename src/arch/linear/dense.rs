//! A dense linear layer: y = x W + b, W of m x n.

use super::Layer;
use crate::ledger::{Shape, Tape, Tensor};

/// Writes y = x W + b. The bias is added inside the product.
pub(super) fn write(tape: &mut Tape, layer: &Layer, x: Tensor) -> Tensor {
    let (m, n) = (layer.inputs as f64, layer.outputs as f64);
    let weight = tape.matrix(m, n);
    if layer.bias {
        tape.parameter(n);
    }
    tape.matmul(layer.name, x, weight, Shape::product(x.elements / m, n, m))
}
