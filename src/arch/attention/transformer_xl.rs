//! Attention of Transformer-XL: scores of contents and of distances, (q + u)^T k + (q + v)^T W_r r, over this segment
//! and a memory of earlier ones (Dai et al. 2019, arXiv 1901.02860, section 3.3; Hugging Face's `TransfoXLModel`). The
//! memory is the layer's input at the `memory` positions before the segment, without a gradient.
//!
//! Products, forward, per sequence and layer, with k = n + memory: 6 k d^2 for queries, keys and values of all k
//! positions from one matrix, as released, else 2 n d^2 + 4 k d^2; 2 n k d for the scores of contents, of distances and
//! for the values each. Besides, once for all sequences, 2 k d^2 for the distances, which have no gradient, so that
//! their projection has one product backward. Without a causal mask there are distances to either side: n + k.
//!
//! A compressive memory (Rae et al. 2020, arXiv 1911.05507) lies before the memory: what leaves the memory is compressed
//! by a convolution of stride c, 2 n d^2, which learns to leave the layer's attention as it was; that loss has no
//! gradient to the layer itself (algorithm 2).
//!
//! Kept: the joined input, queries with u and with v, keys, values, distances, the mask and the weights.

use serde::{Deserialize, Serialize};

use super::super::config::Model;
use super::super::validate::check_size;
use super::{Abilities, Attention, Context, Inputs, Mechanism, project};
use crate::document::Problem;
use crate::ledger::{Keeps, Shape, Tape, Tensor};

/// Settings of Transformer-XL's attention.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Positions of the memory.
    #[serde(default)]
    pub memory: u64,
    /// Positions of the compressive memory before it.
    #[serde(default)]
    pub compressed_memory: u64,
    /// Positions that are compressed to one, c.
    #[serde(default = "three")]
    pub compression: u64,
    /// Whether all layers add the same u and v to their queries.
    #[serde(default)]
    pub shared_biases: bool,
}

fn three() -> u64 {
    3
}

impl Mechanism for Settings {
    fn abilities(&self) -> Abilities {
        Abilities { causal: true, fused_projection: true, ..Abilities::default() }
    }

    fn check(&self, _model: &Model, _attention: &Attention) -> Result<(), Problem> {
        for (key, positions) in [("transformer_xl.memory", self.memory), ("transformer_xl.compressed_memory", self.compressed_memory)] {
            check_size(key, positions.max(1))?;
        }
        check_size("transformer_xl.compression", self.compression)?;
        if self.compressed_memory > 0 && self.memory == 0 {
            return Err(Problem::new("transformer_xl.memory", "0 with a compressed memory", "a memory, whose oldest positions are compressed"));
        }
        Ok(())
    }

    fn shared(&self, tape: &mut Tape, context: &Context<'_>, _before: &[Tensor]) -> Vec<Tensor> {
        if self.shared_biases {
            vector(tape, context);
            vector(tape, context);
        }
        let length = context.batch.length;
        let causal = context.model.encoder.is_none();
        vec![distances(tape, context, span(causal, length, self.keys(length)))]
    }

    fn write(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
        let (attention, batch) = (context.attention, context.batch);
        let keys = self.keys(batch.length);
        let source = join(tape, context, inputs.x, keys);
        let [query, key, value] = if attention.fused_projection {
            let all = project(tape, context, "query-key-value projection", 3 * attention.heads, source);
            [tape.view(all, batch.length / keys / 3.0), tape.view(all, 1.0 / 3.0), tape.view(all, 1.0 / 3.0)]
        } else {
            [
                project(tape, context, "query projection", attention.heads, inputs.x),
                project(tape, context, "key projection", attention.heads, source),
                project(tape, context, "value projection", attention.heads, source),
            ]
        };
        if self.compressed_memory > 0 {
            self.compress(tape, context, query);
        }
        let far = span(inputs.causal, batch.length, keys);
        let distances = match inputs.shared.first().copied() {
            Some(shared) => tape.view(shared, far * context.model.width as f64 / shared.elements),
            None => distances(tape, context, far),
        };
        let distances = project(tape, context, "distance projection", attention.heads, distances);
        let mut biased = |name| {
            if self.shared_biases {
                return tape.pass(name, query);
            }
            let bias = vector(tape, context);
            tape.add(name, query, bias)
        };
        let (content_query, distance_query) = (biased("query and u"), biased("query and v"));
        // With one sequence, keys and values lie as the products want them.
        let mut lay_out = |name, x| if batch.sequences > 1.0 { tape.pass(name, x) } else { x };
        let (key, value) = (lay_out("lay out keys", key), lay_out("lay out values", value));
        let shape = scores_shape(context, keys);
        let content = tape.matmul("content scores", content_query, key, shape);
        let heads = attention.heads as f64;
        let by_head = Shape { batch: heads, m: tape.tokens(), n: far, k: shape.k };
        let position = tape.matmul("distance scores", distance_query, distances, by_head);
        let position = tape.expand("shift distances", position, content.elements);
        let mut scores = sum(tape, context, content, position);
        if inputs.causal {
            let mask = tape.mask(batch.length * keys);
            scores = tape.masked_fill("causal mask", scores, mask);
        }
        weighted_values(tape, context, scores, value, shape)
    }
}

