//! Latents: m trained rows attend to the input once and take its place, so that the layers work on m positions whatever
//! its length (Jaegle et al. 2021, Perceiver, arXiv 2103.03206).
//!
//! Products, forward, per sequence: 4 n m d for the attention, 4 n d^2 for keys and values, 4 m d^2 for queries and output,
//! and the position-wise network at m positions; then the layers at m positions. With norms before sub-layers, the input
//! has one too.

use serde::{Deserialize, Serialize};

use super::attention::{self, Inputs};
use super::config::NormPlacement;
use super::feed_forward::{self, FeedForwardKind};
use super::{Context, stack};
use crate::ledger::{Component, Keeps, Tape, Tensor};

/// Rows that take the place of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Latents {
    /// How many there are, m.
    pub count: u64,
}

/// Writes the attention of the latents to `input` and their network; what follows has `count` rows a sequence.
pub(super) fn write(tape: &mut Tape, context: &Context<'_>, latents: Latents, input: Tensor) -> Tensor {
    let placement = context.model.norm.placement;
    let bare = matches!(placement, NormPlacement::Post | NormPlacement::None);
    let memory = if bare { input } else { stack::norm(tape, context, input) };
    tape.component(Component::Attention);
    let trained = tape.matrix(latents.count as f64, context.model.width as f64);
    tape.set_tokens(context.batch.sequences * latents.count as f64);
    let stream = tape.operation("repeat latents", 0.0, &[trained], context.batch.sequences * trained.elements, Keeps::Nothing);
    let stream = stack::sub_layer(tape, context, Component::Attention, stream, |tape, x| {
        attention::write(tape, context, &Inputs { x, memory, rotary: None, bias: None, shared: &[], causal: false, beside: None })
    });
    if context.feed_forward.kind == FeedForwardKind::None {
        return stream;
    }
    stack::sub_layer(tape, context, Component::FeedForward, stream, |tape, x| feed_forward::write(tape, context, x))
}
