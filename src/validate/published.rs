//! Tables of a known form: a CSV file of `measurements/` and the side-car that says where it is from.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use crate::document::{Diagnostic, Library, Node, Origin};
use crate::source::Source;

/// A published table as it is read.
pub(super) struct Table<Row> {
    /// Its rows.
    pub rows: Vec<Row>,
    /// Its first source.
    pub source: String,
    /// All that the side-car says.
    pub side_car: Node,
}

impl<Row: DeserializeOwned> Table<Row> {
    /// Reads the published table of a name, whose rows have `columns`.
    pub(super) fn read(library: &dyn Library, name: &str, columns: &str) -> Result<Self, Diagnostic> {
        Self::read_from(library, &format!("published/{name}"), columns)
    }

    /// Reads the table of a name with its folder.
    pub(super) fn read_from(library: &dyn Library, name: &str, columns: &str) -> Result<Self, Diagnostic> {
        let data = |ending: &str| library.data(&format!("measurements/{name}.{ending}"), &Origin::whole("validate"));
        let (text, table) = (data("toml")?, data("csv")?);
        let side_car = Node::parse(&text.file, &text.text)?;
        let source = cited(&side_car)?.into_iter().next().unwrap_or_default();
        let wrong = |error: csv::Error| Diagnostic::new(&Origin::whole(&table.file), "", error.to_string(), columns);
        let rows =
            csv::Reader::from_reader(table.text.as_bytes()).into_deserialize().map(|row| row.map_err(wrong)).collect::<Result<_, _>>()?;
        Ok(Self { rows, source, side_car })
    }
}

/// The sources that a side-car names.
fn cited(side_car: &Node) -> Result<Vec<String>, Diagnostic> {
    let sources: BTreeMap<String, Source> = match side_car.find("sources") {
        Some(node) => node.read().map_err(|error| error.under("sources"))?,
        None => BTreeMap::new(),
    };
    Ok(sources.into_values().map(|source| format!("{} ({})", source.citation, source.year)).collect())
}

/// Where the table of a path is from, by the side-car beside it; a table of a user's own may have none.
pub(super) fn source_of(library: &dyn Library, path: &str) -> Result<String, Diagnostic> {
    let beside = path.trim_end_matches(".csv").to_string() + ".toml";
    match library.data(&beside, &Origin::whole("validate")) {
        Ok(text) => Ok(cited(&Node::parse(&text.file, &text.text)?)?.join("; ")),
        Err(_) => Ok("no side-car".into()),
    }
}
