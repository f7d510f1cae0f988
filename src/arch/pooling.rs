//! Pooling between groups of layers: a group may shorten the sequence before its layers, and a later one bring it back to its
//! whole length (Dai et al. 2020, arXiv 2006.03236, Funnel-Transformer).
//!
//! Of every s positions one is left: their mean, their largest values, or the first of them as it is. With `queries_only`, the
//! first layer's keys and values are those of the whole sequence. Upsampling repeats each position and adds what left the last
//! layer of whole length; where the others were dropped, it puts those that stayed back among them (token dropping, Hou et al.
//! 2022, arXiv 2203.13240).
//!
//! Kept: what a mean or a maximum is taken of, with the copy of a first position that stands apart, and which was largest;
//! which positions stayed.

use serde::{Deserialize, Serialize};

use super::Context;
use super::config::{Group, HeadKind, Model, NormPlacement, Pooling as HeadPooling, Stack};
use super::validate::check_size;
use crate::document::Problem;
use crate::ledger::{Component, Keeps, Tape, Tensor};

/// How a group of layers shortens the sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Pooling {
    /// mean, max or drop.
    #[serde(default)]
    pub kind: PoolingKind,
    /// Positions of which one is left, s.
    #[serde(default = "two")]
    pub stride: u64,
    /// Whether the first layer's keys and values are those of the whole sequence.
    #[serde(default)]
    pub queries_only: bool,
    /// Whether the first position stands apart, so that it is pooled with copies of itself.
    #[serde(default)]
    pub first_apart: bool,
    /// Whether as many positions are left out at the end as those copies are.
    #[serde(default)]
    pub truncated: bool,
}

/// What is left of several positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolingKind {
    /// Their mean.
    #[default]
    Mean,
    /// The largest value of each column.
    Max,
    /// The first of them as it is.
    Drop,
}

fn two() -> u64 {
    2
}

/// What was pooled since the layers before, as a mechanism sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pooled {
    /// Positions before.
    pub from: f64,
    /// Whether the queries' side was pooled.
    pub queries: bool,
    /// Whether the keys' side was pooled.
    pub keys: bool,
    /// How.
    pub by: Pooling,
}

impl Context<'_> {
    /// Positions of the keys' side.
    pub(super) fn keys(&self) -> f64 {
        self.pooled.filter(|pooled| !pooled.keys).map_or(self.batch.length, |pooled| pooled.from)
    }

    /// Whether keys and values are of a longer sequence than the queries.
    pub(super) fn pools_queries(&self) -> bool {
        self.pooled.is_some_and(|pooled| pooled.queries && !pooled.keys)
    }
}

impl Pooling {
    /// Whether a sequence of `length` is pooled: there must be more than what stands apart and one position.
    pub(super) fn shortens(&self, length: f64) -> bool {
        length > if self.first_apart { 2.0 } else { 1.0 }
    }

    /// Positions that pooling takes in, with copies of the first.
    fn rows(&self, length: f64) -> f64 {
        if self.first_apart && !self.truncated { length + self.stride as f64 - 1.0 } else { length }
    }

    /// Positions that are left of `length`.
    pub(super) fn length(&self, length: f64) -> f64 {
        (self.rows(length) / self.stride as f64).ceil()
    }

    /// Pools `x` of `from` positions.
    pub(super) fn write(&self, tape: &mut Tape, x: Tensor, from: f64) -> Tensor {
        tape.component(Component::Attention);
        let position = x.elements / from;
        let x = if self.first_apart { tape.expand("first position apart", x, position * self.rows(from)) } else { x };
        let elements = position * self.length(from);
        match self.kind {
            PoolingKind::Mean => tape.operation("mean of positions", self.stride as f64, &[x], elements, Keeps::These(&[x])),
            PoolingKind::Max => {
                let largest = tape.indices(elements);
                tape.operation("largest of positions", self.stride as f64, &[x], elements, Keeps::These(&[x, largest]))
            }
            PoolingKind::Drop => {
                let stay = tape.indices(self.length(from));
                tape.gather("positions that stay", x, stay, elements)
            }
        }
    }
}

/// Brings `x` back to the length of `whole`: repeats its positions and adds that, or puts as many positions as were not
/// dropped back among the others.
pub(super) fn upsample(tape: &mut Tape, x: Tensor, whole: Tensor, stayed: Option<f64>) -> Tensor {
    tape.component(Component::Attention);
    let whole = tape.carry(whole);
    if let Some(length) = stayed {
        let stayed = tape.indices(length);
        return tape.operation("put positions back", 0.0, &[whole, x], whole.elements, Keeps::These(&[stayed]));
    }
    let long = if x.elements == whole.elements { x } else { tape.expand("repeat positions", x, whole.elements) };
    tape.add("sum with whole sequence", long, whole)
}

