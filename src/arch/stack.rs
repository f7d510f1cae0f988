//! Stacks: equal layers of attention and feed-forward network around a residual stream.

use super::attention::{self, Attention, Inputs};
use super::config::{NormKind, NormPlacement, PositionKind, Stack, Streams};
use super::feed_forward::{self, FeedForward, FeedForwardKind, Mixture};
use super::pooling::{self, Pooled, PoolingKind};
use super::{Batch, Context};
use super::{bottleneck, embedding};
use crate::ledger::{Component, Keeps, Repeat, Tape, Tensor};
use crate::units::Ratio;

/// What all layers of a stack have beside their stream.
#[derive(Clone, Copy)]
struct Around {
    /// What an encoder left.
    encoded: Option<Tensor>,
    /// Sines and cosines of rotary positions.
    rotary: Option<Tensor>,
    /// A bias of the scores that the first layer made.
    bias: Option<Tensor>,
    /// Whether a position sees only those before it.
    causal: bool,
}

/// Writes a stack on `x`; with `encoded`, each layer attends to it between its other two sub-layers.
pub(super) fn write(
    tape: &mut Tape,
    context: &Context<'_>,
    stack: &Stack,
    x: Tensor,
    encoded: Option<Tensor>,
    rotary: Option<Tensor>,
    causal: bool,
) -> Tensor {
    let model = context.model;
    let positions = &model.embedding.positions;
    let relative = positions.kind == PositionKind::RelativeBias;
    let bias = (relative && !positions.each_layer).then(|| relative_bias(tape, context, &model.attention));
    let around = Around { encoded, rotary, bias, causal };
    let whole = context.batch.length;
    let (mut out, mut length) = (x, whole);
    // What had the whole length last, and what the mechanism made for the layers before.
    let (mut skip, mut before): (Tensor, Vec<Tensor>) = (x, Vec::new());
    let (mut dropped, mut kind) = (false, model.attention.kind);
    let mut balanced: Option<(Mixture, u64)> = None;
    for (index, (layers, attention, network)) in model.groups(stack).into_iter().enumerate() {
        let group = stack.groups.get(index);
        let repeats = group.map_or(1, |group| group.repeats);
        if length == whole {
            skip = out;
        }
        if group.is_some_and(|group| group.upsampling) {
            out = pooling::upsample(tape, out, skip, dropped.then_some(length));
            length = whole;
            tape.set_tokens(context.batch.sequences * length);
            before.clear();
        }
        if std::mem::replace(&mut kind, attention.kind) != attention.kind {
            before.clear();
        }
        let pooling = group.and_then(|group| group.pooling);
        dropped = pooling.map_or(dropped, |pooling| pooling.kind == PoolingKind::Drop);
        let mut pooling = pooling.filter(|pooling| pooling.shortens(length));
        for (layers, feed_forward) in network.of_layers(layers).into_iter().filter(|(layers, _)| *layers > 0) {
            let feed_forward = feed_forward.as_ref();
            if let Some(mixture) = feed_forward.experts().filter(|mixture| mixture.auxiliary_loss) {
                let before = balanced.map_or(0, |(_, layers)| layers);
                balanced = Some((mixture.clone(), before + layers * repeats));
            }
            let pooled = pooling.take().map(|by| Pooled { from: length, queries: true, keys: !by.queries_only, by });
            length = pooled.map_or(length, |pooled| pooled.by.length(length));
            tape.set_tokens(context.batch.sequences * length);
            let batch = Batch { length, ..context.batch };
            let first = Context { attention, feed_forward, batch, pooled, ..*context };
            // Where the first layer pools its queries alone, the others find the keys pooled too.
            let others = pooled.filter(|pooled| !pooled.keys).map(|pooled| Pooled { queries: false, keys: true, ..pooled });
            let others = Context { pooled: others, ..first };
            tape.component(Component::Attention);
            let mut share = |context: &Context<'_>| {
                before = attention.mechanism().map(|mechanism| mechanism.shared(tape, context, &before)).unwrap_or_default();
                before.clone()
            };
            let shared = share(&first);
            let shared_by_others = if others.pooled.is_some() { share(&others) } else { shared.clone() };
            // A first layer stands apart if it pools, or if its input has no gradient, over frozen embeddings.
            let frozen = model.linear.adapter.is_some() && !tape.is_inference() && !tape.has_gradient(out);
            let (runs, sets) = (layers * repeats, if stack.shared { 1 } else { layers });
            let (one, rest) = if pooled.is_some() || frozen { ((1, 1), (runs - 1, sets - 1)) } else { ((runs, sets), (0, 0)) };
            out = alike(tape, &first, stack, around, &shared, one, out);
            if rest.0 > 0 {
                out = alike(tape, &others, stack, around, &shared_by_others, rest, out);
            }
        }
    }
    if let Some((mixture, layers)) = balanced {
        feed_forward::auxiliary_loss(tape, &mixture, layers, context.batch.sequences);
    }
    // Each layer's output is the next one's input, counted there; the last one leaves the stack once.
    let out = tape.carry(out);
    let mut out = if stack.reversible { join(tape, stack.streams, out) } else { out };
    if model.norm.follows() {
        out = norm(tape, context, out);
        if relative {
            // T5 drops out its stacks' outputs once more (Raffel et al. 2020, section 2.1).
            tape.component(Component::Norm);
            out = tape.dropout(out, model.dropout.value());
        }
    }
    tape.dropout(out, stack.output_dropout.value())
}

