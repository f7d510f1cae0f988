//! Memory-compressed attention: keys and values shortened by a strided convolution (Liu et al. 2018, arXiv 1801.10198,
//! T-DMCA): softmax(Q C(K)^T / sqrt(d_h)) C(V), C of kernel and stride c.
//!
//! Products, forward, per sequence and layer, with D = h d_h and m = n / c rounded up: 2 m c D^2 for each convolution,
//! divided by h where it stays within a head; 2 n m D for the scores, as many for the values. Still quadratic, 1 / c
//! of the products of full attention. Kept: what the convolutions read, shortened keys and values, the weights.

use serde::{Deserialize, Serialize};

use super::super::config::Model;
use super::super::validate::check_size;
use super::blocks::attend;
use super::{Abilities, Attention, Context, Inputs, Mechanism, queries_keys_values};
use crate::document::Problem;
use crate::ledger::{Keeps, Shape, Tape, Tensor};

/// Settings of memory-compressed attention.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Kernel and stride of the convolution, c.
    #[serde(default = "three")]
    pub compression: u64,
    /// Whether the convolution stays within a head.
    #[serde(default)]
    pub per_head: bool,
    /// Whether keys and values have one convolution.
    #[serde(default)]
    pub shared: bool,
    /// Whether a trained key and value stand before the others, for positions that see none.
    #[serde(default)]
    pub null: bool,
}

fn three() -> u64 {
    3
}

impl Mechanism for Settings {
    fn abilities(&self) -> Abilities {
        Abilities { causal: true, fused_projection: true, ..Abilities::default() }
    }

    fn check(&self, _model: &Model, _attention: &Attention) -> Result<(), Problem> {
        check_size("memory_compressed.compression", self.compression)
    }

    fn note(&self, length: u64) -> Option<String> {
        (self.compression == 1 || length <= self.compression)
            .then(|| format!("memory-compressed attention saves nothing at {length} positions with a stride of {}", self.compression))
    }

    fn write(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
        let (batch, heads) = (context.batch, context.attention.heads as f64);
        let head_width = context.attention.head_width(context.model.width) as f64;
        let [query, key, value] = queries_keys_values(tape, context, inputs);
        let short = (batch.length as u64).div_ceil(self.compression) as f64;
        let padded = batch.sequences * short * self.compression as f64 * heads * head_width;
        let [key, value] = [key, value].map(|x| if x.elements < padded { tape.expand("pad positions", x, padded) } else { x });
        let filter = self.filter(tape, heads * head_width, heads);
        let key = self.compress(tape, filter, key, batch.sequences * short, heads * head_width, heads);
        let filter = if self.shared { filter } else { self.filter(tape, heads * head_width, heads) };
        let value = self.compress(tape, filter, value, batch.sequences * short, heads * head_width, heads);
        let keys = short + f64::from(u8::from(self.null));
        let [key, value] = [key, value].map(|x| {
            if !self.null {
                return x;
            }
            let null = tape.parameter(heads * head_width);
            tape.operation("join null", 0.0, &[null, x], batch.sequences * keys * heads * head_width, Keeps::Nothing)
        });
        // Queries cut from one matrix are laid out by head for the batched product of more than one sequence.
        let apart = context.attention.fused_projection && batch.sequences > 1.0;
        let query = if apart { tape.pass("lay out heads", query) } else { query };
        let mask = inputs.causal.then(|| tape.mask(batch.length * keys));
        let scores = Shape { batch: batch.sequences * heads, m: batch.length, n: keys, k: head_width };
        attend(tape, context, [query, key, value], scores, mask)
    }
}

impl Settings {
    /// The weights of a convolution over `width` channels.
    fn filter(&self, tape: &mut Tape, width: f64, heads: f64) -> Tensor {
        tape.parameter(width);
        let groups = if self.per_head { heads } else { 1.0 };
        tape.matrix(self.compression as f64 * width / groups, width)
    }

    /// Keys or values shortened to `rows` in all.
    fn compress(&self, tape: &mut Tape, filter: Tensor, x: Tensor, rows: f64, width: f64, heads: f64) -> Tensor {
        let groups = if self.per_head { heads } else { 1.0 };
        let shape = Shape { batch: groups, m: rows, n: width / groups, k: self.compression as f64 * width / groups };
        tape.matmul("strided convolution", x, filter, shape)
    }
}
