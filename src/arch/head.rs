//! Heads: from hidden states to a loss.

use super::Context;
use super::config::{HeadKind, HeadPositions, LinearComponent};
use super::linear::{self, Layer};
use crate::ledger::{Activation, Component, Shape, Tape, Tensor};

/// Writes the head on `hidden`. `table` is the token table, which a tied vocabulary projection is. With `shifted`,
/// position i predicts token i + 1.
pub(super) fn write(tape: &mut Tape, context: &Context<'_>, hidden: Tensor, table: Tensor, shifted: bool) {
    tape.component(Component::Head);
    let model = context.model;
    match model.head.kind {
        HeadKind::None => {}
        HeadKind::Pooler => {
            pool(tape, context, hidden);
        }
        HeadKind::Classification => {
            let pooled = pool(tape, context, hidden);
            let pooled = tape.dropout(pooled, model.dropout.value());
            let classes = model.head.classes.unwrap_or_default() as f64;
            let weight = tape.parameter(model.width as f64 * classes);
            tape.parameter(classes);
            let rows = context.batch.sequences;
            let logits = tape.matmul("classifier", pooled, weight, Shape::product(rows, classes, model.width as f64));
            let labels = tape.indices(rows);
            tape.cross_entropy(logits, rows, classes, labels);
        }
        HeadKind::MaskedLm => {
            let hidden = masked(tape, context, hidden);
            let (inputs, narrow) = (model.hidden_width(), model.embedding.width.unwrap_or(model.width));
            if !model.head.transform {
                return vocabulary(tape, context, hidden, table, inputs, false);
            }
            let layer = Layer { name: "head transform", group: LinearComponent::HeadTransform, inputs, outputs: narrow, bias: true };
            let hidden = linear::write(tape, context, layer, hidden);
            let hidden = tape.activate(model.head.activation.unwrap_or(Activation::Gelu), hidden);
            let hidden = tape.layer_norm(hidden, narrow as f64);
            vocabulary(tape, context, hidden, table, narrow, false);
        }
        HeadKind::CausalLm | HeadKind::SequenceToSequence => {
            let hidden = if model.head.scaled { tape.pass("output scale", hidden) } else { hidden };
            vocabulary(tape, context, hidden, table, model.hidden_width(), shifted);
        }
    }
}

/// The first position of each sequence through a linear layer and tanh (Devlin et al. 2019).
fn pool(tape: &mut Tape, context: &Context<'_>, hidden: Tensor) -> Tensor {
    let model = context.model;
    let layer = Layer { name: "pooler", group: LinearComponent::Pooler, inputs: model.hidden_width(), outputs: model.width, bias: true };
    let first = tape.view(hidden, 1.0 / context.batch.length);
    let pooled = linear::write(tape, context, layer, first);
    tape.activate(Activation::Tanh, pooled)
}

/// Gathers the masked positions, if only they are predicted.
fn masked(tape: &mut Tape, context: &Context<'_>, hidden: Tensor) -> Tensor {
    let head = &context.model.head;
    match (head.positions, head.masked_share) {
        (HeadPositions::Masked, Some(share)) => {
            let rows = (share.value() * context.batch.length).ceil() * context.batch.sequences;
            tape.expand("gather masked positions", hidden, rows * context.model.hidden_width() as f64)
        }
        _ => hidden,
    }
}

/// The vocabulary projection and its cross entropy.
fn vocabulary(tape: &mut Tape, context: &Context<'_>, hidden: Tensor, table: Tensor, width: u64, shifted: bool) {
    let model = context.model;
    let classes = model.embedding.vocabulary;
    let predicted = model.head.positions == HeadPositions::Predicted;
    let hidden = match (predicted, context.batch.sequences) {
        (true, 1.0) => tape.view(hidden, 1.0 - 1.0 / context.batch.length),
        (true, sequences) => tape.expand("gather predicted positions", hidden, hidden.elements - sequences * width as f64),
        (false, _) => hidden,
    };
    let rows = hidden.elements / width as f64;
    let layer =
        Layer { name: "vocabulary projection", group: LinearComponent::Vocabulary, inputs: width, outputs: classes, bias: model.head.bias };
    let logits = if model.head.tied && model.linear.rank_of(&layer).is_none() {
        if model.head.bias {
            tape.parameter(classes as f64);
        }
        tape.matmul(layer.name, hidden, table, Shape::product(rows, classes as f64, width as f64))
    } else {
        linear::write(tape, context, layer, hidden)
    };
    let positions = if shifted && !predicted { rows - context.batch.sequences } else { rows };
    let labels = tape.indices(positions);
    if predicted {
        tape.gathered_cross_entropy(logits, positions, classes as f64, labels);
    } else {
        tape.cross_entropy(logits, positions, classes as f64, labels);
    }
}
