//! Tables of what was measured: runs, kernels by themselves, or both. A row that names a kernel is one, any other is a run.

use std::collections::HashMap;

use super::kernel_run::{self, KernelRun};
use super::run::{self, Run};
use crate::document::{Diagnostic, Origin, nearest};

/// What a row measured.
#[derive(Debug, Clone, PartialEq)]
pub enum Measured {
    /// Steps of a model.
    Run(Box<Run>),
    /// A kernel by itself.
    Kernel(Box<KernelRun>),
}

impl Measured {
    /// The row as a run, if it is one.
    #[must_use]
    pub fn run(&self) -> Option<&Run> {
        if let Self::Run(run) = self { Some(run) } else { None }
    }

    /// The row as a kernel, if it is one.
    #[must_use]
    pub fn kernel(&self) -> Option<&KernelRun> {
        if let Self::Kernel(kernel) = self { Some(kernel) } else { None }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Run(run) => &run.id,
            Self::Kernel(kernel) => &kernel.id,
        }
    }

    /// Whether it is of several nodes.
    #[must_use]
    pub fn is_of_several_nodes(&self) -> bool {
        self.run().is_some_and(Run::is_of_several_nodes)
    }
}

/// A table of runs and of kernels.
#[derive(Debug, Clone, PartialEq)]
pub struct RunTable {
    /// Its columns.
    pub columns: Vec<String>,
    /// Its rows as they stand, and each as what it measured or why it is nothing that was.
    pub rows: Vec<(Vec<String>, Result<Measured, Diagnostic>)>,
}

impl RunTable {
    /// Reads a table.
    ///
    /// # Errors
    /// It is no CSV, lacks a column, or names one twice. A row with a wrong value is an error of its own.
    pub fn read(file: &str, text: &str, set: &[String]) -> Result<Self, Diagnostic> {
        let wrong =
            |line: u64, error: String| Diagnostic::new(&Origin::line(file, line as usize), "", error, "a row of the table's columns");
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(text.as_bytes());
        let mut columns: Vec<String> = match reader.headers() {
            Ok(head) => head.iter().map(|name| name.trim_start_matches('\u{feff}').to_string()).collect(),
            Err(error) => return Err(wrong(1, error.to_string())),
        };
        let stated = columns.len();
        let overlays = set.iter().map(|text| assignment(text, &mut columns)).collect::<Result<Vec<_>, _>>()?;
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (index, name) in columns.iter().enumerate() {
            if places.insert(name, index).is_some() {
                return Err(Diagnostic::new(&Origin::line(file, 1), name, "a second column of this name", "one"));
            }
        }
        let mut rows = Vec::new();
        let has_kernels = places.contains_key("kernel");
        // Columns are wanted by what rows there are; of none, by the head alone.
        let mut complete = [false; 2];
        if !has_kernels {
            kinds_columns(file, &places, false, &mut complete)?;
        }
        for record in reader.records() {
            let record = record.map_err(|error| wrong(error.position().map_or(0, csv::Position::line), error.to_string()))?;
            let line = record.position().map_or(0, csv::Position::line) as usize;
            let mut values: Vec<String> = record.iter().map(str::to_string).collect();
            if values.len() == stated {
                values.resize(columns.len(), String::new());
            }
            for (index, value) in &overlays {
                if let Some(cell) = values.get_mut(*index) {
                    cell.clone_from(value);
                }
            }
            let cells = Cells { origin: Origin::line(file, line), values: &values, places: &places };
            let run = if values.len() == columns.len() {
                let is_kernel = !cells.text("kernel").is_empty();
                kinds_columns(file, &places, is_kernel, &mut complete)?;
                if is_kernel {
                    cells.kernel_run().map(|kernel| Measured::Kernel(Box::new(kernel)))
                } else {
                    cells.run().map(|run| Measured::Run(Box::new(run)))
                }
            } else {
                let found = format!("{} values", values.len());
                Err(Diagnostic::new(&cells.origin, "", found, format!("{stated}, one for each column")))
            };
            rows.push((values, run));
        }
        Ok(Self { columns, rows })
    }
}

