//! Attention of Funnel-Transformer: scores of contents, of distances and of segments (Dai et al. 2020, arXiv 2006.03236,
//! Hugging Face's `FunnelModel`), for m queries and n keys that differ where a group of layers pools its queries alone.
//! Sines and cosines of distances have no gradient.
//!
//! Products, forward, per sequence and layer: 2 m d^2 for queries and out, 4 n d^2 for keys and values, 2 m n d for the scores of
//! contents and for the values each, 4 m d for those of segments, and those of distances:
//!
//! - relative shift (A.2.1): 2 t d^2 once for all sequences, and 2 m t d for t distances, 2 n of them, or 2 m + n where queries
//!   alone are pooled; the projection of distances has one product backward;
//! - factorised (A.2.2): 2 m d^2 for queries through a matrix of each head, and 4 m n h d for two products with tables of d
//!   columns, each with one product backward.
//!
//! Kept: queries with each of three biases, keys, values, projected distances, the tables, the masks of segments and of a first
//! position that stands apart, the weights. All layers between two poolings have the same tables and masks; those that pooling
//! takes from lie in a copy with the first position twice, or where they lay.

use serde::{Deserialize, Serialize};

use super::super::linear::{self, Layer};
use super::transformer_xl::{distances, vector, weighted_values};
use super::{Abilities, Context, Inputs, Mechanism, project, projection};
use crate::ledger::{Keeps, Shape, Tape, Tensor};

/// Settings of Funnel-Transformer's attention.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// relative_shift or factorised.
    #[serde(default)]
    pub distances: Distances,
    /// Whether scores of two segments, the same or another, are added.
    #[serde(default = "yes")]
    pub segments: bool,
    /// Whether scores of distances and segments leave the first position out.
    #[serde(default)]
    pub first_apart: bool,
}

/// How the scores of distances are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Distances {
    /// From every distance, shifted to its place.
    #[default]
    RelativeShift,
    /// From sines and cosines of the queries' positions and of the keys', apart.
    Factorised,
}

fn yes() -> bool {
    true
}

impl Mechanism for Settings {
    fn abilities(&self) -> Abilities {
        Abilities { pooled_queries: true, ..Abilities::default() }
    }

    fn shared(&self, tape: &mut Tape, context: &Context<'_>, before: &[Tensor]) -> Vec<Tensor> {
        if context.pooled.is_none() && !before.is_empty() {
            return before.to_vec();
        }
        let (queries, keys, sequences) = (context.batch.length, context.keys(), context.batch.sequences);
        let mut made = match self.distances {
            Distances::RelativeShift => {
                let stride = context.pooled.filter(|_| context.pools_queries()).map_or(1.0, |pooled| pooled.by.stride as f64);
                vec![distances(tape, context, stride * queries + keys)]
            }
            Distances::Factorised => (0..4).map(|part| factor(tape, context, part, before.get(part).copied())).collect(),
        };
        if self.segments {
            let before = before.get(made.len()).copied();
            made.push(square(context, tape, before, sequences * queries * keys, |tape, cells| tape.mask(sequences * cells)));
        }
        if self.first_apart {
            let before = before.get(made.len()).copied();
            let bytes = context.batch.element_bytes;
            made.push(square(context, tape, before, queries * keys, |tape, cells| tape.constant(cells, bytes)));
        }
        made
    }

    fn write(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs<'_>) -> Tensor {
        let attention = context.attention;
        let own = Layer { bias: false, ..projection(context, "query projection", attention.heads) };
        let query = linear::write(tape, context, own, inputs.x);
        let key = project(tape, context, "key projection", attention.heads, inputs.memory);
        let value = project(tape, context, "value projection", attention.heads, inputs.memory);
        let query = if attention.scaled { tape.pass("scale", query) } else { query };
        let biased = |tape: &mut Tape, name| {
            let bias = vector(tape, context);
            tape.add(name, query, bias)
        };
        let (sequences, heads) = (context.batch.sequences, attention.heads as f64);
        let (m, n) = (context.batch.length, context.keys());
        let shape = Shape { batch: sequences * heads, m, n, k: attention.head_width(context.model.width) as f64 };
        let content_query = biased(tape, "query and bias of contents");
        let content = tape.matmul("content scores", content_query, key, shape);
        let distance_query = biased(tape, "query and bias of distances");
        let (tables, rest) = inputs.shared.split_at(match self.distances {
            Distances::RelativeShift => inputs.shared.len().min(1),
            Distances::Factorised => inputs.shared.len().min(4),
        });
        let first = if self.first_apart { rest.last().copied() } else { None };
        let apart = |tape: &mut Tape, scores| match first {
            Some(first) => tape.multiply("leave out first position", scores, first),
            None => scores,
        };
        let position = match tables {
            [phi, pi, psi, omega] => factorised(tape, context, shape, distance_query, [[*phi, *psi], [*pi, *omega]]),
            tables => shifted(tape, context, shape, distance_query, tables),
        };
        let position = apart(tape, position);
        let mut scores = tape.add("scores of contents and distances", content, position);
        if let (true, Some(segments)) = (self.segments, rest.first().copied()) {
            let segment_query = biased(tape, "query and bias of segments");
            let vectors = tape.parameter(2.0 * heads * shape.k);
            let both = Shape { batch: heads, m: sequences * m, n: 2.0, k: shape.k };
            let both = tape.matmul("segment scores", segment_query, vectors, both);
            let picked = tape.operation("pick segment score", 1.0, &[both, segments], scores.elements, Keeps::These(&[segments]));
            let picked = apart(tape, picked);
            scores = tape.add("scores with those of segments", scores, picked);
        }
        weighted_values(tape, context, scores, value, shape)
    }
}

