//! Optimizers: the state they hold and the work of their update.

use serde::Deserialize;

use crate::ledger::Ledger;

/// Weights that share the scale of an 8-bit state (Dettmers et al. 2022).
const BLOCK: f64 = 2048.0;

/// The optimizers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Optimizer {
    /// Two moments (Kingma and Ba 2015).
    #[default]
    Adam,
    /// The same with decoupled weight decay (Loshchilov and Hutter 2019).
    Adamw,
    /// Adam with moments of 8 bits and an fp32 scale a block of 2,048 (Dettmers et al. 2022).
    #[serde(rename = "adam_8bit")]
    Adam8bit,
    /// Two moments and a norm a layer (You et al. 2020).
    Lamb,
    /// One moment, of which the sign counts (Chen et al. 2023).
    Lion,
    /// Nothing.
    Sgd,
    /// One moment.
    SgdMomentum,
    /// Rows and columns of the second moment (Shazeer and Stern 2018).
    Adafactor,
}

impl Optimizer {
    /// Every optimizer.
    pub const ALL: [Self; 8] =
        [Self::Adam, Self::Adamw, Self::Adam8bit, Self::Lamb, Self::Lion, Self::Sgd, Self::SgdMomentum, Self::Adafactor];

    /// The word in files and outputs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Adam => "adam",
            Self::Adamw => "adamw",
            Self::Adam8bit => "adam_8bit",
            Self::Lamb => "lamb",
            Self::Lion => "lion",
            Self::Sgd => "sgd",
            Self::SgdMomentum => "sgd_momentum",
            Self::Adafactor => "adafactor",
        }
    }

    /// Bytes of its state for the parameters of a ledger; fp32 unless its name says otherwise.
    #[must_use]
    pub fn state_bytes(self, ledger: &Ledger) -> f64 {
        let parameters = ledger.trained_parameters();
        match self {
            Self::Adam | Self::Adamw | Self::Lamb => 8.0 * parameters,
            Self::Adam8bit => 2.0 * (1.0 + 4.0 / BLOCK) * parameters,
            Self::Lion | Self::SgdMomentum => 4.0 * parameters,
            Self::Sgd => 0.0,
            Self::Adafactor => 4.0 * ledger.factored_parameters(),
        }
    }

    /// FLOPs of the update of one parameter, counted by hand from the algorithm that the variant names: a moment is two
    /// products and a sum, its correction a quotient, a root or a sign 1.
    #[must_use]
    pub fn flops_per_parameter(self) -> f64 {
        match self {
            // Two moments 3 + 4, two corrections 2, root, epsilon, quotient, rate and step 5.
            Self::Adam => 14.0,
            Self::Adamw => 16.0,
            // Both states are scaled from and to 8 bits.
            Self::Adam8bit => 18.0,
            // Adam, decay 2, two norms 4, ratio 1.
            Self::Lamb => 21.0,
            // Mixture 3, sign 1, decay 2, step 2, moment 3.
            Self::Lion => 11.0,
            Self::Sgd => 2.0,
            Self::SgdMomentum => 4.0,
            // Square 1, two sums 2, product of row and column 2, root and quotient 2, clipping 3, rate and step 2.
            Self::Adafactor => 12.0,
        }
    }
}
