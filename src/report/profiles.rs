//! Profiles as lists and checks.

use std::collections::BTreeMap;

use serde_json::json;

use super::style::table;
use crate::arch::Model;
use crate::document::{Diagnostic, Kind, Library, Node, Origin, Resolver};
use crate::hardware::{Accelerator, Finding, NodeProfile, Performance, Severity};
use crate::scenario::Scenario;
use crate::site::{cloud_region, equivalents, grid_tables, water_intensity};
use crate::store::Store;
use crate::units::grouped;

/// Kinds of profiles that can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Listed {
    /// GPUs and other accelerators.
    Accelerators,
    /// Machines around them.
    Nodes,
    /// Architectures.
    Models,
    /// Scenarios.
    Scenarios,
    /// Yearly grid intensities.
    Grids,
    /// Cloud regions.
    Clouds,
}

/// A list of profiles.
pub struct Listing {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    text_columns: usize,
}

impl Listing {
    fn new(head: &[&str], rows: Vec<Vec<String>>, text_columns: usize) -> Self {
        Self { head: head.iter().map(|cell| (*cell).to_string()).collect(), rows, text_columns }
    }

    /// As an aligned table.
    #[must_use]
    pub fn table(&self) -> String {
        table(self.head.clone(), self.rows.clone(), self.text_columns)
    }

    /// As versioned JSON.
    #[must_use]
    pub fn json(&self) -> String {
        let key = |cell: &String| cell.to_lowercase().replace([' ', ','], "_").replace("__", "_").replace('/', "_per_");
        let rows: Vec<BTreeMap<String, &String>> = self.rows.iter().map(|row| self.head.iter().map(key).zip(row).collect()).collect();
        serde_json::to_string_pretty(&json!({ "schema": 1, "profiles": rows })).unwrap_or_default() + "\n"
    }

    /// As CSV.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        std::iter::once(&self.head).chain(&self.rows).for_each(|row| {
            writer.write_record(row).ok();
        });
        String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
    }

    /// As a Markdown table.
    #[must_use]
    pub fn markdown(&self) -> String {
        let line = |row: &[String]| format!("| {} |\n", row.join(" | "));
        let rule = vec!["---".to_string(); self.head.len()];
        line(&self.head) + &line(&rule) + &self.rows.iter().map(|row| line(row)).collect::<String>()
    }
}

fn load<T>(store: &Store, kind: Kind, name: &str, read: impl FnOnce(&Node) -> Result<T, Diagnostic>) -> Result<T, Diagnostic> {
    read(&Resolver::new(store).named(kind, name, &Origin::whole("command line"))?)
}

