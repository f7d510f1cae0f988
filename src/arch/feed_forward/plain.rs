//! Plain: act(x W1) W2 (Vaswani et al. 2017, equation 2). 4 d f FLOPs a position.

use super::{Context, layer, linear};
use crate::ledger::{Tape, Tensor};

/// Writes act(x W1).
pub(super) fn write(tape: &mut Tape, context: &Context<'_>, width: u64, x: Tensor) -> Tensor {
    let inner = linear::write(tape, context, layer(context, "first feed-forward layer", context.model.width, width), x);
    tape.activate(context.feed_forward.activation, inner)
}
