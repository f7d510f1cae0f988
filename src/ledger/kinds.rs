//! What training keeps, by why it keeps it.

use super::op::{Op, Rule, TensorRecord};
use super::tape::{INDEX_BYTES, MASK_BYTES};
use super::{Component, Ledger, Rerun};

/// Why a tensor is kept for backward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// A product with a trained matrix needs its input.
    LinearInputs,
    /// A product of two activations needs both.
    ProductOperands,
    /// A fused kernel needs its inputs, its output and its statistics.
    FusedAttention,
    /// A softmax needs its output.
    SoftmaxOutputs,
    /// A norm needs its input and its statistics.
    NormInputs,
    /// Dropout and selections need a mask of a byte an element.
    Masks,
    /// Lookups need indices.
    Indices,
    /// The loss needs probabilities.
    Loss,
    /// Activation functions and other element-wise operations.
    Elementwise,
}

impl Kept {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::LinearInputs,
        Self::ProductOperands,
        Self::FusedAttention,
        Self::SoftmaxOutputs,
        Self::NormInputs,
        Self::Masks,
        Self::Indices,
        Self::Loss,
        Self::Elementwise,
    ];

    /// The key in outputs.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::LinearInputs => "linear_inputs",
            Self::ProductOperands => "product_operands",
            Self::FusedAttention => "fused_attention",
            Self::SoftmaxOutputs => "softmax_outputs",
            Self::NormInputs => "norm_inputs",
            Self::Masks => "masks",
            Self::Indices => "indices",
            Self::Loss => "loss",
            Self::Elementwise => "elementwise",
        }
    }

    fn of(tensor: &TensorRecord, keeper: &Op) -> Self {
        let made = tensor.maker.is_some() || tensor.carried.is_some();
        match (keeper.rule, keeper.trained) {
            (Rule::Product, true) => Self::LinearInputs,
            (Rule::Product, false) => Self::ProductOperands,
            (Rule::FusedAttention, _) => Self::FusedAttention,
            (Rule::Softmax, _) => Self::SoftmaxOutputs,
            _ if !made && tensor.bytes == MASK_BYTES * tensor.elements => Self::Masks,
            _ if !made && tensor.bytes == INDEX_BYTES * tensor.elements => Self::Indices,
            _ if keeper.component == Component::Norm => Self::NormInputs,
            _ if keeper.component == Component::Head && keeper.split => Self::Loss,
            _ => Self::Elementwise,
        }
    }
}

impl Ledger {
    /// Bytes that one micro-batch holds from forward to backward, by the first operation that keeps them; what is held only to
    /// run operations again counts as an input of linear layers.
    #[must_use]
    pub fn held_by_kind(&self, rerun: Rerun) -> Vec<(Kept, f64)> {
        let mut kinds: Vec<Option<Kept>> = vec![None; self.tensors.len()];
        for op in &self.ops {
            for id in &op.keeps {
                kinds[*id].get_or_insert(Kept::of(&self.tensors[*id], op));
            }
        }
        let copies = self.copies(rerun);
        let held = |kind: Kept| {
            let tensors = self.tensors.iter().zip(&copies).zip(&kinds);
            tensors
                .filter(|(_, of)| of.unwrap_or(Kept::LinearInputs) == kind)
                .map(|((tensor, copies), _)| tensor.bytes * copies.held)
                .sum::<f64>()
        };
        Kept::ALL.into_iter().map(|kind| (kind, held(kind))).filter(|(_, bytes)| *bytes > 0.0).collect()
    }
}