/// The profiles of a kind.
///
/// # Errors
/// A profile cannot be read.
pub fn list(store: &Store, kind: Option<Listed>) -> Result<Listing, Diagnostic> {
    let origin = Origin::whole("command line");
    let shown = |value: Option<String>| value.unwrap_or_else(|| "-".into());
    Ok(match kind {
        None => {
            let kinds =
                [("accelerators", Kind::Accelerator), ("nodes", Kind::Node), ("models", Kind::Model), ("scenarios", Kind::Scenario)];
            let mut rows: Vec<Vec<String>> = Vec::new();
            for (word, kind) in kinds {
                rows.extend(store.list(kind).into_iter().map(|entry| vec![word.to_string(), entry.name, entry.file]));
            }
            for grid in grid_tables(store, &origin)? {
                let about = format!("{}, {} rows", grid.side_car.title, grid.rows.len());
                rows.push(vec!["grids".into(), grid.side_car.name.clone(), about]);
            }
            Listing::new(&["kind", "name", "copy"], rows, 3)
        }
        Some(Listed::Accelerators) => {
            let mut rows = Vec::new();
            for entry in store.list(Kind::Accelerator) {
                let device = load(store, Kind::Accelerator, &entry.name, Accelerator::read)?;
                let rate = |value: &Option<crate::numeric::Estimate<crate::units::FlopsPerSecond>>| {
                    shown(value.as_ref().map(|rate| format!("{:.1}", rate.centre().value() / 1e12)))
                };
                rows.push(vec![
                    device.name.clone(),
                    device.aliases.first().cloned().unwrap_or_default(),
                    grouped(device.memory.capacity.centre().value() / 1e9),
                    grouped(device.memory.bandwidth.centre().value() / 1e9),
                    rate(&device.peak.fp32),
                    rate(&device.peak.fp16),
                    rate(&device.peak.bf16),
                    shown(device.power.as_ref().map(|power| grouped(power.limit.centre().value()))),
                    shown(device.released.clone()),
                ]);
            }
            let head = [
                "accelerator",
                "alias",
                "memory, GB",
                "bandwidth, GB/s",
                "fp32, TFLOP/s",
                "fp16, TFLOP/s",
                "bf16, TFLOP/s",
                "limit, W",
                "released",
            ];
            Listing::new(&head, rows, 2)
        }
        Some(Listed::Nodes) => {
            let mut rows = Vec::new();
            for entry in store.list(Kind::Node) {
                let node = load(store, Kind::Node, &entry.name, NodeProfile::read)?;
                let network = node.network.as_ref().map(|network| network.bandwidth_one_way.to_string());
                let share = node.overhead.share_of_accelerators.as_ref().map(|share| format!(" + {share} x theirs"));
                let beside = node.overhead.power.to_string() + &share.unwrap_or_default();
                rows.push(vec![node.name.clone(), node.accelerators_per_node.to_string(), beside, shown(network)]);
            }
            Listing::new(&["node", "accelerators", "power beside them", "network, one way"], rows, 1)
        }
        Some(Listed::Models) => {
            let mut rows = Vec::new();
            for entry in store.list(Kind::Model) {
                let model = load(store, Kind::Model, &entry.name, Model::read)?;
                let batch = crate::arch::Batch { sequences: 1.0, length: 128.0, element_bytes: 4.0 };
                let parameters = model.ledger(batch).map(|ledger| grouped(ledger.parameters())).unwrap_or_default();
                rows.push(vec![model.name.clone(), model.title.clone().unwrap_or_default(), parameters]);
            }
            Listing::new(&["model", "title", "parameters"], rows, 2)
        }
        Some(Listed::Scenarios) => {
            let mut rows = Vec::new();
            for entry in store.list(Kind::Scenario) {
                let scenario = Scenario::read(&mut Resolver::new(store), &entry.name, &[])?;
                rows.push(vec![entry.name, scenario.settings.title.clone(), scenario.names().len().to_string()]);
            }
            Listing::new(&["scenario", "title", "cases"], rows, 2)
        }
        Some(Listed::Grids) => {
            let mut rows = Vec::new();
            for grid in grid_tables(store, &origin)? {
                for row in &grid.rows {
                    let year = row.year.map_or(String::new(), |year| year.to_string());
                    rows.push(vec![
                        format!("{}/{}", grid.side_car.name, row.zone),
                        row.name.clone(),
                        year,
                        crate::units::significant(row.grams_per_kwh),
                    ]);
                }
            }
            Listing::new(&["grid", "name", "year", "g/kWh"], rows, 2)
        }
        Some(Listed::Clouds) => {
            let text = store.data("grid_profiles/cloud_regions.csv", &origin)?;
            let mut names: Vec<String> = Vec::new();
            for row in csv::Reader::from_reader(text.text.as_bytes()).records().flatten() {
                let name = format!("{}/{}", row.get(0).unwrap_or_default(), row.get(1).unwrap_or_default());
                if names.last() != Some(&name) {
                    names.push(name);
                }
            }
            names.sort();
            names.dedup();
            let mut rows = Vec::new();
            for name in names {
                let region = cloud_region(store, &name, &origin)?;
                let number = |found: Option<crate::site::Found>| shown(found.map(|found| crate::units::significant(found.value)));
                rows.push(vec![name, shown(region.zone), number(region.pue), number(region.wue), number(region.intensity)]);
            }
            Listing::new(&["cloud region", "zone", "PUE", "WUE, L/kWh", "g/kWh"], rows, 2)
        }
    })
}

