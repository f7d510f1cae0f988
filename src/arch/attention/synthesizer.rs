//! Synthesizer attention: the scores come from each position alone, or are a trained pattern, instead of products of
//! queries and keys (Tay et al. 2021, arXiv 2005.00743, section 3): softmax(B) V.
//!
//! - dense: row i of B is W2 relu(W1 x_i), one W2 a head, 2 n d^2 + 2 n L d products forward for
//!   the pattern of a layer, with L columns of W2. With `factors` a and b, two maps of a and b columns, whose products
//!   fill a row of a b: 2 n (a + b) d;
//! - random: B is a parameter of L x L a head, no product at all, or a product of two of L x `rank`,
//!   2 h n^2 k. It is the same for every sequence, so it and its softmax are made once a step.
//!
//! The weighted sum takes 2 n^2 d, as in softmax attention. With `dot_product`, the pattern is added to the scores of
//! queries and keys (the paper's mixtures; Long Range Arena's released code adds without a weight).
//!
//! Kept: the relu's output, the factors, the softmax's output, its dropout mask and what is left.

use serde::{Deserialize, Serialize};

use super::super::config::Model;
use super::super::validate::check_size;
use super::transformer_xl::scores_shape;
use super::{Abilities, Attention, Context, Inputs, Mechanism, project};
use crate::document::Problem;
use crate::ledger::{Activation, Keeps, Shape, Tape, Tensor};

/// Where the pattern comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SynthesizerKind {
    /// From each position, by two layers.
    #[default]
    Dense,
    /// From training alone.
    Random,
}

/// Settings of Synthesizer attention.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// dense or random.
    #[serde(default)]
    pub kind: SynthesizerKind,
    /// Columns of the two maps of a factorised dense pattern; their product reaches the longest sequence.
    #[serde(default)]
    pub factors: Vec<u64>,
    /// Columns of the two parameters of a factorised random pattern, k.
    #[serde(default)]
    pub rank: Option<u64>,
    /// Whether all heads have one second layer of a dense pattern, applied to its whole length (Long Range Arena).
    #[serde(default)]
    pub shared_heads: bool,
    /// Whether the pattern is added to the scores of queries and keys.
    #[serde(default)]
    pub dot_product: bool,
    /// The longest sequence, L; that of the positions where not said.
    #[serde(default)]
    pub length: Option<u64>,
}

impl Settings {
    /// Rows and columns of a pattern.
    fn longest_sequence(&self, model: &Model) -> Option<u64> {
        self.length.or(model.embedding.positions.length)
    }
}

impl Mechanism for Settings {
    fn abilities(&self) -> Abilities {
        Abilities { causal: true, ..Abilities::default() }
    }

    fn check(&self, model: &Model, _attention: &Attention) -> Result<(), Problem> {
        let Some(length) = self.longest_sequence(model) else {
            return Err(Problem::new("synthesizer.length", "nothing", "the longest sequence"));
        };
        check_size("synthesizer.length", length)?;
        check_size("synthesizer.rank", self.rank.unwrap_or(1))?;
        self.factors.iter().try_for_each(|factor| check_size("synthesizer.factors", *factor))?;
        let dense = self.kind == SynthesizerKind::Dense;
        if dense && self.rank.is_some() {
            return Err(Problem::new("synthesizer.rank", "a rank of a dense pattern", "factors, or kind random"));
        }
        if !dense && (!self.factors.is_empty() || self.shared_heads) {
            let key = if self.shared_heads { "synthesizer.shared_heads" } else { "synthesizer.factors" };
            return Err(Problem::new(key, "a setting of dense patterns with kind random", "a rank, or kind dense"));
        }
        if self.shared_heads && !self.factors.is_empty() {
            return Err(Problem::new("synthesizer.shared_heads", "true with factors", "one of the two"));
        }
        let reach = self.factors.iter().fold(1, |product: u64, factor| product.saturating_mul(*factor));
        if !self.factors.is_empty() && (self.factors.len() != 2 || reach < length) {
            let allowed = format!("two factors whose product is at least the longest sequence, {length}");
            return Err(Problem::new("synthesizer.factors", format!("{:?}", self.factors), allowed));
        }
        Ok(())
    }

    fn longest(&self, model: &Model) -> Option<(u64, &'static str)> {
        self.longest_sequence(model).map(|length| (length, "synthesizer.length"))
    }

    fn note(&self, _length: u64) -> Option<String> {
        self.dot_product.then(|| "Synthesizer beside dot products saves nothing at any length: it adds its pattern to their scores".into())
    }

