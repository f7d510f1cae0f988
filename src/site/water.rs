//! Water consumed where electricity is made.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Found;
use crate::document::{Diagnostic, Library, Node, Origin};
use crate::numeric::Estimate;
use crate::source::Source;
use crate::units::LitresPerKwh;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Water {
    #[expect(dead_code, reason = "read for its check")]
    schema: u32,
    #[expect(dead_code, reason = "read for its check")]
    name: String,
    #[expect(dead_code, reason = "for people")]
    title: String,
    #[serde(default)]
    #[expect(dead_code, reason = "for people")]
    notes: Option<String>,
    region: Vec<Region>,
    sources: BTreeMap<String, Source>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Region {
    zone: String,
    name: String,
    consumption: Estimate<LitresPerKwh>,
}

/// Water per kWh of the country that `zone` lies in, if it is known.
///
/// # Errors
/// The file cannot be read.
pub fn water_intensity(library: &dyn Library, zone: &str, origin: &Origin) -> Result<Option<Found>, Diagnostic> {
    let text = library.data("grid_profiles/water.toml", origin)?;
    let water: Water = Node::parse(&text.file, &text.text)?.read()?;
    let country = zone.split('-').next().unwrap_or(zone);
    let region = water.region.iter().find(|region| region.zone.eq_ignore_ascii_case(country) || region.name.eq_ignore_ascii_case(country));
    Ok(region.map(|region| {
        let source = region.consumption.source.as_ref().and_then(|key| water.sources.get(key));
        Found {
            value: region.consumption.centre().value(),
            class: source.map_or(crate::source::Class::Assumed, |source| source.class),
            from: format!("{}; {}", region.name, source.map_or("", |source| source.citation.as_str())),
        }
    }))
}
