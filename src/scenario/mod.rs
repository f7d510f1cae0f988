//! Scenarios: the file a user writes, with its variants, resolved into cases that can be estimated.

mod case;
mod config;
mod on_stack;
mod sections;

pub use case::{Anchor, Case, Known, Offer, Own, SiteValues};
pub use config::{Published, Quantity, Settings, Sweep, Threshold};

use crate::calibrate::Calibration;
use crate::document::overlay::{assignment, assignment_at, overlay};
use config::SECTIONS;

use crate::document::{Data, Diagnostic, Kind, Node, Origin, Resolver, Table, expand, nearest};

/// A scenario that has been read, its variants not yet resolved.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What holds for the whole file.
    pub settings: Settings,
    root: Node,
    variants: Vec<Named>,
    assumptions: Vec<Named>,
    /// What software stacks were found to achieve, for the cases that name one.
    calibrations: Vec<Calibration>,
    /// The sections that an assignment changed beside an anchor.
    pub stale_anchor: Option<String>,
}

/// An overlay with a name, such as a variant.
#[derive(Debug, Clone)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Where the name stands.
    pub origin: Origin,
    /// What it lays over the scenario.
    pub overlay: Node,
}

/// A value of the sweep, if there is one, and the overlays that set it.
pub type SweepPoint = (Option<f64>, Vec<Node>);

/// The paths at which a plain string is short for `{ use = "..." }`.
const REFERENCES: &[&[&str]] = &[
    &["model"],
    &["hardware", "accelerator"],
    &["hardware", "node"],
    &["techniques", "distillation", "teacher"],
    &["techniques", "replaced_tokens", "generator"],
];

/// More variants or sweep points than this are a mistake.
const MOST_CASES: usize = 10_000;

fn normalise(node: &mut Node) {
    for path in REFERENCES {
        expand(node, path);
    }
}

impl Scenario {
    /// Reads the scenario called `name` (a name or a path) and lays the assignments of `--set` over it.
    ///
    /// # Errors
    /// A file is missing or wrong; the message names file, line, key, what was found and what is allowed.
    pub fn read(resolver: &mut Resolver<'_>, name: &str, set: &[String]) -> Result<Self, Diagnostic> {
        let mut root = resolver.named(Kind::Scenario, name, &Origin::whole("command line"))?;
        normalise(&mut root);
        let mut changed: Vec<&str> = Vec::new();
        for text in set {
            let mut node = assignment(text)?;
            let section = text.split(['.', '=']).next().unwrap_or_default().trim();
            if ["model", "hardware", "training"].contains(&section) && root.find("anchor").is_some() {
                changed.push(section);
            }
            normalise(&mut node);
            root = overlay(root, node);
        }
        let Data::Table(table) = &mut root.data else {
            return Err(Diagnostic::new(&root.origin, "", "no table", "a scenario"));
        };
        let variants = named_overlays(table, "variant")?;
        let assumptions = named_overlays(table, "assumption")?;
        let settings = Settings::read(&root)?;
        if let Some((index, variant)) = variants.iter().enumerate().find(|(_, variant)| variant.name == settings.baseline) {
            let found = format!("\"{}\", the baseline's name too", variant.name);
            return Err(Diagnostic::new(&variant.origin, &format!("variant.{index}.name"), found, "a name of its own"));
        }
        settings.check(&root, &variants)?;
        let points = settings.sweep.as_ref().map_or(1, |sweep| sweep.values.len());
        if points * (variants.len() + 1) > MOST_CASES {
            return Err(Diagnostic::new(
                &root.origin,
                "sweep",
                format!("{} cases", points * (variants.len() + 1)),
                format!("at most {MOST_CASES}"),
            ));
        }
        changed.dedup();
        let stale_anchor = (!changed.is_empty()).then(|| changed.join(", "));
        Ok(Self { settings, root, variants, assumptions, calibrations: Vec::new(), stale_anchor })
    }

    /// Whether a case names a software stack, so that calibrations may speak of it.
    #[must_use]
    pub fn names_a_stack(&self) -> bool {
        let overlays = self.variants.iter().chain(&self.assumptions).map(|named| &named.overlay);
        std::iter::once(&self.root).chain(overlays).any(|node| node.find("performance.stack").is_some())
    }

    /// The same with calibrations, of which the first that fits a case speaks of it.
    #[must_use]
    pub fn with_calibrations(self, calibrations: Vec<Calibration>) -> Self {
        Self { calibrations, ..self }
    }

    /// What could be assumed instead: a name, and the overlay that it is.
    #[must_use]
    pub fn assumptions(&self) -> &[Named] {
        &self.assumptions
    }

