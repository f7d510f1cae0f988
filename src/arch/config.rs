//! The description of a model, as a file says it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::attention::Attention;
use super::bottleneck::Bottleneck;
use super::feed_forward::FeedForward;
use super::latents::Latents;
use super::linear::LinearKind;
use super::linear::settings::{Adapter, Blocks, NOfM, Products, Quantised, Unstructured};
use super::pooling::Pooling as SequencePooling;
use super::prune::Prune;
use crate::ledger::Activation;
use crate::source::Source;
use crate::units::Ratio;

/// A model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Version of the file format, 1.
    pub schema: u32,
    /// The name that outputs carry.
    pub name: String,
    /// One line for people.
    #[serde(default)]
    pub title: Option<String>,
    /// What a reader should know.
    #[serde(default)]
    pub notes: Option<String>,
    /// Key of the source of the sizes in `sources`.
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
    pub sources: BTreeMap<String, Source>,
}

/// How a dropout's mask is kept for backward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropoutMask {
    /// One byte an element, as kernels on a GPU do.
    #[default]
    Byte,
    /// A number of 4 bytes that the element is multiplied by, as PyTorch does on a CPU and Flax in its attention.
    Fp32,
}

impl DropoutMask {
    pub(super) fn bytes(self) -> f64 {
        match self {
            Self::Byte => 1.0,
            Self::Fp32 => 4.0,
        }
    }
}

/// Token, position and segment tables.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedding {
    /// tokens, vectors or patches.
    #[serde(default)]
    pub kind: EmbeddingKind,
    /// Rows of the token table, V; needed unless patches take its place.
    #[serde(default)]
    pub vocabulary: u64,
    /// The patches of an image, for that kind; their number is the length of the sequence.
    #[serde(default)]
    pub patches: Option<Patches>,
    /// Columns of the tables where they differ from the model's width (ALBERT).
    #[serde(default)]
    pub width: Option<u64>,
    /// Dropout rate of the sum of the tables; the model's where not said.
    #[serde(default)]
    pub dropout: Option<Ratio>,
    /// Whether token vectors are multiplied by a number before anything joins them (Gemma).
    #[serde(default)]
    pub scaled: bool,
    /// Whether the map from narrow tables to the model's width has a bias (OPT: not).
    #[serde(default = "yes")]
    pub projection_bias: bool,
    /// Whether a linear layer leads from the tables to the model's width; it does where not said if the widths differ.
    #[serde(default)]
    pub projected: Option<bool>,
    /// What that layer stands behind: the sum of all tables and its dropout, that sum's norm, or the tokens' own vectors, so
    /// that the others have the model's width.
    #[serde(default)]
    pub projection: Projection,
    /// Whether each token's vector stands between those of its neighbours before that layer (MobileBERT).
    #[serde(default)]
    pub trigrams: bool,
    /// Rows of the segment table, 0 for none.
    #[serde(default)]
    pub segments: u64,
    /// Which row numbers of the segment table are looked up; where not said fixed ones, or those of each sequence if the
    /// model fills sequences up to whole blocks.
    #[serde(default)]
    pub segment_ids: Option<PositionIds>,
    /// Whether a norm follows the sum of the tables.
    #[serde(default)]
    pub norm: bool,
    /// Whether a trained vector stands before the sequence as one more position, from which a classification is made
    /// (Dosovitskiy et al. 2021, equation 1; Long Range Arena's pooling CLS).
    #[serde(default)]
    pub class_token: bool,
    /// Whether the tables are those of another model that trains with this one, and are counted there (ELECTRA's generator).
    #[serde(default)]
    pub borrowed: bool,
    /// How positions are told apart.
    pub positions: Positions,
}

/// What a model reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmbeddingKind {
    /// Tokens, which a table turns into vectors.
    #[default]
    Tokens,
    /// Vectors of the model's width, as they are.
    Vectors,
    /// Patches of an image, which a linear layer turns into vectors.
    Patches,
}

/// An image cut into patches, each of which a linear layer turns into a vector (Dosovitskiy et al. 2021, section 3.1).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patches {
    /// Height and width of the image in pixels.
    pub image: [u64; 2],
    /// Height and width of a patch.
    pub size: [u64; 2],
    /// Numbers a pixel.
    pub channels: u64,
}

