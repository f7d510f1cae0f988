//! What the time and power model says of a case: handles to its inputs, and the whole run at one set of their values.

use super::beside::Beside;
use super::inputs::{Handle, Inputs};
use crate::calibrate::{Basis, speeds};
use crate::hardware::{Mesh, Parameter, PowerScales, Precision};
use crate::perf::{Achieved, Peaks, PowerEnvelope, PowerRates, Rates, Speeds, StepWork, step_time};
use crate::scenario::Case;
use crate::source::Class;
use crate::training::Framework;
use crate::units::{Seconds, Watts};

/// Handles of the time and power model.
pub(super) struct TimeModel {
    phases: Vec<(StepWork, f64)>,
    peak: Handle,
    bandwidth: Handle,
    link: Option<Handle>,
    mesh: Option<Mesh>,
    multiprocessors: Option<f64>,
    network: Option<Handle>,
    /// The parameters, in the order of [`Parameter::ALL`]; none where one has no part.
    parameters: [Option<Handle>; Parameter::ALL.len()],
    per_node: f64,
    power: Option<PowerHandles>,
    speeds: Speeds,
    /// How measured runs scatter around a calibration, as a factor on the time of a step.
    scatter: Option<Handle>,
    goodput: Option<Handle>,
    input_wait: Option<Handle>,
    /// How its times came to be: calibrated where every parameter of them is.
    pub time_class: Class,
    /// The same of its powers, apart from the times.
    pub power_class: Class,
}

struct PowerHandles {
    limit: Handle,
    idle: Handle,
    idle_is_share: bool,
    cap: Option<Handle>,
    scales: PowerScales,
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

impl TimeModel {
    /// The time model of a case that has phases, an accelerator and a peak of its number format.
    pub(super) fn new(case: &Case, inputs: &mut Inputs) -> Option<Self> {
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
            scales: device.power_scales(precision),
            limited: precision != Precision::Fp32,
        });
        // Weaker than a calibration of this device is a model that was not fitted to it, whatever its values are from.
        let fitted = if matches!(case.basis, Basis::Calibration(_)) { Class::Calibrated } else { Class::Modelled };
        let (mut time_class, mut power_class) = (fitted, fitted);
        let mut add = |parameter: Parameter| {
            let hosted = matches!(parameter, Parameter::HostFloor | Parameter::HostExchange);
            if hosted && framework == Framework::Graph {
                return None;
            }
            if parameter.is_of_power() && device.power.is_none() {
                return None;
            }
            let value = parameters.of(parameter, device, precision)?;
            let (name, unit) = label(parameter, precision);
            let known = case.parameter(&value);
            if known.class > Class::Calibrated {
                *if parameter.is_of_power() { &mut power_class } else { &mut time_class } = Class::Modelled;
            }
            Some(inputs.add(name, unit, &known))
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
            multiprocessors: device.board.as_ref().and_then(|board| board.multiprocessors).map(|count| count as f64),
            mesh: device.link.as_ref().and_then(|link| link.mesh),
            network: node_network
                .map(|network| inputs.add("node: network", "B/s", &case.node_value(&network.bandwidth_one_way, network.source.as_deref()))),
            parameters: handles,
            per_node: per_node as f64,
            power,
            speeds: speeds(device, precision),
            scatter: case.scatter.as_ref().map(|scatter| inputs.add("scatter of measured runs around the calibration", "", scatter)),
            goodput: case.goodput.as_ref().map(|share| inputs.add("run: goodput", "", share)),
            input_wait: case.input_wait.as_ref().map(|share| inputs.add("run: share of a step that waits for data", "", share)),
            time_class,
            power_class,
        })
    }

    fn achieved(&self, row: &[f64]) -> Achieved {
        Achieved::new(|parameter| self.parameters[parameter as usize].map_or(0.0, |handle| handle.of(row)))
    }

    fn rates(&self, row: &[f64]) -> Rates {
        let peaks = Peaks {
            matmul: self.peak.of(row),
            multiprocessors: self.multiprocessors,
            bandwidth: self.bandwidth.of(row),
            link: self.link.map(|link| link.of(row)),
            mesh: self.mesh,
            network: self.network.map(|network| network.of(row)),
            node: self.per_node,
            speeds: self.speeds,
        };
        Rates::new(&peaks, &self.achieved(row))
    }

    fn power(&self, row: &[f64]) -> Option<PowerRates> {
        let power = self.power.as_ref()?;
        let limit = Watts::new(power.limit.of(row));
        let envelope = PowerEnvelope {
            idle: if power.idle_is_share { limit * power.idle.of(row) } else { Watts::new(power.idle.of(row)) },
            limit: power.cap.map_or(limit, |cap| Watts::new(cap.of(row))),
            reference: power.limited.then_some(limit),
            scales: power.scales,
        };
        Some(PowerRates::new(&envelope, &self.achieved(row)))
    }

    /// Time of a step where no power limit makes it longer, as measured runs scatter.
    fn step(&self, row: &[f64], work: &StepWork, rates: &Rates) -> Seconds {
        step_time(work, rates).total() * self.scatter.map_or(1.0, |scatter| scatter.of(row))
    }

    fn beside(&self, row: &[f64]) -> Beside {
        let of = |share: Option<Handle>, usual: f64| share.map_or(usual, |share| share.of(row));
        Beside::of(of(self.input_wait, 0.0), of(self.goodput, 1.0))
    }

    /// The whole run on so many accelerators, the power of nodes beside them left out. What waits draws idle power, what is lost as
    /// much as what is not.
    pub(super) fn evaluate(&self, row: &[f64], accelerators: f64) -> Modelled {
        let rates = self.rates(row);
        let power = self.power(row);
        let (mut duration, mut energy) = (0.0, 0.0);
        for (work, steps) in &self.phases {
            let time = self.step(row, work, &rates);
            match &power {
                Some(power) => {
                    let (time, used) = power.step(work, time, &rates);
                    duration += steps * time.value();
                    energy += steps * used.total().value();
                }
                None => duration += steps * time.value(),
            }
        }
        let beside = self.beside(row);
        let drawn = power.map(|power| accelerators * beside.power(energy, duration, power.idle.value()));
        Modelled { duration: duration * beside.whole(), accelerators: drawn, overhead: 0.0 }
    }

    /// Mean power of all accelerators, W, where the whole run is known to take `duration` seconds: every modelled step takes as many
    /// times as long as the run does with what it takes beside its steps.
    pub(super) fn power_in(&self, row: &[f64], accelerators: f64, duration: f64) -> Option<f64> {
        let (rates, power) = (self.rates(row), self.power(row)?);
        let times = || self.phases.iter().map(|(work, steps)| (work, *steps, power.step(work, self.step(row, work, &rates), &rates).0));
        let modelled: f64 = times().map(|(_, steps, time)| steps * time.value()).sum();
        let beside = self.beside(row);
        let running = duration / beside.whole();
        let slower = running / modelled;
        let energy: f64 = times().map(|(work, steps, time)| steps * power.energy_in(work, time * slower, &rates).total().value()).sum();
        Some(accelerators * beside.power(energy, running, power.idle.value()))
    }

    /// Whether it says what accelerators draw.
    pub(super) fn has_power(&self) -> bool {
        self.power.is_some()
    }

    /// Whether it says how fast accelerators exchange.
    pub(super) fn has_link(&self) -> bool {
        self.link.is_some() || self.network.is_some()
    }
}

