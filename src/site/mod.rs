//! Where a training runs: the grid's intensity, PUE, water, and the price of carbon.

mod cloud;
mod equivalents;
mod grid;
mod offers;
mod water;

pub use cloud::{CloudRegion, cloud_region, provider_pue};
pub use equivalents::{Equivalent, equivalents};
pub use grid::{GridTable, Intensity, find_intensity, grid_tables};
pub use offers::{BookOffer, book_offers};
pub use water::water_intensity;

use serde::Deserialize;

use crate::document::{Diagnostic, Library, Origin};
use crate::source::Class;

/// A value with where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The number, in the unit of its quantity.
    pub value: f64,
    /// How it came to be.
    pub class: Class,
    /// Citation, row and year.
    pub from: String,
}

/// The side-car of a data table.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SideCar {
    /// Version of the file format, 1.
    pub schema: u32,
    /// The name in `name/zone`.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// The table's file name.
    pub data: String,
    /// lifecycle, direct or unstated.
    #[serde(default)]
    pub basis: Option<String>,
    /// Who published it.
    pub citation: String,
    /// Year of the release.
    pub year: i64,
    /// Licence of the data.
    pub licence: String,
    /// Project page.
    #[serde(default)]
    pub url: Option<String>,
    /// How the numbers came to be.
    #[serde(default = "published")]
    pub class: Class,
    /// Attribution and traps.
    #[serde(default)]
    pub notes: Option<String>,
}

fn published() -> Class {
    Class::Published
}

/// A table and its side-car.
fn table(library: &dyn Library, stem: &str, origin: &Origin) -> Result<(SideCar, Vec<csv::StringRecord>), Diagnostic> {
    let text = library.data(&format!("grid_profiles/{stem}.toml"), origin)?;
    let side_car: SideCar = crate::document::Node::parse(&text.file, &text.text)?.read()?;
    let data = library.data(&format!("grid_profiles/{}", side_car.data), origin)?;
    let mut reader = csv::Reader::from_reader(data.text.as_bytes());
    let rows = reader.records().collect::<Result<Vec<_>, _>>().map_err(|error| {
        let line = error.position().map_or(0, |position| position.line() as usize);
        Diagnostic::new(&Origin::line(&data.file, line), "", error.to_string(), "rows with as many cells as the header")
    })?;
    Ok((side_car, rows))
}

/// A number in a cell, if there is one.
fn number(row: &csv::StringRecord, column: usize) -> Option<f64> {
    row.get(column).filter(|cell| !cell.is_empty()).and_then(|cell| cell.parse().ok()).filter(|value: &f64| value.is_finite())
}
