//! One case: a model trained on some hardware at a site, every value resolved, with its class and its source.

use std::collections::BTreeMap;

use super::config::SETTINGS;
use super::on_stack::{ModelTables, on_stack};
use super::sections::Sections;
use crate::arch::{Implementation, Model};
use crate::calibrate::{Basis, Calibration, Grounds, Stack};
use crate::document::{Data, Diagnostic, Kind, Node, Problem, Resolver, Table, overlay};
use crate::hardware::{Accelerator, NodeProfile, Performance, Precision, class_of};
use crate::inference::Inference;
use crate::numeric::{Distribution, Estimate};
use crate::quality::{self, Quality};
use crate::site::{self, BookOffer, Found};
use crate::source::{Class, Source};
use crate::training::{Framework, PhaseWork, RunTechniques, Training};
use crate::units::{Quantity, Ratio};

/// A value with its uncertainty, its class and where it is from.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// What is believed of it, in base units.
    pub distribution: Distribution,
    /// How it came to be.
    pub class: Class,
    /// Citation.
    pub from: String,
}

impl Known {
    pub(super) fn of<Q: Quantity>(value: &Estimate<Q>, section: Option<&str>, sources: &BTreeMap<String, Source>) -> Self {
        let source = value.source.as_deref().or(section).and_then(|key| sources.get(key));
        let from = source.map_or_else(|| "stated in the scenario without a source".to_string(), |s| format!("{} ({})", s.citation, s.year));
        Self { distribution: value.distribution, class: class_of(value, section, sources), from }
    }

    /// A value from a data table.
    pub(super) fn found(found: Found) -> Self {
        Self { distribution: Distribution::Fixed(found.value), class: found.class, from: found.from }
    }

    /// A value that the program assumes.
    fn assumed(value: f64, from: &str) -> Self {
        Self { distribution: Distribution::Fixed(value), class: Class::Assumed, from: from.to_string() }
    }
}

/// A published or measured run that fixes hours and power.
#[derive(Debug, Clone, PartialEq)]
pub struct Anchor {
    /// Wall-clock time.
    pub duration: Known,
    /// IT power of the whole job, W.
    pub power: Option<Known>,
    /// Where the power was taken.
    pub boundary: String,
    /// Whether it is of this very case, or of the baseline that this case is scaled from.
    pub own: bool,
}

/// What is known of the site.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteValues {
    /// Power usage effectiveness.
    pub pue: Known,
    /// Location-based intensity, g/kWh.
    pub intensity: Option<Known>,
    /// Market-based intensity, g/kWh.
    pub market_intensity: Option<Known>,
    /// Water on site, L/kWh of IT energy.
    pub wue: Option<Known>,
    /// Water at the plant, L/kWh bought.
    pub water_intensity: Option<Known>,
}

/// A price of an accelerator's hour.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// Its name, such as `on_demand`.
    pub name: String,
    /// USD/h.
    pub price: Known,
}

impl Offer {
    /// An offer of a price book; rows that differ make a range.
    pub(super) fn of(offer: BookOffer) -> Self {
        let distribution = if offer.low.value < offer.high.value {
            Distribution::Uniform { low: offer.low.value, high: offer.high.value }
        } else {
            Distribution::Fixed(offer.low.value)
        };
        Self { name: offer.name.to_string(), price: Known { distribution, ..Known::found(offer.low) } }
    }
}

/// Own hardware.
#[derive(Debug, Clone, PartialEq)]
pub struct Own {
    /// Purchase of everything that trains, USD an accelerator.
    pub purchase: Known,
    /// Years in service, s.
    pub lifetime: Known,
    /// Electricity, USD/kWh.
    pub tariff: Known,
}