/// A profile's own text, with the name of the copy that would be used.
///
/// # Errors
/// No profile has that name.
pub fn show(store: &Store, name: &str) -> Result<String, Diagnostic> {
    let origin = Origin::whole("command line");
    let kinds = [Kind::Accelerator, Kind::Node, Kind::Model, Kind::Scenario];
    for kind in kinds {
        if let Ok(text) = store.find(kind, name, &origin) {
            return Ok(format!("# {} ({}, {})\n{}", text.file, kind.word(), crate::store::short_hash(&text.text), text.text));
        }
    }
    if let Ok(found) = crate::site::find_intensity(store, name, None, &origin) {
        let water = water_intensity(store, name.rsplit('/').next().unwrap_or(name), &origin)?;
        let water = water.map_or(String::new(), |found| format!("water_intensity = \"{} L/kWh\"  # {}\n", found.value, found.from));
        return Ok(format!("carbon_intensity = \"{} g/kWh\"  # {}\n{water}", found.value, found.from));
    }
    if let Ok(region) = cloud_region(store, name, &origin) {
        let line = |key: &str, unit: &str, found: Option<crate::site::Found>| match found {
            Some(found) => format!("{key} = \"{}{unit}\"  # {}\n", found.value, found.from),
            None => format!("# {key}: not known\n"),
        };
        return Ok(line("pue", "", region.pue)
            + &line("wue", " L/kWh", region.wue)
            + &line("carbon_intensity", " g/kWh", region.intensity));
    }
    let known: Vec<String> = kinds.iter().flat_map(|kind| store.list(*kind)).map(|entry| entry.name).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    Err(Diagnostic { nearest: store.nearest(&kinds, name), ..Diagnostic::unknown(&origin, "", "profile", name, &known) })
}

/// The findings of every profile, or of the files at `paths`; whether any is an error.
///
/// # Errors
/// A data table cannot be read at all.
pub fn check(store: &Store, paths: &[String]) -> Result<(String, bool), Diagnostic> {
    let mut report = Checked::default();
    if paths.is_empty() {
        for kind in [Kind::Accelerator, Kind::Node, Kind::Model, Kind::Scenario] {
            for entry in store.list(kind) {
                report.profile(store, kind, &entry.name);
            }
        }
        report.file(store, "hardware_profiles/class_defaults.toml", |node| Performance::read(node).map(|parameters| parameters.findings()));
        report.tables(store)?;
    }
    for path in paths {
        let origin = Origin::whole("command line");
        let text = store.find(Kind::Accelerator, path, &origin)?;
        let kind = Node::parse(&text.file, &text.text).map(|node| {
            let has = |key: &str| node.find(key).is_some();
            match (has("accelerators_per_node"), has("baseline"), has("vendor") || has("peak")) {
                (true, ..) => Kind::Node,
                (_, true, _) => Kind::Scenario,
                (_, _, true) => Kind::Accelerator,
                _ => Kind::Model,
            }
        });
        match kind {
            Ok(kind) => report.profile(store, kind, path),
            Err(error) => report.error(&error),
        }
    }
    Ok(report.finish())
}

#[derive(Default)]
struct Checked {
    lines: Vec<String>,
    errors: usize,
    warnings: usize,
    profiles: usize,
    names: BTreeMap<String, String>,
}

impl Checked {
    fn error(&mut self, error: &Diagnostic) {
        self.errors += 1;
        self.lines.push(format!("error: {error}"));
    }

