//! The position-wise network, one file a kind.

mod gated;
mod mixture;
mod plain;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::Context;
use super::config::LinearComponent;
use super::linear::{self, Layer};
use crate::document::Problem;
use crate::ledger::{Activation, Component, Tape, Tensor};
use crate::units::Ratio;

pub use mixture::{Combine, Mixture};

/// The position-wise network.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FeedForward {
    /// plain, gated, mixture or none.
    #[serde(default)]
    pub kind: FeedForwardKind,
    /// Inner width, f; of each expert in a mixture. Needed unless there is none.
    #[serde(default)]
    pub width: u64,
    /// Networks in a row in each layer, each with its residual and norm (MobileBERT: 4).
    #[serde(default = "one")]
    pub count: u64,
    /// Activation function; that of a state-space layer too.
    pub activation: Activation,
    /// Whether the linear layers have a bias.
    #[serde(default = "yes")]
    pub bias: bool,
    /// Dropout rate after the activation.
    #[serde(default)]
    pub dropout: Ratio,
    /// Both projections of a gated network from one matrix (Phi-3).
    #[serde(default)]
    pub fused_projection: bool,
    /// Dropout rate of its output; the model's where not said.
    #[serde(default)]
    pub output_dropout: Option<Ratio>,
    /// Settings of a mixture.
    #[serde(default)]
    pub mixture: Option<Mixture>,
}

/// The kinds of feed-forward networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedForwardKind {
    /// Two linear layers with an activation between.
    #[default]
    Plain,
    /// An activation of one projection gates another (Shazeer 2020).
    Gated,
    /// Networks of which each position passes through a few (Shazeer et al. 2017).
    Mixture,
    /// None: layers of one sub-layer (Mamba).
    None,
}

fn one() -> u64 {
    1
}

fn yes() -> bool {
    true
}

impl FeedForward {
    /// Checks it; keys are relative to its table.
    pub(super) fn check(&self) -> Result<(), Problem> {
        super::validate::check_size("width", if self.kind == FeedForwardKind::None { 1 } else { self.width })?;
        if !(1..=64).contains(&self.count) {
            return Err(Problem::new("count", self.count.to_string(), "1 to 64"));
        }
        super::validate::check_rate("dropout", self.dropout.value())?;
        super::validate::check_rate("output_dropout", self.output_dropout.unwrap_or_default().value())?;
        match (&self.mixture, self.kind) {
            (None, FeedForwardKind::Mixture) => Err(Problem::new("mixture", "nothing", "a table with the settings of mixture")),
            (Some(mixture), FeedForwardKind::Mixture) => mixture.check().map_err(|problem| problem.under("mixture")),
            _ => Ok(()),
        }
    }

    /// The settings of the mixture that it is.
    pub(super) fn experts(&self) -> Option<&Mixture> {
        self.mixture.as_ref().filter(|_| self.kind == FeedForwardKind::Mixture)
    }

    /// The networks of `layers` layers: all alike, or a mixture in every n-th layer and an expert's like in the others.
    pub(super) fn of_layers(&self, layers: u64) -> Vec<(u64, Cow<'_, Self>)> {
        let Some(mixture) = self.experts() else { return vec![(layers, Cow::Borrowed(self))] };
        let sparse = layers / mixture.every.max(1);
        let kind = if mixture.gated { FeedForwardKind::Gated } else { FeedForwardKind::Plain };
        let dense = Self { kind, width: mixture.dense_width.unwrap_or(self.width), mixture: None, ..self.clone() };
        let both = [(layers - sparse, Cow::Owned(dense)), (sparse, Cow::Borrowed(self))];
        both.into_iter().filter(|(layers, _)| *layers > 0).collect()
    }
}

/// Writes the network from hidden states to hidden states, without its residual.
pub(super) fn write(tape: &mut Tape, context: &Context<'_>, x: Tensor) -> Tensor {
    tape.component(Component::FeedForward);
    let config = context.feed_forward;
    match config.experts() {
        Some(mixture) => mixture::write(tape, context, mixture, x),
        None => network(tape, context, config.kind == FeedForwardKind::Gated, config.width, x),
    }
}

/// Writes the losses that mixtures add to that of the model, over all `layers` of a stack that have one.
pub(super) fn auxiliary_loss(tape: &mut Tape, mixture: &Mixture, layers: u64, sequences: f64) {
    tape.component(Component::FeedForward);
    mixture::auxiliary_loss(tape, mixture, layers as f64, sequences);
}

/// One network of a width.
fn network(tape: &mut Tape, context: &Context<'_>, gated: bool, width: u64, x: Tensor) -> Tensor {
    let hidden = tape.split(|tape| {
        let hidden = if gated { gated::write(tape, context, width, x) } else { plain::write(tape, context, width, x) };
        tape.dropout(hidden, context.feed_forward.dropout.value())
    });
    linear::write(tape, context, layer(context, "second feed-forward layer", width, context.model.width), hidden)
}

fn layer(context: &Context<'_>, name: &'static str, inputs: u64, outputs: u64) -> Layer {
    Layer { name, group: LinearComponent::FeedForward, inputs, outputs, bias: context.feed_forward.bias }
}