/// A case, resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// What is trained.
    pub model: Option<Model>,
    /// On what.
    pub accelerator: Option<Accelerator>,
    /// Around what.
    pub node: Option<NodeProfile>,
    /// How many accelerators.
    pub accelerators: u64,
    /// How it is trained.
    pub training: Option<Training>,
    /// What a reader should know of the techniques that wrap its training.
    pub technique_notes: Vec<String>,
    /// The class of the weakest number that they state.
    pub technique_class: Class,
    /// Share of the wall-clock time that makes progress, where one is stated.
    pub goodput: Option<Known>,
    /// Share of a step's time, the wait with it, in which accelerators wait for data, where one is stated.
    pub input_wait: Option<Known>,
    /// Or what is asked of it once it is trained.
    pub inference: Option<Inference>,
    /// The work of its phases.
    pub phases: Vec<PhaseWork>,
    /// Parameters of the time and power model.
    pub performance: Performance,
    /// The software stack that the scenario names.
    pub stack: Option<String>,
    /// Why its models could not have the stack's kernels, if so.
    pub stack_refused: Option<String>,
    /// What the parameters rest on.
    pub basis: Basis,
    /// The copies of the calibrations among it.
    pub calibrations: Vec<String>,
    /// How measured runs scatter around a calibration, as a factor on the time of a step.
    pub scatter: Option<Known>,
    /// A run that fixes hours and power.
    pub anchor: Option<Anchor>,
    /// Where it runs.
    pub site: SiteValues,
    /// Prices of accelerator hours.
    pub offers: Vec<Offer>,
    /// Own hardware.
    pub own: Option<Own>,
    /// Price of emissions, USD/t.
    pub carbon_price: Option<Known>,
    /// Share of its years in service that hardware works.
    pub utilisation: Known,
    /// What the model achieves, where that is published.
    pub quality: Option<Quality>,
}

