//! Attention mechanisms, one file each. All share the projections in and out; between them each mixes positions its
//! own way.

mod blocks;

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use super::Context;
use super::config::{DropoutMask, LinearComponent, Model, PositionKind};
use super::linear::{self as linear_layer, Layer};
use crate::document::Problem;
use crate::ledger::{Component, Keeps, Tape, Tensor};
use crate::units::Ratio;

/// A mechanism: the settings of its table in a model file, and what it writes.
pub(super) trait Mechanism: Debug {
    /// What it can be combined with.
    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    /// Checks its settings; keys are relative to the attention table.
    fn check(&self, _model: &Model, _attention: &Attention) -> Result<(), Problem> {
        Ok(())
    }

    /// The longest sequence that its parameters allow, and the key that says so.
    fn longest(&self, _model: &Model) -> Option<(u64, &'static str)> {
        None
    }

    /// Inputs and outputs of its linear layers.
    fn linear_sizes(&self, model: &Model, attention: &Attention) -> Vec<(u64, u64)> {
        let head_width = attention.head_width(model.width);
        let heads = if attention.fused_projection { attention.heads + 2 * attention.groups() } else { attention.heads };
        vec![(model.width, heads * head_width)]
    }

    /// Whether it looks at a part of the pairs of positions to save what full attention takes.
    fn partial(&self) -> bool {
        false
    }

    /// What a reader should know of it at a length.
    fn note(&self, _length: u64) -> Option<String> {
        None
    }

    /// The length that the whole model fills sequences up to, where the mechanism needs whole blocks.
    fn padded_length(&self, length: u64) -> u64 {
        length
    }

    /// Whether the whole model fills sequences up to whole blocks of it; a prime length is none.
    fn fills_up(&self) -> bool {
        const PRIME: u64 = 1_000_003;
        self.padded_length(PRIME) != PRIME
    }

    /// Tensors that all layers of a stack share, made before them; `before` are those of the layers before a pooling.
    fn shared(&self, _tape: &mut Tape, _context: &Context<'_>, _before: &[Tensor]) -> Vec<Tensor> {
        Vec::new()
    }

    /// Whether the output projection follows.
    fn projects_out(&self) -> bool {
        true
    }

    /// Writes projections and the mixing of positions, up to the output projection.
    fn write(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor;
}

/// What a mechanism can be combined with.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Abilities {
    /// It can hide later positions, so it can stand in a decoder.
    pub causal: bool,
    /// Rotary positions or a relative bias reach its scores.
    pub positions: bool,
    /// Rotary positions reach its queries and keys, where a relative bias has no scores to reach.
    pub rotary: bool,
    /// Fewer key and value heads than query heads.
    pub grouped_heads: bool,
    /// Queries, keys and values from one matrix.
    pub fused_projection: bool,
    /// One kernel that keeps the scores out of memory.
    pub fused_kernel: bool,
    /// Keys and values of earlier positions can be kept for the ones to come.
    pub cache: bool,
    /// Fewer queries than keys, where a group of layers pools its queries alone.
    pub pooled_queries: bool,
}

mod kernel;
mod relative;

