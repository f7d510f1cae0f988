//! Bottlenecks: layers that are narrower inside than between (Sun et al. 2020, MobileBERT).
//!
//! A linear layer with a norm leads into every layer, another one, with residual and norm, out of it: 4 d b FLOPs a position
//! for the width d and b inside. Queries and keys may have a bottleneck of their own and values none, which adds 2 d b, and
//! 2 (d - b) b for the wider input of the values. Kept: the input of each of these layers and norms.

use serde::{Deserialize, Serialize};

use super::attention::{Beside, Inputs};
use super::config::{LinearComponent, Model};
use super::linear::{self, Layer};
use super::{Context, stack};
use crate::ledger::{Component, Tape, Tensor};

/// A bottleneck around every layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Bottleneck {
    /// Width inside a layer.
    pub width: u64,
    /// What queries, keys and values are projected from.
    #[serde(default)]
    pub attention: BottleneckAttention,
}

/// What queries, keys and values are projected from in a layer with a bottleneck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BottleneckAttention {
    /// All from the narrow states.
    #[default]
    Narrow,
    /// Queries and keys from a second bottleneck that they share, values from the wide states.
    Shared,
}

/// Writes a layer between its bottlenecks; `layer` writes it on narrow states.
pub(super) fn write(
    tape: &mut Tape,
    context: &Context<'_>,
    bottleneck: &Bottleneck,
    inputs: Inputs,
    layer: impl FnOnce(&mut Tape, &Context<'_>, Inputs) -> Tensor,
) -> Tensor {
    let model = context.model;
    let inside = Model { width: bottleneck.width, ..model.clone() };
    let wide = inputs.x;
    let x = enter(tape, context, bottleneck, "bottleneck", wide);
    let beside = (bottleneck.attention == BottleneckAttention::Shared).then(|| {
        let keys = enter(tape, context, bottleneck, "bottleneck of queries and keys", wide);
        Beside { keys, values: wide, width: model.width }
    });
    let out = layer(tape, &Context { model: &inside, ..*context }, Inputs { x, memory: x, beside, ..inputs });
    let out = linear(tape, context, "bottleneck out", (bottleneck.width, model.width), out);
    let out = tape.dropout(out, model.dropout.value());
    let sum = tape.add("residual", wide, out);
    stack::norm(tape, context, sum)
}

fn enter(tape: &mut Tape, context: &Context<'_>, bottleneck: &Bottleneck, name: &'static str, x: Tensor) -> Tensor {
    let x = linear(tape, context, name, (context.model.width, bottleneck.width), x);
    stack::norm(tape, context, x)
}

fn linear(tape: &mut Tape, context: &Context<'_>, name: &'static str, (inputs, outputs): (u64, u64), x: Tensor) -> Tensor {
    tape.component(Component::FeedForward);
    linear::write(tape, context, Layer { name, group: LinearComponent::FeedForward, inputs, outputs, bias: true }, x)
}