    fn findings(&mut self, node: &Node, findings: Vec<Finding>) {
        for finding in findings {
            let diagnostic = finding.problem.at(node);
            match finding.severity {
                Severity::Error => self.error(&diagnostic),
                Severity::Warning => {
                    self.warnings += 1;
                    self.lines.push(format!("warning: {diagnostic}"));
                }
            }
        }
    }

    fn profile(&mut self, store: &Store, kind: Kind, name: &str) {
        self.profiles += 1;
        let mut resolver = Resolver::new(store);
        if kind == Kind::Scenario {
            let resolved = Scenario::read(&mut resolver, name, &[])
                .and_then(|scenario| scenario.names().into_iter().try_for_each(|case| scenario.case(&mut resolver, case, &[]).map(drop)));
            return resolved.unwrap_or_else(|error| self.error(&error));
        }
        let node = match resolver.named(kind, name, &Origin::whole("command line")) {
            Ok(node) => node,
            Err(error) => return self.error(&error),
        };
        let findings = match kind {
            Kind::Accelerator => node.read::<Accelerator>().map(|device| {
                self.unique(&node, device.aliases.iter().chain([&device.name]));
                device.findings()
            }),
            Kind::Node => node.read::<NodeProfile>().map(|around| {
                self.unique(&node, around.aliases.iter().chain([&around.name]));
                around.findings()
            }),
            _ => Model::read(&node).map(|_| Vec::new()),
        };
        match findings {
            Ok(findings) => self.findings(&node, findings),
            Err(error) => self.error(&error),
        }
    }

    /// Names and aliases are one name space.
    fn unique<'n>(&mut self, node: &Node, names: impl Iterator<Item = &'n String>) {
        let place = node.place("name").to_string();
        for name in names {
            let key = name.to_lowercase();
            match self.names.get(&key) {
                Some(other) if *other != place => {
                    let error =
                        Diagnostic::new(node.place("name"), "name", format!("\"{name}\", which {other} has too"), "names of their own");
                    self.error(&error);
                }
                _ => {
                    self.names.insert(key, place.clone());
                }
            }
        }
    }

    fn file(&mut self, store: &Store, path: &str, read: impl FnOnce(&Node) -> Result<Vec<Finding>, Diagnostic>) {
        self.profiles += 1;
        let node = store.data(path, &Origin::whole(path)).and_then(|text| Node::parse(&text.file, &text.text));
        match node.and_then(|node| read(&node).map(|findings| (node, findings))) {
            Ok((node, findings)) => self.findings(&node, findings),
            Err(error) => self.error(&error),
        }
    }

    fn tables(&mut self, store: &Store) -> Result<(), Diagnostic> {
        let origin = Origin::whole("grid_profiles");
        for grid in grid_tables(store, &origin)? {
            self.profiles += 1;
            let mut seen = std::collections::BTreeSet::new();
            for row in &grid.rows {
                let here = Origin::whole(&format!("grid_profiles/{}: {}", grid.side_car.data, row.zone));
                if !(0.0..=1500.0).contains(&row.grams_per_kwh) {
                    self.error(&Diagnostic::new(&here, "g_per_kwh", row.grams_per_kwh.to_string(), "0 to 1500"));
                }
                if !seen.insert((row.zone.to_lowercase(), row.year)) {
                    self.error(&Diagnostic::new(&here, "zone", "the same zone and year again", "one row each"));
                }
            }
        }
        self.profiles += 1;
        for (equivalent, citation) in equivalents(store, &origin)? {
            if citation.is_empty() {
                let here = Origin::whole("grid_profiles/equivalents.toml");
                self.error(&Diagnostic::new(&here, &equivalent.name, "no source", "a source for every value"));
            }
        }
        Ok(())
    }

    fn finish(self) -> (String, bool) {
        let mut text = self.lines.join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        text += &format!("{} profiles checked: {} errors, {} warnings\n", self.profiles, self.errors, self.warnings);
        (text, self.errors > 0)
    }
}