/// Declares the mechanisms: for each a module, whose `Settings` are its table in a model file.
macro_rules! mechanisms {
    ($($(#[$doc:meta])* $kind:ident: $module:ident = $key:literal),* $(,)?) => {
        $(mod $module;)*

        /// The attention mechanisms.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum AttentionKind {
            $($(#[$doc])* $kind),*
        }

        impl AttentionKind {
            /// Every mechanism.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// The word in files, which is also the key of the settings.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$kind => $key),*
                }
            }
        }

        /// Attention.
        #[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
        #[serde(deny_unknown_fields)]
        pub struct Attention {
            /// The mechanism.
            pub kind: AttentionKind,
            /// Query heads, h.
            pub heads: u64,
            /// Key and value heads, g, where fewer than query heads.
            #[serde(default)]
            pub key_value_heads: Option<u64>,
            /// Width of a head where it is not width / heads.
            #[serde(default)]
            pub head_width: Option<u64>,
            /// Whether the projections have a bias.
            #[serde(default = "yes")]
            pub bias: bool,
            /// Whether the output projection has a bias, where the others differ.
            #[serde(default)]
            pub output_bias: Option<bool>,
            /// Queries, keys and values from one matrix (GPT-2), which matters to a low-rank layer.
            #[serde(default)]
            pub fused_projection: bool,
            /// Whether key and value heads are picked out of that matrix's product by their numbers, which copies them (Falcon).
            #[serde(default)]
            pub picked_heads: bool,
            /// Whether eager attention copies key and value heads for each query head, or multiplies all query heads of a key head
            /// with it at once (GPT-BigCode).
            #[serde(default = "yes")]
            pub repeated_heads: bool,
            /// Whether scores are divided by the square root of the head width (T5: not).
            #[serde(default = "yes")]
            pub scaled: bool,
            /// What is divided by it: scores, or queries before their product with the keys.
            #[serde(default)]
            pub scale: Scale,
            /// How a mask is laid over the scores.
            #[serde(default)]
            pub mask: Mask,
            /// Whether queries, keys and values are cut at a limit (OLMo).
            #[serde(default)]
            pub clip: bool,
            /// Whether scores are kept below a limit by a hyperbolic tangent (Gemma 2).
            #[serde(default)]
            pub soft_cap: bool,
            /// Dropout rate of the attention weights; the model's where not said.
            #[serde(default)]
            pub dropout: Option<Ratio>,
            /// Dropout rate of its output; the model's where not said.
            #[serde(default)]
            pub output_dropout: Option<Ratio>,
            /// How the mask of that dropout is kept; as the model's where not said.
            #[serde(default)]
            pub dropout_mask: Option<DropoutMask>,
            /// Whether a softmax is an exponential and a quotient with a backward pass each (JAX), not one kernel.
            #[serde(default)]
            pub separate_softmax: bool,
            /// eager or fused.
            #[serde(default)]
            pub implementation: Implementation,
            $(
                $(#[$doc])*
                #[serde(default)]
                pub $module: Option<$module::Settings>,
            )*
        }

        impl Attention {
            /// The mechanism's settings; none only if its table is missing.
            pub(super) fn mechanism(&self) -> Option<&dyn Mechanism> {
                match self.kind {
                    $(AttentionKind::$kind => self.$module.as_ref().map(|settings| settings as &dyn Mechanism)),*
                }
            }
        }
    };
}

mechanisms! {
    /// softmax(Q K^T) V (Vaswani et al. 2017).
    Softmax: softmax = "softmax",
    /// Keys and values projected to a fixed length (Wang et al. 2020).
    Linformer: linformer = "linformer",
    /// Queries that are their keys, sorted by hash and cut into chunks (Kitaev et al. 2020).
    Reformer: reformer = "reformer",
    /// Blocks that see themselves and their neighbours (Liu et al. 2018).
    Local: local = "local",
    /// Blocks that see neighbours, random ones and two global ones (Zaheer et al. 2020).
    Bigbird: bigbird = "bigbird",
    /// A band of positions and global tokens (Beltagy et al. 2020).
    Longformer: longformer = "longformer",
    /// Rows or columns of a grid of positions (Ho et al. 2019).
    Axial: axial = "axial",
    /// Patterns that reach every earlier position in two steps (Child et al. 2019).
    Sparse: sparse = "sparse",
    /// A band of positions (Beltagy et al. 2020, Jiang et al. 2023).
    SlidingWindow: sliding_window = "sliding_window",
    /// Distances in the scores, and a memory of earlier segments (Dai et al. 2019).
    TransformerXl: transformer_xl = "transformer_xl",
    /// Transformer-XL's attention with distances on both sides (Yang et al. 2019).
    Xlnet: xlnet = "xlnet",
    /// Scores from each position alone, or trained patterns (Tay et al. 2021).
    Synthesizer: synthesizer = "synthesizer",
    /// Blocks that see themselves and one that a learned sorting puts beside them (Tay et al. 2020).
    Sinkhorn: sinkhorn = "sinkhorn",
    /// Clusters of near queries and keys, by k-means (Roy et al. 2020).
    Routing: routing = "routing",
    /// Keys and values shortened by a strided convolution (Liu et al. 2018).
    MemoryCompressed: memory_compressed = "memory_compressed",
    /// Products of feature maps in place of a softmax (Katharopoulos et al. 2020).
    Linear: linear = "linear",
    /// Random features of a softmax kernel (Choromanski et al. 2021).
    Performer: performer = "performer",
    /// A sequence of fixed length that packs the input and is unpacked by it (Ma et al. 2021).
    Luna: luna = "luna",
    /// Trained points that attend to the input before it attends to them (Lee et al. 2019).
    InducedSet: induced_set = "induced_set",
    /// Landmarks and a pseudo-inverse between them (Xiong et al. 2021).
    Nystrom: nystrom = "nystrom",
    /// The chance that query and key share a bucket of a hash (Zeng et al. 2021).
    Yoso: yoso = "yoso",
    /// Scores of distances and segments, for queries that may be pooled (Dai et al. 2020).
    Funnel: funnel = "funnel",
    /// No attention: a Fourier transform over positions and columns (Lee-Thorp et al. 2022).
    Fnet: fnet = "fnet",
    /// No attention: a state-space layer whose matrices depend on the position (Gu and Dao 2023).
    Mamba: mamba = "mamba",
}

fn yes() -> bool {
    true
}

/// How softmax attention is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Implementation {
    /// Scores and weights are tensors in memory.
    #[default]
    Eager,
    /// One kernel; they never reach memory (FlashAttention).
    Fused,
}

/// What the scale of the scores is laid on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// The scores.
    #[default]
    Scores,
    /// The scores, by a number that lies in memory and is kept (GPT-2).
    ScoresByTensor,
    /// The queries.
    Queries,
    /// The scores, in the kernel of the softmax (Megatron-LM).
    Softmax,
}