impl Patches {
    /// Patches of an image: those that fit whole.
    #[must_use]
    pub fn count(&self) -> u64 {
        let ([height, width], [rows, columns]) = (self.image, self.size);
        (height / rows.max(1)) * (width / columns.max(1))
    }

    /// Numbers of a patch.
    pub(super) fn numbers(&self) -> u64 {
        self.size.iter().product::<u64>() * self.channels
    }

    /// Numbers of an image.
    pub(super) fn image_numbers(&self) -> u64 {
        self.image.iter().product::<u64>() * self.channels
    }
}

/// Which vectors the linear layer of an embedding widens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Projection {
    /// The sums of tokens, segments and positions (Lan et al. 2020).
    #[default]
    Sum,
    /// Those of the tokens.
    Tokens,
    /// The sums, between their norm and their dropout (FNet).
    Normalised,
}

/// How positions are told apart.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Positions {
    /// learned, axial, sinusoidal, rotary, relative_bias, relative_key, relative_key_query, alibi or none.
    pub kind: PositionKind,
    /// Rows of the table of learned positions: the longest sequence, and those that are reserved; of vectors for distances
    /// there are twice as many, less one.
    #[serde(default)]
    pub length: Option<u64>,
    /// Rows of that table before the one of the first position (BART and RoBERTa: 2).
    #[serde(default)]
    pub reserved: u64,
    /// Which row numbers are looked up; those of each sequence where rows are reserved, else fixed ones.
    #[serde(default)]
    pub ids: Option<PositionIds>,
    /// Whether every layer has a relative bias of its own (UMT5), not the first for all.
    #[serde(default)]
    pub each_layer: bool,
    /// Whether a table of learned positions is there beside relative ones or none, which nothing reads (BERT as Hugging Face
    /// has it).
    #[serde(default)]
    pub idle_table: bool,
    /// Whether learned positions have the model's width and join after the map from narrow tables (OPT).
    #[serde(default)]
    pub wide: bool,
    /// Columns of a head that rotary positions turn, where they do not turn all.
    #[serde(default)]
    pub width: Option<u64>,
    /// Whether queries and keys each spread the tables over pairs of columns (GPT-J).
    #[serde(default)]
    pub interleaved: bool,
    /// Rows of the table of a relative bias (T5: 32).
    #[serde(default)]
    pub buckets: Option<u64>,
    /// Rows of each table of axial positions; their product is the longest sequence.
    #[serde(default)]
    pub shape: Vec<u64>,
    /// Columns of each table of axial positions, which sum to the width; where not said, every table has all of them and
    /// the tables are summed.
    #[serde(default)]
    pub widths: Vec<u64>,
    /// Where the sines and cosines of rotary positions come from.
    #[serde(default)]
    pub tables: RotaryTables,
    /// Dropout rate of learned or axial positions before they join the tokens (Reformer).
    #[serde(default)]
    pub dropout: Ratio,
}

/// Which row numbers a table of positions or segments is looked up by; backward needs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositionIds {
    /// Numbers that the model holds beside its parameters.
    Fixed,
    /// Numbers made in each step, one row for all sequences.
    Shared,
    /// Numbers made in each step for each sequence.
    Own,
}

/// Where the sines and cosines of rotary positions come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RotaryTables {
    /// Made in each step, once for all layers.
    #[default]
    Step,
    /// Held beside the parameters; each layer picks its rows and spreads them over the width of a head anew.
    Layer,
    /// Computed in each layer anew.
    Computed,
}

/// The kinds of position information.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositionKind {
    /// A trained table of `length` rows.
    Learned,
    /// A trained table for each axis of a grid of positions, side by side (Kitaev et al. 2020, section 4; Ho et al. 2019).
    Axial,
    /// Fixed sines and cosines (Vaswani et al. 2017, section 3.5).
    Sinusoidal,
    /// Rotations of queries and keys (Su et al. 2021).
    Rotary,
    /// A trained bias of the scores by distance (Raffel et al. 2020, section 2.1).
    RelativeBias,
    /// A trained vector for each distance, in every layer, whose products with queries join the scores (Shaw et al. 2018).
    RelativeKey,
    /// The same, and its products with keys join them too (Huang et al. 2020).
    RelativeKeyQuery,
    /// A fixed bias of the scores, linear in the distance (Press et al. 2022).
    Alibi,
    /// None.
    None,
}