/// The name and the unit of a parameter in outputs.
fn label(parameter: Parameter, precision: Precision) -> (&'static str, &'static str) {
    match parameter {
        Parameter::Matmul if precision == Precision::Fp32 => ("device: efficiency of fp32 products", ""),
        Parameter::Matmul => ("device: efficiency of products", ""),
        Parameter::Mixing => ("device: share that products of activations reach", ""),
        Parameter::Unaligned => ("device: share that unaligned products reach", ""),
        Parameter::Wave => ("device: share of idle multiprocessors that is felt", ""),
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
        Parameter::Rings => ("network: exponent of rings through a node", ""),
        Parameter::Scatter => ("nodes: scatter of their times", ""),
        Parameter::HalfMessage => ("link: half-bandwidth message", "B"),
        Parameter::Latency => ("link: latency of an exchange", "s"),
        Parameter::Overlap => ("link: overlap with backward", ""),
        Parameter::FlopEnergy => ("device: energy of a FLOP", "pJ"),
        Parameter::ByteEnergy => ("device: energy of a byte", "pJ"),
        Parameter::LinkEnergy => ("device: energy of a byte sent", "pJ"),
        Parameter::Sharpness => ("device: sharpness of the power limit", ""),
        Parameter::VoltageFloor => ("device: voltage floor", ""),
        Parameter::LimitShare => ("device: share of the limit", ""),
    }
}

/// The rates of a case and what its accelerators draw at central values, if it has a time model.
pub(super) fn central(case: &Case) -> Option<(Rates, Option<PowerRates>)> {
    let mut inputs = Inputs::default();
    let model = TimeModel::new(case, &mut inputs)?;
    let row = inputs.centre();
    Some((model.rates(&row), model.power(&row)))
}