/// Whether a table has the columns that runs or kernels must have.
fn kinds_columns(file: &str, places: &HashMap<&str, usize>, kernels: bool, complete: &mut [bool; 2]) -> Result<(), Diagnostic> {
    let wanted: &[&str] = if kernels { &kernel_run::COLUMNS } else { &run::COLUMNS };
    let known = std::mem::replace(&mut complete[usize::from(kernels)], true);
    let Some(missing) = wanted.iter().find(|name| !known && !places.contains_key(**name)) else { return Ok(()) };
    let of = if kernels { " of kernels" } else { "" };
    let mut error = Diagnostic::new(&Origin::line(file, 1), missing, "no such column", format!("the columns{of} {}", wanted.join(", ")));
    error.nearest = nearest(missing, places.keys().copied());
    Err(error)
}

/// The place of a column and the value that an overlay, `column=value`, gives it; a column that a table may have is added to one that
/// has it not.
fn assignment(text: &str, columns: &mut Vec<String>) -> Result<(usize, String), Diagnostic> {
    let origin = Origin::whole("--set");
    let Some((column, value)) = text.split_once('=') else {
        return Err(Diagnostic::new(&origin, "", format!("\"{text}\""), "COLUMN=VALUE"));
    };
    let (column, value) = (column.trim(), value.trim().trim_matches('"').to_string());
    let optional: Vec<&str> = if columns.iter().any(|known| known == "kernel") {
        run::OPTIONAL.into_iter().chain(kernel_run::OPTIONAL).collect()
    } else {
        run::OPTIONAL.to_vec()
    };
    if optional.contains(&column) && !columns.iter().any(|known| known == column) {
        columns.push(column.to_string());
    }
    match columns.iter().position(|known| known == column) {
        Some(index) => Ok((index, value)),
        None => {
            let known: Vec<&str> = columns.iter().map(String::as_str).chain(optional).collect();
            Err(Diagnostic::unknown(&origin, "", "column", column, &known))
        }
    }
}

/// The values of a row by column.
pub(super) struct Cells<'a> {
    pub origin: Origin,
    values: &'a [String],
    places: &'a HashMap<&'a str, usize>,
}

impl Cells<'_> {
    /// What stands in a column; nothing where there is none.
    pub fn text(&self, column: &str) -> &str {
        self.places.get(column).map_or("", |index| &self.values[*index])
    }

    /// That what stands there is not allowed.
    pub fn wrong<T>(&self, column: &str, allowed: impl Into<String>) -> Result<T, Diagnostic> {
        let found = match self.text(column) {
            "" => "nothing".to_string(),
            text => format!("\"{text}\""),
        };
        Err(Diagnostic::new(&self.origin, column, found, allowed))
    }

    /// A whole number.
    pub fn count(&self, column: &str) -> Result<u64, Diagnostic> {
        match self.text(column).parse::<u64>() {
            Ok(count) if (1..=1 << 32).contains(&count) => Ok(count),
            _ => self.wrong(column, "a whole number from 1 on"),
        }
    }

    /// Nothing where the cell is empty.
    pub fn optional<T>(&self, column: &str, read: impl Fn(&Self) -> Result<T, Diagnostic>) -> Result<Option<T>, Diagnostic> {
        if self.text(column).is_empty() { Ok(None) } else { read(self).map(Some) }
    }

    /// A number of a range.
    pub fn number(&self, column: &str, low: f64, high: f64) -> Result<f64, Diagnostic> {
        match self.text(column).parse::<f64>() {
            Ok(number) if number >= low && number <= high => Ok(number),
            _ => self.wrong(column, format!("a number from {low} to {high}")),
        }
    }

    /// A power, W, where one is stated.
    pub fn watts(&self, column: &str) -> Result<Option<f64>, Diagnostic> {
        self.optional(column, |cells| cells.number(column, 1.0, 3000.0))
    }

    /// What a known word stands for.
    pub fn one_of<T: Copy>(&self, column: &str, known: &[(&str, T)]) -> Result<T, Diagnostic> {
        if let Some((_, value)) = known.iter().find(|(word, _)| *word == self.text(column)) {
            return Ok(*value);
        }
        let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
        let likely = nearest(self.text(column), words.iter().copied());
        self.wrong(column, words.join(", ")).map_err(|error| Diagnostic { nearest: likely, ..error })
    }
}