impl Model {
    /// Checks the lengths of a stack's groups.
    pub(super) fn check_pooling(&self, name: &str, stack: &Stack, causal: bool) -> Result<(), Problem> {
        let mut short = false;
        for (index, group) in stack.groups.iter().enumerate() {
            let under = |problem: Problem| problem.under(&format!("{name}.groups.{index}"));
            check_size("repeats", group.repeats).map_err(under)?;
            if (group.pooling.is_some() || group.upsampling) && (causal || stack.reversible) {
                let found = if causal { "in a decoder" } else { "in a stack of reversible layers" };
                let key = if group.upsampling { "upsampling" } else { "pooling" };
                return Err(under(Problem::new(key, found, "none: the lengths of an encoder without reversible layers may change")));
            }
            if group.upsampling && group.pooling.is_some() {
                return Err(under(Problem::new("upsampling", "true with pooling", "one of the two in a group")));
            }
            short = (short || group.pooling.is_some()) && !group.upsampling;
            if short {
                self.check_pooled(group).map_err(under)?;
            }
        }
        let first = matches!(self.head.pooling, HeadPooling::First | HeadPooling::FirstAsIs);
        let needs_all = match self.head.kind {
            HeadKind::MaskedLm | HeadKind::TokenClassification | HeadKind::QuestionAnswering | HeadKind::Discriminator => true,
            HeadKind::Classification => !first,
            HeadKind::CausalLm | HeadKind::SequenceToSequence | HeadKind::Pooler | HeadKind::None => false,
        };
        if short && needs_all && self.decoder.is_none() {
            let allowed = "classification, pooler or none, or a last group with upsampling = true: this head needs every position";
            return Err(Problem::new("head.kind", "a head on a pooled sequence", allowed));
        }
        Ok(())
    }

    /// Checks a group whose sequence is pooled; keys are relative to it.
    fn check_pooled(&self, group: &Group) -> Result<(), Problem> {
        if self.embedding.positions.kind.is_inside() {
            let allowed = "learned, sinusoidal, axial or no positions, which join the sequence before it is pooled";
            return Err(Problem::new("pooling", "positions inside the attention", allowed));
        }
        let mechanism = group.attention.mechanism();
        if mechanism.is_some_and(|mechanism| mechanism.fills_up()) {
            let found = format!("{} in a pooled group", group.attention.kind.word());
            return Err(Problem::new("attention.kind", found, "a mechanism that needs no sequence of whole blocks, such as softmax"));
        }
        let Some(pooling) = &group.pooling else { return Ok(()) };
        check_size("pooling.stride", pooling.stride)?;
        if pooling.stride < 2 {
            return Err(Problem::new("pooling.stride", pooling.stride.to_string(), "2 or more"));
        }
        if pooling.truncated && !pooling.first_apart {
            return Err(Problem::new("pooling.truncated", "true without a first position apart", "false, or first_apart = true"));
        }
        if !pooling.queries_only {
            return Ok(());
        }
        if !mechanism.is_some_and(|mechanism| mechanism.abilities().pooled_queries) {
            let found = format!("true with {}", group.attention.kind.word());
            let allowed = "false, or softmax or funnel attention: the others have as many queries as keys";
            return Err(Problem::new("pooling.queries_only", found, allowed));
        }
        if !matches!(self.norm.placement, NormPlacement::Post | NormPlacement::None) || self.bottleneck.is_some() {
            let allowed = "false, or layers without a bottleneck whose norms follow the residual";
            return Err(Problem::new("pooling.queries_only", "true with norms before the sub-layers or a bottleneck", allowed));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pooling(first_apart: bool, truncated: bool) -> Pooling {
        Pooling { kind: PoolingKind::Mean, stride: 2, queries_only: false, first_apart, truncated }
    }

    #[test]
    fn half_of_the_positions_are_left_rounded_up() {
        for (length, plain, apart, truncated) in [(37.0, 19.0, 19.0, 19.0), (34.0, 17.0, 18.0, 17.0), (3.0, 2.0, 2.0, 2.0)] {
            assert_eq!(pooling(false, false).length(length), plain);
            assert_eq!(pooling(true, false).length(length), apart);
            assert_eq!(pooling(true, true).length(length), truncated);
        }
        assert!(pooling(false, false).shortens(2.0) && !pooling(false, false).shortens(1.0) && !pooling(true, true).shortens(2.0));
    }
}
