//! Reformer attention: queries that are their own keys, sorted by a hash that likely puts near ones together, cut into
//! chunks of c positions that see themselves and their neighbours; or the same chunks without hash and sort, each with
//! its own queries, keys and values (Kitaev et al. 2020, arXiv 2001.04451, sections 2 and 3). The released code and
//! Hugging Face's `ReformerModel` take the two in turn, which groups of layers say here.
//!
//! Products, forward, per sequence and layer: 2 n h d_h r b / 2 for the hash of r rounds into b buckets (Andoni et al.
//! 2015), and, for r rounds of chunks that see w chunks, 2 r n w c h d_h for the scores, as many for the values. They
//! fall on n <= c positions to full attention. The variant of Long Range Arena (Tay et al. 2021, released code) has a
//! number of chunks whatever the length, so that its products stay quadratic, and no output projection.
//!
//! Kept for backward, beside inputs of products: what each gather picked from and its indices, the scores and their
//! log-sum-exp, the weights. Reversible layers (`encoder.reversible`) make these again, but not the buckets, which they
//! remember from the forward pass, so that the hash runs once.

use serde::{Deserialize, Serialize};

use super::super::config::Model;
use super::super::validate::check_size;
use super::{Abilities, Attention, Context, Inputs, Mechanism, project, rotary};
use crate::document::Problem;
use crate::ledger::{Keeps, Shape, Tape, Tensor};

/// Whether positions are sorted before they are cut into chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReformerKind {
    /// By a locality-sensitive hash; queries are keys.
    #[default]
    Lsh,
    /// Not: chunks of neighbours.
    Local,
}

/// Settings of Reformer attention.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// lsh or local.
    #[serde(default)]
    pub kind: ReformerKind,
    /// Positions of a chunk, c; 64 where neither this nor `chunks` is said.
    #[serde(default)]
    pub chunk_length: Option<u64>,
    /// Chunks of a hash round whatever the length, instead of a chunk length (Long Range Arena: 10).
    #[serde(default)]
    pub chunks: Option<u64>,
    /// Chunks before its own that a chunk sees.
    #[serde(default = "one")]
    pub chunks_before: u64,
    /// Chunks after its own that a chunk sees.
    #[serde(default)]
    pub chunks_after: u64,
    /// Hash rounds, r, each of which attends anew.
    #[serde(default = "one")]
    pub hashes: u64,
    /// Buckets as factors: `[64]` are 64 buckets, `[32, 64]` 2,048 from two hashes. Where not said, the power of two next
    /// below two for each chunk, in two factors from twice the chunk length on.
    #[serde(default)]
    pub buckets: Vec<u64>,
    /// Whether the sort is undone by sorting again, not by scattering (Long Range Arena, whose device sorts faster).
    #[serde(default)]
    pub undo_by_sort: bool,
    /// Whether the output projection follows (Long Range Arena: not).
    #[serde(default = "yes")]
    pub output_projection: bool,
}

fn one() -> u64 {
    1
}

fn yes() -> bool {
    true
}

/// Chunks of a chunk length where neither is said: the default of the released configurations.
const CHUNK_LENGTH: u64 = 64;

impl Settings {
    /// Positions of a chunk in a sequence of `length`.
    fn chunk(&self, length: u64) -> u64 {
        match self.chunks {
            Some(chunks) => length.div_ceil(chunks),
            None => self.chunk_length.unwrap_or(CHUNK_LENGTH),
        }
    }

    /// Columns of the rotations of one hash round: half of each factor, for the other half is their negative.
    fn rotations(&self, model: &Model, length: u64) -> u64 {
        if !self.buckets.is_empty() {
            return self.buckets.iter().map(|buckets| buckets / 2).sum();
        }
        let chunk = self.chunk(length).max(1);
        let power = (2 * (length / chunk).max(1)).ilog2();
        let positions = &model.embedding.positions;
        let longest = if positions.shape.is_empty() { positions.length.unwrap_or(length) } else { positions.shape.iter().product() };
        let limit = 2 * (longest / chunk).isqrt().max(chunk);
        if 1 << power <= limit { 1 << (power - 1) } else { ((1 << (power / 2)) + (1 << (power - power / 2))) / 2 }
    }

    /// The buckets of every position and round, hashed without a gradient and remembered where layers are reversible.
    fn hash(&self, tape: &mut Tape, context: &Context<'_>, query: Tensor, head_width: f64) -> Tensor {
        let heads = context.attention.heads as f64;
        let columns = (self.hashes * self.rotations(context.model, context.batch.length as u64)) as f64;
        tape.once(|tape| {
            let query = tape.detached(query);
            let rotations = tape.constant(heads * head_width * columns, context.batch.element_bytes);
            let shape = Shape { batch: heads, m: tape.tokens(), n: columns, k: head_width };
            let rotated = tape.matmul("hash rotations", query, rotations, shape);
            tape.operation("hash buckets", 2.0 * columns / self.hashes as f64, &[rotated], self.rows(tape, heads), Keeps::Nothing)
        })
    }

