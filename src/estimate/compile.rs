//! A case made ready to be evaluated many times: its work, and handles to its inputs.

use super::inputs::{Handle, Inputs};
use super::results::{Metric, Outcome};
use super::time_model::{Modelled, TimeModel};
use crate::impact;
use crate::scenario::{Case, Known};
use crate::source::Class;
use crate::training::Offload;
use crate::units::{
    Dollars, DollarsPerHour, DollarsPerKwh, DollarsPerTonne, GramsCo2e, GramsCo2ePerKwh, Joules, LitresPerKwh, Seconds, Watts,
};

/// A case ready to be evaluated.
pub(super) struct Compiled {
    pub name: String,
    accelerators: f64,
    nodes: f64,
    model: Option<TimeModel>,
    anchor: Option<AnchorHandles>,
    pue: (Handle, Class),
    overhead: Option<OverheadHandles>,
    intensity: Option<(Handle, Class)>,
    market: Option<(Handle, Class)>,
    wue: Option<(Handle, Class)>,
    water: Option<(Handle, Class)>,
    offers: Vec<(Handle, Class)>,
    own: Option<([Handle; 3], Class)>,
    carbon_price: Option<(Handle, Class)>,
    utilisation: (Handle, Class),
    accelerator_footprint: Option<(Handle, Class)>,
    node_footprint: Option<(Handle, Class)>,
    lifetime: Option<(Handle, Class)>,
    why_no_power: String,
    /// The class of the weakest number that techniques state.
    techniques: Class,
    /// Whether the host holds a part of the step.
    offloads: bool,
}

/// What a node draws beside its accelerators.
#[derive(Clone, Copy)]
struct OverheadHandles {
    /// Whatever they draw, W.
    power: Handle,
    /// As a share of what they draw.
    share: Option<Handle>,
    class: Class,
}

struct AnchorHandles {
    duration: Handle,
    /// Power of the job and where it was taken; none where the anchor states none, so that the model says it.
    power: Option<(Handle, Boundary)>,
    class: Class,
    own: bool,
}

/// Where an anchor's power was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Boundary {
    /// The accelerators alone.
    Accelerators,
    /// Whole nodes.
    Nodes,
    /// The facility's meter.
    Facility,
}

impl Compiled {
    pub(super) fn new(case: &Case, inputs: &mut Inputs) -> Self {
        let per_node = case.node.as_ref().map_or(1, |node| node.accelerators_per_node);
        let nodes = case.accelerators as f64 / per_node as f64;
        let anchor = case.anchor.as_ref().map(|anchor| {
            let boundary = match anchor.boundary.as_str() {
                "accelerator" => Boundary::Accelerators,
                "facility" => Boundary::Facility,
                _ => Boundary::Nodes,
            };
            AnchorHandles {
                duration: inputs.add("anchor: duration", "s", &anchor.duration),
                power: anchor.power.as_ref().map(|power| (inputs.add("anchor: power of the job", "W", power), boundary)),
                class: anchor.power.as_ref().map_or(anchor.duration.class, |power| power.class.max(anchor.duration.class)),
                own: anchor.own || case.phases.is_empty(),
            }
        });
        let with_class = |inputs: &mut Inputs, name: &str, unit, known: &Option<Known>| {
            known.as_ref().map(|known| (inputs.add(name, unit, known), known.class))
        };
        let model = TimeModel::new(case, inputs);
        let why_no_power = match (&case.anchor, &case.accelerator) {
            (Some(anchor), _) if model.is_none() && anchor.power.is_none() => "the anchor states no power".to_string(),
            (_, Some(device)) if device.power.is_none() => format!("the profile of {} states no power", device.name),
            _ => "no power is known".to_string(),
        };
        let accelerator_footprint = case.accelerator.as_ref().and_then(|device| device.embodied.as_ref()).map(|embodied| {
            let known = case.device_value(&embodied.footprint, embodied.source.as_deref());
            (inputs.add("embodied: one accelerator", "g", &known), known.class)
        });
        let node = case.node.as_ref().and_then(|node| node.embodied.as_ref());
        let node_footprint = node.map(|embodied| {
            let known = case.node_value(&embodied.footprint, embodied.source.as_deref());
            (inputs.add("embodied: one node without accelerators", "g", &known), known.class)
        });
        let lifetime = node.map(|embodied| {
            let known = case.node_value(&embodied.lifetime, embodied.source.as_deref());
            (inputs.add("embodied: years in service", "s", &known), known.class)
        });
        let overhead = case.node.as_ref().map(|node| {
            let source = node.overhead.source.as_deref();
            let power = case.node_value(&node.overhead.power, source);
            let share = node.overhead.share_of_accelerators.as_ref().map(|share| case.node_value(share, source));
            OverheadHandles {
                power: inputs.add("node: power beside accelerators", "W", &power),
                share: share.as_ref().map(|share| inputs.add("node: share of accelerators' power", "", share)),
                class: share.map_or(power.class, |share| share.class.max(power.class)),
            }
        });
        let offers =
            case.offers.iter().map(|offer| (inputs.add(&format!("price: {}", offer.name), "USD/h", &offer.price), offer.price.class));
        let offers = offers.collect();
        let own = case.own.as_ref().map(|own| {
            let handles = [
                inputs.add("own: purchase of one accelerator", "USD", &own.purchase),
                inputs.add("own: years in service", "s", &own.lifetime),
                inputs.add("own: electricity", "USD/kWh", &own.tariff),
            ];
            (handles, own.purchase.class.max(own.lifetime.class).max(own.tariff.class))
        });
        Self {
            name: case.name.clone(),
            accelerators: case.accelerators as f64,
            nodes,
            model,
            anchor,
            pue: (inputs.add("site: PUE", "", &case.site.pue), case.site.pue.class),
            overhead,
            intensity: with_class(inputs, "site: carbon intensity, location-based", "g/kWh", &case.site.intensity),
            market: with_class(inputs, "site: carbon intensity, market-based", "g/kWh", &case.site.market_intensity),
            wue: with_class(inputs, "site: water on site", "L/kWh", &case.site.wue),
            water: with_class(inputs, "site: water at the power plant", "L/kWh", &case.site.water_intensity),
            offers,
            own,
            carbon_price: with_class(inputs, "price: carbon", "USD/t", &case.carbon_price),
            utilisation: (inputs.add("embodied: share of service life at work", "", &case.utilisation), case.utilisation.class),
            accelerator_footprint,
            node_footprint,
            lifetime,
            why_no_power,
            techniques: case.technique_class,
            offloads: case.training.as_ref().is_some_and(|training| training.offload != Offload::None),
        }
    }

