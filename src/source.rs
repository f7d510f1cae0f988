//! Where a number is from.

use serde::{Deserialize, Serialize};

/// How a number came to be, from the strongest to the weakest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Read off an instrument.
    Measured,
    /// A model whose parameters were fitted to measurements of this device.
    Calibrated,
    /// Printed in a named publication or data sheet.
    Published,
    /// Computed from a model that was not fitted to this device.
    Modelled,
    /// Chosen; the reason stands beside it.
    Assumed,
}

impl Class {
    /// The word that outputs carry.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Calibrated => "calibrated",
            Self::Published => "published",
            Self::Modelled => "modelled",
            Self::Assumed => "assumed",
        }
    }
}

/// The citation of a number.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Author, title, table or equation.
    pub citation: String,
    /// Year of publication.
    pub year: i64,
    /// Licence of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// Where it can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How the number came to be.
    #[serde(default = "published")]
    pub class: Class,
}

fn published() -> Class {
    Class::Published
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_ordered_by_strength() {
        assert!(Class::Measured < Class::Calibrated);
        assert!(Class::Published < Class::Modelled);
        assert!(Class::Modelled < Class::Assumed);
    }
}