    /// Positions of all sequences, heads and rounds.
    fn rows(&self, tape: &Tape, heads: f64) -> f64 {
        tape.tokens() * heads * self.hashes as f64
    }
}

impl Mechanism for Settings {
    fn abilities(&self) -> Abilities {
        Abilities { causal: true, rotary: true, ..Abilities::default() }
    }

    fn check(&self, _model: &Model, _attention: &Attention) -> Result<(), Problem> {
        if self.chunks.is_some() && self.chunk_length.is_some() {
            return Err(Problem::new("reformer.chunks", "chunks beside a chunk_length", "one of the two"));
        }
        check_size("reformer.chunk_length", self.chunk_length.unwrap_or(1))?;
        check_size("reformer.chunks", self.chunks.unwrap_or(1))?;
        check_size("reformer.hashes", self.hashes)?;
        for (key, chunks) in [("reformer.chunks_before", self.chunks_before), ("reformer.chunks_after", self.chunks_after)] {
            check_size(key, chunks.saturating_add(1))?;
        }
        for buckets in &self.buckets {
            check_size("reformer.buckets", *buckets)?;
            if !buckets.is_multiple_of(2) {
                return Err(Problem::new("reformer.buckets", buckets.to_string(), "even numbers: a hash and its negative are two buckets"));
            }
        }
        Ok(())
    }

    fn note(&self, length: u64) -> Option<String> {
        (self.chunk(length) >= length).then(|| format!("Reformer saves nothing at {length} positions: one chunk holds them"))
    }

    fn projects_out(&self) -> bool {
        self.output_projection
    }

    fn write(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
        match self.kind {
            ReformerKind::Lsh => self.hashed(tape, context, inputs),
            ReformerKind::Local => self.local(tape, context, inputs),
        }
    }
}

/// The chunks of all sequences, heads and rounds.
#[derive(Clone, Copy)]
struct Chunks {
    /// How many there are.
    count: f64,
    /// Positions of one.
    length: f64,
    /// Chunks that one sees, its own among them.
    seen: f64,
    head_width: f64,
}

impl Settings {
    /// The chunks of a sequence, or none if one holds it.
    fn cut(&self, context: &Context<'_>) -> Option<Chunks> {
        let length = context.batch.length as u64;
        let chunk = self.chunk(length);
        let rounds = if self.kind == ReformerKind::Lsh { self.hashes } else { 1 };
        let sequences = context.batch.sequences * context.attention.heads as f64;
        (chunk < length).then(|| Chunks {
            count: sequences * (rounds * length.div_ceil(chunk)) as f64,
            length: chunk as f64,
            seen: (1 + self.chunks_before + self.chunks_after) as f64,
            head_width: context.attention.head_width(context.model.width) as f64,
        })
    }

    fn whole(context: &Context<'_>) -> Chunks {
        Chunks {
            count: context.batch.sequences * context.attention.heads as f64,
            length: context.batch.length,
            seen: 1.0,
            head_width: context.attention.head_width(context.model.width) as f64,
        }
    }

