//! Scenarios: the file a user writes, with its variants, resolved into cases that can be estimated.

mod case;
mod config;

pub use case::{Anchor, Case, Known, Offer, Own, SiteValues};
pub use config::{Published, Quantity, Settings, Sweep, Threshold};

use crate::document::overlay::{assignment, overlay};
use crate::document::{Data, Diagnostic, Kind, Node, Origin, Resolver, expand};

/// A scenario that has been read, its variants not yet resolved.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What holds for the whole file.
    pub settings: Settings,
    root: Node,
    variants: Vec<(String, Node)>,
}

/// The paths at which a plain string is short for `{ use = "..." }`.
const REFERENCES: &[&[&str]] = &[&["model"], &["hardware", "accelerator"], &["hardware", "node"]];

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
        for text in set {
            let mut node = assignment(text)?;
            normalise(&mut node);
            root = overlay(root, node);
        }
        let Data::Table(table) = &mut root.data else {
            return Err(Diagnostic::new(&root.origin, "", "no table", "a scenario"));
        };
        let mut variants = Vec::new();
        if let Some(list) = table.remove("variant") {
            let Data::Array(items) = list.data else {
                return Err(Diagnostic::new(&list.origin, "variant", "no list", "[[variant]] tables"));
            };
            for (index, mut item) in items.into_iter().enumerate() {
                let key = format!("variant.{index}");
                let Data::Table(table) = &mut item.data else {
                    return Err(Diagnostic::new(&item.origin, &key, "no table", "[[variant]] tables"));
                };
                let variant_name = match table.remove("name") {
                    Some(node) => node.read::<String>().map_err(|error| error.under(&key))?,
                    None => return Err(Diagnostic::new(&item.origin, &format!("{key}.name"), "nothing", "this key is needed")),
                };
                normalise(&mut item);
                if variants.iter().any(|(other, _)| *other == variant_name) {
                    return Err(Diagnostic::new(&item.origin, &format!("{key}.name"), format!("\"{variant_name}\" again"), "a name of its own"));
                }
                variants.push((variant_name, item));
            }
        }
        let settings = Settings::read(&root)?;
        if variants.iter().any(|(name, _)| *name == settings.baseline) {
            return Err(Diagnostic::new(root.place("baseline"), "baseline", format!("\"{}\", a variant's name too", settings.baseline), "a name of its own"));
        }
        settings.check(&root, &variants)?;
        let points = settings.sweep.as_ref().map_or(1, |sweep| sweep.values.len());
        if points * (variants.len() + 1) > MOST_CASES {
            return Err(Diagnostic::new(&root.origin, "sweep", format!("{} cases", points * (variants.len() + 1)), format!("at most {MOST_CASES}")));
        }
        Ok(Self { settings, root, variants })
    }

    /// Names of the baseline and the variants, in the order of the file; without a baseline, of the variants.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        std::iter::once(self.settings.baseline.as_str()).chain(self.variants.iter().map(|(name, _)| name.as_str())).collect()
    }

    /// The case called `name`, with `extra` laid over it.
    ///
    /// # Errors
    /// A profile that it names is missing or wrong, or values contradict each other.
    pub fn case(&self, resolver: &mut Resolver<'_>, name: &str, extra: &[Node]) -> Result<Case, Diagnostic> {
        let variant = self.variants.iter().find(|(other, _)| other == name).map(|(_, node)| node);
        let mut node = self.root.clone();
        if let Some(variant) = variant {
            node = overlay(node, variant.clone());
        }
        for over in extra {
            let mut over = over.clone();
            normalise(&mut over);
            node = overlay(node, over);
        }
        let own_anchor = variant.is_some_and(|variant| variant.find("anchor").is_some());
        Case::resolve(resolver, name, node, own_anchor)
    }

    /// The overlays of the sweep's points, one empty point without a sweep.
    ///
    /// # Errors
    /// The sweep's key is not a dotted path.
    pub fn points(&self) -> Result<Vec<(Option<f64>, Vec<Node>)>, Diagnostic> {
        match &self.settings.sweep {
            None => Ok(vec![(None, Vec::new())]),
            Some(sweep) => sweep
                .values
                .iter()
                .map(|value| Ok((Some(*value), vec![self.set(&sweep.key, *value)?])))
                .collect(),
        }
    }

    /// The overlay `key = value`.
    ///
    /// # Errors
    /// The key is not a dotted path.
    pub fn set(&self, key: &str, value: f64) -> Result<Node, Diagnostic> {
        assignment(&format!("{key}={value}"))
    }
}
