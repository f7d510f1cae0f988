//! Trained vectors for distances: their products with queries join the scores (Shaw et al. 2018, arXiv 1803.02155, equation 5),
//! and those with keys (Huang et al. 2020, arXiv 2009.13658, method 4; Hugging Face's BERT).
//!
//! Products, forward, per sequence and layer: 2 m n h d_h for queries, as many for keys. A table of 2 L - 1 rows of d_h columns in
//! every layer, L the longest sequence.
//!
//! Kept: a vector for each pair of query and key, and the number of its row; queries and keys laid out by position, which
//! with one sequence or one head they are.

use super::Context;
use crate::arch::config::PositionKind;
use crate::ledger::{Shape, Tape, Tensor};

/// Adds the scores of distances to `scores`, of the sizes `shape`.
pub(super) fn write(tape: &mut Tape, context: &Context<'_>, scores: Tensor, [query, key]: [Tensor; 2], shape: Shape) -> Tensor {
    let positions = &context.model.embedding.positions;
    let longest = positions.length.unwrap_or_default() as f64;
    let table = tape.matrix(2.0 * longest - 1.0, shape.k);
    let rows = tape.indices(shape.m * shape.n);
    let vectors = tape.lookup("distance lookup", table, rows, shape.k);
    let copied = context.batch.sequences > 1.0 && context.attention.heads > 1;
    let mut join = |name, layout, x: Tensor, scores: Tensor, [positions, others]: [f64; 2]| {
        let x = if copied { tape.pass(layout, x) } else { x };
        let products = tape.matmul(name, x, vectors, Shape { batch: positions, m: shape.batch, n: others, k: shape.k });
        tape.add("scores and those of distances", scores, products)
    };
    let scores = join("distance scores of queries", "lay out queries by position", query, scores, [shape.m, shape.n]);
    if positions.kind == PositionKind::RelativeKey {
        return scores;
    }
    join("distance scores of keys", "lay out keys by position", key, scores, [shape.n, shape.m])
}
