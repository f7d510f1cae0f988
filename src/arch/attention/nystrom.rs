//! Nystrom attention (Xiong et al. 2021, arXiv 2102.03902, equation 13): with landmarks of queries and keys, the means of
//! m segments (equation 16), softmax(Q K_l^T) Z softmax(Q_l K^T) V, where Z is a pseudo-inverse of softmax(Q_l K_l^T) by
//! iteration (equation 14), and a depthwise convolution of the values beside it.
//!
//! Products, forward, per sequence and layer: 2 n m d each for the scores of queries and of keys, for the queries' part
//! times Z (m for d_h a head: 2 n m^2 h) and for the values on either side; 2 m^2 d for the landmarks; 8 m^3 h for each
//! iteration; 2 n d c for a convolution of c positions. Without dropout of weights, in every implementation.
//!
//! Kept: inputs of the products, among them six m x m matrices a head and iteration; the three softmaxes.
//!
//! Hugging Face runs full softmax attention with the convolution where its segment length is its number of landmarks
//! (`full`). A length that is no multiple of m is padded before the projections, as nystrom-attention does.

use serde::{Deserialize, Serialize};

use super::super::config::Model;
use super::super::validate::check_size;
use super::blocks::pad;
use super::{Abilities, Attention, Context, Inputs, Mechanism, queries_keys_values};
use crate::document::Problem;
use crate::ledger::{Keeps, Shape, Tape, Tensor};

/// Iterations above this are typing errors: each one is written out.
const MOST_ITERATIONS: u64 = 64;

/// What the transpose is divided by to start the iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// The largest sum of a column times that of a row (nystrom-attention).
    #[default]
    BothNorms,
    /// The largest sum of a column, since rows of a softmax sum to one (Hugging Face).
    ColumnNorm,
}

/// Settings of Nystrom attention.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Landmarks, m.
    pub landmarks: u64,
    /// Iterations for the pseudo-inverse.
    #[serde(default = "six")]
    pub iterations: u64,
    /// What the iteration starts from: both_norms or column_norm.
    #[serde(default)]
    pub start: Start,
    /// Positions of the depthwise convolution of the values, an odd number; none where not said.
    #[serde(default)]
    pub convolution: Option<u64>,
    /// Whether keys are scaled as queries are; if not, the whole scale is on the queries.
    #[serde(default = "yes")]
    pub scaled_keys: bool,
    /// Full softmax attention in place of the approximation.
    #[serde(default)]
    pub full: bool,
}

fn six() -> u64 {
    6
}

fn yes() -> bool {
    true
}

impl Mechanism for Settings {
    fn abilities(&self) -> Abilities {
        Abilities { rotary: true, fused_projection: true, ..Abilities::default() }
    }

    fn check(&self, _model: &Model, _attention: &Attention) -> Result<(), Problem> {
        check_size("nystrom.landmarks", self.landmarks)?;
        if self.iterations == 0 || self.iterations > MOST_ITERATIONS {
            return Err(Problem::new("nystrom.iterations", self.iterations.to_string(), format!("1 to {MOST_ITERATIONS}")));
        }
        if let Some(positions) = self.convolution.filter(|positions| positions.is_multiple_of(2)) {
            return Err(Problem::new("nystrom.convolution", positions.to_string(), "an odd number: as many outputs as inputs"));
        }
        check_size("nystrom.convolution", self.convolution.unwrap_or(1))
    }

    fn note(&self, length: u64) -> Option<String> {
        if self.full {
            return Some("Nystrom attention with full = true is full softmax attention: it saves nothing".to_string());
        }
        let landmarks = self.landmarks;
        (landmarks >= length).then(|| format!("Nystrom attention saves nothing at {length} positions: it has {landmarks} landmarks"))
    }

    fn write(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
        let attention = context.attention;
        let batch = context.batch.sequences * attention.heads as f64;
        let head_width = attention.head_width(context.model.width) as f64;
        let length = if self.full { context.batch.length } else { (context.batch.length as u64).next_multiple_of(self.landmarks) as f64 };
        let x = pad(tape, context, inputs.x, length);
        let [query, key, value] = queries_keys_values(tape, context, &Inputs { x, memory: x, ..*inputs });
        let query = if attention.scaled { tape.pass("scale queries", query) } else { query };
        let key = if attention.scaled && self.scaled_keys { tape.pass("scale keys", key) } else { key };
        let sizes = Sizes { batch, length, head_width, landmarks: self.landmarks as f64 };
        let out = if self.full { full(tape, context, sizes, [query, key, value]) } else { self.approximate(tape, context, sizes, [query, key, value]) };
        let Some(positions) = self.convolution else { return out };
        let filter = tape.parameter((attention.heads * positions) as f64);
        let shape = Shape { batch, m: length * head_width, n: 1.0, k: positions as f64 };
        let residual = tape.matmul("convolution of values", value, filter, shape);
        tape.add("add convolution", out, residual)
    }
}

