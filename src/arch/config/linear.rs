//! The kind of the linear layers.

use serde::{Deserialize, Serialize};

use super::super::linear::LinearKind;
use super::super::linear::settings::{Adapter, Blocks, NOfM, Products, Quantised, Unstructured};

/// The kind of the linear layers. Saying a rank or a ratio makes them low-rank.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
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
