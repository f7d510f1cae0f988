//! Quantised linear layers: frozen weights of 4 or 8 bits, brought to the precision of the step before each product.
//!
//! | format | bits a weight | source |
//! |---|---|---|
//! | int8 | 8 and one 32-bit scale a column | LLM.int8(), Dettmers et al. 2022, arXiv 2208.07339, section 3.1, equation 7 |
//! | int4 | 4 and a 16-bit scale of 32 weights | Q4_0 of ggml |
//! | nf4, fp4 | 4 and a scale of 64 weights: 32 bits, or 8 and 32 of 256 scales: 4.127 in all | QLoRA, Dettmers et al. 2023, arXiv 2305.14314, section 3 |
//!
//! The products are as many as those of the dense layer, in the precision of the step. The copy that a product reads is
//! made before each and not kept: backward makes it again, for the gradient of the input; the weight has none.

use serde::{Deserialize, Serialize};

use super::{INSIDE, Layer, among};
use crate::arch::config::LinearComponent;

/// Settings of quantised layers.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Quantised {
    /// int8, int4, nf4 or fp4.
    pub format: Format,
    /// Whether the scales of nf4 and fp4 are quantised themselves (QLoRA: they are).
    #[serde(default = "yes")]
    pub double_quantisation: bool,
    /// Which layers are quantised; all but those of the head where none are named, as bitsandbytes does.
    #[serde(default)]
    pub components: Option<Vec<LinearComponent>>,
}

fn yes() -> bool {
    true
}

/// Formats of frozen weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// 8-bit integers.
    Int8,
    /// 4-bit integers.
    Int4,
    /// 4-bit codes at quantiles of a normal distribution.
    Nf4,
    /// 4-bit floating point.
    Fp4,
}

/// What a reader should know of quantised weights without an adapter.
pub(super) const FROZEN: &str =
    "quantised weights do not train: without an adapter (linear.adapter), a training step changes embeddings, norms and biases alone";

impl Quantised {
    pub(super) fn touches(&self, layer: &Layer) -> bool {
        among(self.components.as_ref(), INSIDE, layer)
    }

    /// Bytes of a weight with its share of the scales, in a matrix of `rows`.
    pub(super) fn bytes(&self, rows: f64) -> f64 {
        let bits = match self.format {
            Format::Int8 => 8.0 + 32.0 / rows,
            Format::Int4 => 4.0 + 16.0 / 32.0,
            Format::Nf4 | Format::Fp4 if self.double_quantisation => 4.0 + 8.0 / 64.0 + 32.0 / (64.0 * 256.0),
            Format::Nf4 | Format::Fp4 => 4.0 + 32.0 / 64.0,
        };
        bits / 8.0
    }
}
