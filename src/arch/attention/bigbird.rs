//! BigBird attention: blocks of b positions; the first and the last block see all and are seen by all, each other block sees
//! itself, its two neighbours, those two and r random ones (Zaheer et al. 2020, arXiv 2007.14062, section 2 and appendix D), as
//! Hugging Face's `BigBirdBlockSparseAttention` and the code of Long Range Arena (Tay et al. 2021) compute it.
//!
//! Products, forward, per sequence and layer, n padded to whole blocks, B = n / b of them:
//! 4 h d_h b (2 n + 2 (4 + r) b + (B - 4) (5 + r) b), which for r = 3 is 4 h d_h b (10 n - 18 b): the first and the last
//! block see n positions, the second and the second last 4 + r blocks, those between 5 + r. Sequences of no more than
//! (5 + 2 r) b positions have full attention.
//!
//! What makes it slow beside its products is copies: r (B - 2) blocks of keys and of values picked at random, three
//! times B - 4 of them for the band, masks of every one. There is no dropout of weights.
//!
//! Kept: every copy, and the weights of the five parts. With one sequence, heads of one block lie where their
//! projection wrote them; with more, each product has a copy of its queries, and of whole keys and values.

use serde::{Deserialize, Serialize};

use super::super::config::Model;
use super::super::validate::check_size;
use super::blocks::{Padding, pad};
use super::{Abilities, Attention, Context, Inputs, Mechanism, project, softmax};
use crate::document::Problem;
use crate::ledger::{Keeps, Shape, Tape, Tensor};

/// Settings of BigBird attention.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Positions of a block, b.
    #[serde(default = "block")]
    pub block: u64,
    /// Random blocks that a block sees, r.
    #[serde(default = "random_blocks")]
    pub random_blocks: u64,
    /// How a sequence is filled up to whole blocks: multiple, once for the whole model (Hugging Face); always, in each layer
    /// and for its output projection too (Long Range Arena).
    #[serde(default)]
    pub padding: Padding,
}

fn block() -> u64 {
    64
}

fn random_blocks() -> u64 {
    3
}

impl Settings {
    /// The longest sequence with full attention.
    fn full(&self) -> u64 {
        (5 + 2 * self.random_blocks) * self.block
    }
}

impl Mechanism for Settings {
    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    fn check(&self, _model: &Model, _attention: &Attention) -> Result<(), Problem> {
        check_size("bigbird.block", self.block)?;
        check_size("bigbird.random_blocks", self.random_blocks)
    }

    fn padded_length(&self, length: u64) -> u64 {
        if self.padding == Padding::Multiple && length > self.full() { self.padding.length(length, self.block) } else { length }
    }

    fn partial(&self) -> bool {
        true
    }

    fn note(&self, length: u64) -> Option<String> {
        let full = self.full();
        (length <= full).then(|| format!("BigBird computes full attention up to {full} positions"))
    }

    /// Which positions are not padding, for all layers.
    fn shared(&self, tape: &mut Tape, context: &Context<'_>, _before: &[Tensor]) -> Vec<Tensor> {
        if context.batch.length <= self.full() as f64 {
            return Vec::new();
        }
        let positions = self.padding.length(context.batch.length as u64, self.block) as f64;
        vec![tape.constant(context.batch.sequences * positions, context.batch.element_bytes)]
    }

    fn write(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
        let heads = context.attention.heads;
        let blocks = Blocks::new(self, context);
        let full = context.batch.length <= self.full() as f64;
        let x = if full { inputs.x } else { pad(tape, context, inputs.x, blocks.length) };
        let query = project(tape, context, "query projection", heads, x);
        let key = project(tape, context, "key projection", heads, x);
        let value = project(tape, context, "value projection", heads, x);
        if full {
            return softmax::core(tape, context, inputs, query, key, value);
        }
        let out = blocks.attend(tape, [query, key, value]);
        let padding = inputs.shared.first().copied().unwrap_or_else(|| tape.constant(blocks.length, context.batch.element_bytes));
        let out = tape.multiply("mask of padding", out, padding);
        tape.pass("lay out positions", out)
    }
}

/// The blocks of one layer.
struct Blocks {
    sequences: f64,
    /// Heads of all sequences.
    heads: f64,
    head_width: f64,
    /// Positions of a padded sequence, n.
    length: f64,
    /// Positions of a block, b.
    block: f64,
    /// Blocks of a sequence, B.
    count: f64,
    /// Random blocks that a block sees, r.
    random: f64,
    scaled: bool,
}

impl Blocks {
    fn new(settings: &Settings, context: &Context<'_>) -> Self {
        let length = settings.padding.length(context.batch.length as u64, settings.block) as f64;
        Self {
            sequences: context.batch.sequences,
            heads: context.batch.sequences * context.attention.heads as f64,
            head_width: context.attention.head_width(context.model.width) as f64,
            length,
            block: settings.block as f64,
            count: length / settings.block as f64,
            random: settings.random_blocks as f64,
            scaled: context.attention.scaled,
        }
    }

    /// Elements of so many blocks of every head.
    fn elements(&self, blocks: f64) -> f64 {
        self.heads * blocks * self.block * self.head_width
    }

    /// Blocks of queries, keys or values as they lie, or a copy of them where there is more than one sequence.
    fn part(&self, tape: &mut Tape, whole: Tensor, blocks: f64) -> Tensor {
        let elements = self.elements(blocks);
        if self.sequences > 1.0 { tape.expand("lay out blocks", whole, elements) } else { tape.view(whole, elements / whole.elements) }
    }