impl Case {
    /// Resolves the merged document of a case.
    pub(super) fn resolve(
        resolver: &mut Resolver<'_>,
        calibrations: &[Calibration],
        name: &str,
        node: Node,
        own_anchor: bool,
    ) -> Result<Self, Diagnostic> {
        let whole = node.clone();
        let place = |problem: Problem| problem.at(&whole);
        let mut node = node;
        let Data::Table(table) = &mut node.data else { return Err(Diagnostic::new(&whole.origin, "", "no table", "a scenario")) };
        let sources: BTreeMap<String, Source> = match table.get("sources") {
            Some(node) => node.read().map_err(|error| error.under("sources"))?,
            None => BTreeMap::new(),
        };
        SETTINGS.iter().for_each(|key| drop(table.remove(key)));
        let models = ModelTables::taken(table);
        let (mut model, mut companions) = models.read(|key, node| section(resolver, Kind::Model, key, node, Model::read))?;
        let (mut accelerator, mut around) = (None, None);
        if let Some(Node { data: Data::Table(hardware), .. }) = table.get_mut("hardware") {
            let (device, node) = (hardware.remove("accelerator"), hardware.remove("node"));
            let device = device.map(|device| section(resolver, Kind::Accelerator, "hardware.accelerator", device, Accelerator::read));
            accelerator = device.transpose()?;
            around = node.map(|node| section(resolver, Kind::Node, "hardware.node", node, NodeProfile::read)).transpose()?;
        }
        let mut own_performance = table.remove("performance");
        let stack = stack(resolver, own_performance.as_mut())?;
        let mut sections: Sections = node.read()?;
        let mut stack_refused = None;
        if let Some(stack) = &stack {
            let tensor = sections.training.as_ref().map_or(1, |training| training.tensor_parallel);
            match models.read(|_, node| on_stack(resolver, stack, node, tensor)) {
                Ok(computed) => (model, companions) = computed,
                Err(why) => stack_refused = Some(format!("{}: found {}, allowed: {}", why.key, why.found, why.allowed)),
            }
            if let Some(training) = &mut sections.training {
                training.gradient_precision = training.gradient_precision.or(stack.training.gradients(training.precision));
            }
        }
        let accelerators = sections.hardware.accelerators;
        if accelerators == 0 || accelerators > 10_000_000 {
            return Err(place(Problem::new("hardware.accelerators", accelerators.to_string(), "1 to 10000000")));
        }
        let anchor = sections.anchor.map(|anchor| anchor.resolve(accelerators, &sources, own_anchor)).transpose().map_err(place)?;
        let mut phases = Vec::new();
        let techniques = &sections.techniques;
        techniques.check(&companions, &sources).map_err(|problem| place(problem.under("techniques")))?;
        if *techniques != RunTechniques::default() && sections.training.is_none() {
            return Err(place(Problem::new("techniques", "techniques without training", "a training that they wrap")));
        }
        let technique_notes = techniques.notes(&companions, &sources);
        let technique_class = techniques.class(&sources);
        let share = |stated: &Option<Estimate<Ratio>>| stated.as_ref().map(|share| Known::of(share, None, &sources));
        let (goodput, input_wait) = (share(&techniques.goodput), share(&techniques.input_wait));
        if let Some(training) = &sections.training {
            training.check().map_err(|problem| place(problem.under("training")))?;
            if let (Some(model), Some(device)) = (&model, &accelerator) {
                device.peak_at(training.precision).map_err(place)?;
                phases = sections.techniques.plan(training, model, &companions, accelerators).map_err(place)?;
                let fused = model.attention.implementation == Implementation::Fused;
                let hides = |phase: &mut PhaseWork| {
                    let stack = stack.as_ref().map(|stack| stack.training).unwrap_or_default();
                    stack.hide_exchanges(&mut phase.work, fused, training.sequence_parallel, training.interleaving);
                };
                phases.iter_mut().for_each(hides);
            }
        }
        if let Some(inference) = &sections.inference {
            inference.check().map_err(|problem| place(problem.under("inference")))?;
            if sections.training.is_some() {
                let allowed = "one of training and inference in a case; a variant unsets a section with \"unset\"";
                return Err(place(Problem::new("inference", "inference beside training", allowed)));
            }
            if let (Some(model), Some(device)) = (&model, &accelerator) {
                device.peak_at(inference.precision).map_err(|problem| place(Problem { key: "inference.precision".into(), ..problem }))?;
                phases = inference.plan(model, accelerators).map_err(place)?;
            }
        }
        let training = sections.training.as_ref().map(|training| (training.precision, training.framework));
        let numbers = training.or(sections.inference.as_ref().map(|inference| (inference.precision, inference.framework)));
        if let (Some(stack), Some((_, framework))) = (&stack, numbers)
            && stack.framework != framework
        {
            let key = if sections.training.is_some() { "training.framework" } else { "inference.framework" };
            let allowed = format!("\"{}\", as the software stack \"{}\"", stack.framework.word(), stack.name);
            return Err(place(Problem::new(key, format!("\"{}\"", framework.word()), allowed)));
        }
        let defaults = resolver.data("hardware_profiles/class_defaults.toml", &whole.origin)?;
        let grounds = match (&stack, &accelerator, numbers) {
            (Some(stack), Some(device), Some((precision, _))) => {
                Some(Grounds::of(&Performance::read(&defaults)?, calibrations, &stack.name, device, precision))
            }
            _ => None,
        };
        let grounds = grounds.filter(|grounds| grounds.basis != Basis::ClassDefaults);
        let calibrated = grounds.as_ref().map(Grounds::node).transpose()?;
        if let (Some(grounds), Some(device)) = (&grounds, &mut accelerator) {
            grounds.state_idle(device);
        }
        let performance = performance(defaults, calibrated, own_performance, &whole)?;
        let several = around.as_ref().is_some_and(|node| accelerators > node.accelerators_per_node);
        let scatter = grounds.as_ref().map(|grounds| Known {
            distribution: grounds.scatter(several),
            class: grounds.class(),
            from: grounds.citation(),
        });
        let basis = grounds.map_or(Basis::ClassDefaults, |grounds| grounds.basis);
        let modelled = !phases.is_empty();
        if !modelled && !anchor.as_ref().is_some_and(|anchor| anchor.own || model.is_none()) {
            let missing = match (&model, &accelerator, &sections.training) {
                (None, ..) => "model",
                (_, None, _) => "hardware.accelerator",
                _ => "training",
            };
            return Err(Diagnostic::new(
                &whole.origin,
                missing,
                "nothing",
                "a model, an accelerator and a training or an inference; or an anchor of its own",
            ));
        }
        let site = sections.site.resolve(resolver, &whole, &sources)?;
        let book = match (&sections.price.book, &accelerator) {
            (Some(book), Some(device)) => {
                let origin = whole.place("price.book");
                site::book_offers(resolver.library(), book, &device.name, origin).map_err(|error| error.under("price"))?
            }
            (Some(book), None) => {
                return Err(place(Problem::new("price.book", format!("\"{book}\" without an accelerator"), "hardware.accelerator")));
            }
            (None, _) => Vec::new(),
        };
        let asked = sections.quality.as_ref().map(|asked| quality::find(resolver.library(), asked, whole.place("quality")));
        let quality = asked.transpose().map_err(|error| error.under("quality"))?;
        let (offers, own, carbon_price) = sections.price.resolve(book, accelerator.as_ref(), around.as_ref(), &sources).map_err(place)?;
        let utilisation = match &sections.embodied.utilisation {
            Some(value) => {
                if value.distribution.quantile(1e-9) <= 0.0 || value.distribution.quantile(1.0 - 1e-9) > 1.0 {
                    return Err(place(Problem::new("embodied.utilisation", value.to_string(), "above 0, at most 1")));
                }
                Known::of(value, sections.embodied.source.as_deref(), &sources)
            }
            None => Known::assumed(0.85, "share of years in service that hardware works, as in Luccioni et al. 2022 (arXiv 2211.02001)"),
        };
        Ok(Self {
            name: name.to_string(),
            model,
            accelerator,
            node: around,
            accelerators,
            training: sections.training,
            technique_notes,
            technique_class,
            goodput,
            input_wait,
            inference: sections.inference,
            phases,
            performance,
            stack: stack.map(|stack| stack.name),
            stack_refused,
            calibrations: calibrations.iter().filter(|one| basis.names(&one.name)).map(|one| one.file.clone()).collect(),
            basis,
            scatter,
            anchor,
            site,
            offers,
            own,
            carbon_price,
            utilisation,
            quality,
        })
    }
}

