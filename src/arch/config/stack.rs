//! Stacks of layers and their norms.

use serde::{Deserialize, Serialize};

use super::super::attention::Attention;
use super::super::feed_forward::FeedForward;
use super::super::latents::Latents;
use super::super::pooling::Pooling as SequencePooling;
use crate::units::Ratio;

/// A stack of layers: all alike, or in groups.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Stack {
    /// Number of layers, L.
    pub layers: u64,
    /// One set of parameters for all layers (ALBERT).
    #[serde(default)]
    pub shared: bool,
    /// Whether backward computes each layer's input from its output (Gomez et al. 2017).
    #[serde(default)]
    pub reversible: bool,
    /// What becomes of the two streams of reversible layers at the end: concatenated or averaged.
    #[serde(default)]
    pub streams: Streams,
    /// Trained rows that attend to the input of an encoder and take its place (Perceiver).
    #[serde(default)]
    pub latents: Option<Latents>,
    /// Dropout rate of what leaves the stack, after its last norm if there is one.
    #[serde(default)]
    pub output_dropout: Ratio,
    /// Whether layers of a decoder without an encoder hold the parameters of attention to one, unused (BART's decoder as a
    /// language model).
    #[serde(default)]
    pub idle_cross_attention: bool,
    /// Layers that differ from the rest, in the order they run; what a group does not say is as in the model.
    #[serde(default)]
    pub groups: Vec<Group>,
}

/// What becomes of the two streams of reversible layers at the end of their stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Streams {
    /// Side by side, so that what follows is twice as wide (Kitaev et al. 2020, as released).
    #[default]
    Concatenated,
    /// Their mean.
    Averaged,
}

/// Layers of a stack that are alike.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Number of layers; 0 where the group does no more than upsample.
    pub layers: u64,
    /// How often each of them runs in a row, with the same parameters.
    #[serde(default = "one")]
    pub repeats: u64,
    /// How the sequence is shortened before them.
    #[serde(default)]
    pub pooling: Option<SequencePooling>,
    /// Whether a pooled sequence is brought back to its whole length before them, and what had that length last is added.
    #[serde(default)]
    pub upsampling: bool,
    /// How positions mix in these layers.
    pub attention: Attention,
    /// The position-wise network of these layers.
    pub feed_forward: FeedForward,
}

/// Normalisation.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Norm {
    /// layer, rms, layer_offset, rms_offset or affine.
    pub kind: NormKind,
    /// post, pre, sandwich, parallel, parallel_shared or none.
    pub placement: NormPlacement,
    /// Whether the norms have a weight.
    #[serde(default = "yes")]
    pub weight: bool,
    /// Whether layer norms have a bias.
    #[serde(default = "yes")]
    pub bias: bool,
    /// Whether a norm follows the last layer; where not said, it does if the placement is pre.
    #[serde(rename = "final", default)]
    pub last: Option<bool>,
}

/// The kinds of norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NormKind {
    /// Mean and variance (Ba et al. 2016).
    Layer,
    /// Mean and variance in separate operations, with a weight alone (Cohere).
    LayerSeparate,
    /// Root mean square (Zhang and Sennrich 2019).
    Rms,
    /// Mean and variance without a bias, its weight counted from one and applied apart (x-transformers).
    LayerOffset,
    /// Root mean square, its weight counted from one (Gemma).
    RmsOffset,
    /// No norm but its weight and bias (Sun et al. 2020).
    Affine,
}

/// Where a norm stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NormPlacement {
    /// After the residual sum (Vaswani et al. 2017).
    Post,
    /// Before the sub-layer (GPT-2).
    Pre,
    /// Before the sub-layer, and once more after it (Gemma 2).
    Sandwich,
    /// Attention and feed-forward network side by side, each behind a norm of its own (GPT-NeoX).
    Parallel,
    /// Attention and feed-forward network side by side behind one norm (Wang and Komatsuzaki 2021, GPT-J).
    ParallelShared,
    /// Nowhere in a layer.
    None,
}

impl Norm {
    /// Whether a norm follows the last layer.
    pub(in crate::arch) fn follows(&self) -> bool {
        self.last.unwrap_or(!matches!(self.placement, NormPlacement::Post | NormPlacement::None))
    }
}

fn one() -> u64 {
    1
}

fn yes() -> bool {
    true
}
