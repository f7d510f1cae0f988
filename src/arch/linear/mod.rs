//! Linear layers, one file a kind. A layer is dense or low-rank; each of its matrices may be pruned, quantised, or
//! multiplied in 8 bits; an adapter may stand beside it. Each is a setting of its own, and all combine.

mod adapter;
mod blocks;
mod dense;
mod low_rank;
mod matrix;
mod n_of_m;
mod products;
mod quantised;
mod unstructured;

use serde::{Deserialize, Serialize};

use super::Context;
use super::config::{Linear, LinearComponent};
use crate::ledger::{Tape, Tensor};

pub(super) use adapter::write as adapt;

/// The settings of each kind, and what each says to a reader.
pub mod settings {
    pub use super::adapter::Adapter;
    pub use super::blocks::Blocks;
    pub use super::n_of_m::NOfM;
    pub use super::products::Products;
    pub use super::quantised::Quantised;
    pub use super::unstructured::Unstructured;
}

/// The kinds of linear layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
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
    let out = match context.model.linear.rank_of(&layer) {
        Some(rank) => low_rank::write(tape, context, &layer, rank as f64, x),
        None => dense::write(tape, context, &layer, x),
    };
    adapt(tape, context, &layer, x, out)
}

impl LinearComponent {
    /// Whether a layer of `group` is one of these.
    fn holds(self, group: Self) -> bool {
        let attention = matches!(group, Self::Attention | Self::Query | Self::Key | Self::Value | Self::QueryKeyValue | Self::Output);
        self == group || (self == Self::Attention && attention)
    }
}

/// Makes the parameters of a linear layer that is not used.
pub(super) fn declare(tape: &mut Tape, context: &Context<'_>, layer: Layer) {
    match context.model.linear.rank_of(&layer) {
        Some(rank) => drop(low_rank::weights(tape, &layer, rank as f64)),
        None => drop(dense::weights(tape, &layer)),
    }
}

/// Whether `layer` is among the named components, or among `usual` where none are named.
fn among(components: Option<&Vec<LinearComponent>>, usual: &[LinearComponent], layer: &Layer) -> bool {
    components.map_or(usual, Vec::as_slice).iter().any(|component| component.holds(layer.group))
}

/// The groups that a factorisation or a pruning touches where none are named: all linear layers but the vocabulary
/// projection and the transform before it.
const INSIDE: &[LinearComponent] = &[LinearComponent::Attention, LinearComponent::FeedForward, LinearComponent::Pooler];

impl Linear {
    /// The groups that are factorised: all linear layers but the vocabulary projection and the transform before it,
    /// as in the authors' own code (Cahyawijaya 2021: encoder and pooler of BERT).
    pub(super) fn groups(&self) -> &[LinearComponent] {
        self.components.as_deref().unwrap_or(INSIDE)
    }

    /// Whether any layer is asked to be low-rank.
    #[must_use]
    pub fn is_low_rank(&self) -> bool {
        self.rank.is_some() || self.ratio.is_some()
    }

    /// Whether a layer is anything but dense, so that it cannot be the token table.
    pub(super) fn changes(&self, layer: &Layer) -> bool {
        self.rank_of(layer).is_some()
            || self.n_of_m.as_ref().is_some_and(|kind| kind.touches(layer))
            || self.blocks.as_ref().is_some_and(|kind| kind.touches(layer))
            || self.unstructured.as_ref().is_some_and(|kind| kind.touches(layer))
            || self.quantised.as_ref().is_some_and(|kind| kind.touches(layer))
    }

    /// Whether a layer is one matrix in the precision of the step.
    pub(super) fn is_plain(&self, layer: &Layer) -> bool {
        !self.changes(layer) && !self.products.is_some_and(|products| products.touches(layer))
    }

    /// What a reader should know of the kinds that are set.
    pub(super) fn notes(&self) -> Vec<String> {
        let notes = [
            self.n_of_m.as_ref().map(settings::NOfM::note),
            self.blocks.as_ref().map(settings::Blocks::note),
            self.unstructured.as_ref().map(settings::Unstructured::note),
            self.quantised.as_ref().filter(|_| self.adapter.is_none()).map(|_| quantised::FROZEN.to_string()),
            self.adapter.as_ref().map(settings::Adapter::note),
        ];
        notes.into_iter().flatten().collect()
    }

    /// The rank of a layer's factors, or none if it stays dense: because its group is not factorised, or because the
    /// rank is not below m n / (m + n), where two factors would cost more than one matrix.
    pub(super) fn rank_of(&self, layer: &Layer) -> Option<u64> {
        if !among(self.components.as_ref(), INSIDE, layer) {
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

    #[test]
    fn attention_holds_each_of_its_projections() {
        use LinearComponent::{Attention, FeedForward, Key, Query};
        assert!(Attention.holds(Query) && Attention.holds(Attention) && Query.holds(Query));
        assert!(!Query.holds(Attention) && !Query.holds(Key) && !Attention.holds(FeedForward));
    }
}
