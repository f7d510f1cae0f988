//! Activation functions: what each computes per element and what it keeps for backward.
//!
//! One kernel keeps one tensor, its input or its output, as PyTorch's derivative formulas do (`derivatives.yaml`, 2.6). Those
//! that Hugging Face writes as separate operations (`activations.py`, 4.44.2) keep what each of these keeps.

use serde::{Deserialize, Serialize};

use super::primitive::{Keeps, TRAFFIC};
use super::tape::{Tape, Tensor};

const COUNTED: &str = "8 per element (Clark et al. 2020, flops_computation.py)";
const BY_HAND: &str = "4 per element: exponential, sum, quotient, product";

/// An activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// max(0, x).
    Relu,
    /// max(0, x)^2 (So et al. 2021), the square as an operation of its own.
    ReluSquared,
    /// min(max(0, x), 6).
    Relu6,
    /// x, or a small share of it where it is negative.
    LeakyRelu,
    /// GELU as one kernel (Hendrycks and Gimpel 2016), exact or in its tanh form.
    Gelu,
    /// GELU with its values clipped to a range (Wu et al. 2020), Hugging Face's `gelu_10`.
    GeluClipped,
    /// GELU by the error function as separate operations, Hugging Face's `gelu_python`.
    GeluPython,
    /// The tanh form of GELU written as separate element-wise operations, as Hugging Face's `gelu_new` is.
    GeluNew,
    /// x times its distribution, whose tanh form is computed in separate operations, as Flax does.
    GeluDistribution,
    /// The tanh form with one factor taken out of the cubic, as Hugging Face's `gelu_fast` is.
    GeluFast,
    /// x sigmoid(1.702 x) as separate operations.
    QuickGelu,
    /// x sigmoid(x).
    Silu,
    /// x, or e^x - 1 below zero.
    Elu,
    /// x tanh(softplus(x)) (Misra 2019).
    Mish,
    /// The logistic function.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// (1 + erf((x - m) / (s sqrt 2))) / 2 (Ma et al. 2022).
    Laplace,
    /// x itself.
    Linear,
}

impl Tape {
    /// An activation function.
    pub fn activate(&mut self, activation: Activation, x: Tensor) -> Tensor {
        let keep_x = Keeps::These(&[x]);
        match activation {
            Activation::Linear => x,
            Activation::Relu => self.step("relu", 1.0, x, Keeps::Output),
            Activation::ReluSquared => {
                let relu = self.step("relu", 1.0, x, Keeps::Output);
                self.step("square", 1.0, relu, Keeps::These(&[relu]))
            }
            Activation::Relu6 => self.step("relu6", 2.0, x, keep_x),
            Activation::LeakyRelu => self.step("leaky relu", 2.0, x, keep_x),
            Activation::Gelu => self.kernel("gelu", 8.0, x, keep_x, COUNTED),
            Activation::GeluClipped => {
                let gelu = self.kernel("gelu", 8.0, x, keep_x, COUNTED);
                self.step("clip", 2.0, gelu, Keeps::These(&[gelu]))
            }
            Activation::GeluPython => {
                let half = self.step("gelu: half", 1.0, x, Keeps::Nothing);
                let inner = self.step("gelu: scale", 1.0, x, Keeps::Nothing);
                let erf = self.step("gelu: error function", 4.0, inner, Keeps::These(&[inner]));
                let one_plus = self.step("gelu: one plus", 1.0, erf, Keeps::Nothing);
                self.multiply("gelu: product", half, one_plus)
            }
            Activation::GeluNew => {
                // 0.5 x (1 + tanh(c (x + a x^3))): the power keeps x, the tanh its output, the product both factors.
                let half = self.step("gelu: half", 1.0, x, Keeps::Nothing);
                let cube = self.step("gelu: cube", 1.0, x, keep_x);
                let cube = self.step("gelu: scale of cube", 1.0, cube, Keeps::Nothing);
                let sum = self.add("gelu: cubic", x, cube);
                let inner = self.step("gelu: scale", 1.0, sum, Keeps::Nothing);
                let tanh = self.step("gelu: tanh", 1.0, inner, Keeps::Output);
                let one_plus = self.step("gelu: one plus", 1.0, tanh, Keeps::Nothing);
                self.multiply("gelu: product", half, one_plus)
            }
            Activation::GeluDistribution => {
                // x (0.5 (1 + tanh(c (x + a x^3)))).
                let inner = self.step("gelu: cubic", 4.0, x, keep_x);
                let tanh = self.step("gelu: tanh", 1.0, inner, Keeps::Output);
                let distribution = self.step("gelu: distribution", 2.0, tanh, Keeps::Nothing);
                self.multiply("gelu: product", x, distribution)
            }
            Activation::GeluFast => {
                // 0.5 x (1 + tanh(c x (1 + a x x))).
                let half = self.step("gelu: half", 1.0, x, Keeps::Nothing);
                let outer = self.step("gelu: scale", 1.0, x, Keeps::Nothing);
                let scaled = self.step("gelu: scale of square", 1.0, x, Keeps::Nothing);
                let square = self.multiply("gelu: square", scaled, x);
                let factor = self.step("gelu: one plus square", 1.0, square, Keeps::Nothing);
                let inner = self.multiply("gelu: cubic", outer, factor);
                let tanh = self.step("gelu: tanh", 1.0, inner, Keeps::Output);
                let one_plus = self.step("gelu: one plus", 1.0, tanh, Keeps::Nothing);
                self.multiply("gelu: product", half, one_plus)
            }
            Activation::QuickGelu => {
                let inner = self.step("quick gelu: scale", 1.0, x, Keeps::Nothing);
                let gate = self.step("quick gelu: sigmoid", 3.0, inner, Keeps::Output);
                self.multiply("quick gelu: product", x, gate)
            }
            Activation::Silu => self.kernel("silu", 4.0, x, keep_x, BY_HAND),
            Activation::Elu => self.step("elu", 2.0, x, keep_x),
            Activation::Mish => self.step("mish", 6.0, x, keep_x),
            Activation::Sigmoid => self.step("sigmoid", 3.0, x, Keeps::Output),
            Activation::Tanh => self.kernel("tanh", 8.0, x, Keeps::Output, COUNTED),
            Activation::Laplace => {
                let inner = self.step("laplace: standardise", 2.0, x, Keeps::Nothing);
                let erf = self.step("laplace: error function", 4.0, inner, Keeps::These(&[inner]));
                self.step("laplace: half of one plus", 2.0, erf, Keeps::Nothing)
            }
        }
    }

    fn step(&mut self, name: &'static str, per_element: f64, x: Tensor, keeps: Keeps<'_>) -> Tensor {
        self.kernel(name, per_element, x, keeps, TRAFFIC)
    }

    fn kernel(&mut self, name: &'static str, per_element: f64, x: Tensor, keeps: Keeps<'_>, formula: &'static str) -> Tensor {
        self.counted(name, per_element, &[x], x.elements, keeps, formula)
    }
}
