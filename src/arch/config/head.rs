//! What turns hidden states into a loss.

use serde::{Deserialize, Serialize};

use crate::ledger::Activation;
use crate::units::Ratio;

/// What turns hidden states into a loss.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
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
    pub(in crate::arch) fn transforms(&self) -> bool {
        self.transform.unwrap_or(self.kind == HeadKind::MaskedLm)
    }
}

/// What becomes of the logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Cross entropy with labels.
    #[default]
    CrossEntropy,
    /// Their mean, which keeps nothing: a module measured without labels.
    Mean,
}

/// What a classification looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
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

fn yes() -> bool {
    true
}
