//! Sliding-window attention: each position sees a band of w positions, and no other score is computed. Before it in a
//! decoder, its own among them (Jiang et al. 2023, Mistral 7B, arXiv 2310.06825, section 2); in an encoder w / 2 on either
//! side besides its own (Beltagy et al. 2020, arXiv 2004.05150, section 3.1).
//!
//! Products, forward, per sequence and layer: 2 p h d_h for the scores, as many for the values, with p the pairs of
//! positions in the band: about n w, less at the ends. A kernel works in tiles and computes up to a tile a row more.
//! Many implementations lay a mask of the band over the full square instead, as Hugging Face's eager Mistral: they compute
//! and keep what `softmax` does, and save nothing; say `softmax` for these.

use serde::{Deserialize, Serialize};

use super::super::config::{Model, PositionKind};
use super::super::validate::check_size;
use super::blocks::attend;
use super::{Abilities, Attention, Context, Implementation, Inputs, Mechanism, queries_keys_values, softmax};
use crate::document::Problem;
use crate::ledger::{Shape, Tape, Tensor};

/// Settings of sliding-window attention.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Positions of the band, w.
    pub window: u64,
}

/// Pairs of `length` queries with the keys in a band: before each and itself, `cached` more of them before the first; or
/// half of the band on either side.
pub(super) fn pairs(length: u64, cached: u64, window: u64, causal: bool) -> f64 {
    let triangle = |n: f64| n * (n + 1.0) / 2.0;
    if causal {
        let growing = window.saturating_sub(cached).min(length) as f64;
        return growing * cached as f64 + triangle(growing) + (length as f64 - growing) * window as f64;
    }
    let side = (window / 2).min(length.saturating_sub(1)) as f64;
    length as f64 * (1.0 + 2.0 * side) - 2.0 * triangle(side)
}

impl Mechanism for Settings {
    fn abilities(&self) -> Abilities {
        Abilities {
            causal: true,
            positions: true,
            rotary: true,
            grouped_heads: true,
            fused_projection: true,
            fused_kernel: true,
            cache: true,
            ..Abilities::default()
        }
    }

    fn check(&self, model: &Model, _attention: &Attention) -> Result<(), Problem> {
        let positions = model.embedding.positions.kind;
        if positions == PositionKind::RelativeBias || positions.has_vectors() {
            let allowed = "softmax, or other positions: those are of all pairs";
            return Err(Problem::new("kind", "sliding_window with relative positions", allowed));
        }
        check_size("sliding_window.window", self.window)
    }

    fn partial(&self) -> bool {
        true
    }

    fn write(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
        let (batch, attention) = (context.batch, context.attention);
        let cached = context.cached.min(self.window as f64);
        let context = &Context { cached, ..*context };
        let [query, key, value] = queries_keys_values(tape, context, inputs);
        let [key, value] = [key, value].map(|x| {
            let x = softmax::with_cached(tape, context, x);
            softmax::repeat(tape, context, x)
        });
        let pairs = pairs(batch.length as u64, cached as u64, self.window, inputs.causal);
        let heads = batch.sequences * attention.heads as f64;
        let head_width = attention.head_width(context.model.width) as f64;
        let scores = Shape { batch: heads, m: batch.length, n: pairs / batch.length, k: head_width };
        if attention.implementation == Implementation::Fused {
            return tape.fused_attention([query, key, value], query.elements, scores, heads * batch.length);
        }
        attend(tape, context, [query, key, value], scores, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(length: u64, cached: u64, window: u64, causal: bool) -> f64 {
        let sees = |query: u64, key: u64| {
            if causal { key <= query && query - key < window } else { query.abs_diff(key) <= window / 2 }
        };
        (cached..cached + length).flat_map(|query| (0..cached + length).filter(move |key| sees(query, *key))).count() as f64
    }

    #[test]
    fn pairs_are_those_that_a_loop_counts() {
        for (length, window) in [(1, 1), (7, 3), (8, 4), (20, 6), (5, 9), (5, 8), (6, 100)] {
            assert_eq!(pairs(length, 0, window, false), counted(length, 0, window, false), "{length} {window}");
            for cached in [0, 1, 3, 30] {
                assert_eq!(pairs(length, cached, window, true), counted(length, cached, window, true), "{length} {cached} {window}");
            }
        }
    }
}
