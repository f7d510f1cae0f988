//! Embeddings: token, position and segment tables, summed, normalised, dropped out, widened.

use super::config::{EmbeddingKind, Patches, PositionIds, PositionKind, Positions, Projection, RotaryTables};
use super::{Batch, Context, Model, stack};
use crate::ledger::{Component, Keeps, Shape, Tape, Tensor};

/// The table that turns tokens into vectors, which a tied head uses too, or the matrix that patches pass; none where
/// vectors are read.
pub(super) fn table(tape: &mut Tape, context: &Context<'_>) -> Option<Tensor> {
    tape.component(Component::Embedding);
    let embedding = &context.model.embedding;
    let width = embedding.width.unwrap_or(context.model.width);
    let rows = embedding.patches.as_ref().map_or(embedding.vocabulary, Patches::numbers) as f64;
    let make = |tape: &mut Tape| owned(tape, context, |tape| tape.matrix(rows, width as f64));
    match embedding.kind {
        EmbeddingKind::Vectors => None,
        // Tensor parallelism divides the vocabulary.
        EmbeddingKind::Tokens => Some(tape.split(make)),
        EmbeddingKind::Patches => Some(make(tape)),
    }
}

/// Makes a table, unless another model owns it.
fn owned(tape: &mut Tape, context: &Context<'_>, table: impl FnOnce(&mut Tape) -> Tensor) -> Tensor {
    if context.model.embedding.borrowed { tape.with_borrowed(table) } else { table(tape) }
}

/// The sines and cosines that rotary positions share over all layers.
pub(super) fn rotary_tables(tape: &mut Tape, context: &Context<'_>) -> Option<Tensor> {
    let positions = &context.model.embedding.positions;
    (positions.kind == PositionKind::Rotary && positions.tables == RotaryTables::Step).then(|| computed(tape, context))
}

/// Those that a layer makes or gathers for itself.
pub(super) fn rotary_tables_of_layer(tape: &mut Tape, context: &Context<'_>) -> Option<Tensor> {
    let positions = &context.model.embedding.positions;
    if positions.kind != PositionKind::Rotary {
        return None;
    }
    match positions.tables {
        RotaryTables::Step => None,
        RotaryTables::Computed => Some(computed(tape, context)),
        RotaryTables::Layer => {
            tape.component(Component::Attention);
            let held = tape.buffer(context.batch.length * turned(context));
            Some(tape.expand("rotary rows", held, 2.0 * held.elements))
        }
    }
}

/// Columns of a head that rotary positions turn.
fn turned(context: &Context<'_>) -> f64 {
    let model = context.model;
    model.embedding.positions.width.unwrap_or(context.attention.head_width(model.width)) as f64
}

/// Angles, a product of positions and frequencies, and their sines and cosines.
fn computed(tape: &mut Tape, context: &Context<'_>) -> Tensor {
    tape.component(Component::Attention);
    let (length, half) = (context.batch.length, (turned(context) / 2.0).ceil());
    let (positions, frequencies) = (tape.statistics(length), tape.statistics(half));
    let angles = tape.matmul("rotary angles", positions, frequencies, Shape::product(length, half, 1.0));
    tape.operation("sines and cosines", 4.0, &[angles], 2.0 * length * 2.0 * half, Keeps::Nothing)
}

/// What the model reads: the ids of tokens, or the pixels of images.
pub(super) fn input(tape: &mut Tape, model: &Model, batch: Batch) -> Tensor {
    match &model.embedding.patches {
        Some(patches) => tape.constant(batch.sequences * patches.image_numbers() as f64, batch.element_bytes),
        None => tape.indices(batch.sequences * batch.length),
    }
}