/// How a mask is laid over the scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mask {
    /// Added to them, or selected by; nothing is kept.
    #[default]
    Added,
    /// One byte for each key of each sequence, which backward needs (DistilBERT).
    Kept,
    /// One byte for each pair of positions of each sequence, made once for all layers (MPT).
    Square,
    /// Added, and the sum raised to the least number there is: the maximum keeps its input (OPT).
    Floored,
    /// Laid over them in the kernel of the softmax (Megatron-LM).
    Softmax,
}

/// What one attention layer works on.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    /// The queries' side.
    pub x: Tensor,
    /// The keys' and values' side; `x` itself in self-attention.
    pub memory: Tensor,
    /// Cosines and sines, for rotary positions.
    pub rotary: Option<Tensor>,
    /// A bias of the scores, for relative positions in self-attention.
    pub bias: Option<Tensor>,
    /// What the mechanism made for all layers of the stack.
    pub shared: &'a [Tensor],
    /// Whether a position sees only those before it.
    pub causal: bool,
    /// What else queries, keys and values are projected from.
    pub beside: Option<Beside>,
}

/// What queries, keys and values are projected from, where that is not the stream.
#[derive(Clone, Copy)]
pub(super) struct Beside {
    /// The side of queries and keys.
    pub keys: Tensor,
    /// The values' side.
    pub values: Tensor,
    /// Columns of the values' side.
    pub width: u64,
}

impl Attention {
    /// Looks at all pairs from here on, if it looked at a part of them; returns the word for what it was.
    pub(super) fn complete(&mut self) -> Option<&'static str> {
        let partial = self.mechanism().is_some_and(Mechanism::partial);
        partial.then(|| {
            self.softmax = Some(softmax::Settings::default());
            std::mem::replace(&mut self.kind, AttentionKind::Softmax).word()
        })
    }

    /// Width of a head.
    pub(super) fn head_width(&self, width: u64) -> u64 {
        self.head_width.unwrap_or(width / self.heads)
    }

    /// Key and value heads.
    pub(super) fn groups(&self) -> u64 {
        self.key_value_heads.unwrap_or(self.heads)
    }
}

impl Context<'_> {
    /// Dropout rate of the attention weights.
    fn attention_dropout(&self) -> f64 {
        self.attention.dropout.unwrap_or(self.model.dropout).value()
    }
}

/// Writes one attention layer from hidden states to hidden states, without its residual.
pub(super) fn write(tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
    tape.component(Component::Attention);
    // Between encoder and decoder attention is softmax attention, whatever mixes positions elsewhere.
    let cross = softmax::Settings {};
    let mechanism: &dyn Mechanism = match context.attention.mechanism() {
        Some(mechanism) if inputs.x == inputs.memory || context.pools_queries() => mechanism,
        _ => &cross,
    };
    let masks = context.attention.dropout_mask.unwrap_or(context.model.dropout_mask);
    let mixed = tape.with_dropout_masks(masks.bytes(), |tape| {
        tape.with_separate_softmax(context.attention.separate_softmax, |tape| tape.split(|tape| mechanism.write(tape, context, inputs)))
    });
    if !mechanism.projects_out() {
        return mixed;
    }
    let attention = context.attention;
    let out = Layer {
        name: "output projection",
        group: LinearComponent::Output,
        inputs: attention.heads * attention.head_width(context.model.width),
        outputs: context.model.width,
        bias: attention.output_bias.unwrap_or(attention.bias),
    };
    let out = linear_layer::write(tape, context, out, mixed);
    let elements = tape.tokens() * context.model.width as f64;
    if out.elements > elements { tape.expand("cut padding", out, elements) } else { out }
}

