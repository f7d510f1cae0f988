//! YOSO attention (Zeng et al. 2021, arXiv 2111.09714): a value counts with the probability that query and key, on the unit
//! sphere, fall into the same bucket of a hash of t random planes: E[B] = (1 - arccos(q k) / pi)^t, B V, each row divided
//! by its length; and a depthwise convolution of the values beside it, if asked for.
//!
//! As `expectation` (Hugging Face's default) the probabilities are computed: products, forward, per sequence and layer,
//! 2 n^2 d each for scores and values, and backward from the probabilities, four products.
//!
//! As `sampling` m hashes are drawn: values are added up by the keys' buckets, and each query takes the sums of its own,
//! 2 n d m additions; no product but those of the hashes, if planes are not multiplied by a fast transform. Backward for the
//! values is alike; that for queries and keys weighs buckets by values, up to d_h times as much, of which the ledger counts
//! as much as forward alone.
//!
//! Kept: queries, keys and outputs before and after they are divided by their lengths, the lengths twice; values, a mask
//! of 4 bytes a position and head, and the n^2 probabilities or the 2 n m bucket numbers of 4 bytes a head.

use serde::{Deserialize, Serialize};

use super::super::config::Model;
use super::super::validate::check_size;
use super::{Abilities, Attention, Context, Inputs, Mechanism, queries_keys_values};
use crate::document::Problem;
use crate::ledger::{Keeps, Shape, Tape, Tensor};

/// Bytes of a bucket number, and of an element of the mask over positions and heads.
const INTEGER_BYTES: f64 = 4.0;

/// Whether probabilities are computed or sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Estimate {
    /// The probabilities themselves.
    #[default]
    Expectation,
    /// Hashes drawn in every step.
    Sampling,
}

/// Settings of YOSO attention.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// expectation or sampling.
    #[serde(default)]
    pub estimate: Estimate,
    /// Planes of a hash, t.
    #[serde(default = "nine")]
    pub planes: u64,
    /// Hashes that are drawn, m.
    #[serde(default = "sixty_four")]
    pub hashes: u64,
    /// Whether hashes are made by a fast Hadamard transform, not by a product with all planes.
    #[serde(default = "yes")]
    pub fast_hash: bool,
    /// Positions of the depthwise convolution of the values, an odd number; none where not said.
    #[serde(default)]
    pub convolution: Option<u64>,
}

fn nine() -> u64 {
    9
}

fn sixty_four() -> u64 {
    64
}

fn yes() -> bool {
    true
}

impl Mechanism for Settings {
    fn abilities(&self) -> Abilities {
        Abilities { fused_projection: true, ..Abilities::default() }
    }

    fn check(&self, _model: &Model, _attention: &Attention) -> Result<(), Problem> {
        check_size("yoso.hashes", self.hashes)?;
        if self.planes == 0 || self.planes > 30 {
            return Err(Problem::new("yoso.planes", self.planes.to_string(), "1 to 30: a hash has 2^planes buckets"));
        }
        if let Some(positions) = self.convolution.filter(|positions| positions.is_multiple_of(2)) {
            return Err(Problem::new("yoso.convolution", positions.to_string(), "an odd number: as many outputs as inputs"));
        }
        check_size("yoso.convolution", self.convolution.unwrap_or(1))
    }

    fn note(&self, _length: u64) -> Option<String> {
        let computed = self.estimate == Estimate::Expectation;
        computed.then(|| "YOSO with estimate expectation computes all pairs: it saves no product over softmax attention".to_string())
    }

    /// The mask of padding, which the convolutions of all layers multiply values by.
    fn shared(&self, tape: &mut Tape, context: &Context<'_>, _before: &[Tensor]) -> Vec<Tensor> {
        self.convolution.map(|_| tape.constant(tape.tokens(), context.batch.element_bytes)).into_iter().collect()
    }

    fn write(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
        let attention = context.attention;
        let head_width = attention.head_width(context.model.width) as f64;
        let batch = context.batch.sequences * attention.heads as f64;
        let [query, key, value] = queries_keys_values(tape, context, inputs);
        let residual = self.convolution.map(|positions| convolve(tape, context, inputs.shared.first().copied(), value, positions as f64));
        let value = if context.batch.sequences > 1.0 { tape.pass("lay out heads", value) } else { value };
        let (query, key) = (unit(tape, query, head_width), unit(tape, key, head_width));
        let mask = tape.constant(batch * context.batch.length, INTEGER_BYTES);
        let shape = Shape { batch, m: context.batch.length, n: context.batch.length, k: head_width };
        let out = match self.estimate {
            Estimate::Expectation => {
                let scores = tape.matmul("scores", query, key, shape);
                let chances = tape.operation("chance of a common bucket", 6.0, &[scores, mask], scores.elements, Keeps::OutputAnd(&[mask]));
                tape.matmul("weighted values", chances, value, Shape { n: shape.k, k: shape.n, ..shape })
            }
            Estimate::Sampling => {
                let buckets = [query, key].map(|x| self.hash(tape, x, head_width));
                let keeps = [mask, buckets[0], buckets[1], query, key, value];
                let additions = 2.0 * self.hashes as f64;
                tape.operation("sums of values by bucket", additions, &keeps, value.elements, Keeps::These(&keeps))
            }
        };
        let out = unit(tape, out, head_width);
        residual.map_or(out, |residual| tape.add("add convolution", out, residual))
    }
}

impl Settings {
    /// The bucket of every position, head and hash.
    fn hash(&self, tape: &mut Tape, x: Tensor, head_width: f64) -> Tensor {
        let x = tape.detached(x);
        let rows = x.elements / head_width;
        let (hashes, planes) = (self.hashes as f64, self.planes as f64);
        let sides = if self.fast_hash {
            // Three rounds of signs and a transform of d_h log2(d_h) additions give d_h planes (Andoni et al. 2015).
            let each = 3.0 * head_width.log2().max(1.0);
            tape.operation("fast hash", each * hashes * planes / head_width, &[x], x.elements, Keeps::Nothing)
        } else {
            let all = tape.constant(head_width * hashes * planes, INTEGER_BYTES);
            tape.matmul("planes", x, all, Shape::product(rows, hashes * planes, head_width))
        };
        let buckets = tape.constant(rows * hashes, INTEGER_BYTES);
        tape.operation("buckets", 2.0 * planes, &[sides], buckets.elements, Keeps::Nothing);
        buckets
    }
}

/// Rows of length one: x over its length, which is kept before and after a bound from below.
fn unit(tape: &mut Tape, x: Tensor, head_width: f64) -> Tensor {
    let rows = x.elements / head_width;
    let length = tape.operation("length", 2.0 * head_width, &[x], rows, Keeps::OutputAnd(&[x]));
    let bounded = tape.operation("at least epsilon", 1.0, &[length], rows, Keeps::These(&[length]));
    tape.divide("unit length", x, bounded)
}

/// The depthwise convolution of the values that are no padding.
fn convolve(tape: &mut Tape, context: &Context<'_>, mask: Option<Tensor>, value: Tensor, positions: f64) -> Tensor {
    let heads = context.attention.heads as f64;
    let masked = mask.map_or(value, |mask| tape.multiply("mask values", value, mask));
    let filter = tape.parameter(heads * positions);
    let batch = context.batch.sequences * heads;
    let shape = Shape { batch, m: value.elements / batch, n: 1.0, k: positions };
    tape.matmul("convolution of values", masked, filter, shape)
}
