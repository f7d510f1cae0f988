//! Linear layers whose products run in 8-bit integers while they train, all but the gradient of the weight, which stays
//! in the precision of the step: SwitchBack, Wortsman et al. 2023 (arXiv 2304.13013), algorithm 1.
//!
//! Forward and the gradient of the input take 2 m n FLOPs a row on the accelerator's int8 units; rounding x and W before
//! costs 3 FLOPs an element (absolute maximum, scale, round). x is kept as it is, for the gradient of the weight.

use serde::Deserialize;

use crate::ledger::{Keeps, Tape, Tensor, Unit, Units};

/// The format of the forward products of linear layers, where it is not the precision of the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Products {
    /// 8-bit integers.
    Int8,
}

impl Products {
    /// Writes the rounding of both inputs of a product.
    pub(super) fn quantise(self, tape: &mut Tape, x: Tensor, weight: Tensor) -> Units {
        for (name, tensor) in [("quantise input", x), ("quantise weight", weight)] {
            let values = tape.detached(tensor);
            tape.operation(name, 3.0, &[values], tensor.elements, Keeps::Nothing);
        }
        match self {
            Self::Int8 => Units { forward: Unit::Int8, input_gradient: Unit::Int8 },
        }
    }
}