/// A stack of layers: all alike, or in groups.
#[derive(Debug, Clone, PartialEq, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Streams {
    /// Side by side, so that what follows is twice as wide (Kitaev et al. 2020, as released).
    #[default]
    Concatenated,
    /// Their mean.
    Averaged,
}

/// Layers of a stack that are alike.
#[derive(Debug, Clone, PartialEq, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
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
    /// No norm but its weight and bias (Sun et al. 2020, section 3.3).
    Affine,
}

/// Where a norm stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
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

/// The kind of the linear layers. Saying a rank or a ratio makes them low-rank.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// dense or low_rank.
    #[serde(default)]
    pub kind: Option<LinearKind>,
    /// One rank for all layers.
    #[serde(default)]
    pub rank: Option<u64>,
    /// A share of the break-even rank m n / (m + n) of each layer.
    #[serde(default)]
    pub ratio: Option<f64>,
    /// Which layers are factorised.
    #[serde(default)]
    pub components: Option<Vec<LinearComponent>>,
    /// Zeros in a pattern that hardware can skip, such as 2:4.
    #[serde(default)]
    pub n_of_m: Option<NOfM>,
    /// Whole blocks of zeros.
    #[serde(default)]
    pub blocks: Option<Blocks>,
    /// Zeros anywhere.
    #[serde(default)]
    pub unstructured: Option<Unstructured>,
    /// Frozen weights of few bits.
    #[serde(default)]
    pub quantised: Option<Quantised>,
    /// int8 or fp8, where products of linear layers run in fewer bits than the step.
    #[serde(default)]
    pub products: Option<Products>,
    /// Adapters beside frozen layers (LoRA).
    #[serde(default, alias = "lora")]
    pub adapter: Option<Adapter>,
}

/// The groups of linear layers that a kind can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinearComponent {
    /// Query, key, value and output projections.
    Attention,
    /// Query projections.
    Query,
    /// Key projections.
    Key,
    /// Value projections.
    Value,
    /// Projections of all three from one matrix.
    QueryKeyValue,
    /// Output projections of attention.
    Output,
    /// The layers of the position-wise network.
    FeedForward,
    /// The pooler of the first position.
    Pooler,
    /// The layer before the vocabulary projection.
    HeadTransform,
    /// The vocabulary projection, which is then no longer tied to the token table.
    Vocabulary,
}

/// What turns hidden states into a loss.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// masked_lm, causal_lm, sequence_to_sequence, classification, token_classification, question_answering,
    /// discriminator, pooler or none.
    pub kind: HeadKind,
    /// Whether a dense layer, an activation and a norm stand before the vocabulary projection (BERT); of a masked language
    /// model they do where it is not said, of a causal one they do not.
    #[serde(default)]
    pub transform: Option<bool>,
    /// Whether a linear layer without bias leads to the width of narrow tables before the vocabulary projection (OPT).
    #[serde(default)]
    pub projection: bool,
    /// Whether logits are kept below a limit by a hyperbolic tangent (Gemma 2).
    #[serde(default)]
    pub soft_cap: bool,
    /// Whether a matrix of the head's own widens the table of the vocabulary projection to the model's width (MobileBERT).
    #[serde(default)]
    pub widened: bool,
    /// Whether the vocabulary projection is the token table.
    #[serde(default = "yes")]
    pub tied: bool,
    /// Whether the vocabulary projection has a bias.
    #[serde(default)]
    pub bias: bool,
    /// Whether the decoder's output is scaled before a tied vocabulary projection (T5).
    #[serde(default)]
    pub scaled: bool,
    /// cross_entropy or mean.
    #[serde(default)]
    pub loss: Loss,
    /// Whether a teacher's probabilities are a second target (distillation).
    #[serde(default)]
    pub soft_targets: bool,
    /// Which positions reach the vocabulary projection.
    #[serde(default)]
    pub positions: HeadPositions,
    /// Share of positions that are masked.
    #[serde(default)]
    pub masked_share: Option<Ratio>,
    /// Activation of the transform.
    #[serde(default)]
    pub activation: Option<Activation>,
    /// Whether the labels of a causal language model are moved by one position (BART's decoder: not).
    #[serde(default = "yes")]
    pub shifted: bool,
    /// Whether the end of an answer is told from each position and the state of the start, through a dense layer, beside
    /// a layer of its own for questions without an answer (XLNet).
    #[serde(default)]
    pub end_after_start: bool,
    /// Classes of a classification head.
    #[serde(default)]
    pub classes: Option<u64>,
    /// Outputs of the dense layer of a classification; the model's width where not said.
    #[serde(default)]
    pub inner_width: Option<u64>,
    /// Classes of a pair of segments, told from the pooled first position beside a masked language model (BERT's next
    /// sentence: 2).
    #[serde(default)]
    pub sentence_classes: Option<u64>,
    /// Whether the first position is pooled though no loss uses it (BigBird as released by Hugging Face).
    #[serde(default)]
    pub unused_pooler: bool,
    /// Inner width of a position-wise network with residual and norm before the logits of an answer (BigBird).
    #[serde(default)]
    pub block_width: Option<u64>,
    /// What a classification looks at: the first position, through a dense layer or as it is, or the last one as it is.
    #[serde(default)]
    pub pooling: Pooling,
    /// Dropout rate before the last layer of a classification; the model's where not said.
    #[serde(default)]
    pub dropout: Option<Ratio>,
    /// Whether the same dropout stands before the dense layer of a classification too (RoBERTa).
    #[serde(default)]
    pub input_dropout: bool,
}

