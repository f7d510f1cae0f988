//! A low-rank linear layer: y = (x A) B + b, A of m x r without bias, B of r x n with bias, nothing between.
//!
//! Winata et al. 2020 (arXiv 1910.13923), the linear encoder-decoder unit of the Low-Rank Transformer. It has
//! r (m + n) weights for m n, and keeps x A for backward besides x.

use super::Layer;
use crate::ledger::{Shape, Tape, Tensor};

/// Writes y = (x A) B + b.
pub(super) fn write(tape: &mut Tape, layer: &Layer, rank: f64, x: Tensor) -> Tensor {
    let (m, n) = (layer.inputs as f64, layer.outputs as f64);
    let rows = x.elements / m;
    let first = tape.matrix(m, rank);
    let second = tape.matrix(rank, n);
    if layer.bias {
        tape.parameter(n);
    }
    let inner = tape.matmul(layer.name, x, first, Shape::product(rows, rank, m));
    tape.matmul(layer.name, inner, second, Shape::product(rows, n, rank))
}
