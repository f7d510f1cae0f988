//! Blocked local attention: the sequence is cut into blocks of w positions, and each sees itself, blocks before it and
//! blocks after it (Liu et al. 2018, arXiv 1801.10198; Parmar et al. 2018; the local attention of Long Range Arena, Tay
//! et al. 2021, whose released code has no neighbours).
//!
//! Products, forward, per sequence and layer: 2 n s w h d_h for the scores, as many for the values, where each of the n
//! padded positions sees s = 1 + before + after blocks. Neighbours beyond the ends are computed too and masked.
//!
//! Kept for backward beside inputs of products: the weights, and the mask of what lies beyond the ends. Keys and values
//! are copied into overlapping blocks, s times as large as they are, and it is those that are kept.

use serde::{Deserialize, Serialize};

use super::super::config::Model;
use super::super::validate::check_size;
use super::blocks::{Padding, attend, pad};
use super::{Abilities, Attention, Context, Inputs, Mechanism, queries_keys_values};
use crate::document::Problem;
use crate::ledger::{Shape, Tape, Tensor};

/// Settings of blocked local attention.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Positions of a block, w.
    pub window: u64,
    /// Blocks before its own that a block sees.
    #[serde(default = "one")]
    pub look_backward: u64,
    /// Blocks after its own that a block sees; where not said, one, and none in a decoder.
    #[serde(default)]
    pub look_forward: Option<u64>,
    /// How a sequence is filled up to whole blocks.
    #[serde(default)]
    pub padding: Padding,
}

fn one() -> u64 {
    1
}

impl Settings {
    /// Blocks of `window` positions that see one on either side, or the one before in a decoder.
    pub(super) fn new(window: u64) -> Self {
        Self { window, look_backward: one(), look_forward: None, padding: Padding::Multiple }
    }

    /// Blocks that a block sees.
    fn seen(&self, causal: bool) -> u64 {
        1 + self.look_backward + self.look_forward.unwrap_or(u64::from(!causal))
    }
}

impl Mechanism for Settings {
    fn abilities(&self) -> Abilities {
        Abilities { causal: self.look_forward.is_none_or(|blocks| blocks == 0), fused_projection: true, ..Abilities::default() }
    }

    fn check(&self, _model: &Model, _attention: &Attention) -> Result<(), Problem> {
        check_size("local.window", self.window)?;
        check_size("local.look_backward", self.look_backward.saturating_add(1))?;
        check_size("local.look_forward", self.look_forward.unwrap_or_default().saturating_add(1))
    }

    fn partial(&self) -> bool {
        true
    }

    fn write(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
        self.attend(tape, context, inputs, false)
    }
}

impl Settings {
    /// Projections and attention in blocks; `rotary` positions turn queries and keys within the blocks that they see.
    pub(super) fn attend(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs, rotary: bool) -> Tensor {
        let length = self.padding.length(context.batch.length as u64, self.window) as f64;
        let x = pad(tape, context, inputs.x, length);
        let [mut query, key, value] = queries_keys_values(tape, context, &Inputs { x, memory: x, ..*inputs });
        let (window, seen) = (self.window as f64, (self.window * self.seen(inputs.causal)) as f64);
        let blocks = length / window;
        let overlap = |tape: &mut Tape, x: Tensor| {
            let padded = tape.expand("pad ends", x, x.elements * (length + seen - window) / length);
            if seen > window { tape.expand("overlapping blocks", padded, x.elements * seen / window) } else { padded }
        };
        let (mut key, value) = (overlap(tape, key), overlap(tape, value));
        let heads = context.batch.sequences * context.attention.heads as f64;
        let head_width = context.attention.head_width(context.model.width) as f64;
        if rotary {
            let mut tables = |positions: f64| tape.constant(2.0 * positions * head_width, context.batch.element_bytes);
            let (of_queries, of_keys) = (tables(window), tables(seen));
            (query, key) = (tape.rotate(query, of_queries), tape.rotate(key, of_keys));
        }
        let scores = Shape { batch: heads * blocks, m: window, n: seen, k: head_width };
        let mask = tape.mask(blocks * seen + if inputs.causal { length * seen } else { 0.0 });
        attend(tape, context, [query, key, value], scores, Some(mask))
    }
}
