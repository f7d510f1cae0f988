//! Longformer attention: a band of w positions, w / 2 on either side, and global tokens that see all and that all see,
//! with projections of their own (Beltagy et al. 2020, arXiv 2004.05150, section 3.1).
//!
//! Products, forward, per sequence and layer, v = w / 2 and g global tokens, by what is computed:
//!
//! - `chunks`, as Hugging Face's `LongformerSelfAttention`: the whole model runs on n padded to a multiple of w.
//!   2 (n / v - 1) (2v)^2 h d_h for scores of overlapping chunks of 2v positions, of which half are thrown away, and
//!   6 n v h d_h for the values. Global tokens: 2 n g h d_h for their scores as keys, as many
//!   for their values, and as many twice for them as queries; 2 (2 n + g) d h d_h for their projections.
//! - `pattern`: 4 p h d_h for the p pairs of the band, as a kernel written for it, and the same for global tokens.
//! - `square`, as released with Long Range Arena (Tay et al. 2021): both attentions over all pairs, with all six
//!   projections over all positions, and masks.
//!
//! Parameters: three projections more than softmax attention, whether there are global tokens or not.
//!
//! Kept by `chunks`: overlapping copies of queries and keys (twice each) and of values (three times), the weights of
//! the band and their copy as rows of chunks, masks. With more than one sequence, positions are laid out first, and each
//! projection keeps a copy of its own.

use serde::{Deserialize, Serialize};

use super::super::config::Model;
use super::super::validate::check_size;
use super::blocks::attend;
use super::{Abilities, Attention, Context, Inputs, Mechanism, declare, project, sliding_window};
use crate::document::Problem;
use crate::ledger::{Keeps, Shape, Tape, Tensor};

/// What is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LongformerComputes {
    /// Chunks that overlap by half (Hugging Face).
    #[default]
    Chunks,
    /// The pairs of the pattern alone, as a kernel that is written for it.
    Pattern,
    /// Every pair, under masks (Long Range Arena).
    Square,
}

/// Settings of Longformer attention.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Positions of the band on both sides together, w.
    pub window: u64,
    /// Tokens of each sequence that see all and that all see, g.
    #[serde(default)]
    pub global_tokens: u64,
    /// chunks, pattern or square.
    #[serde(default)]
    pub computes: LongformerComputes,
}

impl Mechanism for Settings {
    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    fn check(&self, _model: &Model, _attention: &Attention) -> Result<(), Problem> {
        check_size("longformer.window", self.window)?;
        check_size("longformer.global_tokens", self.global_tokens.saturating_add(1))?;
        if self.window.is_multiple_of(2) {
            Ok(())
        } else {
            Err(Problem::new("longformer.window", self.window.to_string(), "an even number: as many positions on either side"))
        }
    }

    fn padded_length(&self, length: u64) -> u64 {
        if self.computes == LongformerComputes::Chunks { length.next_multiple_of(self.window) } else { length }
    }

    fn partial(&self) -> bool {
        true
    }

    fn note(&self, length: u64) -> Option<String> {
        let padded = self.padded_length(length);
        match self.computes {
            LongformerComputes::Square => Some("Longformer computes all pairs twice and masks them".to_string()),
            _ => (padded > length).then(|| format!("Longformer fills up {length} positions to {padded}")),
        }
    }

    /// Which positions are padding, for all layers.
    fn shared(&self, tape: &mut Tape, _context: &Context<'_>, _before: &[Tensor]) -> Vec<Tensor> {
        let tokens = tape.tokens();
        (self.computes == LongformerComputes::Chunks).then(|| tape.mask(tokens)).into_iter().collect()
    }

    fn write(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
        let sizes = Sizes::new(self, context);
        match self.computes {
            LongformerComputes::Chunks => self.chunks(tape, context, inputs, &sizes),
            LongformerComputes::Pattern => self.pattern(tape, context, inputs, &sizes),
            LongformerComputes::Square => square(tape, context, inputs, &sizes),
        }
    }
}

/// The sizes of one layer.
struct Sizes {
    sequences: f64,
    length: f64,
    /// Heads of all sequences.
    heads: f64,
    head_width: f64,
    /// Half of the window, v.
    side: f64,
    /// Global tokens of a sequence that is long enough for them.
    global: f64,
}