impl Head {
    /// Whether a transform stands before the vocabulary projection.
    pub(super) fn transforms(&self) -> bool {
        self.transform.unwrap_or(self.kind == HeadKind::MaskedLm)
    }
}

/// What becomes of the logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Cross entropy with labels.
    #[default]
    CrossEntropy,
    /// Their mean, which keeps nothing: a module measured without labels.
    Mean,
}

/// What a classification looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The first position, through a dense layer and an activation.
    #[default]
    First,
    /// The first position as it is (ViT).
    FirstAsIs,
    /// The mean of all positions, through a dense layer and an activation.
    Mean,
    /// The mean of all positions as it is.
    MeanAsIs,
    /// The decoder's position of the end-of-sequence token, through a dense layer and an activation (BART).
    End,
    /// The last position that is no padding: every position gets its logits, and one is picked (GPT-2).
    Last,
}

/// The kinds of heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadKind {
    /// Dense transform, norm, vocabulary projection (BERT).
    MaskedLm,
    /// Vocabulary projection, labels shifted by one.
    CausalLm,
    /// Vocabulary projection of a decoder that follows an encoder.
    SequenceToSequence,
    /// Pooler and a linear layer to the classes.
    Classification,
    /// A linear layer to the classes at every position.
    TokenClassification,
    /// Where an answer starts and ends: two logits at every position.
    QuestionAnswering,
    /// Whether each position was replaced: a dense layer and one logit (Clark et al. 2020).
    Discriminator,
    /// Pooler of the first position, no loss of its own.
    Pooler,
    /// Nothing: hidden states.
    None,
}

/// Which positions reach the vocabulary projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadPositions {
    /// Every position.
    #[default]
    All,
    /// Only the masked ones of a masked language model, gathered first.
    Masked,
    /// Only those of a causal language model that have a next one, gathered first; their log probabilities are gathered
    /// by label once more (Transformer-XL, as released).
    Predicted,
}

impl Norm {
    /// Whether a norm follows the last layer.
    pub(super) fn follows(&self) -> bool {
        self.last.unwrap_or(!matches!(self.placement, NormPlacement::Post | NormPlacement::None))
    }
}

impl PositionKind {
    /// Whether positions reach the scores alone, not the sequence.
    pub(super) fn is_inside(self) -> bool {
        matches!(self, Self::Rotary | Self::RelativeBias | Self::Alibi) || self.has_vectors()
    }

    /// Whether each distance has a trained vector.
    pub(super) fn has_vectors(self) -> bool {
        matches!(self, Self::RelativeKey | Self::RelativeKeyQuery)
    }
}

impl Positions {
    /// The longest sequence that the learned table has rows for.
    pub(super) fn longest(&self) -> Option<u64> {
        self.length.map(|length| length.saturating_sub(self.reserved))
    }

    /// Row numbers of learned positions.
    pub(super) fn row_ids(&self) -> PositionIds {
        self.ids.unwrap_or(if self.reserved > 0 { PositionIds::Own } else { PositionIds::Fixed })
    }
}

fn one() -> u64 {
    1
}

fn yes() -> bool {
    true
}