/// Equal layers, so many of them with so many sets of parameters, on `out`; where the context says so, each pools it first.
fn alike(
    tape: &mut Tape,
    context: &Context<'_>,
    stack: &Stack,
    around: Around,
    shared: &[Tensor],
    (layers, sets): (u64, u64),
    out: Tensor,
) -> Tensor {
    let model = context.model;
    let positions = &model.embedding.positions;
    let Around { encoded, rotary, bias, causal } = around;
    let repeat = Repeat { layers: layers as f64, parameters: sets as f64, reversible: stack.reversible };
    tape.repeat(repeat, |tape| {
        let long = tape.carry(out);
        if stack.idle_cross_attention && encoded.is_none() {
            idle_cross_attention(tape, context);
        }
        let x = context.pooled.filter(|pooled| pooled.queries).map_or(long, |pooled| pooled.by.write(tape, long, pooled.from));
        let memory = if context.pools_queries() { long } else { x };
        let rotary = rotary.or_else(|| embedding::rotary_tables_of_layer(tape, context));
        let own = positions.kind == PositionKind::RelativeBias && positions.each_layer;
        let bias = if own { Some(relative_bias(tape, context, context.attention)) } else { bias };
        let inputs = Inputs { x, memory, rotary, bias, shared, causal, beside: None };
        match &model.bottleneck {
            Some(narrow) => bottleneck::write(tape, context, narrow, inputs, |tape, context, inputs| layer(tape, context, inputs, encoded)),
            None => layer(tape, context, inputs, encoded),
        }
    })
}

/// One layer; the stream is what `inputs` has as its queries' side.
fn layer(tape: &mut Tape, context: &Context<'_>, inputs: Inputs<'_>, encoded: Option<Tensor>) -> Tensor {
    let attend = |tape: &mut Tape, x: Tensor| {
        let x = inputs.beside.map_or(x, |beside| beside.keys);
        let memory = if context.pools_queries() { inputs.memory } else { x };
        attention::write(tape, context, &Inputs { x, memory, ..inputs })
    };
    let stream = inputs.x;
    if let Some(own_norms) = side_by_side(context.model.norm.placement) {
        let x = norm(tape, context, stream);
        let mixed = attend(tape, x);
        let mixed = dropped(tape, context, Component::Attention, mixed);
        let x = if own_norms { norm(tape, context, stream) } else { x };
        let out = feed_forward::write(tape, context, x);
        let out = dropped(tape, context, Component::FeedForward, out);
        let both = tape.add("sum of both", mixed, out);
        return tape.add("residual", stream, both);
    }
    let stream = sub_layer(tape, context, Component::Attention, stream, attend);
    let stream = match encoded {
        Some(memory) => sub_layer(tape, context, Component::Attention, stream, |tape, x| {
            let inputs = Inputs { x, memory, rotary: None, bias: None, causal: false, beside: None, ..inputs };
            attention::write(tape, context, &inputs)
        }),
        None => stream,
    };
    if context.feed_forward.kind == FeedForwardKind::None {
        return stream;
    }
    // Of several networks in a row, only the last is dropped out.
    let undropped = FeedForward { output_dropout: Some(Ratio::default()), ..context.feed_forward.clone() };
    let others = Context { feed_forward: &undropped, ..*context };
    let network = |tape: &mut Tape, context: &Context<'_>, stream: Tensor| {
        sub_layer(tape, context, Component::FeedForward, stream, |tape, x| feed_forward::write(tape, context, x))
    };
    let stream = (1..context.feed_forward.count).fold(stream, |stream, _| network(tape, &others, stream));
    network(tape, context, stream)
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

