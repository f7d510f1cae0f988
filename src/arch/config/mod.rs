//! The description of a model, as a file says it.

mod embedding;
mod head;
mod linear;
mod stack;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::attention::Attention;
use super::bottleneck::Bottleneck;
use super::feed_forward::FeedForward;
use super::prune::Prune;
use crate::source::Source;
use crate::units::Ratio;

pub use embedding::*;
pub use head::*;
pub use linear::*;
pub use stack::*;

/// A model.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Version of the file format, 1.
    pub schema: u32,
    /// The name that outputs carry.
    #[serde(skip_serializing)]
    pub name: String,
    /// One line for people.
    #[serde(default, skip_serializing)]
    pub title: Option<String>,
    /// What a reader should know.
    #[serde(default, skip_serializing)]
    pub notes: Option<String>,
    /// Key of the source of the sizes in `sources`.
    #[serde(skip_serializing)]
    pub source: String,
    /// Width of a hidden state, d.
    pub width: u64,
    /// Dropout rate of embeddings and of what joins the residual stream.
    #[serde(default)]
    pub dropout: Ratio,
    /// How a dropout's mask is kept for backward.
    #[serde(default)]
    pub dropout_mask: DropoutMask,
    /// Tables that turn tokens into vectors.
    pub embedding: Embedding,
    /// Layers that see the whole input.
    #[serde(default)]
    pub encoder: Option<Stack>,
    /// Layers that see what came before, and the encoder if there is one.
    #[serde(default)]
    pub decoder: Option<Stack>,
    /// How positions mix.
    pub attention: Attention,
    /// The position-wise network.
    pub feed_forward: FeedForward,
    /// Narrow layers, where they are narrower inside than between.
    #[serde(default)]
    pub bottleneck: Option<Bottleneck>,
    /// Normalisation.
    pub norm: Norm,
    /// The kind of the linear layers.
    #[serde(default)]
    pub linear: Linear,
    /// Whole heads, neurons and layers that are taken out.
    #[serde(default)]
    pub prune: Option<Prune>,
    /// What that did.
    #[serde(skip)]
    pub pruned: Option<String>,
    /// What turns hidden states into a loss.
    pub head: Head,
    /// Sources by key.
    #[serde(skip_serializing)]
    pub sources: BTreeMap<String, Source>,
}

/// How a dropout's mask is kept for backward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DropoutMask {
    /// One byte an element, as kernels on a GPU do.
    #[default]
    Byte,
    /// A number of 4 bytes that the element is multiplied by, as PyTorch does on a CPU and Flax in its attention.
    Fp32,
}

impl DropoutMask {
    pub(in crate::arch) fn bytes(self) -> f64 {
        match self {
            Self::Byte => 1.0,
            Self::Fp32 => 4.0,
        }
    }
}
