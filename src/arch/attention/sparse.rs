//! Sparse Transformer attention: patterns of two parts that reach every earlier position in two steps (Child et al. 2019,
//! arXiv 1904.10509, sections 4.2 and 4.3). They hide later positions by themselves, in an encoder too.
//!
//! - `strided`: the l positions before and its own; every l-th position before.
//! - `fixed`: the positions of its own block of l; the last c positions of every block, the summaries.
//!
//! A head sees both parts at once, or one of them: half of the heads each, or all heads of a layer (section 5.1).
//!
//! Products, forward, per sequence and layer: 2 p h d_h for the scores, as many for the values, with p the pairs of the
//! pattern, by count; merged and fixed about n ((l + 1) / 2 + c n / (2 l)). With l near the square root of n, as proposed,
//! they grow as n^1.5; with a fixed l they stay quadratic. The code of Long Range Arena (Tay et al. 2021) computes the
//! full square and masks it, as `computes = "square"` does.

use serde::{Deserialize, Serialize};

use super::super::config::Model;
use super::super::validate::check_size;
use super::blocks::attend;
use super::{Abilities, Attention, Context, Inputs, Mechanism, queries_keys_values, sliding_window};
use crate::document::Problem;
use crate::ledger::{Shape, Tape, Tensor};

/// The patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SparsePattern {
    /// Neighbours, and every l-th position.
    Strided,
    /// A block, and the summaries of blocks.
    #[default]
    Fixed,
}

/// Which parts of a pattern a head sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SparseParts {
    /// Both, as one.
    #[default]
    Merged,
    /// Half of the heads the first, the others the second.
    Split,
    /// The first: the near positions.
    First,
    /// The second: the far ones.
    Second,
}

/// What is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SparseComputes {
    /// The pairs of the pattern alone, as a kernel that is written for it.
    #[default]
    Pattern,
    /// Every pair; a mask hides those that the pattern leaves out, and nothing is saved.
    Square,
}

/// Settings of Sparse Transformer attention.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// strided or fixed.
    #[serde(default)]
    pub pattern: SparsePattern,
    /// The stride, or positions of a block, l; the square root of the length where not said.
    #[serde(default)]
    pub block: Option<u64>,
    /// Positions of a block that others see, c.
    #[serde(default = "one")]
    pub summary: u64,
    /// merged, split, first or second.
    #[serde(default)]
    pub parts: SparseParts,
    /// pattern or square.
    #[serde(default)]
    pub computes: SparseComputes,
}

fn one() -> u64 {
    1
}

fn triangle(n: u64) -> f64 {
    n as f64 * (n as f64 + 1.0) / 2.0
}

impl Settings {
    /// Pairs of positions that a head sees, in the mean over heads.
    fn pairs(&self, length: u64) -> f64 {
        let block = self.block.unwrap_or_else(|| (length as f64).sqrt().ceil() as u64).max(1);
        let (first, second, both) = match self.pattern {
            SparsePattern::Strided => strided(length, block),
            SparsePattern::Fixed => fixed(length, block, self.summary.min(block)),
        };
        match self.parts {
            SparseParts::Merged => first + second - both,
            SparseParts::Split => (first + second) / 2.0,
            SparseParts::First => first,
            SparseParts::Second => second,
        }
    }
}

/// Pairs of the first part, of the second and of both.
fn strided(length: u64, stride: u64) -> (f64, f64, f64) {
    let (whole, rest) = (length / stride, length % stride);
    let near = sliding_window::pairs(length, 0, stride.saturating_add(1), true);
    let far = stride as f64 * triangle(whole) + (rest * (whole + 1)) as f64;
    // A position sees itself twice, and the one a stride before.
    (near, far, (length + length.saturating_sub(stride)) as f64)
}

/// Pairs of the first part, of the second and of both.
fn fixed(length: u64, block: u64, summary: u64) -> (f64, f64, f64) {
    let (whole, rest) = (length / block, length % block);
    let own = whole as f64 * triangle(block) + triangle(rest);
    let earlier = summary as f64 * (block as f64 * triangle(whole.saturating_sub(1)) + (rest * whole) as f64);
    let own_summary = whole as f64 * triangle(summary) + triangle((rest + summary).saturating_sub(block));
    (own, earlier + own_summary, own_summary)
}

impl Mechanism for Settings {
    fn abilities(&self) -> Abilities {
        Abilities { causal: true, fused_projection: true, ..Abilities::default() }
    }

    fn check(&self, _model: &Model, _attention: &Attention) -> Result<(), Problem> {
        check_size("sparse.block", self.block.unwrap_or(1))?;
        check_size("sparse.summary", self.summary)?;
        match self.block {
            Some(block) if self.pattern == SparsePattern::Fixed && self.summary > block => {
                let allowed = format!("1 to the {block} positions of a block");
                Err(Problem::new("sparse.summary", self.summary.to_string(), allowed))
            }
            _ => Ok(()),
        }
    }

    fn partial(&self) -> bool {
        true
    }

    fn note(&self, _length: u64) -> Option<String> {
        (self.computes == SparseComputes::Square).then(|| "sparse attention computes all pairs and masks them".to_string())
    }

    fn write(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
        let length = context.batch.length;
        let heads = queries_keys_values(tape, context, inputs);
        let (seen, mask) = match self.computes {
            SparseComputes::Pattern => (self.pairs(length as u64) / length, None),
            SparseComputes::Square => (length, Some(tape.mask(length * length))),
        };
        let batch = context.batch.sequences * context.attention.heads as f64;
        let head_width = context.attention.head_width(context.model.width) as f64;
        attend(tape, context, heads, Shape { batch, m: length, n: seen, k: head_width }, mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_those_that_a_loop_counts() {
        for (length, block, summary) in [(1, 1, 1), (12, 4, 1), (13, 4, 2), (15, 4, 3), (30, 7, 7), (5, 9, 2), (64, 8, 1)] {
            for pattern in [SparsePattern::Strided, SparsePattern::Fixed] {
                let near = |query: u64, key: u64| match pattern {
                    SparsePattern::Strided => query - key <= block,
                    SparsePattern::Fixed => query / block == key / block,
                };
                let far = |query: u64, key: u64| match pattern {
                    SparsePattern::Strided => (query - key).is_multiple_of(block),
                    SparsePattern::Fixed => key % block >= block - summary,
                };
                let count = |sees: &dyn Fn(u64, u64) -> bool| {
                    (0..length).flat_map(|query| (0..=query).filter(move |key| sees(query, *key))).count() as f64
                };
                let pairs = |parts| {
                    Settings { pattern, block: Some(block), summary, parts, computes: SparseComputes::Pattern }.pairs(length)
                };
                let (first, second) = (count(&near), count(&far));
                assert_eq!(pairs(SparseParts::First), first, "{pattern:?} {length} {block} {summary}");
                assert_eq!(pairs(SparseParts::Second), second, "{pattern:?} {length} {block} {summary}");
                assert_eq!(pairs(SparseParts::Split), (first + second) / 2.0);
                let either = count(&|query, key| near(query, key) || far(query, key));
                assert_eq!(pairs(SparseParts::Merged), either, "{pattern:?} {length} {block} {summary}");
            }
        }
    }
}