    /// Hashed, sorted and chunked attention with queries as keys; each position's own key is masked.
    fn hashed(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
        let heads = context.attention.heads;
        let mut query = project(tape, context, "query-key projection", heads, inputs.x);
        let mut value = project(tape, context, "value projection", heads, inputs.x);
        let cut = self.cut(context);
        let chunks = cut.unwrap_or_else(|| Self::whole(context));
        let buckets = cut.map(|_| self.hash(tape, context, query, chunks.head_width));
        // Rotary positions turn queries after the hash (reformer-pytorch).
        if let Some(tables) = rotary(context, inputs) {
            query = tape.rotate(query, tables);
        }
        let positions = context.batch.length * self.hashes as f64;
        let mut order = None;
        if let Some(buckets) = buckets {
            let rows = self.rows(tape, heads as f64);
            let order_of_rows = tape.sort("sort by bucket", buckets, positions);
            let mut gather = |x: Tensor| {
                let repeated = tape.expand("repeat for hash rounds", x, rows * chunks.head_width);
                let padded = chunks.count * chunks.length * chunks.head_width;
                tape.gather_elements("gather by bucket", repeated, order_of_rows, padded)
            };
            query = gather(query);
            value = gather(value);
            let undo = |tape: &mut Tape| match self.undo_by_sort {
                true => tape.sort("sort the order", order_of_rows, positions),
                false => tape.permute("undo the order", order_of_rows, order_of_rows, rows),
            };
            order = Some(undo(tape));
        }
        // Keys of length one: x / sqrt(mean(x^2)), over sqrt(d_h).
        let lengths = tape.operation("key length", 2.0, &[query], query.elements / chunks.head_width, Keeps::OutputAnd(&[query]));
        let key = tape.multiply("normalise keys", query, lengths);
        let key = tape.pass("scale keys", key);
        let masks = if inputs.causal { &["causal mask", "mask of the position itself"][..] } else { &["mask of the position itself"] };
        let (out, logits) = attend(tape, context, [query, key, value], chunks, masks);
        let Some(order) = order else { return out };
        let rows = tape.tokens() * context.attention.heads as f64;
        let out = tape.permute("undo the sort", out, order, self.hashes as f64 * rows * chunks.head_width);
        if self.undo_by_sort {
            // Sums of exponentials are put back by a sort of their own, and so are their gradients.
            let sums = tape.detached(logits);
            tape.sort("sort the sums", sums, positions);
            tape.sort("sort the gradients of sums", sums, positions);
        }
        if self.hashes == 1 {
            return out;
        }
        // Rounds are weighted by their share of the sum of exponentials (equation 7).
        let logits = tape.permute("undo the sort", logits, order, self.hashes as f64 * rows);
        let total = tape.operation("log-sum-exp of rounds", 2.0, &[logits], rows, Keeps::OutputAnd(&[logits]));
        let share = tape.operation("weight of a round", 2.0, &[logits, total], logits.elements, Keeps::Output);
        let weighted = tape.multiply("weigh rounds", out, share);
        tape.expand("sum rounds", weighted, rows * chunks.head_width)
    }

    /// Chunked attention of neighbours with queries, keys and values of their own.
    fn local(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
        let heads = context.attention.heads;
        let mut query = project(tape, context, "query projection", heads, inputs.x);
        let mut key = project(tape, context, "key projection", heads, inputs.x);
        let value = project(tape, context, "value projection", heads, inputs.x);
        if let Some(tables) = rotary(context, inputs) {
            (query, key) = (tape.rotate(query, tables), tape.rotate(key, tables));
        }
        let key = tape.pass("scale keys", key);
        let chunks = self.cut(context).unwrap_or_else(|| Self::whole(context));
        let masks = if inputs.causal { &["causal mask"][..] } else { &[] };
        let (out, _) = attend(tape, context, [query, key, value], chunks, masks);
        out
    }
}

/// Attention of each chunk to those it sees; its output and the log-sum-exp of its scores.
fn attend(tape: &mut Tape, context: &Context<'_>, heads: [Tensor; 3], chunks: Chunks, masks: &[&'static str]) -> (Tensor, Tensor) {
    let [query, mut key, mut value] = heads;
    if chunks.seen > 1.0 {
        let elements = chunks.count * chunks.length * chunks.seen * chunks.head_width;
        key = tape.expand("join adjacent chunks", key, elements);
        value = tape.expand("join adjacent chunks", value, elements);
    }
    let scores = Shape { batch: chunks.count, m: chunks.length, n: chunks.seen * chunks.length, k: chunks.head_width };
    let mut dots = tape.matmul("scores", query, key, scores);
    for name in masks {
        let mask = tape.mask(dots.elements);
        dots = tape.masked_fill(name, dots, mask);
    }
    let logits = tape.operation("log-sum-exp", 2.0 * scores.n, &[dots], dots.elements / scores.n, Keeps::OutputAnd(&[dots]));
    let weights = tape.operation("exponential", 2.0, &[dots, logits], dots.elements, Keeps::Output);
    let weights = tape.dropout(weights, context.attention_dropout());
    let out = tape.matmul("weighted values", weights, value, Shape { n: scores.k, k: scores.n, ..scores });
    (out, logits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(buckets: &[u64], chunks: Option<u64>) -> Settings {
        Settings {
            kind: ReformerKind::Lsh,
            chunk_length: None,
            chunks,
            chunks_before: 1,
            chunks_after: 0,
            hashes: 1,
            buckets: buckets.to_vec(),
            undo_by_sort: false,
            output_projection: true,
        }
    }

    #[test]
    fn a_chunk_has_a_length_or_a_share_of_the_sequence() {
        assert_eq!(settings(&[], None).chunk(4096), 64);
        assert_eq!(settings(&[], Some(10)).chunk(4096), 410);
        assert_eq!(settings(&[], Some(10)).chunk(4000), 400);
    }
}
