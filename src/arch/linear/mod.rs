//! Linear layers, one file a kind.

mod dense;
mod low_rank;

use serde::Deserialize;

use super::Context;
use super::config::{Linear, LinearComponent};
use crate::ledger::{Tape, Tensor};

/// The kinds of linear layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinearKind {
    /// One full matrix.
    Dense,
    /// Two factors (Winata et al. 2020).
    LowRank,
}

/// A linear layer to be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layer {
    /// What it does.
    pub name: &'static str,
    /// The group it belongs to.
    pub group: LinearComponent,
    /// Inputs, m.
    pub inputs: u64,
    /// Outputs, n.
    pub outputs: u64,
    /// Whether it has a bias.
    pub bias: bool,
}

/// Writes a linear layer of the kind that the model asks for on `x`, which has `inputs` columns.
pub(super) fn write(tape: &mut Tape, context: &Context<'_>, layer: Layer, x: Tensor) -> Tensor {
    match context.model.linear.rank_of(&layer) {
        Some(rank) => low_rank::write(tape, &layer, rank as f64, x),
        None => dense::write(tape, &layer, x),
    }
}

/// Makes the parameters of a linear layer that is not used.
pub(super) fn declare(tape: &mut Tape, context: &Context<'_>, layer: Layer) {
    match context.model.linear.rank_of(&layer) {
        Some(rank) => drop(low_rank::weights(tape, &layer, rank as f64)),
        None => drop(dense::weights(tape, &layer)),
    }
}

impl Linear {
    /// The groups that are factorised: all linear layers but the vocabulary projection and the transform before it,
    /// as in the authors' own code (Cahyawijaya 2021: encoder and pooler of BERT).
    pub(super) fn groups(&self) -> &[LinearComponent] {
        use LinearComponent::{Attention, FeedForward, Pooler};
        self.components.as_deref().unwrap_or(&[Attention, FeedForward, Pooler])
    }

    /// Whether any layer is asked to be low-rank.
    #[must_use]
    pub fn is_low_rank(&self) -> bool {
        self.rank.is_some() || self.ratio.is_some()
    }

    /// The rank of a layer's factors, or none if it stays dense: because its group is not factorised, or because the
    /// rank is not below m n / (m + n), where two factors would cost more than one matrix.
    pub(super) fn rank_of(&self, layer: &Layer) -> Option<u64> {
        if !self.groups().contains(&layer.group) {
            return None;
        }
        let limit = break_even(layer.inputs, layer.outputs);
        let rank = match (self.rank, self.ratio) {
            (Some(rank), _) => rank,
            (None, Some(ratio)) => (limit.floor() * ratio).floor() as u64,
            (None, None) => return None,
        };
        (rank >= 1 && (rank as f64) < limit).then_some(rank)
    }
}

/// The rank m n / (m + n) at which two factors hold as many weights as one matrix.
pub(super) fn break_even(inputs: u64, outputs: u64) -> f64 {
    let (m, n) = (inputs as f64, outputs as f64);
    m * n / (m + n)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(inputs: u64, outputs: u64) -> Layer {
        Layer { name: "test", group: LinearComponent::Attention, inputs, outputs, bias: true }
    }

    #[test]
    fn a_rank_must_be_below_break_even() {
        let rank = |rank| Linear { rank: Some(rank), ..Linear::default() };
        assert_eq!(rank(383).rank_of(&layer(768, 768)), Some(383));
        assert_eq!(rank(384).rank_of(&layer(768, 768)), None);
        assert_eq!(rank(614).rank_of(&layer(768, 3072)), Some(614));
        assert_eq!(rank(615).rank_of(&layer(768, 3072)), None);
    }

    #[test]
    fn a_ratio_is_of_each_layer_own_limit() {
        let linear = Linear { ratio: Some(0.4), ..Linear::default() };
        assert_eq!(linear.rank_of(&layer(768, 768)), Some(153));
        assert_eq!(linear.rank_of(&layer(768, 3072)), Some(245));
        assert_eq!(Linear::default().rank_of(&layer(768, 768)), None);
    }
}