/// Scores of all distances, of which each query takes those to the keys.
fn shifted(tape: &mut Tape, context: &Context<'_>, shape: Shape, query: Tensor, tables: &[Tensor]) -> Tensor {
    let heads = context.attention.heads as f64;
    let table = match tables {
        [table, ..] => *table,
        [] => distances(tape, context, shape.m + shape.n),
    };
    let layer = Layer { bias: false, ..projection(context, "distance projection", context.attention.heads) };
    let rows = linear::write(tape, context, layer, table);
    let by_head = Shape { batch: heads, m: context.batch.sequences * shape.m, n: table.elements / context.model.width as f64, k: shape.k };
    let scores = tape.matmul("distance scores", query, rows, by_head);
    tape.view(scores, shape.n / by_head.n)
}

/// Scores of distances from sines and cosines of the queries' positions and of the keys', two products.
fn factorised(tape: &mut Tape, context: &Context<'_>, shape: Shape, query: Tensor, pairs: [[Tensor; 2]; 2]) -> Tensor {
    let (heads, width) = (context.attention.heads as f64, context.model.width as f64);
    let rows = context.batch.sequences * shape.m;
    let matrix = tape.matrix(width, heads * shape.k);
    let turned = Shape { batch: heads, m: rows, n: width, k: shape.k };
    let turned = tape.matmul("query through distance projection", query, matrix, turned);
    let [left, right] = pairs.map(|[of_query, of_key]| {
        let turned = tape.multiply("query by its position", turned, of_query);
        tape.matmul("distance scores", turned, of_key, Shape::product(rows * heads, shape.n, width))
    });
    tape.add("sum of distance scores", left, right)
}

/// One of the four tables of sines and cosines: two by which queries are multiplied, dropped out, and two of the keys.
fn factor(tape: &mut Tape, context: &Context<'_>, part: usize, before: Option<Tensor>) -> Tensor {
    let of_queries = part < 2;
    let rows = if of_queries { context.batch.length } else { context.keys() };
    let width = context.model.width as f64;
    match (context.pooled, before) {
        (Some(pooled), Some(before)) => {
            let touched = if of_queries { pooled.queries } else { pooled.keys };
            let copied = touched && pooled.by.first_apart;
            let whole = if copied { tape.expand("pool table", before, (pooled.from + 1.0) * width) } else { before };
            tape.view(whole, rows * width / whole.elements)
        }
        _ if of_queries => distances(tape, context, rows),
        _ => tape.constant(rows * width, context.batch.element_bytes),
    }
}

/// A mask of `elements` for pairs of queries and keys, which `new` makes of as many cells as it lies in: with a first
/// position apart, pooling copies it beside the others before it picks; else it picks where the mask lay.
fn square(
    context: &Context<'_>,
    tape: &mut Tape,
    before: Option<Tensor>,
    elements: f64,
    new: impl FnOnce(&mut Tape, f64) -> Tensor,
) -> Tensor {
    let (queries, keys) = (context.batch.length, context.keys());
    let whole = match (context.pooled, before) {
        (Some(pooled), _) if pooled.by.first_apart => {
            let cells = if pooled.keys { queries * (pooled.from + 1.0) } else { (pooled.from + 1.0) * keys };
            new(tape, cells)
        }
        (Some(_), Some(before)) => before,
        _ => new(tape, queries * keys),
    };
    tape.view(whole, elements / whole.elements)
}
