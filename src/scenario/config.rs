//! What a scenario file says beside its cases.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::document::{Data, Diagnostic, Node};
use crate::source::Source;

/// What holds for the whole file.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The question, in one line.
    pub title: String,
    /// What a reader should know.
    pub description: Option<String>,
    /// Name of the case that variants are compared with.
    pub baseline: String,
    /// Number of draws.
    pub draws: usize,
    /// Seed of the draws.
    pub seed: u64,
    /// Whether variants are compared with the baseline; a list of unlike runs is not.
    pub compare: bool,
    /// A key and the values it takes in turn.
    pub sweep: Option<Sweep>,
    /// From where a saving passes a mark.
    pub threshold: Option<Threshold>,
    /// Figures that others printed, to stand beside the computed ones.
    pub published: Vec<Published>,
    /// Sources by key.
    pub sources: BTreeMap<String, Source>,
}

/// A key and the values it takes in turn.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// Dotted path.
    pub key: String,
    /// Keys that take the same value.
    #[serde(default)]
    pub with: Vec<String>,
    /// The values.
    pub values: Vec<f64>,
}

/// From which value of a key a saving passes a mark.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// Dotted path of a whole number.
    pub key: String,
    /// The mark.
    pub saving_percent: f64,
    /// Smallest value tried.
    pub low: u64,
    /// Largest value tried.
    pub high: u64,
}

/// A quantity of the results that others printed too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Facility energy.
    Energy,
    /// Location-based emissions of the electricity.
    Co2e,
    /// Market-based emissions of the electricity.
    Co2eMarket,
    /// Cost at the cheapest offer.
    CostLow,
    /// Cost at the dearest offer.
    CostHigh,
    /// Wall-clock time.
    Duration,
    /// Mean IT power of a node.
    NodePower,
    /// Steps a second over those of the baseline at the same value of a sweep, unit x.
    SpeedUp,
    /// Memory that a device needs.
    Memory,
}

impl Quantity {
    /// What people call it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Energy => "energy",
            Self::Co2e => "CO2e",
            Self::Co2eMarket => "CO2e, market-based",
            Self::CostLow => "cost, cheapest offer",
            Self::CostHigh => "cost, dearest offer",
            Self::Duration => "time",
            Self::NodePower => "power of a node",
            Self::SpeedUp => "speed-up",
            Self::Memory => "memory",
        }
    }
}

/// A figure that others printed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// The case it is of.
    pub case: String,
    /// The value of the sweep it is at.
    #[serde(default)]
    pub at: Option<f64>,
    /// What it is of it.
    pub quantity: Quantity,
    /// The figure as printed, with its digits.
    pub printed: String,
    /// Its unit.
    pub unit: String,
    /// Key of the source.
    pub source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    schema: u32,
    title: String,
    #[serde(default)]
    description: Option<String>,
    baseline: String,
    #[serde(default = "ten_thousand")]
    draws: usize,
    #[serde(default = "one")]
    seed: u64,
    #[serde(default = "yes")]
    compare: bool,
    #[serde(default)]
    sweep: Option<Sweep>,
    #[serde(default)]
    threshold: Option<Threshold>,
    #[serde(default)]
    published: Vec<Published>,
    #[serde(default)]
    sources: BTreeMap<String, Source>,
}

fn ten_thousand() -> usize {
    10_000
}

fn yes() -> bool {
    true
}

fn one() -> u64 {
    1
}

/// The sections that make a case; everything else is a setting.
pub(super) const SECTIONS: &[&str] =
    &["model", "hardware", "training", "techniques", "inference", "performance", "anchor", "site", "price", "embodied", "quality"];
/// The settings.
pub(super) const SETTINGS: &[&str] =
    &["schema", "title", "description", "baseline", "draws", "seed", "compare", "sweep", "threshold", "published", "sources"];
/// More draws than this only take time.
const MOST_DRAWS: usize = 1_000_000;

impl Settings {
    pub(super) fn read(root: &Node) -> Result<Self, Diagnostic> {
        let mut head = root.clone();
        if let Data::Table(table) = &mut head.data {
            for (key, node) in table.iter() {
                if !SECTIONS.contains(&key) && !SETTINGS.contains(&key) {
                    let known: Vec<&str> = SECTIONS.iter().chain(SETTINGS).copied().chain(["variant", "use"]).collect();
                    let mut error = Diagnostic::new(&node.origin, key, "an unknown key", known.join(", "));
                    error.nearest = crate::document::nearest(key, known);
                    return Err(error);
                }
            }
            for section in SECTIONS {
                table.remove(section);
            }
        }
        let head: Head = head.read()?;
        if head.schema != 1 {
            return Err(Diagnostic::new(root.place("schema"), "schema", head.schema.to_string(), "1"));
        }
        if head.draws > MOST_DRAWS {
            return Err(Diagnostic::new(root.place("draws"), "draws", head.draws.to_string(), format!("0 to {MOST_DRAWS}")));
        }
        Ok(Self {
            title: head.title,
            description: head.description,
            baseline: head.baseline,
            draws: head.draws,
            seed: head.seed,
            compare: head.compare,
            sweep: head.sweep,
            threshold: head.threshold,
            published: head.published,
            sources: head.sources,
        })
    }

    pub(super) fn check(&self, root: &Node, variants: &[super::Named]) -> Result<(), Diagnostic> {
        if let Some(sweep) = &self.sweep
            && (sweep.values.is_empty() || sweep.values.iter().any(|value| !value.is_finite()))
        {
            return Err(Diagnostic::new(root.place("sweep.values"), "sweep.values", "no usable values", "a list of numbers"));
        }
        if let Some(threshold) = &self.threshold {
            let low_place = root.place("threshold.low");
            if threshold.low > threshold.high {
                let found = format!("low {} above high {}", threshold.low, threshold.high);
                return Err(Diagnostic::new(low_place, "threshold.low", found, "low at or below high"));
            }
        }
        let names: Vec<&str> =
            std::iter::once(self.baseline.as_str()).chain(variants.iter().map(|variant| variant.name.as_str())).collect();
        for (index, published) in self.published.iter().enumerate() {
            let place = root.place("published");
            if !names.contains(&published.case.as_str()) {
                return Err(Diagnostic::unknown(place, &format!("published.{index}.case"), "case", &published.case, &names));
            }
            if published.printed.replace(',', "").parse::<f64>().is_err() {
                let key = format!("published.{index}.printed");
                return Err(Diagnostic::new(place, &key, format!("\"{}\"", published.printed), "a number as printed, such as \"1,507\""));
            }
            if !self.sources.contains_key(&published.source) {
                let known: Vec<&str> = self.sources.keys().map(String::as_str).collect();
                return Err(Diagnostic::unknown(place, &format!("published.{index}.source"), "source", &published.source, &known));
            }
        }
        Ok(())
    }
}
