//! Stacks: equal layers of attention and feed-forward network around a residual stream.

use super::Context;
use super::attention::{self, Attention, Inputs};
use super::config::{NormKind, NormPlacement, PositionKind, Stack, Streams};
use super::feed_forward::{self, FeedForwardKind, Mixture};
use crate::ledger::{Component, Keeps, Repeat, Tape, Tensor};

/// Writes a stack on `x`; with `memory`, each layer attends to it between its other two sub-layers.
pub(super) fn write(
    tape: &mut Tape,
    context: &Context<'_>,
    stack: &Stack,
    x: Tensor,
    memory: Option<Tensor>,
    rotary: Option<Tensor>,
    causal: bool,
) -> Tensor {
    let model = context.model;
    let positions = &model.embedding.positions;
    let relative = positions.kind == PositionKind::RelativeBias;
    let first_bias = (relative && !positions.each_layer).then(|| relative_bias(tape, context, &model.attention));
    let mut out = x;
    let groups = model.groups(stack).into_iter();
    let parts = groups.flat_map(|(layers, attention, network)| network.of_layers(layers).into_iter().map(move |part| (part, attention)));
    let mut balanced: Option<(Mixture, u64)> = None;
    for ((layers, feed_forward), attention) in parts {
        let feed_forward = feed_forward.as_ref();
        if let Some(mixture) = feed_forward.experts().filter(|mixture| mixture.auxiliary_loss) {
            let before = balanced.map_or(0, |(_, layers)| layers);
            balanced = Some((mixture.clone(), before + layers));
        }
        let context = Context { attention, feed_forward, ..*context };
        tape.component(Component::Attention);
        let shared = attention.mechanism().and_then(|mechanism| mechanism.shared(tape, &context));
        // Over frozen embeddings the input of the first layer has no gradient, that of the others has one.
        let first = if model.linear.adapter.is_some() && !tape.is_inference() && !tape.has_gradient(out) { 1 } else { layers };
        for (count, parameters) in [(first, 1.0), (layers - first, 0.0)].into_iter().filter(|(count, _)| *count > 0) {
            let parameters = if stack.shared { parameters } else { count as f64 };
            let repeat = Repeat { layers: count as f64, parameters, reversible: stack.reversible };
            out = tape.repeat(repeat, |tape| {
                let stream = tape.carry(out);
                let own = relative && positions.each_layer;
                let bias = if own { Some(relative_bias(tape, &context, attention)) } else { first_bias };
                let stream = sub_layer(tape, &context, Component::Attention, stream, |tape, x| {
                    attention::write(tape, &context, &Inputs { x, memory: x, rotary, bias, shared, causal })
                });
                let stream = match memory {
                    Some(memory) => sub_layer(tape, &context, Component::Attention, stream, |tape, x| {
                        let inputs = Inputs { x, memory, rotary: None, bias: None, shared, causal: false };
                        attention::write(tape, &context, &inputs)
                    }),
                    None => stream,
                };
                if feed_forward.kind == FeedForwardKind::None {
                    return stream;
                }
                sub_layer(tape, &context, Component::FeedForward, stream, |tape, x| feed_forward::write(tape, &context, x))
            });
        }
    }
    if let Some((mixture, layers)) = balanced {
        feed_forward::auxiliary_loss(tape, &mixture, layers);
    }
    // Each layer's output is the next one's input, counted there; the last one leaves the stack once.
    let out = tape.carry(out);
    let mut out = if stack.reversible { join(tape, stack.streams, out) } else { out };
    if model.norm.last.unwrap_or(model.norm.placement == NormPlacement::Pre) {
        out = norm(tape, context, out);
        if relative {
            // T5 drops out its stacks' outputs once more (Raffel et al. 2020, section 2.1).
            tape.component(Component::Norm);
            out = tape.dropout(out, model.dropout.value());
        }
    }
    tape.dropout(out, stack.output_dropout.value())
}

/// Joins the two streams that reversible layers end with; both are kept, for backward starts from them (Gomez et al.
/// 2017, algorithm 1).
fn join(tape: &mut Tape, streams: Streams, second: Tensor) -> Tensor {
    let first = tape.carry(second);
    let width = match streams {
        Streams::Concatenated => 2.0,
        Streams::Averaged => 1.0,
    };
    tape.operation("join streams", 1.0, &[first, second], width * second.elements, Keeps::These(&[first, second]))
}

/// A sub-layer with its residual: post, norm(x + f(x)); pre, x + f(norm(x)).
fn sub_layer(
    tape: &mut Tape,
    context: &Context<'_>,
    component: Component,
    stream: Tensor,
    write: impl FnOnce(&mut Tape, Tensor) -> Tensor,
) -> Tensor {
    let model = context.model;
    let pre = model.norm.placement == NormPlacement::Pre;
    let x = if pre { norm(tape, context, stream) } else { stream };
    let out = write(tape, x);
    tape.component(component);
    let own = context.feed_forward.output_dropout.filter(|_| component == Component::FeedForward);
    let out = tape.dropout(out, own.unwrap_or(model.dropout).value());
    let sum = tape.add("residual", stream, out);
    if pre { sum } else { norm(tape, context, sum) }
}

fn norm(tape: &mut Tape, context: &Context<'_>, x: Tensor) -> Tensor {
    let width = x.elements / tape.tokens();
    match context.model.norm.kind {
        NormKind::Layer => tape.layer_norm(x, width),
        NormKind::Rms => tape.rms_norm(x, width),
    }
}

/// The bias of the scores by distance, which the first layer of a stack makes for all, or each layer for itself.
fn relative_bias(tape: &mut Tape, context: &Context<'_>, attention: &Attention) -> Tensor {
    tape.component(Component::Attention);
    let heads = attention.heads as f64;
    let table = tape.parameter(context.model.embedding.positions.buckets.unwrap_or_default() as f64 * heads);
    let buckets = tape.indices(context.batch.length * context.batch.length);
    tape.lookup("relative bias lookup", table, buckets, heads)
}
