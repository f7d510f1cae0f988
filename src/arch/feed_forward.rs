//! The position-wise network: two linear layers with an activation between, or a gated pair before the second.

use super::Context;
use super::config::{FeedForwardKind, LinearComponent};
use super::linear::{self, Layer};
use crate::ledger::{Component, Tape, Tensor};

/// Writes the network from hidden states to hidden states, without its residual.
///
/// Plain: act(x W1) W2 (Vaswani et al. 2017, equation 2). Gated: (act(x W1) * x W3) W2 (Shazeer 2020, equation 6).
pub(super) fn write(tape: &mut Tape, context: &Context<'_>, x: Tensor) -> Tensor {
    tape.component(Component::FeedForward);
    let (model, config) = (context.model, context.feed_forward);
    let layer = |name, inputs, outputs| Layer { name, group: LinearComponent::FeedForward, inputs, outputs, bias: config.bias };
    let hidden = tape.split(|tape| {
        let inner = linear::write(tape, context, layer("first feed-forward layer", model.width, config.width), x);
        let mut hidden = tape.activate(config.activation, inner);
        if config.kind == FeedForwardKind::Gated {
            let gated = linear::write(tape, context, layer("gated feed-forward layer", model.width, config.width), x);
            hidden = tape.multiply("gate", hidden, gated);
        }
        tape.dropout(hidden, config.dropout.value())
    });
    linear::write(tape, context, layer("second feed-forward layer", config.width, model.width), hidden)
}