    /// Names of the baseline and the variants, in the order of the file; without a baseline, of the variants.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        std::iter::once(self.settings.baseline.as_str()).chain(self.variants.iter().map(|variant| variant.name.as_str())).collect()
    }

    /// The case called `name`, with `extra` laid over it. An anchor is the baseline's own, and that of a variant that
    /// states one; any other variant is scaled from it.
    ///
    /// # Errors
    /// A profile that it names is missing or wrong, or values contradict each other.
    pub fn case(&self, resolver: &mut Resolver<'_>, name: &str, extra: &[Node]) -> Result<Case, Diagnostic> {
        match self.variants.iter().find(|variant| variant.name == name) {
            Some(variant) => {
                let own_anchor = variant.overlay.find("anchor").is_some();
                self.resolve(resolver, name, std::iter::once(&variant.overlay).chain(extra), own_anchor)
            }
            None => self.resolve(resolver, name, extra.iter(), true),
        }
    }

    /// The baseline with `extra` laid over it, as a variant of itself.
    ///
    /// # Errors
    /// See [`Scenario::case`].
    pub fn what_if(&self, resolver: &mut Resolver<'_>, extra: &Node) -> Result<Case, Diagnostic> {
        self.resolve(resolver, &self.settings.baseline, std::iter::once(extra), false)
    }

    fn resolve<'n>(
        &self,
        resolver: &mut Resolver<'_>,
        name: &str,
        overlays: impl Iterator<Item = &'n Node>,
        own_anchor: bool,
    ) -> Result<Case, Diagnostic> {
        let mut node = self.root.clone();
        // What the baseline achieves says nothing of a variant: each names its own published figure, or has none.
        if let Data::Table(table) = &mut node.data
            && name != self.settings.baseline
        {
            table.remove("quality");
        }
        for over in overlays {
            let mut over = over.clone();
            normalise(&mut over);
            node = overlay(node, over);
        }
        Case::resolve(resolver, &self.calibrations, name, node, own_anchor)
    }

    /// The overlays of the sweep's points, one empty point without a sweep.
    ///
    /// # Errors
    /// The sweep's key is not a dotted path.
    pub fn points(&self) -> Result<Vec<SweepPoint>, Diagnostic> {
        match &self.settings.sweep {
            None => Ok(vec![(None, Vec::new())]),
            Some(sweep) => sweep
                .values
                .iter()
                .map(|value| {
                    let keys = std::iter::once(&sweep.key).chain(&sweep.with);
                    Ok((Some(*value), keys.map(|key| self.set("sweep.key", key, *value)).collect::<Result<_, _>>()?))
                })
                .collect(),
        }
    }

    /// The overlay `key = value` that the setting at `place` asks for.
    ///
    /// # Errors
    /// The key is not a dotted path.
    pub fn set(&self, place: &str, key: &str, value: f64) -> Result<Node, Diagnostic> {
        assignment_at(&format!("{key}={value}"), self.root.place(place))
    }
}

/// The overlays of a list of tables such as `[[variant]]`, each with its `name`.
fn named_overlays(table: &mut Table, list_key: &str) -> Result<Vec<Named>, Diagnostic> {
    let Some(list) = table.remove(list_key) else { return Ok(Vec::new()) };
    let allowed = format!("[[{list_key}]] tables");
    let Data::Array(items) = list.data else { return Err(Diagnostic::new(&list.origin, list_key, "no list", allowed)) };
    let mut out: Vec<Named> = Vec::new();
    for (index, mut item) in items.into_iter().enumerate() {
        let key = format!("{list_key}.{index}");
        let Data::Table(entries) = &mut item.data else { return Err(Diagnostic::new(&item.origin, &key, "no table", allowed)) };
        let name_key = format!("{key}.name");
        let Some(name) = entries.remove("name") else {
            return Err(Diagnostic::new(&item.origin, &name_key, "nothing", "this key is needed"));
        };
        let origin = name.origin.clone();
        let name = name.read::<String>().map_err(|error| error.under(&name_key))?;
        if out.iter().any(|other| other.name == name) {
            return Err(Diagnostic::new(&origin, &name_key, format!("\"{name}\" again"), "a name of its own"));
        }
        if let Some((unknown, node)) = entries.iter().find(|(key, _)| !SECTIONS.contains(key)) {
            let mut error = Diagnostic::new(&node.origin, &format!("{key}.{unknown}"), "an unknown key", SECTIONS.join(", "));
            error.nearest = nearest(unknown, SECTIONS.iter().copied());
            return Err(error);
        }
        out.push(Named { name, origin, overlay: item });
    }
    Ok(out)
}