    /// The shape of the scores of `queries` blocks of queries, in `count` products, with `keys` blocks of keys.
    fn scores(&self, count: f64, queries: f64, keys: f64) -> Shape {
        Shape { batch: self.heads * count, m: queries * self.block, n: keys * self.block, k: self.head_width }
    }

    fn masked(&self, tape: &mut Tape, scores: Tensor) -> Tensor {
        let scores = if self.scaled { tape.pass("scale", scores) } else { scores };
        tape.pass("mask of padding", scores)
    }

    /// Attention of one block of queries to `seen` blocks.
    fn one(&self, tape: &mut Tape, query: Tensor, key: Tensor, value: Tensor, seen: f64) -> Tensor {
        let query = self.part(tape, query, 1.0);
        let shape = self.scores(1.0, 1.0, seen);
        let scores = tape.matmul("scores", query, key, shape);
        let scores = self.masked(tape, scores);
        let weights = tape.softmax(scores);
        tape.matmul("weighted values", weights, value, Shape { n: shape.k, k: shape.n, ..shape })
    }

    /// Attention of the first or the last block to all.
    fn global(&self, tape: &mut Tape, [query, key, value]: [Tensor; 3]) -> Tensor {
        let (key, value) = (self.part(tape, key, self.count), self.part(tape, value, self.count));
        self.one(tape, query, key, value, self.count)
    }

    /// Attention of the second or the second last block to global, neighbouring and random ones.
    fn outer(&self, tape: &mut Tape, [query, key, value]: [Tensor; 3], [random_key, random_value]: [Tensor; 2]) -> Tensor {
        let seen = 4.0 + self.random;
        let mut join = |whole: Tensor, random: Tensor| {
            let picked = tape.view(whole, 4.0 / self.count);
            let random = tape.view(random, 1.0 / (self.count - 2.0));
            tape.operation("join blocks", 0.0, &[picked, random], self.elements(seen), Keeps::Nothing)
        };
        let (key, value) = (join(key, random_key), join(value, random_value));
        self.one(tape, query, key, value, seen)
    }

    /// Random blocks, gathered for every block but the first and the last.
    fn gather(&self, tape: &mut Tape, whole: Tensor) -> Tensor {
        let picked = (self.count - 2.0) * self.random;
        let laid_out = tape.pass("lay out blocks", whole);
        let indices = tape.indices(self.heads * picked);
        tape.gather("gather random blocks", laid_out, indices, self.elements(picked))
    }

    /// Attention of the blocks between to their band, to random blocks and to the first and the last block.
    fn middle(&self, tape: &mut Tape, [query, key, value]: [Tensor; 3], random: [Tensor; 2]) -> Tensor {
        let inner = self.count - 4.0;
        let (band, picked) = (3.0, self.random);
        let mut three = |whole: Tensor| tape.expand("blocks of the band", whole, self.elements(inner * band));
        let bands = [three(key), three(value)];
        let randoms = random.map(|x| tape.expand("random blocks between", x, self.elements(inner * picked)));
        let copy = |tape: &mut Tape| tape.expand("lay out blocks", query, self.elements(inner));
        let (by_band, by_random) = (self.scores(inner, 1.0, band), self.scores(inner, 1.0, picked));
        let by_global = self.scores(1.0, inner, 1.0);
        let own = copy(tape);
        let of_band = tape.matmul("scores of the band", own, bands[0], by_band);
        let own = copy(tape);
        let of_random = tape.matmul("scores of random blocks", own, randoms[0], by_random);
        let mut global = |name| {
            let (query, key) = (self.part(tape, query, inner), self.part(tape, key, 1.0));
            tape.matmul(name, query, key, by_global)
        };
        let parts = [global("scores of the first block"), of_band, of_random, global("scores of the last block")];
        let parts = parts.map(|scores| self.masked(tape, scores));
        let all: f64 = parts.iter().map(|scores| scores.elements).sum();
        let scores = tape.operation("join scores", 0.0, &parts, all, Keeps::Nothing);
        let weights = tape.softmax(scores);
        let values = |shape: Shape| Shape { n: shape.k, k: shape.n, ..shape };
        let mut weigh = |name, value: Tensor, shape: Shape| {
            let part = tape.view(weights, shape.batch * shape.m * shape.n / all);
            tape.matmul(name, part, value, values(shape))
        };
        let mut out = weigh("weighted values of the band", bands[1], by_band);
        let of_random = weigh("weighted values of random blocks", randoms[1], by_random);
        out = tape.add("sum of band and random blocks", out, of_random);
        for name in ["weighted values of the first block", "weighted values of the last block"] {
            let value = self.part(tape, value, 1.0);
            let part = tape.view(weights, by_global.batch * by_global.m * by_global.n / all);
            let of_global = tape.matmul(name, part, value, values(by_global));
            out = tape.add("sum with global blocks", out, of_global);
        }
        out
    }

    /// Attention of all blocks, in five parts.
    fn attend(&self, tape: &mut Tape, heads: [Tensor; 3]) -> Tensor {
        let [_, key, value] = heads;
        let mask = tape.constant(self.heads * (self.count - 2.0) * self.block * self.random * self.block, 4.0);
        tape.operation("mask of random blocks", 1.0, &[mask], mask.elements, Keeps::Nothing);
        let random = [self.gather(tape, key), self.gather(tape, value)];
        let first = self.global(tape, heads);
        let second = self.outer(tape, heads, random);
        let between = self.middle(tape, heads, random);
        let second_last = self.outer(tape, heads, random);
        let last = self.global(tape, heads);
        let parts = [first, second, between, second_last, last];
        tape.operation("join blocks", 0.0, &parts, self.elements(self.count), Keeps::Nothing)
    }
}