/// Writes the embedding of `ids`, tokens or pixels, into hidden states; without a table, what is read has their width
/// already.
pub(super) fn write(tape: &mut Tape, context: &Context<'_>, table: Option<Tensor>, ids: Tensor) -> Tensor {
    tape.component(Component::Embedding);
    let (model, embedding) = (context.model, &context.model.embedding);
    let mut width = embedding.width.unwrap_or(model.width) as f64;
    let mut x = match (table, &embedding.patches) {
        (Some(table), Some(patches)) => {
            tape.parameter(width);
            let (rows, numbers) = (context.batch.sequences * patches.count() as f64, patches.numbers() as f64);
            tape.matmul("patch projection", ids, table, Shape::product(rows, width, numbers))
        }
        (Some(table), None) => tape.lookup("token lookup", table, ids, width),
        (None, _) => tape.constant(tape.tokens() * width, context.batch.element_bytes),
    };
    if embedding.scaled {
        let scale = tape.statistics(1.0);
        x = tape.operation("scale tokens", 1.0, &[x], x.elements, Keeps::These(&[scale]));
    }
    if embedding.projection == Projection::Tokens {
        let beside = if embedding.trigrams { 3.0 } else { 1.0 };
        x = if embedding.trigrams { tape.operation("neighbours", 0.0, &[x], beside * x.elements, Keeps::Nothing) } else { x };
        x = project(tape, context, x, beside * width);
        width = model.width as f64;
    }
    if embedding.segments > 0 {
        let segments = owned(tape, context, |tape| tape.parameter(embedding.segments as f64 * width));
        // Fixed numbers are copied where sequences are filled up.
        let usual = if context.padding > 0.0 { PositionIds::Own } else { PositionIds::Fixed };
        let ids = row_ids(tape, context, embedding.segment_ids.unwrap_or(usual), tape.tokens());
        let rows = tape.lookup("segment lookup", segments, ids, width);
        x = tape.add("segment sum", x, rows);
    }
    if embedding.class_token {
        let token = tape.parameter(width);
        x = tape.operation("class token", 0.0, &[x, token], tape.tokens() * width, Keeps::Nothing);
    }
    if !embedding.positions.wide {
        x = with_positions(tape, context, x, width);
    }
    if embedding.norm {
        x = stack::norm(tape, context, x);
    }
    let projected = embedding.projected.unwrap_or(width as u64 != model.width);
    let early = embedding.projection == Projection::Normalised;
    if projected && early {
        x = project(tape, context, x, width);
    }
    x = tape.dropout(x, embedding.dropout.unwrap_or(model.dropout).value());
    if projected && !early {
        x = project(tape, context, x, width);
    }
    if embedding.positions.wide { with_positions(tape, context, x, model.width as f64) } else { x }
}

/// The map from narrow tables to the model's width (Lan et al. 2020, section 3.1).
fn project(tape: &mut Tape, context: &Context<'_>, x: Tensor, inputs: f64) -> Tensor {
    let outputs = context.model.width as f64;
    let weight = tape.matrix(inputs, outputs);
    if context.model.embedding.projection_bias {
        tape.parameter(outputs);
    }
    tape.matmul("embedding projection", x, weight, Shape::product(tape.tokens(), outputs, inputs))
}

/// Adds the positions that have vectors.
fn with_positions(tape: &mut Tape, context: &Context<'_>, x: Tensor, width: f64) -> Tensor {
    let positions = &context.model.embedding.positions;
    match positions.kind {
        PositionKind::Learned => {
            let table = owned(tape, context, |tape| tape.matrix(positions.length.unwrap_or_default() as f64, width));
            // Each sequence has its own dropout, so its own copy of the rows.
            let own = positions.dropout.value() > 0.0 || positions.row_ids() == PositionIds::Own;
            let rows = if own { tape.tokens() } else { context.batch.length };
            let ids = row_ids(tape, context, positions.row_ids(), rows);
            let rows = tape.lookup("position lookup", table, ids, width);
            let rows = tape.dropout(rows, positions.dropout.value());
            tape.add("position sum", x, rows)
        }
        PositionKind::Axial => {
            let rows = axial(tape, context, positions, width);
            tape.add("position sum", x, rows)
        }
        PositionKind::Sinusoidal => tape.pass("position sum", x),
        PositionKind::RelativeKey | PositionKind::RelativeKeyQuery | PositionKind::None => {
            if positions.idle_table {
                owned(tape, context, |tape| tape.matrix(positions.length.unwrap_or_default() as f64, width));
            }
            x
        }
        PositionKind::Rotary | PositionKind::RelativeBias | PositionKind::Alibi => x,
    }
}

/// The numbers of the rows that a table is looked up by; fixed ones take no memory of a step.
fn row_ids(tape: &mut Tape, context: &Context<'_>, ids: PositionIds, rows: f64) -> Tensor {
    let ids = match ids {
        PositionIds::Fixed => tape.constant(rows, 0.0),
        PositionIds::Shared => tape.indices(context.batch.length),
        PositionIds::Own => tape.indices(rows),
    };
    tape.view(ids, rows / ids.elements)
}

/// Axial positions: a table for each axis, every row repeated along the other axes, side by side or summed. Dropout takes
/// whole rows of all axes but the first, so that its mask has one number for each.
fn axial(tape: &mut Tape, context: &Context<'_>, positions: &Positions, width: f64) -> Tensor {
    let columns = |axis: usize| positions.widths.get(axis).map_or(width, |columns| *columns as f64);
    let tables: Vec<Tensor> = positions.shape.iter().enumerate().map(|(axis, rows)| tape.matrix(*rows as f64, columns(axis))).collect();
    let rows = tape.operation("axial positions", 0.0, &tables, tape.tokens() * width, Keeps::Nothing);
    if positions.dropout.value() == 0.0 {
        return rows;
    }
    let others: u64 = positions.shape.iter().skip(1).product();
    let mask = tape.constant(context.batch.sequences * others as f64, context.batch.element_bytes);
    tape.operation("dropout of axial positions", 1.0, &[rows], rows.elements, Keeps::These(&[mask]))
}
