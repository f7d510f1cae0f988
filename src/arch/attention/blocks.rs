//! What mechanisms share that compute a part of the scores: padding to whole blocks, and attention of one shape.

use serde::{Deserialize, Serialize};

use super::Context;
use crate::ledger::{Shape, Tape, Tensor};

/// How a sequence is filled up to whole blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// To the next multiple of a block, where it is none.
    #[default]
    Multiple,
    /// By n' = n + w - (n mod w): a multiple gets a whole block more (Long Range Arena, as released).
    Always,
}

impl Padding {
    /// The length that a sequence of `length` is filled up to.
    pub(super) fn length(self, length: u64, block: u64) -> u64 {
        match self {
            Self::Multiple => length.next_multiple_of(block),
            Self::Always => length + block - length % block,
        }
    }
}

/// Hidden states with rows of zeros behind every sequence, up to `length` positions.
pub(super) fn pad(tape: &mut Tape, context: &Context<'_>, x: Tensor, length: f64) -> Tensor {
    if length == context.batch.length { x } else { tape.expand("pad positions", x, x.elements * length / context.batch.length) }
}

/// Softmax attention of one shape: scores, scale, mask, softmax, dropout, weighted values.
pub(super) fn attend(tape: &mut Tape, context: &Context<'_>, heads: [Tensor; 3], scores: Shape, mask: Option<Tensor>) -> Tensor {
    let [query, key, value] = heads;
    let mut weights = tape.matmul("scores", query, key, scores);
    if context.attention.scaled {
        weights = tape.pass("scale", weights);
    }
    if let Some(mask) = mask {
        weights = tape.masked_fill("mask", weights, mask);
    }
    let weights = tape.softmax(weights);
    let weights = tape.dropout(weights, context.attention_dropout());
    tape.matmul("weighted values", weights, value, Shape { n: scores.k, k: scores.n, ..scores })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multiple_gets_a_block_more_only_where_padding_is_always() {
        assert_eq!(Padding::Multiple.length(1000, 50), 1000);
        assert_eq!(Padding::Always.length(1000, 50), 1050);
        assert_eq!((Padding::Multiple.length(1001, 50), Padding::Always.length(1001, 50)), (1050, 1050));
    }
}
