//! Results as tables, JSON, CSV, Markdown and plots.

pub mod calibrations;
mod csv;
mod json;
pub mod ledger;
mod markdown;
mod plot;
pub mod predictions;
pub mod profiles;
mod scatter;
pub mod session;
pub mod step;
mod style;
mod table;
pub mod validation;

use std::path::Path;

use crate::document::{Diagnostic, Kind, Library, Origin, Used};
use crate::estimate::{CaseResult, Metric, Results};
use crate::numeric::Interval;
use crate::site::Equivalent;
use crate::store::short_hash;
use crate::units::significant;

/// Results with what a reader needs beside them.
pub struct Report<'a> {
    results: &'a Results,
    used: Vec<Used>,
    equivalents: Vec<(Equivalent, String)>,
}

/// A column of the main table: a metric, its heading, its unit for people.
struct Column {
    metric: Metric,
    heading: &'static str,
    unit: &'static str,
}

/// What people read, in the order of the columns.
const COLUMNS: &[Column] = &[
    Column { metric: Metric::Duration, heading: "time", unit: "h" },
    Column { metric: Metric::AcceleratorHours, heading: "GPU-hours", unit: "h" },
    Column { metric: Metric::Energy, heading: "energy", unit: "kWh" },
    Column { metric: Metric::Operational, heading: "CO2e", unit: "kg" },
    Column { metric: Metric::Market, heading: "CO2e, market", unit: "kg" },
    Column { metric: Metric::Embodied, heading: "CO2e, embodied", unit: "kg" },
    Column { metric: Metric::Water, heading: "water", unit: "L" },
    Column { metric: Metric::Cost, heading: "cost", unit: "USD" },
];

impl Column {
    fn scale(&self) -> f64 {
        1.0 / self.metric.unit_size(self.unit).unwrap_or(1.0)
    }
}

/// The equivalents that a report shows.
///
/// # Errors
/// Their file cannot be read.
pub fn equivalents(library: &dyn Library) -> Result<Vec<(Equivalent, String)>, Diagnostic> {
    crate::site::equivalents(library, &Origin::whole("grid_profiles/equivalents.toml"))
}

impl<'a> Report<'a> {
    /// A report of `results`, made from the documents `used`.
    #[must_use]
    pub fn new(results: &'a Results, used: Vec<Used>, equivalents: Vec<(Equivalent, String)>) -> Self {
        Self { results, used, equivalents }
    }

    /// The files of a report: name and content.
    ///
    /// # Errors
    /// A plot cannot be drawn.
    pub fn files(&self) -> Result<Vec<(String, Vec<u8>)>, String> {
        let mut files = vec![("result.json".to_string(), self.json().into_bytes())];
        let plots = plot::all(self.results)?;
        let picture = plots.first().map(|(name, _)| name.clone());
        files.push(("report.md".to_string(), self.markdown(picture.as_deref()).into_bytes()));
        files.extend(plots);
        Ok(files)
    }

    /// Columns that at least one case can fill.
    fn columns(&self) -> impl Iterator<Item = &'static Column> + '_ {
        COLUMNS.iter().filter(|column| self.results.cases.iter().any(|case| case.metric(column.metric).is_some()))
    }

    /// Which copies of which documents went into the results.
    fn provenance(&self) -> Vec<(String, String, String)> {
        // Of the calibrations that were looked at, those that speak of a case.
        let rests_on = |used: &&Used| used.kind != Kind::Calibration || self.results.calibrations.contains(&used.file);
        self.used.iter().filter(rests_on).map(|used| (used.kind.word().to_string(), used.file.clone(), short_hash(&used.text))).collect()
    }

    /// What the baseline's emissions are like, the citation of neighbours from one source once.
    fn like(&self) -> Option<String> {
        let grams = self.results.cases.first().and_then(|case| case.central(Metric::Operational))?;
        let count = |equivalent: &Equivalent| grams / equivalent.per.centre().value();
        let fitting: Vec<_> =
            self.equivalents.iter().filter(|(equivalent, _)| (0.5..=100_000.0).contains(&count(equivalent))).take(4).collect();
        let mut out = String::new();
        for (index, (equivalent, from)) in fitting.iter().enumerate() {
            let last = fitting.get(index + 1).is_none_or(|(_, next)| next != from);
            let separator = if index > 0 { "; " } else { "" };
            let citation = if last { format!(" ({from})") } else { String::new() };
            out += &format!("{separator}{} {}{citation}", significant(count(equivalent)), equivalent.name);
        }
        (!out.is_empty()).then_some(out)
    }
}

/// A case's name with its point of the sweep.
fn label(case: &CaseResult) -> String {
    match case.at {
        Some(at) => format!("{} @ {}", case.name, significant(at)),
        None => case.name.clone(),
    }
}

/// An interval as text: the value, and its ends where they differ.
fn interval_text(interval: Interval, separator: &str) -> String {
    if (interval.high - interval.low).abs() <= 1e-9 * interval.value.abs() {
        significant(interval.value)
    } else {
        format!("{}{separator}{} to {}", significant(interval.value), significant(interval.low), significant(interval.high))
    }
}

/// The word for a metric in sentences.
fn word(metric: Metric) -> &'static str {
    match metric {
        Metric::Duration => "time",
        Metric::AcceleratorHours => "GPU-hours",
        Metric::Energy => "energy",
        Metric::Operational => "CO2e",
        Metric::Market => "market-based CO2e",
        Metric::Embodied => "embodied CO2e",
        Metric::Total => "total CO2e",
        Metric::Water => "water",
        Metric::Cost | Metric::CostLow | Metric::CostHigh => "cost",
        Metric::NodePower => "power of a node",
    }
}

/// Writes a file beside its place and moves it in, so that a reader sees the old one or the new one, never half.
///
/// # Errors
/// The folder cannot be written.
pub fn write_whole(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    std::fs::write(&part, content).and_then(|()| std::fs::rename(&part, path)).inspect_err(|_| {
        std::fs::remove_file(&part).ok();
    })
}
