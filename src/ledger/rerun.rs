//! What backward runs again instead of keeping its results: checkpointing.
//!
//! One rule for every mode. Operations that run again keep nothing; what they read and do not make themselves is held
//! instead; what they would have kept is alive for a moment, while backward runs them again layer by layer.

use super::Ledger;
use super::op::{Op, TensorRecord};

/// What backward runs again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rerun {
    /// Nothing.
    #[default]
    Nothing,
    /// Every layer from its input (Chen et al. 2016).
    Layers,
    /// So many layers at a time, from the input of the first of them (Chen et al. 2016).
    LayersOf(u64),
    /// The core of attention, whose results are large and cheap (Korthikanti et al. 2022).
    AttentionCore,
}

impl Rerun {
    /// Whether an operation runs again.
    #[must_use]
    pub fn runs(self, op: &Op) -> bool {
        match self {
            Self::Nothing => false,
            Self::Layers | Self::LayersOf(_) => op.layer,
            Self::AttentionCore => op.is_attention_core(),
        }
    }

    /// Layers that run again at once.
    fn at_once(self) -> f64 {
        if let Self::LayersOf(layers) = self { layers as f64 } else { 1.0 }
    }
}

/// Copies of a tensor that a step holds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Copies {
    /// From forward to backward.
    pub held: f64,
    /// On top of them, while backward runs a layer again.
    pub alive: f64,
}

impl Ledger {
    /// The copies of every tensor that a step holds; none of parameters, which are counted elsewhere.
    pub(super) fn copies(&self, rerun: Rerun) -> Vec<Copies> {
        #[derive(Clone, Copy, Default)]
        struct Use {
            kept: bool,
            kept_again: bool,
            read_again: bool,
        }
        let mut uses = vec![Use::default(); self.tensors.len()];
        for op in &self.ops {
            let again = rerun.runs(op);
            for id in &op.keeps {
                uses[*id].kept |= !again;
                uses[*id].kept_again |= again;
            }
            if again {
                op.inputs.iter().for_each(|input| uses[input.id].read_again = true);
            }
        }
        let copies = |(tensor, used): (&TensorRecord, Use)| {
            let comes_in = match tensor.maker {
                Some(maker) => !rerun.runs(&self.ops[maker]),
                None => tensor.layer_input || (!tensor.layer && used.kept_again),
            };
            let kept = used.kept || (used.read_again && comes_in);
            let group = rerun.at_once().min(tensor.times).max(1.0);
            match (tensor.made(), kept) {
                (false, _) => Copies::default(),
                (true, true) if tensor.reversible => Copies { held: 0.0, alive: 1.0 },
                (true, true) if tensor.layer_input && rerun.at_once() > 1.0 => {
                    Copies { held: (tensor.times / group).ceil(), alive: if used.kept_again { group - 1.0 } else { 0.0 } }
                }
                (true, true) => Copies { held: tensor.times, alive: 0.0 },
                (true, false) if used.kept_again => Copies { held: 0.0, alive: if tensor.layer { group } else { 1.0 } },
                (true, false) => Copies::default(),
            }
        };
        self.tensors.iter().zip(uses).map(copies).collect()
    }

    /// Bytes that one micro-batch holds from forward to backward.
    #[must_use]
    pub fn held_bytes(&self, rerun: Rerun) -> f64 {
        self.tensors.iter().zip(self.copies(rerun)).map(|(tensor, copies)| tensor.bytes * copies.held).sum()
    }

    /// Bytes that are alive on top while backward runs a layer again, a reversible one or one that checkpointing dropped.
    #[must_use]
    pub fn rerun_bytes(&self, rerun: Rerun) -> f64 {
        self.tensors.iter().zip(self.copies(rerun)).map(|(tensor, copies)| tensor.bytes * copies.alive).sum()
    }
}