/// Sizes of the products.
#[derive(Clone, Copy)]
struct Sizes {
    /// Heads of all sequences.
    batch: f64,
    /// Positions with padding.
    length: f64,
    head_width: f64,
    landmarks: f64,
}

impl Sizes {
    /// A product for every head.
    fn product(self, m: f64, n: f64, k: f64) -> Shape {
        Shape { batch: self.batch, m, n, k }
    }
}

/// Heads as a batched product reads them: with more than one sequence PyTorch lays them out anew.
fn laid_out(tape: &mut Tape, context: &Context<'_>, x: Tensor) -> Tensor {
    if context.batch.sequences > 1.0 { tape.pass("lay out heads", x) } else { x }
}

/// softmax(Q K^T) V.
fn full(tape: &mut Tape, context: &Context<'_>, sizes: Sizes, heads: [Tensor; 3]) -> Tensor {
    let [query, key, value] = heads.map(|x| laid_out(tape, context, x));
    let scores = tape.matmul("scores", query, key, sizes.product(sizes.length, sizes.length, sizes.head_width));
    let weights = tape.softmax(scores);
    tape.matmul("weighted values", weights, value, sizes.product(sizes.length, sizes.head_width, sizes.length))
}

impl Settings {
    fn approximate(&self, tape: &mut Tape, context: &Context<'_>, sizes: Sizes, heads: [Tensor; 3]) -> Tensor {
        let Sizes { length, head_width, landmarks, .. } = sizes;
        let means = |tape: &mut Tape, x: Tensor| {
            tape.operation("segment means", length / landmarks, &[x], sizes.batch * landmarks * head_width, Keeps::Nothing)
        };
        let [query_means, key_means] = [heads[0], heads[1]].map(|x| means(tape, x));
        let [query, key, value] = heads.map(|x| laid_out(tape, context, x));
        let left = tape.matmul("scores of key landmarks", query, key_means, sizes.product(length, landmarks, head_width));
        let left = tape.softmax(left);
        let middle = tape.matmul("scores of landmarks", query_means, key_means, sizes.product(landmarks, landmarks, head_width));
        let middle = tape.softmax(middle);
        let right = tape.matmul("scores of query landmarks", query_means, key, sizes.product(landmarks, length, head_width));
        let right = tape.softmax(right);
        let inverse = self.inverse(tape, sizes, middle);
        let left = tape.matmul("times pseudo-inverse", left, inverse, sizes.product(length, landmarks, landmarks));
        let right = tape.matmul("values of landmarks", right, value, sizes.product(landmarks, head_width, length));
        tape.matmul("weighted values", left, right, sizes.product(length, head_width, landmarks))
    }

    /// Z <- Z (13 I - A Z (15 I - A Z (7 I - A Z))) / 4.
    fn inverse(&self, tape: &mut Tape, sizes: Sizes, matrix: Tensor) -> Tensor {
        let product = sizes.product(sizes.landmarks, sizes.landmarks, sizes.landmarks);
        let mut z = self.start(tape, sizes, matrix);
        for _ in 0..self.iterations {
            let az = tape.matmul("A Z", matrix, z, product);
            let seven = tape.pass("7 I - A Z", az);
            let second = tape.matmul("A Z (7 I - ...)", az, seven, product);
            let fifteen = tape.pass("15 I - ...", second);
            let third = tape.matmul("A Z (15 I - ...)", az, fifteen, product);
            let thirteen = tape.pass("13 I - ...", third);
            let quarter = tape.pass("a quarter of Z", z);
            z = tape.matmul("Z (13 I - ...)", quarter, thirteen, product);
        }
        z
    }

    /// The transpose over the norms, which are the largest of all sequences and heads.
    fn start(&self, tape: &mut Tape, sizes: Sizes, matrix: Tensor) -> Tensor {
        let norm = |tape: &mut Tape, name: &'static str, of: Tensor| {
            let sums = tape.operation(name, sizes.landmarks, &[of], sizes.batch * sizes.landmarks, Keeps::Nothing);
            tape.operation("largest sum", sums.elements, &[sums], 1.0, Keeps::OutputAnd(&[sums]))
        };
        match self.start {
            Start::ColumnNorm => {
                let norm = norm(tape, "sums of columns", matrix);
                let inverse = tape.operation("inverse", 1.0, &[norm], 1.0, Keeps::Output);
                let scale = tape.pass("one over norm", inverse);
                tape.multiply("start of pseudo-inverse", matrix, scale)
            }
            Start::BothNorms => {
                let absolute = tape.operation("absolute values", 1.0, &[matrix], matrix.elements, Keeps::These(&[matrix]));
                let (rows, columns) = (norm(tape, "sums of rows", absolute), norm(tape, "sums of columns", absolute));
                let norms = tape.multiply("product of norms", rows, columns);
                tape.divide("start of pseudo-inverse", matrix, norms)
            }
        }
    }
}
