//! The forms that measurements are exported in, behind one table.

use std::io::{self, Write};

use super::{codecarbon, facts, power, prometheus, readings};
use crate::session::Measurement;

/// What an exporter is given.
#[derive(Debug, Clone, Copy)]
pub struct Export<'a> {
    /// What was measured.
    pub measurements: &'a [Measurement],
    /// Grams of CO2e of a kilowatt-hour, where a grid was named.
    pub grams_per_kwh: Option<f64>,
}

/// A form.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// Its name.
    pub name: &'static str,
    /// Whether it is text that a terminal can show.
    pub is_text: bool,
    /// Whether it says CO2e, so that it can use a grid.
    pub has_emissions: bool,
    /// Writes it; what to say to people of what is missing.
    pub write: fn(&Export<'_>, &mut dyn Write) -> io::Result<Vec<String>>,
}

/// Every form.
pub const FORMATS: [Format; 7] = [
    Format { name: "csv", is_text: true, has_emissions: false, write: readings::write },
    Format { name: "codecarbon", is_text: true, has_emissions: true, write: codecarbon::write },
    Format { name: "prometheus", is_text: true, has_emissions: false, write: prometheus::write },
    Format { name: "svg", is_text: true, has_emissions: false, write: power::svg },
    Format { name: "png", is_text: false, has_emissions: false, write: power::png },
    Format { name: "runs", is_text: true, has_emissions: false, write: facts::runs },
    Format { name: "kernels", is_text: true, has_emissions: false, write: facts::kernels },
];

/// A number as text; nothing where it is not known.
pub(super) fn cell(value: Option<f64>) -> String {
    value.filter(|value| value.is_finite()).map_or(String::new(), |value| value.to_string())
}
