//! Attention mechanisms, one file each. All share the projections in and out; between them each mixes positions its
//! own way.

mod linformer;
mod softmax;

use serde::Deserialize;

use super::Context;
use super::config::{Attention, AttentionKind, LinearComponent, PositionKind};
use super::linear::{self, Layer};
use crate::ledger::{Component, Tape, Tensor};

pub use linformer::{LinformerOrder, LinformerSharing};

/// How softmax attention is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Implementation {
    /// Scores and weights are tensors in memory.
    #[default]
    Eager,
    /// One kernel; they never reach memory (FlashAttention).
    Fused,
}

/// What one attention layer works on.
pub(super) struct Inputs {
    /// The queries' side.
    pub x: Tensor,
    /// The keys' and values' side; `x` itself in self-attention.
    pub memory: Tensor,
    /// Cosines and sines, for rotary positions.
    pub rotary: Option<Tensor>,
    /// A bias of the scores, for relative positions in self-attention.
    pub bias: Option<Tensor>,
    /// A length projection that all layers share, for Linformer.
    pub shared_projection: Option<Tensor>,
    /// Whether a position sees only those before it.
    pub causal: bool,
}

impl Attention {
    /// Width of a head.
    pub(super) fn head_width(&self, width: u64) -> u64 {
        self.head_width.unwrap_or(width / self.heads)
    }

    /// Key and value heads.
    pub(super) fn groups(&self) -> u64 {
        self.key_value_heads.unwrap_or(self.heads)
    }
}

/// What is made once for all layers of a stack: a length projection that they share.
pub(super) fn shared(tape: &mut Tape, context: &Context<'_>) -> Option<Tensor> {
    match context.model.attention.kind {
        AttentionKind::Linformer => linformer::shared_projection(tape, context),
        AttentionKind::Softmax => None,
    }
}

/// Writes one attention layer from hidden states to hidden states, without its residual.
pub(super) fn write(tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
    tape.component(Component::Attention);
    let mixed = match context.model.attention.kind {
        AttentionKind::Softmax => softmax::write(tape, context, inputs),
        AttentionKind::Linformer => linformer::write(tape, context, inputs),
    };
    let attention = &context.model.attention;
    let inner = attention.heads * attention.head_width(context.model.width);
    let out = Layer {
        name: "output projection",
        group: LinearComponent::Attention,
        inputs: inner,
        outputs: context.model.width,
        bias: attention.bias,
    };
    linear::write(tape, context, out, mixed)
}

/// A projection of `x` to `heads` heads.
fn project(tape: &mut Tape, context: &Context<'_>, name: &'static str, heads: u64, x: Tensor) -> Tensor {
    let attention = &context.model.attention;
    let outputs = heads * attention.head_width(context.model.width);
    let layer = Layer { name, group: LinearComponent::Attention, inputs: context.model.width, outputs, bias: attention.bias };
    linear::write(tape, context, layer, x)
}

/// Queries, keys and values; from one matrix if the model says so and the inputs allow it.
fn queries_keys_values(tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> [Tensor; 3] {
    let attention = &context.model.attention;
    let (heads, groups) = (attention.heads, attention.groups());
    if attention.fused_projection && inputs.x == inputs.memory {
        let all = project(tape, context, "query-key-value projection", heads + 2 * groups, inputs.x);
        let share = |tape: &mut Tape, part: u64| tape.view(all, part as f64 / (heads + 2 * groups) as f64);
        return [share(tape, heads), share(tape, groups), share(tape, groups)];
    }
    let query = project(tape, context, "query projection", heads, inputs.x);
    let key = project(tape, context, "key projection", groups, inputs.memory);
    let value = project(tape, context, "value projection", groups, inputs.memory);
    let rotate = |tape: &mut Tape, x: Tensor| match inputs.rotary {
        Some(table) if context.model.embedding.positions.kind == PositionKind::Rotary => tape.rotate(x, table),
        _ => x,
    };
    [rotate(tape, query), rotate(tape, key), value]
}
