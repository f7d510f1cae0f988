//! A case made ready to be evaluated many times: its work, and handles to its inputs.

use super::inputs::{Handle, Inputs};
use super::results::{Metric, Outcome};
use crate::calibrate::speeds;
use crate::hardware::{Parameter, Precision};
use crate::impact;
use crate::perf::{Achieved, Peaks, PowerRates, Rates, Speeds, StepWork, step_energy, step_time};
use crate::scenario::{Case, Known};
use crate::source::Class;
use crate::training::{Framework, Offload};
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
    overhead: Option<(Handle, Class)>,
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

struct AnchorHandles {
    duration: Handle,
    power: Option<Handle>,
    class: Class,
    own: bool,
    boundary: Boundary,
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

/// Handles of the time and power model.
struct TimeModel {
    phases: Vec<(StepWork, f64)>,
    peak: Handle,
    bandwidth: Handle,
    link: Option<Handle>,
    network: Option<Handle>,
    /// The parameters, in the order of [`Parameter::ALL`]; none where one has no part.
    parameters: [Option<Handle>; Parameter::ALL.len()],
    per_node: f64,
    power: Option<PowerHandles>,
    speeds: Speeds,
}

struct PowerHandles {
    limit: Handle,
    idle: Handle,
    idle_is_share: bool,
    cap: Option<Handle>,
    per_flop: Handle,
    /// What the energy of a FLOP is multiplied by on this device.
    energy_scale: f64,
    per_byte: Handle,
    sharpness: Handle,
    voltage_floor: Handle,
    share: Handle,
    /// Whether the rates of the time model were seen under the board's limit.
    limited: bool,
}

/// What the time and power model says of a whole run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Modelled {
    /// Seconds.
    pub duration: f64,
    /// Power of all accelerators, W.
    pub accelerators: Option<f64>,
    /// Power of the nodes beside them, W; 0 where it is not known, which `lacks` says.
    pub overhead: f64,
}

impl Compiled {
    pub(super) fn new(case: &Case, inputs: &mut Inputs) -> Self {
        let per_node = case.node.as_ref().map_or(1, |node| node.accelerators_per_node);
        let nodes = case.accelerators as f64 / per_node as f64;
        let anchor = case.anchor.as_ref().map(|anchor| AnchorHandles {
            duration: inputs.add("anchor: duration", "s", &anchor.duration),
            power: anchor.power.as_ref().map(|power| inputs.add("anchor: power of the job", "W", power)),
            class: anchor.power.as_ref().map_or(anchor.duration.class, |power| power.class.max(anchor.duration.class)),
            own: anchor.own || case.phases.is_empty(),
            boundary: match anchor.boundary.as_str() {
                "accelerator" => Boundary::Accelerators,
                "facility" => Boundary::Facility,
                _ => Boundary::Nodes,
            },
        });
        let with_class = |inputs: &mut Inputs, name: &str, unit, known: &Option<Known>| {
            known.as_ref().map(|known| (inputs.add(name, unit, known), known.class))
        };
        let model = TimeModel::new(case, inputs);
        let why_no_power = match (&case.anchor, &case.accelerator) {
            (Some(anchor), _) if anchor.own && anchor.power.is_none() => "the anchor states no power".to_string(),
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
            let known = case.node_value(&node.overhead.power, node.overhead.source.as_deref());
            (inputs.add("node: power beside accelerators", "W", &known), known.class)
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
        self.model.as_ref().map(|model| Modelled { overhead: self.overhead(row), ..model.evaluate(row, self.accelerators) })
    }

    /// Power of the nodes beside their accelerators, W; 0 where it is not known, which `lacks` says.
    fn overhead(&self, row: &[f64]) -> f64 {
        self.overhead.map_or(0.0, |(overhead, _)| overhead.of(row)) * self.nodes
    }

    /// Duration and IT power: an anchor's own, an anchor scaled by the ratio of modelled runs, or the model's.
    fn time_and_power(&self, row: &[f64], baseline: Option<&Modelled>) -> (f64, Option<f64>) {
        let Some(anchor) = &self.anchor else {
            let own = self.modelled(row);
            return own.map_or((0.0, None), |own| (own.duration, own.accelerators.map(|power| power + own.overhead)));
        };
        let alone = anchor.boundary == Boundary::Accelerators;
        let beside = if alone { self.overhead(row) } else { 0.0 };
        let stated = anchor.power.map(|power| power.of(row));
        let scaled_from = if anchor.own { None } else { baseline.zip(self.modelled(row)) };
        match scaled_from {
            Some((baseline, own)) => {
                // Whole nodes are compared with whole nodes, accelerators with accelerators.
                let power = |run: &Modelled| run.accelerators.map(|power| if alone { power } else { power + run.overhead });
                let ratio = power(&own).zip(power(baseline)).map(|(own, baseline)| own / baseline);
                let power = stated.zip(ratio).map(|(power, ratio)| power * ratio + beside);
                (anchor.duration.of(row) * own.duration / baseline.duration, power)
            }
            None => (anchor.duration.of(row), stated.map(|power| power + beside)),
        }
    }

    /// Every metric at one set of input values.
    pub(super) fn outcome(&self, row: &[f64], baseline: Option<&Modelled>) -> Outcome {
        let mut out = Outcome::default();
        let (duration, power) = self.time_and_power(row, baseline);
        let time = Seconds::new(duration);
        out.set(Metric::Duration, duration);
        out.set(Metric::AcceleratorHours, time.hours() * self.accelerators);
        let it = power.map(|power| Watts::new(power) * time);
        let facility_anchor = self.anchor.as_ref().is_some_and(|anchor| anchor.boundary == Boundary::Facility);
        let pue = self.pue.0.of(row);
        let (it, facility) = match (it, facility_anchor) {
            (Some(energy), true) => (Some(energy / pue), Some(energy)),
            (it, _) => (it, it.map(|energy| impact::facility_energy(energy, pue))),
        };
        let operational = facility.zip(self.intensity).map(|(e, (g, _))| impact::operational(e, GramsCo2ePerKwh::new(g.of(row))));
        let market = facility.zip(self.market).map(|(e, (g, _))| impact::operational(e, GramsCo2ePerKwh::new(g.of(row))));
        let embodied = self.embodied(row, time);
        out.set_option(Metric::Energy, facility.map(Joules::value));
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
        let time = match &self.anchor {
            Some(anchor) if anchor.own || self.model.is_none() => anchor.class,
            Some(anchor) => anchor.class.max(Class::Modelled),
            None => Class::Modelled,
        };
        let time = if self.anchor.as_ref().is_some_and(|anchor| anchor.own) { time } else { time.max(self.techniques) };
        let of = |input: &Option<(Handle, Class)>| input.map_or(Class::Measured, |(_, class)| class);
        let beside = self.anchor.as_ref().is_none_or(|anchor| anchor.boundary == Boundary::Accelerators);
        let energy = time.max(self.pue.1).max(if beside { of(&self.overhead) } else { Class::Measured });
        let service = of(&self.lifetime).max(self.utilisation.1);
        let embodied = time.max(of(&self.accelerator_footprint)).max(of(&self.node_footprint)).max(service);
        match metric {
            Metric::Duration | Metric::AcceleratorHours => time,
            Metric::Energy => energy,
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
                let stated = self.anchor.as_ref().is_some_and(|anchor| anchor.boundary != Boundary::Accelerators);
                need(stated || self.overhead.is_some(), "node overhead");
            }
            _ => {}
        }
        out
    }

