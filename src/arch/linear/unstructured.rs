//! Unstructured pruning: single weights are zero, wherever they stand (Han et al. 2015, arXiv 1506.02626).
//!
//! It counts fewer parameters, and a file stores fewer: the values that are left and one bit a position. Memory and FLOPs
//! of a step stay those of the dense layer, and training adds a mask of the weight's type, a pass that applies it, and keeps what
//! that makes (`torch.nn.utils.prune`): products skip such zeros only on an accelerator whose profile says so.

use serde::{Deserialize, Serialize};

use super::blocks::check_density;
use super::matrix::{Values, values};
use super::{INSIDE, Layer, among};
use crate::arch::config::LinearComponent;
use crate::document::Problem;
use crate::ledger::{Held, Tape, Tensor, Unit, Units};

/// Settings of unstructured pruning.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Unstructured {
    /// Share of the weights that are left.
    pub density: f64,
    /// Which layers are pruned.
    #[serde(default)]
    pub components: Option<Vec<LinearComponent>>,
}

impl Unstructured {
    pub(in crate::arch) fn check(&self) -> Result<(), Problem> {
        check_density(self.density)
    }

    pub(super) fn touches(&self, layer: &Layer) -> bool {
        among(self.components.as_ref(), INSIDE, layer)
    }

    pub(super) fn values(&self, tape: &mut Tape, whole: Held, fixed: bool, x: Tensor) -> Values {
        let held = Held { density: self.density, index_bits: 1.0 / self.density, ..whole };
        let unit = Unit::Unstructured(self.density);
        let units = Units { forward: unit, input_gradient: unit, ..Units::default() };
        if fixed {
            return Values { weight: values(tape, held, x), units };
        }
        let weight = tape.held(held);
        let mask = tape.pruning_mask(whole.rows * whole.columns);
        Values { weight: tape.multiply("apply pruning mask", weight, mask), units }
    }

    pub(super) fn note(&self) -> String {
        format!(
            "unstructured pruning to {} % saves parameters in a file, and neither FLOPs nor memory of a step: products skip such zeros only on \
             an accelerator whose profile says so",
            100.0 * self.density
        )
    }
}