/// The software stack that `performance.stack` names, taken out of the section.
fn stack(resolver: &mut Resolver<'_>, performance: Option<&mut Node>) -> Result<Option<Stack>, Diagnostic> {
    let Some(Node { data: Data::Table(table), .. }) = performance else { return Ok(None) };
    let Some(name) = table.remove("stack") else { return Ok(None) };
    let origin = name.origin.clone();
    let name = name.read::<String>().map_err(|error| error.under("performance.stack"))?;
    let node = resolver.named(Kind::Stack, &name, &origin);
    let node = node.map_err(|error| if error.origin == origin { error.under("performance.stack") } else { error })?;
    Stack::read(&node).map(Some)
}

/// The parameters of the time and power model: class defaults, over them a calibration, and over that what the scenario says, with
/// its sources.
fn performance(defaults: Node, calibrated: Option<Node>, own: Option<Node>, whole: &Node) -> Result<Performance, Diagnostic> {
    let mut node = calibrated.into_iter().chain(own).fold(defaults, overlay::overlay);
    if let Data::Table(table) = &mut node.data
        && let Some(known) = table.remove("sources")
    {
        let mut all = match whole.find("sources") {
            Some(sources) => overlay::overlay(known, sources.clone()),
            None => known,
        };
        // What the scenario or a calibration says takes the place of defaults and of their sources.
        let used: Vec<String> = table.iter().flat_map(|(_, section)| cited(section)).collect();
        if let Data::Table(all) = &mut all.data {
            let unused: Vec<String> = all.iter().map(|(key, _)| key.to_string()).filter(|key| !used.contains(key)).collect();
            unused.iter().for_each(|key| drop(all.remove(key)));
        }
        table.insert("sources", all);
    }
    Performance::read(&node).map_err(|error| error.under("performance"))
}

/// The keys of sources that the values of a section name.
fn cited(section: &Node) -> Vec<String> {
    let values = section.as_table().into_iter().flat_map(Table::iter);
    values.filter_map(|(_, value)| value.find("source").and_then(Node::as_str).map(str::to_string)).collect()
}

/// A section that names a document, resolved and read.
fn section<T>(
    resolver: &mut Resolver<'_>,
    kind: Kind,
    key: &str,
    node: Node,
    read: impl FnOnce(&Node) -> Result<T, Diagnostic>,
) -> Result<T, Diagnostic> {
    let here = node.origin.clone();
    let resolved = resolver.resolve(kind, node).map_err(|error| {
        // What is wrong with the reference itself is wrong at its key; what is wrong in the document it names, there.
        let reference = error.key == "use" || (error.key.is_empty() && error.origin == here);
        if reference { Diagnostic { key: key.into(), ..error } } else { error }
    });
    let node = resolved?;
    read(&node).map_err(|error| error.under(key))
}

impl Case {
    /// The number format of its steps and what launches their kernels.
    pub(crate) fn numbers(&self) -> Option<(Precision, Framework)> {
        let training = self.training.as_ref().map(|training| (training.precision, training.framework));
        training.or(self.inference.as_ref().map(|inference| (inference.precision, inference.framework)))
    }

    /// A value of the accelerator's profile.
    pub(crate) fn device_value<Q: Quantity>(&self, value: &Estimate<Q>, section: Option<&str>) -> Known {
        let none = BTreeMap::new();
        Known::of(value, section, self.accelerator.as_ref().map_or(&none, |device| &device.sources))
    }

    /// A value of the node's profile.
    pub(crate) fn node_value<Q: Quantity>(&self, value: &Estimate<Q>, section: Option<&str>) -> Known {
        let none = BTreeMap::new();
        Known::of(value, section, self.node.as_ref().map_or(&none, |node| &node.sources))
    }

    /// A parameter of the time and power model.
    pub(crate) fn parameter<Q: Quantity>(&self, value: &Estimate<Q>) -> Known {
        Known::of(value, None, &self.performance.sources)
    }
}
