//! Optimizers and the state they hold.

use serde::Deserialize;

use crate::ledger::Ledger;

/// The optimizers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Optimizer {
    /// Two moments (Kingma and Ba 2015).
    Adam,
    /// The same with decoupled weight decay (Loshchilov and Hutter 2019).
    Adamw,
    /// Two moments and a norm a layer (You et al. 2020).
    Lamb,
    /// Nothing.
    Sgd,
    /// One moment.
    SgdMomentum,
    /// Rows and columns of the second moment (Shazeer and Stern 2018).
    Adafactor,
}

impl Optimizer {
    /// Bytes of its fp32 state for the parameters of a ledger.
    #[must_use]
    pub fn state_bytes(self, ledger: &Ledger) -> f64 {
        match self {
            Self::Adam | Self::Adamw | Self::Lamb => 8.0 * ledger.trained_parameters(),
            Self::Sgd => 0.0,
            Self::SgdMomentum => 4.0 * ledger.trained_parameters(),
            Self::Adafactor => 4.0 * ledger.factored_parameters(),
        }
    }
}
