//! Linformer attention: keys and values projected from n positions to k (Wang et al. 2020, arXiv 2006.04768,
//! equation 7): softmax(Q (E K)^T / sqrt(d_h)) (F V).
//!
//! Products, forward, per sequence and layer: 2 n k d for each length projection, 2 n k d for the scores, as many for
//! the values. A length projection has `length` x k weights; how many there are depends on the sharing (section 4.3).

use serde::Deserialize;

use super::{Context, Inputs, project, softmax};
use crate::ledger::{Component, Shape, Tape, Tensor};

/// Which length projections are one and the same (Wang et al. 2020, section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinformerSharing {
    /// One for keys and one for values in every head.
    None,
    /// One for keys and one for values in every layer.
    #[default]
    Headwise,
    /// One for keys and values in every layer.
    KeyValue,
    /// One in all.
    Layerwise,
}

/// Whether keys and values are shortened after or before their linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinformerOrder {
    /// The paper's order: E (X W).
    #[default]
    ProjectThenCompress,
    /// The order of the authors' released code: (E X) W, cheaper and equal but for the bias.
    CompressThenProject,
}

fn projection(tape: &mut Tape, context: &Context<'_>, heads: f64) -> Tensor {
    let (length, k) = sizes(context);
    tape.parameter(heads * length * k)
}

fn sizes(context: &Context<'_>) -> (f64, f64) {
    let model = context.model;
    let linformer = model.attention.linformer.as_ref();
    let length = linformer.and_then(|l| l.length).or(model.embedding.positions.length).unwrap_or_default();
    (length as f64, linformer.map_or(0, |l| l.projected_length) as f64)
}

/// The one projection of layerwise sharing, made once outside the layers.
pub(super) fn shared_projection(tape: &mut Tape, context: &Context<'_>) -> Option<Tensor> {
    let sharing = context.model.attention.linformer.as_ref()?.sharing;
    tape.component(Component::Attention);
    (sharing == LinformerSharing::Layerwise).then(|| projection(tape, context, 1.0))
}

/// Writes projections, length projections and attention on the shortened keys and values.
pub(super) fn write(tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
    let attention = &context.model.attention;
    let (sharing, order) = attention.linformer.as_ref().map_or_else(Default::default, |l| (l.sharing, l.order));
    let heads = if sharing == LinformerSharing::None { attention.heads as f64 } else { 1.0 };
    let for_keys = inputs.shared_projection.unwrap_or_else(|| projection(tape, context, heads));
    let for_values = match sharing {
        LinformerSharing::None | LinformerSharing::Headwise => projection(tape, context, heads),
        LinformerSharing::KeyValue | LinformerSharing::Layerwise => for_keys,
    };
    let query = project(tape, context, "query projection", attention.heads, inputs.x);
    let (key, value) = match order {
        LinformerOrder::ProjectThenCompress => {
            let key = project(tape, context, "key projection", attention.heads, inputs.memory);
            let value = project(tape, context, "value projection", attention.heads, inputs.memory);
            (compress(tape, context, key, for_keys, heads), compress(tape, context, value, for_values, heads))
        }
        LinformerOrder::CompressThenProject => {
            let short_keys = compress(tape, context, inputs.memory, for_keys, heads);
            let short_values = if for_values == for_keys { short_keys } else { compress(tape, context, inputs.memory, for_values, heads) };
            let key = project(tape, context, "key projection", attention.heads, short_keys);
            (key, project(tape, context, "value projection", attention.heads, short_values))
        }
    };
    softmax::core(tape, context, inputs, query, key, value)
}

/// Shortens `x` from n positions to k. With more than one sequence, PyTorch lays one operand out anew for the batched
/// product and keeps that copy: the projection where each head has its own, else `x`.
fn compress(tape: &mut Tape, context: &Context<'_>, x: Tensor, projection: Tensor, heads: f64) -> Tensor {
    let (_, k) = sizes(context);
    let batch = context.batch;
    let columns = x.elements / (batch.sequences * batch.length) / heads;
    let shape = Shape { batch: batch.sequences * heads, m: k, n: columns, k: batch.length };
    let (projection, x) = match (batch.sequences > 1.0, heads > 1.0) {
        (true, true) => (tape.expand("spread projection", projection, shape.batch * k * batch.length), x),
        (true, false) => (projection, tape.pass("lay out positions", x)),
        (false, _) => (projection, x),
    };
    tape.matmul("length projection", projection, x, shape)
}
