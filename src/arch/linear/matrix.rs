//! A product with one matrix of a linear layer, however it is held: pruned first, then quantised.
//!
//! A frozen pruned matrix, and one that is only run, is held without its zeros; a trained one with them, for the
//! optimizer updates it as a whole.

use super::{Context, Layer};
use crate::ledger::{Held, Shape, Tape, Tensor, Units};

/// A matrix on the tape, its values in the precision of the step.
pub(super) struct Values {
    /// The matrix, or what an operation made of it.
    pub weight: Tensor,
    /// What a product with it can run on.
    pub units: Units,
}

/// Writes x times a matrix of `rows` x `columns`.
pub(super) fn product(tape: &mut Tape, context: &Context<'_>, layer: &Layer, rows: f64, columns: f64, x: Tensor) -> Tensor {
    let linear = &context.model.linear;
    let quantised = linear.quantised.as_ref().filter(|kind| kind.touches(layer));
    let bytes = quantised.map(|kind| kind.bytes(rows));
    let whole = Held { rows, columns, share: 1.0, density: 1.0, index_bits: 0.0, bytes };
    let fixed = tape.is_inference() || bytes.is_some() || linear.adapter.is_some();
    if let Some(blocks) = linear.blocks.as_ref().filter(|kind| kind.touches(layer)) {
        return blocks.product(tape, layer.name, whole, x);
    }
    let values = if let Some(kind) = linear.n_of_m.as_ref().filter(|kind| kind.touches(layer)) {
        kind.values(tape, whole, fixed, x)
    } else if let Some(kind) = linear.unstructured.as_ref().filter(|kind| kind.touches(layer)) {
        kind.values(tape, whole, fixed, x)
    } else if let Some(products) = linear.products.filter(|products| products.touches(layer)) {
        return products.write(tape, layer.name, whole, x);
    } else {
        Values { weight: values(tape, whole, x), units: Units::default() }
    };
    tape.matmul_on(layer.name, values.units, x, values.weight, Shape::product(x.elements / rows, columns, rows))
}

/// The matrix as it is held, in the precision of the step.
pub(super) fn values(tape: &mut Tape, held: Held, x: Tensor) -> Tensor {
    if held == (Held { share: 1.0, density: 1.0, index_bits: 0.0, bytes: None, ..held }) {
        return tape.matrix(held.rows, held.columns);
    }
    let weight = tape.held(held);
    if held.bytes.is_some() { tape.dequantise(weight, weight.elements, x) } else { weight }
}