impl Sizes {
    fn new(settings: &Settings, context: &Context<'_>) -> Self {
        let sequences = context.batch.sequences;
        Self {
            sequences,
            length: context.batch.length,
            heads: sequences * context.attention.heads as f64,
            head_width: context.attention.head_width(context.model.width) as f64,
            side: settings.window as f64 / 2.0,
            global: (settings.global_tokens as f64).min(context.batch.length),
        }
    }

    /// Queries by keys.
    fn scores(&self, queries: f64, keys: f64) -> Shape {
        Shape { batch: self.heads, m: queries, n: keys, k: self.head_width }
    }

    /// Weights by values.
    fn values(&self, queries: f64, keys: f64) -> Shape {
        Shape { batch: self.heads, m: queries, n: self.head_width, k: keys }
    }
}

/// The projections of global attention.
const GLOBAL: [&str; 3] = ["global query projection", "global key projection", "global value projection"];

impl Settings {
    /// Overlapping chunks, as in Hugging Face's `_sliding_chunks_query_key_matmul` and its counterpart for values.
    fn chunks(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs, sizes: &Sizes) -> Tensor {
        let Sizes { sequences, length, heads, head_width, side, global } = *sizes;
        let query = apart(tape, context, "query projection", inputs.x);
        let key = apart(tape, context, "key projection", inputs.x);
        let value = apart(tape, context, "value projection", inputs.x);
        let query = tape.pass("scale", query);
        let chunks = length / side - 1.0;
        let overlap = |tape: &mut Tape, x: Tensor| {
            if chunks > 1.0 { tape.expand("overlapping chunks", x, x.elements * 2.0 * side * chunks / length) } else { x }
        };
        let (query_chunks, key_chunks) = (overlap(tape, query), overlap(tape, key));
        let of_chunks = Shape { batch: heads * chunks, m: 2.0 * side, n: 2.0 * side, k: head_width };
        let scores = tape.matmul("scores", query_chunks, key_chunks, of_chunks);
        let band = 2.0 * side + 1.0;
        let scores = diagonals(tape, scores, chunks * band * 2.0 * side * heads, heads * length * band);
        let ends = tape.mask(2.0 * sequences * side * (side + 1.0) * context.attention.heads as f64);
        let scores = tape.masked_fill("mask beyond the ends", scores, ends);
        // The mask of padding takes the same way as the scores: as products of ones with it in one head of width 1.
        let padding = tape.constant(sequences * length, 4.0);
        let mask = tape.expand("mask of padding in chunks", padding, sequences * chunks * 4.0 * side * side);
        let mask = diagonals(tape, mask, chunks * band * 2.0 * side * sequences, sequences * length * band);
        let mut scores = tape.add("mask of padding", scores, mask);
        let tokens = (global > 0.0).then(|| {
            // Which positions are global, and which places of a batch with unequal numbers hold one.
            let places = tape.constant(4.0 * sequences * global, 8.0);
            (global_tokens(tape, key, places, sizes), global_tokens(tape, value, places, sizes))
        });
        if let Some((key, _)) = tokens {
            let to_global = tape.matmul("scores of global tokens", query, key, sizes.scores(length, global));
            let all = scores.elements + to_global.elements;
            scores = tape.operation("join scores", 1.0, &[scores, to_global], all, Keeps::Nothing);
        }
        let weights = tape.softmax(scores);
        let padding = inputs.shared.first().copied().unwrap_or_else(|| tape.mask(sequences * length));
        let weights = tape.masked_fill("mask of padding", weights, padding);
        let weights = tape.dropout(weights, context.attention_dropout());
        let of_band = if global > 0.0 { tape.expand("part of the band", weights, heads * length * band) } else { weights };
        let rows = tape.expand("chunks of weights", of_band, of_band.elements);
        // A row of v weights moves one place to the right from the one before: v + 1 zeros behind each.
        let rows = tape.expand("diagonals of weights", rows, heads * length * (band + side + 1.0));
        let value_rows = tape.expand("pad ends", value, value.elements * (length + 2.0 * side) / length);
        let value_chunks = tape.expand("overlapping chunks", value_rows, 3.0 * value.elements);
        let of_values = Shape { batch: heads * length / side, m: side, n: head_width, k: 3.0 * side };
        let mut out = tape.matmul("weighted values", rows, value_chunks, of_values);
        if let Some((_, value)) = tokens {
            let weights = tape.expand("part of global tokens", weights, heads * length * global);
            let value = tape.pass("lay out heads", value);
            let of_global = tape.matmul("weighted values of global tokens", weights, value, sizes.values(length, global));
            out = tape.add("sum of band and global tokens", of_global, out);
        }
        let out = tape.pass("lay out positions", out);
        self.global_queries(tape, context, inputs, sizes, out)
    }

