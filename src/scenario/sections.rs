//! The sections of a scenario file that make a case, and what they resolve to.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::case::{Anchor, Known, Offer, Own, SiteValues};
use crate::document::{Diagnostic, Node, Origin, Problem, Resolver};
use crate::hardware::{Accelerator, NodeProfile};
use crate::inference::Inference;
use crate::numeric::Estimate;
use crate::quality::Asked;
use crate::site::{self, BookOffer};
use crate::source::{Class, Source};
use crate::training::{RunTechniques, Training};
use crate::units::{Dollars, DollarsPerHour, DollarsPerKwh, DollarsPerTonne, GramsCo2ePerKwh, LitresPerKwh, Ratio, Seconds, Watts};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sections {
    #[serde(default)]
    pub(super) training: Option<Training>,
    #[serde(default)]
    pub(super) techniques: RunTechniques,
    #[serde(default)]
    pub(super) inference: Option<Inference>,
    #[serde(default)]
    pub(super) quality: Option<Asked>,
    #[serde(default)]
    pub(super) anchor: Option<AnchorSection>,
    #[serde(default)]
    pub(super) site: SiteSection,
    #[serde(default)]
    pub(super) price: PriceSection,
    #[serde(default)]
    pub(super) embodied: EmbodiedSection,
    pub(super) hardware: HardwareSection,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HardwareSection {
    #[serde(default = "one")]
    pub(super) accelerators: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnchorSection {
    duration: Estimate<Seconds>,
    #[serde(default)]
    power: Option<Estimate<Watts>>,
    #[serde(default)]
    power_per_accelerator: Option<Estimate<Watts>>,
    boundary: String,
    pub(super) source: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct SiteSection {
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
    pub(super) source: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct PriceSection {
    #[serde(default)]
    pub(super) book: Option<String>,
    #[serde(default)]
    offers: BTreeMap<String, Estimate<DollarsPerHour>>,
    #[serde(default)]
    own: Option<OwnSection>,
    #[serde(default)]
    carbon: Option<Estimate<DollarsPerTonne>>,
    #[serde(default)]
    pub(super) source: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnSection {
    #[serde(default)]
    purchase_per_accelerator: Option<Estimate<Dollars>>,
    #[serde(default)]
    lifetime: Option<Estimate<Seconds>>,
    tariff: Estimate<DollarsPerKwh>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct EmbodiedSection {
    #[serde(default)]
    pub(super) utilisation: Option<Estimate<Ratio>>,
    #[serde(default)]
    pub(super) source: Option<String>,
}

fn one() -> u64 {
    1
}

impl AnchorSection {
    pub(super) fn resolve(self, accelerators: u64, sources: &BTreeMap<String, Source>, own: bool) -> Result<Anchor, Problem> {
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
    pub(super) fn resolve(
        self,
        resolver: &Resolver<'_>,
        node: &Node,
        sources: &BTreeMap<String, Source>,
    ) -> Result<SiteValues, Diagnostic> {
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

pub(super) type Prices = (Vec<Offer>, Option<Own>, Option<Known>);

impl PriceSection {
    pub(super) fn resolve(
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
