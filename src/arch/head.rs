//! Heads: from hidden states to a loss.

use super::Context;
use super::config::{HeadKind, HeadPositions, LinearComponent, Loss, Pooling};
use super::linear::{self, Layer};
use crate::ledger::{Activation, Component, Keeps, Shape, Tape, Tensor};

/// Writes the head on `hidden`. `table` is the token table, which a tied vocabulary projection is. With `shifted`,
/// position i predicts token i + 1.
pub(super) fn write(tape: &mut Tape, context: &Context<'_>, hidden: Tensor, table: Option<Tensor>, shifted: bool) {
    tape.component(Component::Head);
    let model = context.model;
    let padded = if model.head.projection {
        let (inputs, outputs) = (model.width, model.hidden_width());
        let layer = Layer { name: "output projection", group: LinearComponent::HeadTransform, inputs, outputs, bias: false };
        linear::write(tape, context, layer, hidden)
    } else {
        hidden
    };
    if model.head.unused_pooler {
        tape.unused(|tape| pool(tape, context, padded));
    }
    let hidden = cut(tape, context, padded);
    match model.head.kind {
        HeadKind::None => {}
        HeadKind::Pooler => {
            tape.unused(|tape| pool(tape, context, padded));
        }
        HeadKind::Classification => {
            let rows = context.batch.sequences;
            let logits = match model.head.pooling {
                Pooling::First | Pooling::End | Pooling::Mean => {
                    let first = looked_at(tape, context, hidden);
                    let first = if model.head.input_dropout { tape.dropout(first, rate(context)) } else { first };
                    let inner = model.head.inner_width.unwrap_or(model.width);
                    let pooled = dense(tape, context, "pooler", first, inner, model.head.activation.unwrap_or(Activation::Tanh));
                    let pooled = tape.dropout(pooled, rate(context));
                    classifier(tape, context, pooled, inner, classes(context), true)
                }
                Pooling::FirstAsIs | Pooling::MeanAsIs => {
                    let first = looked_at(tape, context, hidden);
                    let first = tape.dropout(first, rate(context));
                    classifier(tape, context, first, model.hidden_width(), classes(context), true)
                }
                Pooling::Last => {
                    let logits = classifier(tape, context, hidden, model.hidden_width(), classes(context), model.head.bias);
                    let picked = tape.indices(2.0 * rows);
                    tape.operation("pick last position", 0.0, &[logits], rows * classes(context), Keeps::These(&[picked]))
                }
            };
            let labels = tape.indices(rows);
            tape.cross_entropy(logits, rows, classes(context), labels);
            soft_targets(tape, context, logits, rows, classes(context));
        }
        HeadKind::TokenClassification => {
            let hidden = tape.dropout(hidden, rate(context));
            let logits = classifier(tape, context, hidden, model.hidden_width(), classes(context), true);
            let labels = tape.indices(tape.tokens());
            tape.cross_entropy(logits, tape.tokens(), classes(context), labels);
            soft_targets(tape, context, logits, tape.tokens(), classes(context));
        }
        HeadKind::QuestionAnswering if model.head.end_after_start => end_after_start(tape, context, hidden),
        HeadKind::QuestionAnswering => {
            let dropped = tape.dropout(hidden, model.head.dropout.unwrap_or_default().value());
            let hidden = match model.head.block_width {
                Some(inner) => block(tape, context, hidden, dropped, inner),
                None => dropped,
            };
            let logits = classifier(tape, context, hidden, model.hidden_width(), 2.0, true);
            for name in ["logits of starts", "logits of ends"] {
                let logits = tape.expand(name, logits, logits.elements / 2.0);
                let labels = tape.indices(context.batch.sequences);
                tape.cross_entropy(logits, context.batch.sequences, context.batch.length, labels);
            }
        }
        HeadKind::Discriminator => {
            let hidden =
                dense(tape, context, "discriminator layer", hidden, model.width, model.head.activation.unwrap_or(Activation::Gelu));
            let logits = classifier(tape, context, hidden, model.width, 1.0, true);
            tape.binary_cross_entropy(logits);
        }
        HeadKind::MaskedLm => {
            let hidden = masked(tape, context, hidden);
            language_model(tape, context, hidden, table, false);
            if let Some(classes) = model.head.sentence_classes {
                let pooled = pool(tape, context, padded);
                let pooled = tape.dropout(pooled, model.head.dropout.unwrap_or_default().value());
                let logits = classifier(tape, context, pooled, model.width, classes as f64, true);
                let labels = tape.indices(context.batch.sequences);
                tape.cross_entropy(logits, context.batch.sequences, classes as f64, labels);
            }
        }
        HeadKind::CausalLm | HeadKind::SequenceToSequence => {
            let hidden = if model.head.scaled { tape.pass("output scale", hidden) } else { hidden };
            language_model(tape, context, hidden, table, shifted);
        }
    }
}

