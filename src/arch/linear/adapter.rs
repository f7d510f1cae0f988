//! Adapters of low rank beside frozen layers: y = x W + b + (alpha / r) drop(x) A B, W and b frozen, A of m x r, B of r x n.
//!
//! LoRA, Hu et al. 2021 (arXiv 2106.09685), equation 3; on quantised weights it is QLoRA (Dettmers et al. 2023). Everything
//! else of the model is frozen, but the last layer of a classification, which is new and trains beside the adapters.
//! Gradients and optimizer state are of the adapters alone; the frozen product has no weight gradient, and keeps no x. It
//! adds r (m + n) weights, 2 r (m + n) FLOPs a row, and keeps drop(x), its mask and x A. `alpha` changes nothing here.
//!
//! A model that is only run has its adapters added to W (section 4.1), unless W is quantised.

use serde::{Deserialize, Serialize};

use super::{Context, Layer, among};
use crate::arch::config::LinearComponent;
use crate::document::Problem;
use crate::ledger::{Shape, Tape, Tensor};
use crate::units::Ratio;

/// Settings of adapters.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Adapter {
    /// Rank of an adapter, r.
    pub rank: u64,
    /// Dropout rate of an adapter's input.
    #[serde(default)]
    pub dropout: Ratio,
    /// Which layers have one; queries and values where none are named (section 4.2).
    #[serde(default)]
    pub components: Option<Vec<LinearComponent>>,
}

impl Adapter {
    pub(in crate::arch) fn check(&self) -> Result<(), Problem> {
        if self.rank == 0 || self.rank > 1 << 16 {
            return Err(Problem::new("rank", self.rank.to_string(), "1 to 65536"));
        }
        if self.dropout.value() >= 1.0 {
            return Err(Problem::new("dropout", self.dropout.value().to_string(), "0 or more and below 1"));
        }
        Ok(())
    }

    fn touches(&self, layer: &Layer) -> bool {
        use LinearComponent::{Query, QueryKeyValue, Value};
        among(self.components.as_ref(), &[Query, Value, QueryKeyValue], layer)
    }

    pub(super) fn note(&self) -> String {
        format!("only the adapters of rank {} train, and the last layer of a classification; all else is frozen", self.rank)
    }
}

/// Writes the adapter beside a layer that made `out` of `x`, if it has one.
pub(in crate::arch) fn write(tape: &mut Tape, context: &Context<'_>, layer: &Layer, x: Tensor, out: Tensor) -> Tensor {
    let linear = &context.model.linear;
    let merged = tape.is_inference() && linear.quantised.is_none();
    let Some(adapter) = linear.adapter.as_ref().filter(|adapter| adapter.touches(layer) && !merged) else { return out };
    let (m, n, rank) = (layer.inputs as f64, layer.outputs as f64, adapter.rank as f64);
    let rows = x.elements / m;
    let x = tape.dropout(x, adapter.dropout.value());
    let (down, up) = tape.with_trained(true, |tape| (tape.matrix(m, rank), tape.matrix(rank, n)));
    let inner = tape.matmul("adapter: down", x, down, Shape::product(rows, rank, m));
    let change = tape.matmul("adapter: up", inner, up, Shape::product(rows, n, rank));
    let change = tape.pass("adapter: scale", change);
    tape.add("adapter: sum", out, change)
}