    fn has_power(&self) -> bool {
        let modelled = self.model.as_ref().is_some_and(|model| model.power.is_some());
        match &self.anchor {
            Some(anchor) if anchor.own => anchor.power.is_some(),
            Some(anchor) => anchor.power.is_some() && (modelled || self.model.is_none()),
            None => modelled,
        }
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
        if exchanges.is_some_and(|model| model.link.is_none() && model.network.is_none()) {
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

impl TimeModel {
    fn new(case: &Case, inputs: &mut Inputs) -> Option<Self> {
        let (device, (precision, framework)) = (case.accelerator.as_ref()?, case.numbers()?);
        if case.phases.is_empty() {
            return None;
        }
        let parameters = &case.performance;
        let precision = precision.dense();
        let peak = device.peak.at(precision)?;
        let per_node = case.node.as_ref().map_or(u64::MAX, |node| node.accelerators_per_node);
        let crosses = case.accelerators > per_node;
        let node_network = case.node.as_ref().and_then(|node| node.network.as_ref()).filter(|_| crosses);
        let link =
            device.link.as_ref().and_then(|link| link.bandwidth_one_way.as_ref().map(|b| case.device_value(b, link.source.as_deref())));
        let power = device.power.as_ref().map(|power| PowerHandles {
            limit: inputs.add("device: power limit", "W", &case.device_value(&power.limit, power.source.as_deref())),
            idle: match &power.idle {
                Some(idle) => inputs.add("device: idle power", "W", &case.device_value(idle, power.source.as_deref())),
                None => inputs.add("device: idle share of limit", "", &case.parameter(&parameters.power.idle_share_of_limit)),
            },
            idle_is_share: power.idle.is_none(),
            cap: power.cap.as_ref().map(|cap| inputs.add("device: power cap", "W", &case.device_value(cap, power.source.as_deref()))),
            per_flop: inputs.add("device: energy of a FLOP", "pJ", &case.parameter(parameters.power.pj_per_flop(precision))),
            energy_scale: device.energy_scale(precision),
            per_byte: inputs.add("device: energy of a byte", "pJ", &case.parameter(&parameters.power.memory_pj_per_byte)),
            sharpness: inputs.add("device: sharpness of the power limit", "", &case.parameter(&parameters.power.sharpness)),
            voltage_floor: inputs.add("device: voltage floor", "", &case.parameter(&parameters.power.voltage_floor)),
            share: inputs.add("device: share of the limit", "", &case.parameter(&parameters.power.share_of_limit)),
            limited: precision != Precision::Fp32,
        });
        let mut add = |parameter: Parameter| {
            let hosted = matches!(parameter, Parameter::HostFloor | Parameter::HostExchange);
            if hosted && framework == Framework::Graph {
                return None;
            }
            let value = parameters.of(parameter, device, precision)?;
            let (name, unit) = label(parameter, precision);
            Some(inputs.add(name, unit, &case.parameter(&value)))
        };
        let handles = Parameter::ALL.map(&mut add);
        Some(Self {
            phases: case.phases.iter().map(|phase| (phase.work.clone(), phase.steps)).collect(),
            peak: inputs.add("device: peak", "FLOP/s", &case.device_value(peak, device.peak.source.as_deref())),
            bandwidth: inputs.add(
                "device: memory bandwidth",
                "B/s",
                &case.device_value(&device.memory.bandwidth, device.memory.source.as_deref()),
            ),
            link: link.as_ref().map(|link| inputs.add("device: link", "B/s", link)),
            network: node_network
                .map(|network| inputs.add("node: network", "B/s", &case.node_value(&network.bandwidth_one_way, network.source.as_deref()))),
            parameters: handles,
            per_node: per_node as f64,
            power,
            speeds: speeds(device, precision),
        })
    }

    fn rates(&self, row: &[f64]) -> Rates {
        let peaks = Peaks {
            matmul: self.peak.of(row),
            bandwidth: self.bandwidth.of(row),
            link: self.link.map(|link| link.of(row)),
            network: self.network.map(|network| network.of(row)),
            node: self.per_node,
            speeds: self.speeds,
        };
        Rates::new(&peaks, &Achieved::new(|parameter| self.parameters[parameter as usize].map_or(0.0, |handle| handle.of(row))))
    }

    fn evaluate(&self, row: &[f64], accelerators: f64) -> Modelled {
        let rates = self.rates(row);
        let power = self.power.as_ref().map(|power| {
            let limit = Watts::new(power.limit.of(row));
            let idle = if power.idle_is_share { limit * power.idle.of(row) } else { Watts::new(power.idle.of(row)) };
            PowerRates {
                idle,
                limit: power.cap.map_or(limit, |cap| Watts::new(cap.of(row))),
                reference: power.limited.then_some(limit),
                share: power.share.of(row),
                per_flop: 1e-12 * power.per_flop.of(row) * power.energy_scale,
                per_byte: 1e-12 * power.per_byte.of(row),
                sharpness: power.sharpness.of(row),
                voltage_floor: power.voltage_floor.of(row),
            }
        });
        let (mut duration, mut energy) = (0.0, 0.0);
        for (work, steps) in &self.phases {
            let time = step_time(work, &rates).total();
            match &power {
                Some(power) => {
                    let (time, joules) = step_energy(work, time, &rates, power);
                    duration += steps * time.value();
                    energy += steps * joules.value();
                }
                None => duration += steps * time.value(),
            }
        }
        Modelled { duration, accelerators: power.is_some().then(|| accelerators * energy / duration), overhead: 0.0 }
    }

    /// The rates at central values, for a breakdown.
    pub(super) fn central_rates(&self, row: &[f64]) -> Rates {
        self.rates(row)
    }
}

/// The name and the unit of a parameter in outputs.
fn label(parameter: Parameter, precision: Precision) -> (&'static str, &'static str) {
    match parameter {
        Parameter::Matmul if precision == Precision::Fp32 => ("device: efficiency of fp32 products", ""),
        Parameter::Matmul => ("device: efficiency of products", ""),
        Parameter::Mixing => ("device: share that products of activations reach", ""),
        Parameter::Unaligned => ("device: share that unaligned products reach", ""),
        Parameter::Narrow => ("device: share that products of 8 bits reach", ""),
        Parameter::Saturation => ("device: saturation time of a product", "s"),
        Parameter::Memory => ("device: efficiency of memory", ""),
        Parameter::Gather => ("device: efficiency of gathers", ""),
        Parameter::Launch => ("device: launch", "s"),
        Parameter::HostFloor => ("host: floor of a pass through a layer", "s"),
        Parameter::HostExchange => ("host: launch of an exchange", "s"),
        Parameter::StepOverhead => ("host: overhead of a step", "s"),
        Parameter::Link => ("link: efficiency", ""),
        Parameter::Network => ("network: efficiency", ""),
        Parameter::Between => ("network: share that exchanges between passes reach", ""),
        Parameter::Scatter => ("nodes: scatter of their time", ""),
        Parameter::HalfMessage => ("link: half-bandwidth message", "B"),
        Parameter::Latency => ("link: latency of an exchange", "s"),
        Parameter::Overlap => ("link: overlap with backward", ""),
    }
}

/// The rates of a case at central values, if it has a time model.
pub(super) fn rates_of(case: &Case) -> Option<Rates> {
    let mut inputs = Inputs::default();
    let model = TimeModel::new(case, &mut inputs)?;
    Some(model.central_rates(&inputs.centre()))
}
