//! Linear attention: the softmax is replaced by a product of feature maps, so that keys meet values first (Katharopoulos
//! et al. 2020, arXiv 2006.16236): phi(x) = elu(x) + 1, each row normalised. Or, as efficient attention (Shen et al.
//! 2018, arXiv 1812.01243): softmax of queries over the width of a head, of keys over positions.
//!
//! Products, forward, per sequence and layer, with heads of width d_h: 4 n d d_h, and 2 n d for the normaliser. Long
//! Range Arena's Linear Transformer is this with elu. Without dropout of weights, which never exist.
//!
//! Kept: the inputs of elu, or the outputs of the softmaxes; the features, for each product; the state of d_h^2 a head;
//! the normaliser.

use serde::{Deserialize, Serialize};

use super::kernel::{Product, Running};
use super::{Abilities, Context, Inputs, Mechanism, queries_keys_values};
use crate::ledger::{Activation, Keeps, Tape, Tensor};

/// What queries and keys are mapped to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Features {
    /// elu(x) + 1 (Katharopoulos et al. 2020).
    #[default]
    Elu,
    /// Softmax of queries over the width of a head, of keys over positions (Shen et al. 2018); in a decoder the keys'
    /// exponentials, normalised with the running sum.
    Softmax,
}

/// Settings of linear attention.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The feature map: elu or softmax.
    #[serde(default)]
    pub features: Features,
    /// Whether each row is divided by the sum of its weights; where not said, it is unless the features are softmaxes
    /// of an encoder, whose weights sum to one.
    #[serde(default)]
    pub normalised: Option<bool>,
    /// How a decoder sums over earlier positions: scan or states.
    #[serde(default)]
    pub running: Running,
}

impl Mechanism for Settings {
    fn abilities(&self) -> Abilities {
        Abilities { causal: true, rotary: true, fused_projection: true, ..Abilities::default() }
    }

    fn write(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
        let [query, key, value] = queries_keys_values(tape, context, inputs);
        let (query, key) = match self.features {
            Features::Elu => {
                let mut features = |x| {
                    let x = tape.activate(Activation::Elu, x);
                    tape.pass("elu plus one", x)
                };
                (features(query), features(key))
            }
            Features::Softmax => {
                let query = tape.softmax(query);
                let key = if inputs.causal {
                    let key = tape.operation("exponential", 1.0, &[key], key.elements, Keeps::Output);
                    tape.pass("copy keys", key)
                } else {
                    tape.softmax(key)
                };
                (if context.attention.scaled { tape.pass("scale queries", query) } else { query }, key)
            }
        };
        let features = context.attention.head_width(context.model.width) as f64;
        let normalised = self.normalised.unwrap_or(self.features != Features::Softmax || inputs.causal);
        let interleaved = self.features == Features::Elu;
        Product { query, key, value, features, normalised, interleaved, running: self.running }.write(tape, context, inputs)
    }
}