/// Hidden states without the positions that only fill up whole blocks: a copy, unless they are the end of one sequence.
fn cut(tape: &mut Tape, context: &Context<'_>, hidden: Tensor) -> Tensor {
    let elements = tape.tokens() * context.model.hidden_width() as f64;
    let looks_at_first = match context.model.head.kind {
        HeadKind::None | HeadKind::Pooler => true,
        HeadKind::Classification => matches!(context.model.head.pooling, Pooling::First | Pooling::FirstAsIs),
        _ => false,
    };
    if hidden.elements <= elements || looks_at_first {
        hidden
    } else if context.batch.sequences == 1.0 {
        tape.view(hidden, elements / hidden.elements)
    } else {
        tape.expand("cut padding", hidden, elements)
    }
}

/// The transform, where there is one, and the vocabulary projection.
fn language_model(tape: &mut Tape, context: &Context<'_>, hidden: Tensor, table: Option<Tensor>, shifted: bool) {
    let model = context.model;
    let inputs = model.hidden_width();
    if !model.head.transforms() {
        return vocabulary(tape, context, hidden, table, inputs, shifted);
    }
    let narrow = if model.head.widened { inputs } else { model.embedding.width.unwrap_or(model.width) };
    let layer = Layer { name: "head transform", group: LinearComponent::HeadTransform, inputs, outputs: narrow, bias: true };
    let hidden = linear::write(tape, context, layer, hidden);
    let hidden = tape.activate(model.head.activation.unwrap_or(Activation::Gelu), hidden);
    let hidden = tape.layer_norm(hidden, narrow as f64);
    vocabulary(tape, context, hidden, table, narrow, shifted);
}

/// A position-wise network on `x` with its residual to `hidden` and a norm.
fn block(tape: &mut Tape, context: &Context<'_>, hidden: Tensor, x: Tensor, inner: u64) -> Tensor {
    let model = context.model;
    let width = model.hidden_width();
    let layer = |name, inputs, outputs| Layer { name, group: LinearComponent::FeedForward, inputs, outputs, bias: true };
    let x = linear::write(tape, context, layer("first feed-forward layer", width, inner), x);
    let x = tape.activate(model.head.activation.unwrap_or(Activation::Gelu), x);
    let x = linear::write(tape, context, layer("second feed-forward layer", inner, width), x);
    let x = tape.dropout(x, model.dropout.value());
    let sum = tape.add("residual", hidden, x);
    tape.layer_norm(sum, width as f64)
}

/// The rate of dropout of a classification.
fn rate(context: &Context<'_>) -> f64 {
    context.model.head.dropout.unwrap_or(context.model.dropout).value()
}

fn classes(context: &Context<'_>) -> f64 {
    context.model.head.classes.unwrap_or_default() as f64
}

/// One logit of each position for the start of an answer; one for its end, from the position beside the state of the
/// labelled start (Yang et al. 2019, as released). The layer for questions without an answer has no labels here.
fn end_after_start(tape: &mut Tape, context: &Context<'_>, hidden: Tensor) {
    let (rows, length, width) = (context.batch.sequences, context.batch.length, context.model.hidden_width());
    let start = tape.indices(rows);
    let starts = classifier(tape, context, hidden, width, 1.0, true);
    let state = tape.operation("state of the start", 0.0, &[hidden, start], rows * width as f64, Keeps::These(&[start]));
    let beside = tape.operation("join the state of the start", 0.0, &[hidden, state], 2.0 * hidden.elements, Keeps::Nothing);
    let layer = Layer { name: "end layer", group: LinearComponent::Pooler, inputs: 2 * width, outputs: width, bias: true };
    let x = linear::write(tape, context, layer, beside);
    let x = tape.activate(Activation::Tanh, x);
    let x = tape.layer_norm(x, width as f64);
    let ends = classifier(tape, context, x, width, 1.0, true);
    tape.matrix(2.0 * width as f64, width as f64);
    tape.parameter(width as f64);
    tape.matrix(width as f64, 1.0);
    tape.cross_entropy(starts, rows, length, start);
    let end = tape.indices(rows);
    tape.cross_entropy(ends, rows, length, end);
}

/// The position of each sequence that holds its end, one in each; keeps a mask of where that is.
fn end(tape: &mut Tape, context: &Context<'_>, hidden: Tensor) -> Tensor {
    let mask = tape.mask(tape.tokens());
    let elements = context.batch.sequences * context.model.hidden_width() as f64;
    tape.operation("pick end of sequence", 0.0, &[hidden, mask], elements, Keeps::These(&[mask]))
}

/// What a classification looks at: one vector of each sequence.
fn looked_at(tape: &mut Tape, context: &Context<'_>, hidden: Tensor) -> Tensor {
    match context.model.head.pooling {
        Pooling::End => end(tape, context, hidden),
        Pooling::Mean | Pooling::MeanAsIs => {
            let elements = context.batch.sequences * context.model.hidden_width() as f64;
            tape.operation("mean of positions", hidden.elements / elements, &[hidden], elements, Keeps::Nothing)
        }
        Pooling::First | Pooling::FirstAsIs | Pooling::Last => first(tape, context, hidden),
    }
}

/// The first position of each sequence.
fn first(tape: &mut Tape, context: &Context<'_>, hidden: Tensor) -> Tensor {
    tape.view(hidden, context.batch.sequences * context.model.hidden_width() as f64 / hidden.elements)
}