/// Whether attention and feed-forward network stand side by side, and if so whether each has a norm of its own.
fn side_by_side(placement: NormPlacement) -> Option<bool> {
    match placement {
        NormPlacement::Parallel => Some(true),
        NormPlacement::ParallelShared => Some(false),
        NormPlacement::Pre | NormPlacement::Post | NormPlacement::Sandwich | NormPlacement::None => None,
    }
}

/// A sub-layer with its residual: post, norm(x + f(x)); pre, x + f(norm(x)); sandwich, x + norm(f(norm(x))).
pub(super) fn sub_layer(
    tape: &mut Tape,
    context: &Context<'_>,
    component: Component,
    stream: Tensor,
    write: impl FnOnce(&mut Tape, Tensor) -> Tensor,
) -> Tensor {
    let placement = context.model.norm.placement;
    let bare = matches!(placement, NormPlacement::Post | NormPlacement::None);
    let x = if bare { stream } else { norm(tape, context, stream) };
    let out = write(tape, x);
    let out = dropped(tape, context, component, out);
    let out = if placement == NormPlacement::Sandwich { norm(tape, context, out) } else { out };
    tape.component(component);
    let sum = tape.add("residual", stream, out);
    if placement == NormPlacement::Post { norm(tape, context, sum) } else { sum }
}

/// The dropout of what joins the residual stream.
fn dropped(tape: &mut Tape, context: &Context<'_>, component: Component, out: Tensor) -> Tensor {
    tape.component(component);
    let own = match component {
        Component::Attention => context.attention.output_dropout,
        _ => context.feed_forward.output_dropout,
    };
    tape.dropout(out, own.unwrap_or(context.model.dropout).value())
}

/// A norm of the model's kind.
pub(super) fn norm(tape: &mut Tape, context: &Context<'_>, x: Tensor) -> Tensor {
    let norm = &context.model.norm;
    let width = x.elements / tape.tokens();
    match norm.kind {
        NormKind::Layer => tape.layer_norm_with(x, width, u8::from(norm.weight) + u8::from(norm.bias)),
        NormKind::LayerSeparate => tape.separate_layer_norm(x, width),
        NormKind::Rms => tape.rms_norm(x, width),
        NormKind::LayerOffset => tape.layer_norm_offset(x, width),
        NormKind::Affine => tape.affine(x, width),
        NormKind::RmsOffset => tape.rms_norm_with(x, width, true),
    }
}

/// The parameters of attention to an encoder and of its norm, where there is no encoder.
fn idle_cross_attention(tape: &mut Tape, context: &Context<'_>) {
    let (model, attention) = (context.model, context.attention);
    let (width, inner) = (model.width as f64, (attention.heads * attention.head_width(model.width)) as f64);
    tape.component(Component::Attention);
    for (rows, columns, bias) in [
        (width, inner, attention.bias),
        (width, inner, attention.bias),
        (width, inner, attention.bias),
        (inner, width, attention.output_bias.unwrap_or(attention.bias)),
    ] {
        tape.matrix(rows, columns);
        if bias {
            tape.parameter(columns);
        }
    }
    tape.component(Component::Norm);
    let vectors = u8::from(model.norm.weight) + u8::from(model.norm.bias && model.norm.kind == NormKind::Layer);
    tape.parameter(f64::from(vectors) * width);
}

/// The bias of the scores by distance, which the first layer of a stack makes for all, or each layer for itself.
fn relative_bias(tape: &mut Tape, context: &Context<'_>, attention: &Attention) -> Tensor {
    tape.component(Component::Attention);
    let heads = attention.heads as f64;
    let table = tape.parameter(context.model.embedding.positions.buckets.unwrap_or_default() as f64 * heads);
    let buckets = tape.indices(context.batch.length * context.batch.length);
    tape.lookup("relative bias lookup", table, buckets, heads)
}