    fn write(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
        let attention = context.attention;
        let shape = scores_shape(context, context.batch.length);
        let value = project(tape, context, "value projection", attention.heads, inputs.x);
        let mut scores = match self.kind {
            SynthesizerKind::Dense => self.dense(tape, context, inputs.x),
            SynthesizerKind::Random => self.random(tape, context),
        };
        if self.dot_product {
            let query = project(tape, context, "query projection", attention.heads, inputs.x);
            let key = project(tape, context, "key projection", attention.heads, inputs.x);
            let products = tape.matmul("scores", query, key, shape);
            let products = if attention.scaled { tape.pass("scale", products) } else { products };
            scores = tape.add("pattern", products, scores);
        }
        if inputs.causal {
            scores = tape.pass("causal mask", scores);
        }
        let weights = tape.softmax(scores);
        let all = shape.batch * shape.m * shape.n;
        let weights = tape.view(weights, all / weights.elements);
        let dropped = tape.dropout(weights, context.attention_dropout());
        // Weights that all sequences share are copied for each of them, unless dropout has made them differ.
        let alike = self.kind == SynthesizerKind::Random && !self.dot_product && context.batch.sequences > 1.0;
        let weights = if alike && dropped == weights { tape.expand("spread pattern", weights, all) } else { dropped };
        tape.matmul("weighted values", weights, value, Shape { n: shape.k, k: shape.n, ..shape })
    }
}

impl Settings {
    /// A row of scores from each position.
    fn dense(&self, tape: &mut Tape, context: &Context<'_>, x: Tensor) -> Tensor {
        let (attention, length) = (context.attention, context.batch.length);
        let (inputs, inner) = (context.model.width as f64, (attention.heads * attention.head_width(context.model.width)) as f64);
        let weight = tape.matrix(inputs, inner);
        let hidden = tape.matmul("hidden layer of the pattern", x, weight, Shape::product(tape.tokens(), inner, inputs));
        let hidden = biased(tape, context, hidden, inner);
        let hidden = tape.activate(Activation::Relu, hidden);
        let columns = self.longest_sequence(context.model).unwrap_or_default() as f64;
        match self.factors[..] {
            [first, second] => {
                let [first, second] = [first, second].map(|factor| rows(tape, context, hidden, factor as f64, factor as f64));
                let whole = self.factors.iter().product::<u64>() as f64;
                let elements = tape.tokens() * attention.heads as f64 * whole;
                let scores = tape.operation("products of factors", 1.0, &[first, second], elements, Keeps::These(&[first, second]));
                tape.view(scores, length / whole)
            }
            _ if self.shared_heads => {
                let width = attention.head_width(context.model.width) as f64;
                let weight = tape.matrix(width, columns);
                let product = Shape::product(hidden.elements / width, columns, width);
                let scores = tape.matmul("rows of the pattern", hidden, weight, product);
                let scores = biased(tape, context, scores, columns);
                tape.view(scores, length / columns)
            }
            _ => rows(tape, context, hidden, columns, length),
        }
    }

    /// A pattern of its own, one for all sequences.
    fn random(&self, tape: &mut Tape, context: &Context<'_>) -> Tensor {
        let (heads, n) = (context.attention.heads as f64, context.batch.length);
        let longest = self.longest_sequence(context.model).unwrap_or_default() as f64;
        let Some(rank) = self.rank.map(|rank| rank as f64) else {
            let pattern = tape.matrix(heads * longest, longest);
            return tape.view(pattern, (n / longest).powi(2));
        };
        let (left, right) = (tape.matrix(heads * longest, rank), tape.matrix(heads * longest, rank));
        tape.matmul("product of two patterns", left, right, Shape { batch: heads, m: n, n, k: rank })
    }
}

/// A map of each head's `hidden` by its own weights of `columns`, of which the first `used` are computed. With more
/// than one sequence, PyTorch lays both operands out anew for the batched product.
fn rows(tape: &mut Tape, context: &Context<'_>, hidden: Tensor, columns: f64, used: f64) -> Tensor {
    let (sequences, heads) = (context.batch.sequences, context.attention.heads as f64);
    let width = context.attention.head_width(context.model.width) as f64;
    let weight = tape.matrix(heads * width, columns);
    let shape = Shape { batch: sequences * heads, m: context.batch.length, n: used, k: width };
    let (hidden, weight) = if sequences > 1.0 {
        (tape.pass("lay out heads", hidden), tape.expand("spread weights", weight, shape.batch * width * used))
    } else {
        (hidden, weight)
    };
    let scores = tape.matmul("rows of the pattern", hidden, weight, shape);
    biased(tape, context, scores, heads * columns)
}

/// Adds a bias of `elements`, where the projections have one.
fn biased(tape: &mut Tape, context: &Context<'_>, scores: Tensor, elements: f64) -> Tensor {
    if !context.attention.bias {
        return scores;
    }
    let bias = tape.parameter(elements);
    tape.add("bias of the pattern", scores, bias)
}
