//! One case: a model trained on some hardware at a site, every value resolved, with its class and its source.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::config::SETTINGS;
use crate::arch::Model;
use crate::document::{Data, Diagnostic, Kind, Node, Origin, Problem, Resolver};
use crate::hardware::{Accelerator, NodeProfile, Performance, class_of};
use crate::numeric::{Distribution, Estimate};
use crate::site::{self, BookOffer, Found};
use crate::source::{Class, Source};
use crate::training::{PhaseWork, Training};
use crate::units::{
    Dollars, DollarsPerHour, DollarsPerKwh, DollarsPerTonne, GramsCo2ePerKwh, LitresPerKwh, Quantity, Ratio, Seconds, Watts,
};

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
    fn of<Q: Quantity>(value: &Estimate<Q>, section: Option<&str>, sources: &BTreeMap<String, Source>) -> Self {
        let source = value.source.as_deref().or(section).and_then(|key| sources.get(key));
        let from = source.map_or_else(|| "stated in the scenario without a source".to_string(), |s| format!("{} ({})", s.citation, s.year));
        Self { distribution: value.distribution, class: class_of(value, section, sources), from }
    }

    /// A value from a data table.
    fn found(found: Found) -> Self {
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
    fn of(offer: BookOffer) -> Self {
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
    /// The work of its phases.
    pub phases: Vec<PhaseWork>,
    /// Parameters of the time and power model.
    pub performance: Performance,
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
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sections {
    #[serde(default)]
    training: Option<Training>,
    #[serde(default)]
    anchor: Option<AnchorSection>,
    #[serde(default)]
    site: SiteSection,
    #[serde(default)]
    price: PriceSection,
    #[serde(default)]
    embodied: EmbodiedSection,
    hardware: HardwareSection,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HardwareSection {
    #[serde(default = "one")]
    accelerators: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnchorSection {
    duration: Estimate<Seconds>,
    #[serde(default)]
    power: Option<Estimate<Watts>>,
    #[serde(default)]
    power_per_accelerator: Option<Estimate<Watts>>,
    boundary: String,
    source: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct SiteSection {
    #[serde(default)]
    grid: Option<String>,
    #[serde(default)]
    year: Option<i64>,
    #[serde(default)]
    cloud_region: Option<String>,
    #[serde(default)]
    provider: Option<String>,
    #[serde(default)]
    pue: Option<Estimate<Ratio>>,
    #[serde(default)]
    wue: Option<Estimate<LitresPerKwh>>,
    #[serde(default)]
    carbon_intensity: Option<Estimate<GramsCo2ePerKwh>>,
    #[serde(default)]
    market_carbon_intensity: Option<Estimate<GramsCo2ePerKwh>>,
    #[serde(default)]
    water_intensity: Option<Estimate<LitresPerKwh>>,
    #[serde(default)]
    source: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct PriceSection {
    #[serde(default)]
    book: Option<String>,
    #[serde(default)]
    offers: BTreeMap<String, Estimate<DollarsPerHour>>,
    #[serde(default)]
    own: Option<OwnSection>,
    #[serde(default)]
    carbon: Option<Estimate<DollarsPerTonne>>,
    #[serde(default)]
    source: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnSection {
    #[serde(default)]
    purchase_per_accelerator: Option<Estimate<Dollars>>,
    #[serde(default)]
    lifetime: Option<Estimate<Seconds>>,
    tariff: Estimate<DollarsPerKwh>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct EmbodiedSection {
    #[serde(default)]
    utilisation: Option<Estimate<Ratio>>,
    #[serde(default)]
    source: Option<String>,
}

fn one() -> u64 {
    1
}

impl Case {
    /// Resolves the merged document of a case.
    pub(super) fn resolve(resolver: &mut Resolver<'_>, name: &str, node: Node, own_anchor: bool) -> Result<Self, Diagnostic> {
        let whole = node.clone();
        let place = |problem: Problem| problem.at(&whole);
        let mut node = node;
        let Data::Table(table) = &mut node.data else { return Err(Diagnostic::new(&whole.origin, "", "no table", "a scenario")) };
        let sources: BTreeMap<String, Source> = match table.get("sources") {
            Some(node) => node.read().map_err(|error| error.under("sources"))?,
            None => BTreeMap::new(),
        };
        SETTINGS.iter().for_each(|key| drop(table.remove(key)));
        let model = section(resolver, Kind::Model, "model", table.remove("model"), Model::read)?;
        let (mut accelerator, mut around) = (None, None);
        if let Some(Node { data: Data::Table(hardware), .. }) = table.get_mut("hardware") {
            accelerator = section(resolver, Kind::Accelerator, "hardware.accelerator", hardware.remove("accelerator"), Accelerator::read)?;
            around = section(resolver, Kind::Node, "hardware.node", hardware.remove("node"), NodeProfile::read)?;
        }
        let sections: Sections = node.read()?;
        let accelerators = sections.hardware.accelerators;
        if accelerators == 0 || accelerators > 10_000_000 {
            return Err(place(Problem::new("hardware.accelerators", accelerators.to_string(), "1 to 10000000")));
        }
        let performance = Performance::read(&resolver.data("hardware_profiles/class_defaults.toml", &whole.origin)?)?;
        let anchor = sections.anchor.map(|anchor| anchor.resolve(accelerators, &sources, own_anchor)).transpose().map_err(place)?;
        let mut phases = Vec::new();
        if let Some(training) = &sections.training {
            training.check().map_err(|problem| place(problem.under("training")))?;
            if let (Some(model), Some(device)) = (&model, &accelerator) {
                device.peak_at(training.precision).map_err(place)?;
                phases = training.plan(model, accelerators).map_err(place)?;
            }
        }
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
                "a model, an accelerator and a training; or an anchor of its own",
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
            phases,
            performance,
            anchor,
            site,
            offers,
            own,
            carbon_price,
            utilisation,
        })
    }
}

/// A section that names a document, resolved and read.
fn section<T>(
    resolver: &mut Resolver<'_>,
    kind: Kind,
    key: &str,
    node: Option<Node>,
    read: impl FnOnce(&Node) -> Result<T, Diagnostic>,
) -> Result<Option<T>, Diagnostic> {
    let Some(node) = node else { return Ok(None) };
    let here = node.origin.clone();
    let resolved = resolver.resolve(kind, node).map_err(|error| {
        // What is wrong with the reference itself is wrong at its key; what is wrong in the document it names, there.
        let reference = error.key == "use" || (error.key.is_empty() && error.origin == here);
        if reference { Diagnostic { key: key.into(), ..error } } else { error }
    });
    let node = resolved?;
    read(&node).map(Some).map_err(|error| error.under(key))
}

impl AnchorSection {
    fn resolve(self, accelerators: u64, sources: &BTreeMap<String, Source>, own: bool) -> Result<Anchor, Problem> {
        if !sources.contains_key(&self.source) {
            let known: Vec<&str> = sources.keys().map(String::as_str).collect();
            return Err(Problem::new("anchor.source", format!("\"{}\"", self.source), format!("a key of [sources]: {}", known.join(", "))));
        }
        if !["accelerator", "node", "facility"].contains(&self.boundary.as_str()) {
            return Err(Problem::new("anchor.boundary", format!("\"{}\"", self.boundary), "accelerator, node, facility"));
        }
        if self.duration.distribution.quantile(1e-9) <= 0.0 {
            return Err(Problem::new("anchor.duration", self.duration.to_string(), "more than 0"));
        }
        let section = Some(self.source.as_str());
        let power = match (self.power, self.power_per_accelerator) {
            (Some(_), Some(_)) => return Err(Problem::new("anchor.power", "two powers", "one of power and power_per_accelerator")),
            (Some(power), None) => Some(Known::of(&power, section, sources)),
            (None, Some(each)) => {
                let known = Known::of(&each, section, sources);
                Some(Known { distribution: known.distribution.scaled(accelerators as f64), ..known })
            }
            (None, None) => None,
        };
        if let Some(power) = &power {
            let each = power.distribution.centre() / accelerators as f64;
            if !(1.0..=5000.0).contains(&each) {
                let found = format!("an implausible power of {} an accelerator", Watts::new(each));
                return Err(Problem::new("anchor.power", found, "1 W to 5 kW an accelerator"));
            }
        }
        Ok(Anchor { duration: Known::of(&self.duration, section, sources), power, boundary: self.boundary, own })
    }
}

impl SiteSection {
    fn resolve(self, resolver: &Resolver<'_>, node: &Node, sources: &BTreeMap<String, Source>) -> Result<SiteValues, Diagnostic> {
        let library = resolver.library();
        let section = self.source.as_deref();
        let at = |key: &str| -> Origin { node.place(&format!("site.{key}")).clone() };
        let range = |key: &str, value: Option<f64>, low: f64, high: f64, unit: &str| match value {
            Some(value) if !(low..=high).contains(&value) => Err(Diagnostic::new(
                &at(key),
                &format!("site.{key}"),
                format!("an implausible {value}{unit}"),
                format!("{low} to {high}{unit}"),
            )),
            _ => Ok(()),
        };
        range("pue", self.pue.as_ref().map(|v| v.centre().value()), 1.0, 5.0, "")?;
        range("wue", self.wue.as_ref().map(|v| v.centre().value()), 0.0, 50.0, " L/kWh")?;
        range("carbon_intensity", self.carbon_intensity.as_ref().map(|v| v.centre().value()), 0.0, 2500.0, " g/kWh")?;
        range("market_carbon_intensity", self.market_carbon_intensity.as_ref().map(|v| v.centre().value()), 0.0, 2500.0, " g/kWh")?;
        let region = match &self.cloud_region {
            Some(name) => site::cloud_region(library, name, &at("cloud_region")).map_err(|error| error.under("site"))?,
            None => site::CloudRegion::default(),
        };
        let zone = self.grid.clone().or(region.zone.clone());
        // A zone that is named is looked up even where an intensity is stated: a name that no table knows is a mistake.
        let from_grid = match &zone {
            Some(zone) if self.carbon_intensity.is_none() || self.grid.is_some() => {
                // A region's own row is used only where its zone is in no table.
                match site::find_intensity(library, zone, self.year, &at("grid")) {
                    Ok(found) => Some(found),
                    Err(_) if self.grid.is_none() && region.intensity.is_some() => region.intensity.clone(),
                    Err(error) if error.key == "year" => return Err(Diagnostic { origin: at("year"), ..error }.under("site")),
                    Err(error) => return Err(error.under("site")),
                }
            }
            _ => None,
        };
        let pue = match (&self.pue, region.pue) {
            (Some(value), _) => Known::of(value, section, sources),
            (None, Some(found)) => Known::found(found),
            (None, None) => match &self.provider {
                Some(provider) => {
                    Known::found(site::provider_pue(library, provider, &at("provider")).map_err(|error| error.under("site"))?)
                }
                None => {
                    let mean = site::provider_pue(library, "unknown", &node.origin)?;
                    Known {
                        class: Class::Assumed,
                        from: format!("no site.pue is stated: the industry's mean, {}", mean.from),
                        ..Known::found(mean.clone())
                    }
                }
            },
        };
        let water = match (&self.water_intensity, &zone) {
            (Some(value), _) => Some(Known::of(value, section, sources)),
            (None, Some(zone)) => {
                let zone = zone.rsplit('/').next().unwrap_or(zone);
                site::water_intensity(library, zone, &at("grid"))?.map(Known::found)
            }
            (None, None) => None,
        };
        let known = |value: &Option<Estimate<GramsCo2ePerKwh>>| value.as_ref().map(|value| Known::of(value, section, sources));
        Ok(SiteValues {
            pue,
            intensity: known(&self.carbon_intensity).or(from_grid.map(Known::found)),
            market_intensity: known(&self.market_carbon_intensity),
            wue: self.wue.as_ref().map(|value| Known::of(value, section, sources)).or(region.wue.map(Known::found)),
            water_intensity: water,
        })
    }
}

type Prices = (Vec<Offer>, Option<Own>, Option<Known>);

impl PriceSection {
    fn resolve(
        self,
        book: Vec<BookOffer>,
        device: Option<&Accelerator>,
        node: Option<&NodeProfile>,
        sources: &BTreeMap<String, Source>,
    ) -> Result<Prices, Problem> {
        let section = self.source.as_deref();
        let mut offers: Vec<Offer> = book.into_iter().map(Offer::of).collect();
        for (name, price) in &self.offers {
            if price.centre().value() > 1000.0 {
                return Err(Problem::new(
                    format!("price.offers.{name}"),
                    format!("an implausible {price}"),
                    "0 to 1000 USD/h an accelerator",
                ));
            }
            offers.push(Offer { name: name.clone(), price: Known::of(price, section, sources) });
        }
        let profile_price = device.and_then(|device| device.price.as_ref().map(|price| (price, &device.sources)));
        if let (true, None, Some((price, sources))) = (offers.is_empty(), &self.own, profile_price)
            && let Some(cloud) = &price.cloud
        {
            offers.push(Offer { name: "cloud".into(), price: Known::of(cloud, price.source.as_deref(), sources) });
        }
        let own = match self.own {
            None => None,
            Some(own) => {
                let purchase = match (&own.purchase_per_accelerator, profile_price) {
                    (Some(value), _) => Known::of(value, section, sources),
                    (None, Some((price, sources))) if price.purchase.is_some() => {
                        let purchase = price.purchase.as_ref().map(|value| Known::of(value, price.source.as_deref(), sources));
                        purchase.ok_or_else(|| Problem::new("price.own.purchase_per_accelerator", "nothing", "a price"))?
                    }
                    _ => {
                        return Err(Problem::new(
                            "price.own.purchase_per_accelerator",
                            "nothing",
                            "a price; the accelerator's profile has none",
                        ));
                    }
                };
                let embodied = node.and_then(|node| node.embodied.as_ref().map(|embodied| (embodied, &node.sources)));
                let lifetime = match (&own.lifetime, embodied) {
                    (Some(value), _) => Known::of(value, section, sources),
                    (None, Some((embodied, sources))) => Known::of(&embodied.lifetime, embodied.source.as_deref(), sources),
                    (None, None) => {
                        return Err(Problem::new("price.own.lifetime", "nothing", "years in service; no node profile states them"));
                    }
                };
                Some(Own { purchase, lifetime, tariff: Known::of(&own.tariff, section, sources) })
            }
        };
        Ok((offers, own, self.carbon.as_ref().map(|value| Known::of(value, section, sources))))
    }
}

impl Case {
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