    /// What the time and power model says, if the case has one.
    pub(super) fn modelled(&self, row: &[f64]) -> Option<Modelled> {
        self.model.as_ref().map(|model| {
            let run = model.evaluate(row, self.accelerators);
            Modelled { overhead: self.overhead(row, run.accelerators.unwrap_or_default()), ..run }
        })
    }

    /// Power of the nodes beside their accelerators, W, where all of these draw `accelerators` watts; 0 where it is not known, which
    /// `lacks` says.
    fn overhead(&self, row: &[f64], accelerators: f64) -> f64 {
        let of = |overhead: OverheadHandles| {
            overhead.power.of(row) * self.nodes + overhead.share.map_or(0.0, |share| share.of(row)) * accelerators
        };
        self.overhead.map_or(0.0, of)
    }

    /// Where the power that an anchor states was taken.
    fn boundary(&self) -> Option<Boundary> {
        self.anchor.as_ref()?.power.map(|(_, boundary)| boundary)
    }

    /// Whether the nodes' own power is added to what accelerators draw.
    fn adds_overhead(&self) -> bool {
        self.boundary().is_none_or(|boundary| boundary == Boundary::Accelerators)
    }

    /// Duration and power, of the facility where an anchor says so and IT power otherwise: an anchor's own, an anchor scaled by the
    /// ratio of modelled runs, or the model's, which also says the power at an anchor's time where the anchor states none.
    fn time_and_power(&self, row: &[f64], baseline: Option<&Modelled>) -> (f64, Option<f64>) {
        let Some(anchor) = &self.anchor else {
            let own = self.modelled(row);
            return own.map_or((0.0, None), |own| (own.duration, own.accelerators.map(|power| power + own.overhead)));
        };
        let scaled_from = if anchor.own { None } else { baseline.zip(self.modelled(row)) };
        let anchored = anchor.duration.of(row);
        let duration = scaled_from.as_ref().map_or(anchored, |(baseline, own)| anchored * own.duration / baseline.duration);
        let with_nodes = |accelerators: f64| accelerators + self.overhead(row, accelerators);
        let Some((stated, boundary)) = anchor.power else {
            let accelerators = self.model.as_ref().and_then(|model| model.power_in(row, self.accelerators, duration));
            return (duration, accelerators.map(with_nodes));
        };
        // Whole nodes are compared with whole nodes, accelerators with accelerators.
        let alone = boundary == Boundary::Accelerators;
        let power = |run: &Modelled| run.accelerators.map(|power| if alone { power } else { power + run.overhead });
        let ratio = scaled_from.map_or(Some(1.0), |(baseline, own)| Some(power(&own)? / power(baseline)?));
        let power = ratio.map(|ratio| stated.of(row) * ratio);
        (duration, if alone { power.map(with_nodes) } else { power })
    }

