//! Linear layers whose products run in 8 bits while everything else stays in the precision of the step.
//!
//! **int8**: SwitchBack, Wortsman et al. 2023 (arXiv 2304.13013). Forward and the gradient of the input take 2 m n FLOPs a row
//! on the accelerator's int8 units, the gradient of the weight as many in the step's precision; rounding x and W before costs 3
//! FLOPs an element (absolute maximum, scale, round). x is kept as it is, for the gradient of the weight.
//!
//! **fp8**: Micikevicius et al. 2022 (arXiv 2209.05433), as Transformer Engine documents it (2.x, "Low precision training"). All
//! three products run on fp8 units. x, W and the gradient of the output are rounded before, 3 FLOPs an element, each to one copy
//! for each product that reads it: by rows forward, by columns backward, as Hopper's units read both inputs along the sum. x is
//! kept in one byte an element; W is held as it is, with its two copies beside it. The vocabulary projection and the
//! transform before it are none of these layers. A model that is only run holds W in 8 bits alone.

use serde::{Deserialize, Serialize};

use super::{INSIDE, Layer, among};
use crate::ledger::{Held, Keeps, Shape, Tape, Tensor, Unit, Units};

/// The format of the products of linear layers, where it is not the precision of the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Products {
    /// 8-bit integers.
    Int8,
    /// 8-bit floating point: E4M3 forward, E5M2 for gradients.
    Fp8,
}

impl Products {
    /// The word in files and outputs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Fp8 => "fp8",
        }
    }

    pub(super) fn touches(self, layer: &Layer) -> bool {
        self == Self::Int8 || among(None, INSIDE, layer)
    }

    /// Writes x times a matrix that is held as it is.
    pub(super) fn write(self, tape: &mut Tape, name: &'static str, matrix: Held, x: Tensor) -> Tensor {
        let shape = Shape::product(x.elements / matrix.rows, matrix.columns, matrix.rows);
        match self {
            Self::Int8 => {
                let weight = tape.matrix(matrix.rows, matrix.columns);
                for (name, tensor) in [("quantise input", x), ("quantise weight", weight)] {
                    let values = tape.detached(tensor);
                    tape.operation(name, 3.0, &[values], tensor.elements, Keeps::Nothing);
                }
                let units = Units { forward: Unit::Int8, input_gradient: Unit::Int8, ..Units::default() };
                tape.matmul_on(name, units, x, weight, shape)
            }
            Self::Fp8 => {
                let units = Units { forward: Unit::Fp8, input_gradient: Unit::Fp8, weight_gradient: Unit::Fp8 };
                if tape.is_inference() {
                    let weight = tape.held(Held { bytes: Some(1.0), ..matrix });
                    let x = tape.rounded_input(x, weight);
                    return tape.matmul_on(name, units, x, weight, shape);
                }
                let weight = tape.matrix(matrix.rows, matrix.columns);
                tape.matmul_rounded(name, units, x, weight, matrix.rows * matrix.columns, shape)
            }
        }
    }
}