    /// What global tokens see: everything, with queries, keys and values of their own, which replaces their band.
    fn global_queries(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs, sizes: &Sizes, out: Tensor) -> Tensor {
        if sizes.global == 0.0 {
            GLOBAL.iter().for_each(|name| declare(tape, context, name));
            return out;
        }
        let tokens = tape.expand("gather global tokens", inputs.x, inputs.x.elements * sizes.global / sizes.length);
        let [query, key, value] = GLOBAL;
        let query = project(tape, context, query, context.attention.heads, tokens);
        let query = tape.pass("scale", query);
        let in_chunks = self.computes == LongformerComputes::Chunks;
        let [key, value] = [key, value].map(|name| {
            if in_chunks { apart(tape, context, name, inputs.x) } else { project(tape, context, name, context.attention.heads, inputs.x) }
        });
        let mut scores = tape.matmul("scores of global queries", query, key, sizes.scores(sizes.global, sizes.length));
        if let Some(padding) = inputs.shared.first().copied() {
            scores = tape.masked_fill("mask of padding", scores, padding);
        }
        let weights = tape.softmax(scores);
        let weights = tape.dropout(weights, context.attention_dropout());
        let values = sizes.values(sizes.global, sizes.length);
        let of_tokens = tape.matmul("weighted values of global queries", weights, value, values);
        tape.operation("put global tokens", 0.0, &[out, of_tokens], out.elements, Keeps::Nothing)
    }

    /// The pairs of the pattern alone: the band, global tokens as keys and global tokens as queries.
    fn pattern(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs, sizes: &Sizes) -> Tensor {
        let heads = context.attention.heads;
        let query = project(tape, context, "query projection", heads, inputs.x);
        let key = project(tape, context, "key projection", heads, inputs.x);
        let value = project(tape, context, "value projection", heads, inputs.x);
        let pairs = sliding_window::pairs(sizes.length as u64, 0, self.window, false);
        let seen = pairs / sizes.length + sizes.global;
        let out = attend(tape, context, [query, key, value], sizes.scores(sizes.length, seen), None);
        self.global_queries(tape, context, inputs, sizes, out)
    }
}

/// Long Range Arena's: two attentions of all pairs, under a mask of the band and a mask of global tokens.
fn square(tape: &mut Tape, context: &Context<'_>, inputs: &Inputs, sizes: &Sizes) -> Tensor {
    let length = sizes.length;
    let [of_band, of_global] = [["query projection", "key projection", "value projection"], GLOBAL].map(|names| {
        let heads = names.map(|name| project(tape, context, name, context.attention.heads, inputs.x));
        let mask = tape.mask(length * length);
        attend(tape, context, heads, sizes.scores(length, length), Some(mask))
    });
    let global = tape.mask(tape.tokens());
    tape.operation("choose by global mask", 1.0, &[of_band, of_global], of_band.elements, Keeps::These(&[global]))
}

/// A projection. Hugging Face lays positions before sequences, which with more than one sequence is a copy for each.
fn apart(tape: &mut Tape, context: &Context<'_>, name: &'static str, x: Tensor) -> Tensor {
    let x = if context.batch.sequences > 1.0 { tape.pass("lay out positions", x) } else { x };
    project(tape, context, name, context.attention.heads, x)
}

/// Scores of chunks as rows of diagonals: a row of zeros more, and a copy of the places that are in the band.
fn diagonals(tape: &mut Tape, scores: Tensor, padded: f64, band: f64) -> Tensor {
    let padded = tape.expand("pad chunks", scores, padded);
    tape.expand("diagonals of chunks", padded, band)
}

/// Keys or values of global tokens, gathered.
fn global_tokens(tape: &mut Tape, x: Tensor, places: Tensor, sizes: &Sizes) -> Tensor {
    tape.gather("gather global tokens", x, places, x.elements * sizes.global / sizes.length)
}