/// The first position of each sequence through a linear layer and tanh (Devlin et al. 2019), or as it is.
fn pool(tape: &mut Tape, context: &Context<'_>, hidden: Tensor) -> Tensor {
    let first = first(tape, context, hidden);
    match context.model.head.pooling {
        Pooling::FirstAsIs => first,
        _ => dense(tape, context, "pooler", first, context.model.width, Activation::Tanh),
    }
}

/// A linear layer and an activation.
fn dense(tape: &mut Tape, context: &Context<'_>, name: &'static str, x: Tensor, outputs: u64, activation: Activation) -> Tensor {
    let layer = Layer { name, group: LinearComponent::Pooler, inputs: context.model.hidden_width(), outputs, bias: true };
    let x = linear::write(tape, context, layer, x);
    tape.activate(activation, x)
}

/// The loss on a teacher's probabilities, where there is one.
fn soft_targets(tape: &mut Tape, context: &Context<'_>, logits: Tensor, positions: f64, classes: f64) {
    if context.model.head.soft_targets {
        tape.soft_targets(logits, positions, classes);
    }
}

/// The last layer of a classification.
fn classifier(tape: &mut Tape, context: &Context<'_>, x: Tensor, width: u64, classes: f64, bias: bool) -> Tensor {
    let width = width as f64;
    // The last layer of a classification is new to a model that is adapted, and trains whatever else is frozen.
    let new = matches!(context.model.head.kind, HeadKind::Classification | HeadKind::TokenClassification | HeadKind::QuestionAnswering);
    let trained = new || context.model.linear.adapter.is_none();
    let weight = tape.with_trained(trained, |tape| {
        let weight = tape.matrix(width, classes);
        if bias {
            tape.parameter(classes);
        }
        weight
    });
    tape.matmul("classifier", x, weight, Shape::product(x.elements / width, classes, width))
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

/// The table of the vocabulary projection beside a matrix of the head's own, together as wide as the model.
fn widened(tape: &mut Tape, context: &Context<'_>, table: Option<Tensor>) -> Tensor {
    let (rows, width) = (context.model.embedding.vocabulary as f64, context.model.hidden_width() as f64);
    let narrow = context.model.embedding.width.map_or(width, |width| width as f64);
    let table = table.unwrap_or_else(|| tape.matrix(rows, narrow));
    let own = tape.matrix(rows, width - narrow);
    tape.operation("widen table", 0.0, &[table, own], rows * width, Keeps::Nothing)
}

/// The vocabulary projection and its cross entropy.
fn vocabulary(tape: &mut Tape, context: &Context<'_>, hidden: Tensor, table: Option<Tensor>, width: u64, shifted: bool) {
    let predicted = context.model.head.positions == HeadPositions::Predicted;
    let hidden = match (predicted, context.batch.sequences) {
        (true, 1.0) => tape.view(hidden, 1.0 - 1.0 / context.batch.length),
        (true, sequences) => tape.expand("gather predicted positions", hidden, hidden.elements - sequences * width as f64),
        (false, _) => hidden,
    };
    tape.split(|tape| predict(tape, context, hidden, table, width, shifted));
}

/// The vocabulary projection of the positions that are predicted, and the loss: tensor parallelism divides the vocabulary.
fn predict(tape: &mut Tape, context: &Context<'_>, hidden: Tensor, table: Option<Tensor>, width: u64, shifted: bool) {
    let model = context.model;
    let classes = model.embedding.vocabulary;
    let predicted = model.head.positions == HeadPositions::Predicted;
    let rows = hidden.elements / width as f64;
    let layer =
        Layer { name: "vocabulary projection", group: LinearComponent::Vocabulary, inputs: width, outputs: classes, bias: model.head.bias };
    let tied = table.filter(|_| model.head.tied && !model.linear.changes(&layer));
    let tied = if model.head.widened { Some(widened(tape, context, tied)) } else { tied };
    let logits = if let Some(table) = tied {
        if model.head.bias {
            tape.parameter(classes as f64);
        }
        let logits = tape.matmul(layer.name, hidden, table, Shape::product(rows, classes as f64, width as f64));
        linear::adapt(tape, context, &layer, hidden, logits)
    } else {
        linear::write(tape, context, layer, hidden)
    };
    let logits = if model.head.soft_cap { tape.soft_cap(logits) } else { logits };
    if model.head.loss == Loss::Mean {
        if !tape.is_inference() {
            tape.operation("mean of logits", 1.0, &[logits], 1.0, Keeps::Nothing);
        }
        return;
    }
    let positions = if shifted && !predicted { rows - context.batch.sequences } else { rows };
    // The next tokens of one sequence are a share of its tokens; those of several are copied side by side.
    let labels = if context.batch.sequences == 1.0 {
        let labels = tape.indices(rows);
        tape.view(labels, positions / rows)
    } else {
        tape.indices(positions)
    };
    if predicted {
        tape.gathered_cross_entropy(logits, positions, classes as f64, labels);
    } else {
        tape.cross_entropy(logits, positions, classes as f64, labels);
    }
    soft_targets(tape, context, logits, positions, classes as f64);
}
