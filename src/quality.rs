//! What a model achieves, as published: the other side of a saving. Never interpolated, averaged or carried over.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::document::{Diagnostic, Library, Node, Origin};
use crate::source::Source;

/// Which published figure a case names.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The set of figures, such as `long-range-arena`.
    pub set: String,
    /// The model in it.
    pub model: String,
    /// The task.
    pub task: String,
}

/// A published figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Quality {
    /// The model as its source names it.
    pub model: String,
    /// The set and the task.
    pub task: String,
    /// What is measured, with its unit.
    pub metric: String,
    /// The figure as printed.
    pub printed: String,
    /// Its citation.
    pub from: String,
}

const TABLE: &str = "measurements/published/quality.csv";
const SIDE_CAR: &str = "measurements/published/quality.toml";

/// The columns of the table, in their order.
const COLUMNS: [&str; 6] = ["set", "model", "task", "metric", "value", "source"];

/// The figure that `asked` names.
///
/// # Errors
/// There is no such set, model or task; the message lists those there are.
pub fn find(library: &dyn Library, asked: &Asked, origin: &Origin) -> Result<Quality, Diagnostic> {
    let side_car = library.data(SIDE_CAR, origin)?;
    let sources = Node::parse(&side_car.file, &side_car.text)?;
    let sources: BTreeMap<String, Source> = match sources.find("sources") {
        Some(node) => node.read()?,
        None => BTreeMap::new(),
    };
    let table = library.data(TABLE, origin)?;
    let mut reader = csv::Reader::from_reader(table.text.as_bytes());
    let mut rows: Vec<csv::StringRecord> = Vec::new();
    for row in reader.records() {
        rows.push(row.map_err(|error| Diagnostic::new(&Origin::whole(&table.file), "", error.to_string(), COLUMNS.join(",")))?);
    }
    for (column, (key, wanted)) in [("set", &asked.set), ("model", &asked.model), ("task", &asked.task)].into_iter().enumerate() {
        let mut known: Vec<String> = rows.iter().filter_map(|row| row.get(column).map(str::to_string)).collect();
        known.dedup();
        rows.retain(|row| row.get(column).is_some_and(|cell| cell.eq_ignore_ascii_case(wanted)));
        if rows.is_empty() {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            return Err(Diagnostic::unknown(origin, key, key, wanted, &known));
        }
    }
    let cell = |column: usize| rows.first().and_then(|row| row.get(column)).unwrap_or_default().to_string();
    let from = sources.get(&cell(5)).map_or_else(|| cell(5), |source| format!("{} ({})", source.citation, source.year));
    Ok(Quality { model: cell(1), task: format!("{}, {}", cell(0), cell(2)), metric: cell(3), printed: cell(4), from })
}
