//! Performer attention, FAVOR+ (Choromanski et al. 2021, arXiv 2009.14794): random features of queries and keys whose
//! product estimates the softmax kernel without bias (section 2.3, lemma 1): phi(x) = exp(w x - |x|^2 / 2 - max) / sqrt(m)
//! plus a small number, with m rows w of a fixed matrix; or relu(w x) plus a small number (generalised attention), on the
//! random features or, as Long Range Arena runs it, on queries and keys themselves.
//!
//! Products, forward, per sequence and layer: 2 n m d for each of the two feature maps, 4 n m d for keys by values and
//! queries by state, 2 n m h for the normaliser. The matrix has no gradient, so that a feature map has one product in
//! backward. It is drawn anew now and then (performer-pytorch: every 1,000 steps), which is not in a step.
//!
//! Kept, softmax features: queries and keys (their squares), the products with the matrix and their largest values, which
//! are subtracted and get no gradient, the exponentials, the features, state and normaliser.

use serde::{Deserialize, Serialize};

use super::super::config::Model;
use super::super::validate::check_size;
use super::kernel::{Product, Running};
use super::{Abilities, Attention, Context, Inputs, Mechanism, queries_keys_values};
use crate::document::Problem;
use crate::ledger::{Activation, Keeps, Shape, Tape, Tensor};

/// The kernel that the features stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kernel {
    /// exp(q k), in positive random features.
    #[default]
    Softmax,
    /// relu(q) relu(k).
    Relu,
}

/// Settings of Performer attention.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The kernel: softmax or relu.
    #[serde(default)]
    pub kernel: Kernel,
    /// Random features a head, m. Where not said: of softmax d_h ln(d_h), as theorem 4 of the paper suggests and
    /// performer-pytorch has it; of relu none, so that it works on queries and keys themselves.
    #[serde(default)]
    pub features: Option<u64>,
    /// How a decoder sums over earlier positions: scan or states.
    #[serde(default)]
    pub running: Running,
}

impl Settings {
    /// Rows of the fixed matrix, if there is one.
    pub(in crate::arch) fn random_features(&self, head_width: f64) -> Option<f64> {
        match (self.features, self.kernel) {
            (Some(features), _) => Some(features as f64),
            (None, Kernel::Softmax) => Some((head_width * head_width.ln()).floor().max(1.0)),
            (None, Kernel::Relu) => None,
        }
    }
}

/// How the largest product is found, which the exponential subtracts.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    /// One for each query.
    Query,
    /// One for all keys of a head.
    Key,
}

impl Mechanism for Settings {
    fn abilities(&self) -> Abilities {
        Abilities { causal: true, rotary: true, fused_projection: true, ..Abilities::default() }
    }

    fn check(&self, _model: &Model, _attention: &Attention) -> Result<(), Problem> {
        check_size("performer.features", self.features.unwrap_or(1))
    }

    fn note(&self, length: u64) -> Option<String> {
        let features = self.features.filter(|features| *features >= length)?;
        Some(format!("Performer saves nothing at {length} positions: it has {features} features"))
    }

    fn write(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
        let head_width = context.attention.head_width(context.model.width) as f64;
        let random = self.random_features(head_width);
        let [query, key, value] = queries_keys_values(tape, context, inputs);
        let matrix = random.map(|features| tape.buffer(features * head_width));
        let mut features = |x: Tensor, side: Side| {
            // By the fourth root of the head width on either side; Long Range Arena's relu takes queries and keys as they are.
            let scaled = if context.attention.scaled { tape.pass("scale", x) } else { x };
            let rows = x.elements / head_width;
            let projected = match (matrix, random) {
                (Some(matrix), Some(features)) => {
                    tape.matmul("random features", scaled, matrix, Shape::product(rows, features, head_width))
                }
                _ => scaled,
            };
            match self.kernel {
                Kernel::Softmax => {
                    let largest = match side {
                        Side::Query => rows,
                        Side::Key => context.batch.sequences * context.attention.heads as f64,
                    };
                    exponential(tape, x, projected, rows, largest)
                }
                Kernel::Relu => {
                    let features = tape.activate(Activation::Relu, projected);
                    tape.pass("plus epsilon", features)
                }
            }
        };
        let (query, key) = (features(query, Side::Query), features(key, Side::Key));
        let interleaved = random.is_none();
        let features = random.unwrap_or(head_width);
        Product { query, key, value, features, normalised: true, interleaved, running: self.running }.write(tape, context, inputs)
    }
}

/// exp(projected - |x|^2 / 2 - max) plus a small number. The largest values are detached only after PyTorch has kept what
/// their gradient would need.
fn exponential(tape: &mut Tape, x: Tensor, projected: Tensor, rows: f64, largest: f64) -> Tensor {
    let compared = projected.elements / largest;
    let largest = tape.operation("largest product", compared, &[projected], largest, Keeps::OutputAnd(&[projected]));
    let largest = tape.detached(largest);
    let squares = tape.operation("squares", 1.0, &[x], x.elements, Keeps::These(&[x]));
    let norms = tape.operation("half squared length", x.elements / rows, &[squares], rows, Keeps::Nothing);
    let exponentials = tape.operation("exponential", 3.0, &[projected, norms, largest], projected.elements, Keeps::Output);
    tape.pass("plus epsilon", exponentials)
}
