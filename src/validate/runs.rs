//! The time and power model against measured runs: what it makes of rows that its fits had seen, and of rows held out.

use super::published::source_of;
use crate::calibrate::{HeldOut, KERNELS, Made, RunTable, Table, Workshop, calibrate};
use crate::document::{Diagnostic, Library, Origin, Resolver};
use crate::hardware::Performance;

/// Measured runs, fitted anew.
#[derive(Debug, Clone)]
pub struct Runs {
    /// What the fits make of every measured figure.
    pub made: Made,
    /// The tables and where they are from.
    pub sources: Vec<(String, String)>,
}

/// Fits the runs of these tables of `library` and holds parts of them out.
///
/// # Errors
/// A table is damaged, or a fit does not come to rest.
pub fn runs(library: &dyn Library, files: &[String], class: &Performance, held_out: HeldOut) -> Result<Runs, Diagnostic> {
    let mut tables = Vec::new();
    let mut sources = Vec::new();
    for path in files.iter().filter(|path| path.ends_with(".csv")) {
        let text = library.data(path, &Origin::whole("validate"))?;
        tables.push(Table { file: path.clone(), sha256: String::new(), runs: RunTable::read(&text.file, &text.text, &[])? });
        sources.push((short(path), source_of(library, path)?));
    }
    let mut made = calibrate(&mut Workshop::new(Resolver::new(library), class), class, &tables, None, ("", ""), held_out)?;
    // A kernel is also a row of every stack that ran on its device; here it counts once.
    let is_of_kernels = |name: &str| made.calibrations.iter().any(|one| one.name == name && one.stack == KERNELS);
    made.points.retain(|point| point.kernel.is_empty() || is_of_kernels(&point.calibration));
    made.points.iter_mut().for_each(|point| point.table = short(&point.table));
    Ok(Runs { made, sources })
}

/// The name of a table: its path without what all have.
fn short(path: &str) -> String {
    path.trim_start_matches("measurements/").trim_end_matches(".csv").to_string()
}
