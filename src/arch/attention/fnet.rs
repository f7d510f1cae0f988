//! FNet: no attention but a Fourier transform over positions and over columns, of which the real part is kept (Lee-Thorp et
//! al. 2022, arXiv 2105.03824, section 3.2, equation 3): y = Re(F_n(F_d(x))). It has no parameters and no products.
//!
//! Element-wise FLOPs, forward, per layer and sequence: 5 n d log2 d + 5 n d log2 n, for a fast transform of m complex
//! numbers takes 5 m log2 m (Cooley and Tukey 1965 in FFTW's count). PyTorch's counter counts none of them. Backward is
//! the same transform of the gradient.
//!
//! Kept: nothing, for the map is linear and fixed.

use serde::{Deserialize, Serialize};

use super::super::config::Model;
use super::{Attention, Context, Inputs, Mechanism};
use crate::ledger::{Tape, Tensor};

/// Settings of a Fourier transform: none of its own.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {}

impl Mechanism for Settings {
    fn linear_sizes(&self, _model: &Model, _attention: &Attention) -> Vec<(u64, u64)> {
        Vec::new()
    }

    fn projects_out(&self) -> bool {
        false
    }

    fn write(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
        // Each complex number is two.
        let over_columns = tape.fourier("transform of columns", inputs.x, 2.0 * inputs.x.elements, context.model.width as f64);
        let over_positions = tape.fourier("transform of positions", over_columns, over_columns.elements, context.batch.length);
        tape.expand("real part", over_positions, inputs.x.elements)
    }
}