impl Settings {
    /// Positions that a segment of `length` sees.
    fn keys(&self, length: f64) -> f64 {
        length + (self.memory + self.compressed_memory) as f64
    }

    /// What leaves the memory, compressed, and the loss that trains the compression: attention of the layer's queries to
    /// what was there against attention to what is left of it, through the layer's own keys and values.
    fn compress(&self, tape: &mut Tape, context: &Context<'_>, query: Tensor) {
        let (batch, width) = (context.batch, context.model.width as f64);
        let stride = self.compression as f64;
        let short = (batch.length / stride).ceil();
        let inner = context.attention.heads as f64 * context.attention.head_width(context.model.width) as f64;
        let old = tape.constant(tape.tokens() * width, batch.element_bytes);
        let filter = tape.matrix(stride * width, width);
        tape.parameter(width);
        let new = tape.matmul("compress memory", old, filter, Shape::product(batch.sequences * short, width, stride * width));
        let query = tape.detached(query);
        // The layer's weights, which are counted where they are trained.
        let frozen = tape.constant(width * inner, 0.0);
        let mut attend = |memory: Tensor, positions: f64| {
            let product = Shape::product(batch.sequences * positions, inner, width);
            let key = tape.matmul("reconstruction keys", memory, frozen, product);
            let value = tape.matmul("reconstruction values", memory, frozen, product);
            let shape = scores_shape(context, positions);
            let scores = tape.matmul("reconstruction scores", query, key, shape);
            let weights = tape.softmax(scores);
            tape.matmul("reconstruction", weights, value, Shape { n: shape.k, k: shape.n, ..shape })
        };
        let (before, after) = (attend(old, batch.length), attend(new, short));
        tape.operation("reconstruction loss", 3.0 * before.elements, &[before, after], 1.0, Keeps::These(&[before, after]));
    }
}

/// The input behind a memory, up to `keys` positions.
pub(super) fn join(tape: &mut Tape, context: &Context<'_>, x: Tensor, keys: f64) -> Tensor {
    if keys == context.batch.length { x } else { tape.expand("join memory", x, context.batch.sequences * keys * context.model.width as f64) }
}

/// Sines and cosines of `rows` distances, dropped out, which all layers of a stack use.
pub(super) fn distances(tape: &mut Tape, context: &Context<'_>, rows: f64) -> Tensor {
    let sines = tape.constant(rows * context.model.width as f64, context.batch.element_bytes);
    tape.dropout(sines, context.model.dropout.value())
}

/// Distances from `length` positions to `keys`: to earlier ones alone, or to either side.
pub(super) fn span(causal: bool, length: f64, keys: f64) -> f64 {
    if causal { keys } else { keys + length }
}

/// The sizes of the scores of all queries and `keys` keys.
pub(super) fn scores_shape(context: &Context<'_>, keys: f64) -> Shape {
    let (attention, batch) = (context.attention, context.batch);
    let head_width = attention.head_width(context.model.width) as f64;
    Shape { batch: batch.sequences * attention.heads as f64, m: batch.length, n: keys, k: head_width }
}

/// Scores of contents and of distances together, scaled.
pub(super) fn sum(tape: &mut Tape, context: &Context<'_>, content: Tensor, position: Tensor) -> Tensor {
    let scores = tape.add("scores of contents and distances", content, position);
    if context.attention.scaled { tape.pass("scale", scores) } else { scores }
}

/// Weights from scores, and the weighted sum of the values.
pub(super) fn weighted_values(tape: &mut Tape, context: &Context<'_>, scores: Tensor, value: Tensor, shape: Shape) -> Tensor {
    let weights = tape.softmax(scores);
    let weights = tape.dropout(weights, context.attention_dropout());
    tape.matmul("weighted values", weights, value, Shape { n: shape.k, k: shape.n, ..shape })
}

/// A vector of all heads, such as u and v.
pub(super) fn vector(tape: &mut Tape, context: &Context<'_>) -> Tensor {
    tape.parameter((context.attention.heads * context.attention.head_width(context.model.width)) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_causal_segment_has_as_many_distances_as_keys() {
        assert_eq!(span(true, 128.0, 192.0), 192.0);
        assert_eq!(span(false, 128.0, 192.0), 320.0);
    }
}
