//! Gated: (act(x W1) * x W3) W2 (Shazeer 2020). 6 d f FLOPs a position; keeps both factors of the gate.

use super::{Context, layer, linear};
use crate::ledger::{Tape, Tensor};

/// Writes act(x W1) * x W3.
pub(super) fn write(tape: &mut Tape, context: &Context<'_>, width: u64, x: Tensor) -> Tensor {
    if context.feed_forward.fused_projection {
        let both = linear::write(tape, context, layer(context, "first and gated feed-forward layer", context.model.width, 2 * width), x);
        let (inner, gated) = (tape.view(both, 0.5), tape.view(both, 0.5));
        let hidden = tape.activate(context.feed_forward.activation, inner);
        return tape.multiply("gate", hidden, gated);
    }
    let inner = linear::write(tape, context, layer(context, "first feed-forward layer", context.model.width, width), x);
    let hidden = tape.activate(context.feed_forward.activation, inner);
    let gated = linear::write(tape, context, layer(context, "gated feed-forward layer", context.model.width, width), x);
    tape.multiply("gate", hidden, gated)
}
