//! Tables that turn tokens into vectors, and positions.

use serde::{Deserialize, Serialize};

use crate::units::Ratio;

/// Token, position and segment tables.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
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
    /// (Dosovitskiy et al. 2021; Long Range Arena's pooling CLS).
    #[serde(default)]
    pub class_token: bool,
    /// Whether the tables are those of another model that trains with this one, and are counted there (ELECTRA's generator).
    #[serde(default)]
    pub borrowed: bool,
    /// How positions are told apart.
    pub positions: Positions,
}

/// What a model reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
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

/// An image cut into patches, each of which a linear layer turns into a vector (Dosovitskiy et al. 2021).
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
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
    pub(in crate::arch) fn numbers(&self) -> u64 {
        self.size.into_iter().fold(self.channels, u64::saturating_mul)
    }

    /// Numbers of an image.
    pub(in crate::arch) fn image_numbers(&self) -> u64 {
        self.image.into_iter().fold(self.channels, u64::saturating_mul)
    }
}

/// Which vectors the linear layer of an embedding widens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
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
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PositionKind {
    /// A trained table of `length` rows.
    Learned,
    /// A trained table for each axis of a grid of positions, side by side (Kitaev et al. 2020; Ho et al. 2019).
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

impl PositionKind {
    /// Whether positions reach the scores alone, not the sequence.
    pub(in crate::arch) fn is_inside(self) -> bool {
        matches!(self, Self::Rotary | Self::RelativeBias | Self::Alibi) || self.has_vectors()
    }

    /// Whether each distance has a trained vector.
    pub(in crate::arch) fn has_vectors(self) -> bool {
        matches!(self, Self::RelativeKey | Self::RelativeKeyQuery)
    }
}

impl Positions {
    /// The longest sequence that the learned table has rows for.
    pub(in crate::arch) fn longest(&self) -> Option<u64> {
        self.length.map(|length| length.saturating_sub(self.reserved))
    }

    /// Row numbers of learned positions.
    pub(in crate::arch) fn row_ids(&self) -> PositionIds {
        self.ids.unwrap_or(if self.reserved > 0 { PositionIds::Own } else { PositionIds::Fixed })
    }
}

fn yes() -> bool {
    true
}