/// A projection of `x` to `heads` heads.
fn project(tape: &mut Tape, context: &Context<'_>, name: &'static str, heads: u64, x: Tensor) -> Tensor {
    linear_layer::write(tape, context, projection(context, name, heads), x)
}

/// A projection that is not used at this length or with these settings: its parameters are there.
fn declare(tape: &mut Tape, context: &Context<'_>, name: &'static str) {
    linear_layer::declare(tape, context, projection(context, name, context.attention.heads));
}

fn projection(context: &Context<'_>, name: &'static str, heads: u64) -> Layer {
    let attention = context.attention;
    let outputs = heads * attention.head_width(context.model.width);
    let group = match name {
        "query projection" => LinearComponent::Query,
        "key projection" => LinearComponent::Key,
        "value projection" => LinearComponent::Value,
        "query-key-value projection" => LinearComponent::QueryKeyValue,
        _ => LinearComponent::Attention,
    };
    Layer { name, group, inputs: context.model.width, outputs, bias: attention.bias }
}

/// Queries, keys and values; from one matrix if the model says so and the inputs allow it.
fn queries_keys_values(tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> [Tensor; 3] {
    let attention = context.attention;
    let (heads, groups) = (attention.heads, attention.groups());
    let positions = &context.model.embedding.positions;
    let rotary = rotary(context, inputs);
    let clip = |tape: &mut Tape, x: Tensor| {
        if attention.clip { tape.operation("clip", 1.0, &[x], x.elements, Keeps::These(&[x])) } else { x }
    };
    let [query, key, value] = if attention.fused_projection && inputs.x == inputs.memory {
        let all = project(tape, context, "query-key-value projection", heads + 2 * groups, inputs.x);
        let all = clip(tape, all);
        let share = |tape: &mut Tape, part: u64| tape.view(all, part as f64 / (heads + 2 * groups) as f64);
        // Values of several sequences are copied to lie side by side for the product;
        // without rotations so are queries and keys, and the three copies take what the whole takes.
        let part = |tape: &mut Tape, copied: bool| {
            let x = share(tape, groups);
            if attention.picked_heads {
                let number = tape.indices(1.0);
                return tape.operation("pick key or value head", 0.0, &[x], x.elements, Keeps::These(&[number]));
            }
            if copied { tape.pass("copy values", x) } else { x }
        };
        let several = context.batch.sequences > 1.0;
        let query = share(tape, heads);
        let query = if attention.picked_heads && rotary.is_none() && several { tape.pass("copy queries", query) } else { query };
        [query, part(tape, false), part(tape, rotary.is_some() && groups == heads && heads > 1 && several)]
    } else {
        let parts = [
            project(tape, context, "query projection", heads, inputs.x),
            project(tape, context, "key projection", groups, inputs.memory),
            match inputs.beside {
                Some(beside) => {
                    let layer = Layer { inputs: beside.width, ..projection(context, "value projection", groups) };
                    linear_layer::write(tape, context, layer, beside.values)
                }
                None => project(tape, context, "value projection", groups, inputs.memory),
            },
        ];
        parts.map(|x| clip(tape, x))
    };
    let query = if attention.scaled && attention.scale == Scale::Queries { tape.pass("scale", query) } else { query };
    let rotate = |tape: &mut Tape, x: Tensor| {
        let Some(tables) = rotary else { return x };
        let tables = if positions.interleaved { tape.pass("spread rotary tables", tables) } else { tables };
        tape.rotate(x, tables)
    };
    [rotate(tape, query), rotate(tape, key), value]
}

/// The tables that turn queries and keys, where positions are rotary.
fn rotary(context: &Context<'_>, inputs: &Inputs) -> Option<Tensor> {
    inputs.rotary.filter(|_| context.model.embedding.positions.kind == PositionKind::Rotary)
}
