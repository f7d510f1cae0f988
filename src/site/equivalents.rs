//! What a mass of CO2e is like.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::document::{Diagnostic, Library, Node, Origin};
use crate::numeric::Estimate;
use crate::source::Source;
use crate::units::GramsCo2e;

/// Something people know, and its emissions.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Equivalent {
    /// What it is.
    pub name: String,
    /// What is counted.
    pub unit: String,
    /// Emissions of one.
    pub per: Estimate<GramsCo2e>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[expect(dead_code, reason = "read for its check")]
    schema: u32,
    #[serde(default)]
    #[expect(dead_code, reason = "for people")]
    name: Option<String>,
    #[serde(default)]
    #[expect(dead_code, reason = "for people")]
    title: Option<String>,
    #[serde(default)]
    #[expect(dead_code, reason = "for people")]
    notes: Option<String>,
    equivalent: Vec<Equivalent>,
    sources: BTreeMap<String, Source>,
}

/// Every equivalent with its citation.
///
/// # Errors
/// The file cannot be read.
pub fn equivalents(library: &dyn Library, origin: &Origin) -> Result<Vec<(Equivalent, String)>, Diagnostic> {
    let text = library.data("grid_profiles/equivalents.toml", origin)?;
    let file: File = Node::parse(&text.file, &text.text)?.read()?;
    let cite = |e: &Equivalent| e.per.source.as_ref().and_then(|key| file.sources.get(key)).map_or(String::new(), |s| s.citation.clone());
    Ok(file.equivalent.iter().map(|equivalent| (equivalent.clone(), cite(equivalent))).collect())
}