    /// Every metric at one set of input values.
    pub(super) fn outcome(&self, row: &[f64], baseline: Option<&Modelled>) -> Outcome {
        let mut out = Outcome::default();
        let (duration, power) = self.time_and_power(row, baseline);
        let time = Seconds::new(duration);
        out.set(Metric::Duration, duration);
        out.set(Metric::AcceleratorHours, time.hours() * self.accelerators);
        let it = power.map(|power| Watts::new(power) * time);
        let facility_anchor = self.boundary() == Some(Boundary::Facility);
        let pue = self.pue.0.of(row);
        let (it, facility) = match (it, facility_anchor) {
            (Some(energy), true) => (Some(energy / pue), Some(energy)),
            (it, _) => (it, it.map(|energy| impact::facility_energy(energy, pue))),
        };
        let operational = facility.zip(self.intensity).map(|(e, (g, _))| impact::operational(e, GramsCo2ePerKwh::new(g.of(row))));
        let market = facility.zip(self.market).map(|(e, (g, _))| impact::operational(e, GramsCo2ePerKwh::new(g.of(row))));
        let embodied = self.embodied(row, time);
        out.set_option(Metric::Energy, facility.map(Joules::value));
        let whole = it.filter(|_| self.lacks(Metric::Energy).is_empty());
        out.set_option(Metric::NodePower, whole.map(|energy| energy.value() / duration / self.nodes));
        out.set_option(Metric::Operational, operational.map(GramsCo2e::value));
        out.set_option(Metric::Market, market.map(GramsCo2e::value));
        out.set_option(Metric::Embodied, embodied.map(GramsCo2e::value));
        out.set_option(Metric::Total, sum(operational.map(GramsCo2e::value), embodied.map(GramsCo2e::value)));
        let on_site = it.zip(self.wue).map(|(e, (w, _))| impact::water_on_site(e, LitresPerKwh::new(w.of(row))).value());
        let off_site = facility.zip(self.water).map(|(e, (w, _))| impact::water_off_site(e, LitresPerKwh::new(w.of(row))).value());
        out.set_option(Metric::Water, sum(on_site, off_site));
        self.costs(row, time, facility, operational, &mut out);
        out
    }

    fn embodied(&self, row: &[f64], time: Seconds) -> Option<GramsCo2e> {
        let lifetime = Seconds::new(self.lifetime?.0.of(row));
        let accelerators = self.accelerator_footprint.map(|(g, _)| g.of(row) * self.accelerators);
        let nodes = self.node_footprint.map(|(g, _)| g.of(row) * self.nodes);
        let footprint = GramsCo2e::new(sum(accelerators, nodes)?);
        Some(impact::embodied(footprint, time, lifetime, self.utilisation.0.of(row)))
    }

    fn costs(&self, row: &[f64], time: Seconds, facility: Option<Joules>, operational: Option<GramsCo2e>, out: &mut Outcome) {
        let carbon = match (self.carbon_price, operational) {
            (None, _) => Some(0.0),
            (Some((price, _)), Some(grams)) => Some(impact::carbon_cost(grams, DollarsPerTonne::new(price.of(row))).value()),
            (Some(_), None) => None,
        };
        let rents = self.offers.iter().map(|(price, _)| impact::rent(time, self.accelerators, DollarsPerHour::new(price.of(row))).value());
        let own = self.own.as_ref().zip(facility).map(|(([purchase, lifetime, tariff], _), energy)| {
            let purchase = Dollars::new(purchase.of(row)) * self.accelerators;
            let life = Seconds::new(lifetime.of(row));
            impact::ownership(purchase, time, life, self.utilisation.0.of(row), energy, DollarsPerKwh::new(tariff.of(row))).value()
        });
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for cost in rents.chain(own) {
            low = low.min(cost);
            high = high.max(cost);
        }
        if let (true, Some(carbon)) = (low.is_finite(), carbon) {
            out.set(Metric::CostLow, low + carbon);
            out.set(Metric::CostHigh, high + carbon);
            out.set(Metric::Cost, 0.5 * (low + high) + carbon);
        }
    }

