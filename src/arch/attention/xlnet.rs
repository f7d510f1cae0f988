//! Attention of XLNet: that of Transformer-XL with distances to either side, a bias for segments, and projections that
//! are einsums (Yang et al. 2019, arXiv 1906.08237, sections 2.4 and 2.5; Hugging Face's `XLNetModel`). This is the
//! content stream, which fine-tuning and pre-training without permutation run; segments enter the scores only if ids
//! are given, as here they are not, yet their vectors are parameters.
//!
//! Products, forward, per sequence and layer, with k = n + memory: 2 n d^2 + 4 k d^2 for queries, keys and values,
//! 2 (n + k) d^2 for the distances, which each sequence drops out by itself, 2 n k d for the scores of contents,
//! 2 n (n + k) d for those of distances, 2 n k d for the values, 2 n d^2 out. Distances have no gradient.
//!
//! Kept: inputs of products, among them an output projection that the einsum lays out anew; the indices of the shift;
//! the weights.

use serde::{Deserialize, Serialize};

use super::super::config::{LinearComponent, Model};
use super::super::linear::{self, Layer};
use super::super::validate::check_size;
use super::transformer_xl::{distances, join, scores_shape, sum, vector, weighted_values};
use super::{Abilities, Attention, Context, Inputs, Mechanism, project};
use crate::document::Problem;
use crate::ledger::{Keeps, Shape, Tape, Tensor};

/// Settings of XLNet's attention.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Positions of the memory before the segment.
    #[serde(default)]
    pub memory: u64,
    /// Relations of segments that have a vector: the same or another one.
    #[serde(default = "two")]
    pub segments: u64,
    /// Whether the model has the vector that the query stream of pre-training starts from (section 2.3).
    #[serde(default = "yes")]
    pub query_stream: bool,
}

fn two() -> u64 {
    2
}

fn yes() -> bool {
    true
}

impl Settings {
    /// Positions that a segment of `length` sees.
    fn keys(&self, length: f64) -> f64 {
        length + self.memory as f64
    }

    /// Distances: to all that is seen and to later positions, or to the position itself alone.
    fn span(&self, causal: bool, length: f64) -> f64 {
        self.keys(length) + if causal { 1.0 } else { length }
    }
}

impl Mechanism for Settings {
    fn abilities(&self) -> Abilities {
        Abilities { causal: true, ..Abilities::default() }
    }

    fn check(&self, _model: &Model, _attention: &Attention) -> Result<(), Problem> {
        check_size("xlnet.memory", self.memory.max(1))?;
        check_size("xlnet.segments", self.segments.max(1))
    }

    fn shared(&self, tape: &mut Tape, context: &Context<'_>, _before: &[Tensor]) -> Vec<Tensor> {
        if self.query_stream {
            tape.parameter(context.model.width as f64);
        }
        let causal = context.model.encoder.is_none();
        vec![distances(tape, context, context.batch.sequences * self.span(causal, context.batch.length))]
    }

    fn projects_out(&self) -> bool {
        false
    }

    fn write(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
        let (attention, batch) = (context.attention, context.batch);
        let keys = self.keys(batch.length);
        let source = join(tape, context, inputs.x, keys);
        let query = project(tape, context, "query projection", attention.heads, inputs.x);
        let key = project(tape, context, "key projection", attention.heads, source);
        let value = project(tape, context, "value projection", attention.heads, source);
        let span = self.span(inputs.causal, batch.length);
        let rows = batch.sequences * span;
        let distances = match inputs.shared.first().copied() {
            Some(shared) => tape.view(shared, rows * context.model.width as f64 / shared.elements),
            None => distances(tape, context, rows),
        };
        // Without dropout all sequences have the same distances, which every layer's einsum repeats for each.
        let same = context.model.dropout.value() == 0.0 && batch.sequences > 1.0;
        let distances = if same { tape.pass("repeat distances", distances) } else { distances };
        let distances = project(tape, context, "distance projection", attention.heads, distances);
        let shape = scores_shape(context, keys);
        let [u, v] = [vector(tape, context), vector(tape, context)];
        if self.segments > 0 {
            // A bias of the query, and a vector for each relation of segments.
            tape.parameter((self.segments + 1) as f64 * (attention.heads * attention.head_width(context.model.width)) as f64);
        }
        let content_query = tape.add("query and u", query, u);
        let content = tape.matmul("content scores", content_query, key, shape);
        let distance_query = tape.add("query and v", query, v);
        let position = tape.matmul("distance scores", distance_query, distances, Shape { n: span, ..shape });
        let index = tape.indices(keys);
        let position = tape.operation("shift distances", 0.0, &[position], content.elements, Keeps::These(&[index]));
        let mut scores = sum(tape, context, content, position);
        if inputs.causal {
            scores = tape.pass("causal mask", scores);
        }
        let mixed = weighted_values(tape, context, scores, value, shape);
        project_out(tape, context, mixed)
    }
}

/// The output projection, whose matrix the einsum lays out anew and keeps so.
fn project_out(tape: &mut Tape, context: &Context<'_>, mixed: Tensor) -> Tensor {
    let (attention, width) = (context.attention, context.model.width);
    let inputs = attention.heads * attention.head_width(width);
    let bias = attention.output_bias.unwrap_or(attention.bias);
    let layer = Layer { name: "output projection", group: LinearComponent::Output, inputs, outputs: width, bias };
    if bias || !context.model.linear.is_plain(&layer) {
        return linear::write(tape, context, layer, mixed);
    }
    let weight = tape.matrix(inputs as f64, width as f64);
    let weight = tape.pass("lay out output weight", weight);
    let out = tape.matmul(layer.name, mixed, weight, Shape::product(tape.tokens(), width as f64, inputs as f64));
    linear::adapt(tape, context, &layer, mixed, out)
}
