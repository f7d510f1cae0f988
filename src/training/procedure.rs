//! How a step computes and holds what it does, apart from how large it is.

use std::borrow::Cow;

use serde::Deserialize;

use super::{Optimizer, Parallel, Training};
use crate::arch::{Model, Products};
use crate::document::Problem;
use crate::hardware::Precision;
use crate::ledger::Rerun;

/// What is run again in the backward pass to save memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Checkpointing {
    /// Nothing.
    #[default]
    None,
    /// Every layer, from its input.
    Full,
    /// The core of attention.
    Selective,
    /// So many layers at a time, from the input of the first.
    EveryN,
}

impl Checkpointing {
    /// Every mode.
    pub const ALL: [Self; 4] = [Self::None, Self::Full, Self::Selective, Self::EveryN];

    /// The word in files and outputs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Full => "full",
            Self::Selective => "selective",
            Self::EveryN => "every_n",
        }
    }

    /// What runs again; `every` layers at a time where the mode asks for it.
    #[must_use]
    pub fn rerun(self, every: Option<u64>) -> Rerun {
        match self {
            Self::None => Rerun::Nothing,
            Self::Full => Rerun::Layers,
            Self::Selective => Rerun::AttentionCore,
            Self::EveryN => Rerun::LayersOf(every.unwrap_or(1)),
        }
    }
}

/// The model as a step of this precision computes it: in fp8 the products of its linear layers are.
///
/// # Errors
/// The model's linear layers are of kinds that fp8 does not go with.
pub fn in_precision(model: &Model, precision: Precision) -> Result<Cow<'_, Model>, Problem> {
    match precision {
        Precision::Fp8 => model.with_products(Products::Fp8).map(Cow::Owned),
        Precision::Fp32 | Precision::Tf32 | Precision::Fp16 | Precision::Bf16 => Ok(Cow::Borrowed(model)),
    }
}

/// How a step computes and holds what it does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Procedure {
    /// Number format of the step.
    pub precision: Precision,
    /// What updates the weights.
    pub optimizer: Optimizer,
    /// Number format of gradients, where it is not that of the step.
    pub gradient_precision: Option<Precision>,
    /// Whether an fp32 copy of the weights is held; where it is not said, it is in 16 bits.
    pub master_weights: Option<bool>,
    /// What backward runs again.
    pub rerun: Rerun,
    /// How the step is divided.
    pub parallel: Parallel,
}

impl Procedure {
    /// Adam on one device, nothing run again.
    #[must_use]
    pub fn plain(precision: Precision) -> Self {
        Self {
            precision,
            optimizer: Optimizer::default(),
            gradient_precision: None,
            master_weights: None,
            rerun: Rerun::default(),
            parallel: Parallel::default(),
        }
    }
}

impl Training {
    /// How its steps compute and hold what they do.
    #[must_use]
    pub fn procedure(&self) -> Procedure {
        Procedure {
            precision: self.precision,
            optimizer: self.optimizer,
            gradient_precision: self.gradient_precision,
            master_weights: self.master_weights,
            rerun: self.checkpointing.rerun(self.checkpoint_every),
            parallel: Parallel {
                data: self.data_parallel,
                tensor: self.tensor_parallel,
                sequence: self.sequence_parallel,
                pipeline: self.pipeline_parallel,
                interleaving: self.interleaving,
                context: self.context_parallel,
                expert: self.expert_parallel,
                zero: self.zero,
                offload: self.offload,
            },
        }
    }
}