    /// The class of a metric: the weakest of what it rests on.
    pub(super) fn class(&self, metric: Metric) -> Class {
        let modelled = self.model.as_ref().map_or((Class::Modelled, Class::Modelled), |model| (model.time_class, model.power_class));
        let time = match &self.anchor {
            Some(anchor) if anchor.own || self.model.is_none() => anchor.class,
            Some(anchor) => anchor.class.max(modelled.0),
            None => modelled.0,
        };
        let time = if self.anchor.as_ref().is_some_and(|anchor| anchor.own) { time } else { time.max(self.techniques) };
        let of = |input: &Option<(Handle, Class)>| input.map_or(Class::Measured, |(_, class)| class);
        let power = if self.takes_stated_power() { Class::Measured } else { modelled.1.max(self.techniques) };
        let overhead = self.overhead.filter(|_| self.adds_overhead()).map_or(Class::Measured, |overhead| overhead.class);
        let energy = time.max(power).max(self.pue.1).max(overhead);
        let service = of(&self.lifetime).max(self.utilisation.1);
        let embodied = time.max(of(&self.accelerator_footprint)).max(of(&self.node_footprint)).max(service);
        match metric {
            Metric::Duration | Metric::AcceleratorHours => time,
            Metric::Energy | Metric::NodePower => energy,
            Metric::Operational => energy.max(of(&self.intensity)),
            Metric::Market => energy.max(of(&self.market)),
            Metric::Embodied => embodied,
            Metric::Total => energy.max(of(&self.intensity)).max(embodied),
            Metric::Water => energy.max(of(&self.wue)).max(of(&self.water)),
            Metric::Cost | Metric::CostLow | Metric::CostHigh => {
                let offers = self.offers.iter().map(|(_, class)| *class).fold(time, Class::max);
                let own = self.own.as_ref().map_or(Class::Measured, |(_, class)| energy.max(*class).max(service));
                offers.max(own).max(of(&self.carbon_price))
            }
        }
    }

    /// What a total lacks, by name; an empty list if it is whole.
    pub(super) fn lacks(&self, metric: Metric) -> Vec<&'static str> {
        let mut out = Vec::new();
        let mut need = |there: bool, name: &'static str| {
            if !there {
                out.push(name);
            }
        };
        match metric {
            Metric::Total | Metric::Embodied => {
                if metric == Metric::Total {
                    need(self.intensity.is_some() && self.has_power(), "operational");
                }
                need(self.accelerator_footprint.is_some() && self.lifetime.is_some(), "embodied accelerators");
                need(self.node_footprint.is_some() && self.lifetime.is_some(), "embodied nodes");
            }
            Metric::Water => {
                need(self.wue.is_some(), "water on site");
                need(self.water.is_some(), "water at the power plant");
            }
            Metric::Energy => {
                need(!self.adds_overhead() || self.overhead.is_some(), "node overhead");
            }
            _ => {}
        }
        out
    }

    fn has_power(&self) -> bool {
        let modelled = self.model.as_ref().is_some_and(TimeModel::has_power);
        self.takes_stated_power() || modelled
    }

    /// Whether power is as an anchor states it, not scaled by a model.
    fn takes_stated_power(&self) -> bool {
        self.anchor.as_ref().is_some_and(|anchor| anchor.power.is_some() && (anchor.own || self.model.is_none()))
    }

    /// Whether the power beside an anchor's time is the model's.
    fn models_power(&self) -> bool {
        self.has_power() && self.anchor.as_ref().is_some_and(|anchor| anchor.power.is_none())
    }

    /// What a reader should know of how the case was computed.
    pub(super) fn notes(&self) -> Vec<String> {
        let anchored = self.models_power().then_some(
            "the anchor states no power: what accelerators draw is modelled at the anchored time, every modelled step taking as many times \
             as long as the whole run",
        );
        anchored.map(String::from).into_iter().collect()
    }

    /// What cannot be said of this case, and what would say it.
    pub(super) fn missing(&self) -> Vec<String> {
        let mut out = Vec::new();
        if !self.has_power() {
            out.push(format!("energy, and all that follows from it: {}", self.why_no_power));
        }
        if self.intensity.is_none() {
            out.push("operational CO2e: no grid (set site.grid, site.cloud_region or site.carbon_intensity)".into());
        }
        if self.lifetime.is_none() || (self.accelerator_footprint.is_none() && self.node_footprint.is_none()) {
            out.push("embodied CO2e: no footprint or years in service (set hardware.node)".into());
        }
        if self.wue.is_none() {
            out.push("water on site: set site.wue or site.cloud_region".into());
        }
        if self.water.is_none() {
            out.push("water at the power plant: set site.grid to a country, or site.water_intensity".into());
        }
        let exchanges = self.model.as_ref().filter(|_| self.accelerators > 1.0 && !self.anchor.as_ref().is_some_and(|anchor| anchor.own));
        if exchanges.is_some_and(|model| !model.has_link()) {
            out.push("time of the exchanges between accelerators: the profiles state no link".into());
        }
        if self.offloads {
            out.push("time of copies to and from the host, and of its update (training.offload)".into());
        }
        if self.offers.is_empty() && self.own.is_none() {
            out.push("cost: no price (set price.offers or price.own)".into());
        }
        out
    }
}

/// The sum of what is there; nothing if neither is.
fn sum(left: Option<f64>, right: Option<f64>) -> Option<f64> {
    match (left, right) {
        (None, None) => None,
        (left, right) => Some(left.unwrap_or_default() + right.unwrap_or_default()),
    }
}
