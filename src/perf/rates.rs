//! What a device and its framework achieve: peaks of the hardware, times what a calibration says is reached of them.

use crate::hardware::{Mesh, Parameter};
use crate::ledger::{Pattern, Unit};

/// The value of every parameter.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Achieved([f64; Parameter::ALL.len()]);

impl Achieved {
    /// The values that `of` gives.
    #[must_use]
    pub fn new(of: impl Fn(Parameter) -> f64) -> Self {
        Self(Parameter::ALL.map(of))
    }

    /// The value of one.
    #[must_use]
    pub fn get(&self, parameter: Parameter) -> f64 {
        self.0[parameter as usize]
    }

    /// Sets one.
    pub fn set(&mut self, parameter: Parameter, value: f64) {
        self.0[parameter as usize] = value;
    }
}

/// What the hardware could do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peaks {
    /// Products of the step's precision, FLOP/s.
    pub matmul: f64,
    /// Multiprocessors, where the profile states them.
    pub multiprocessors: Option<f64>,
    /// Device memory, B/s.
    pub bandwidth: f64,
    /// The link to other accelerators of the node, one way, B/s; none where no profile states it.
    pub link: Option<f64>,
    /// The network of a node, one way, B/s; none where no profile states it.
    pub network: Option<f64>,
    /// The links that this is made of, where no switch joins them.
    pub mesh: Option<Mesh>,
    /// Accelerators in a node.
    pub node: f64,
    /// What runs faster than dense products of the step's precision.
    pub speeds: Speeds,
}

/// What a device and its framework achieve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Achieved rate of large products with trained matrices, FLOP/s.
    pub matmul: f64,
    /// The same of products of two activations, FLOP/s.
    pub mixing: f64,
    /// Multiprocessors that tiles of a product run on.
    pub multiprocessors: Option<f64>,
    /// How much of what its waves leave idle of them it feels, as a share.
    pub wave: f64,
    /// Share of either that products reach whose sizes do not fit the units.
    pub unaligned: f64,
    /// Time that a product takes beyond its FLOPs at that rate, s.
    pub saturation: f64,
    /// Achieved memory bandwidth, B/s.
    pub bandwidth: f64,
    /// The same of kernels that gather rows, B/s.
    pub gather_bandwidth: f64,
    /// Time of a launch, s.
    pub launch: f64,
    /// Least time of a pass through a layer in an eager framework, s; 0 in a compiled one.
    pub host_floor: f64,
    /// What an exchange inside a pass adds to that, s.
    pub host_exchange: f64,
    /// Time of a step that no kernel explains, s: input, dispatch, the framework's own work between steps.
    pub step_overhead: f64,
    /// Achieved bandwidth of a ring inside a node at large messages, B/s.
    pub inner_link: f64,
    /// The links that this is made of, where no switch joins them.
    pub mesh: Option<Mesh>,
    /// The same of a ring through nodes that all their accelerators belong to.
    pub network: f64,
    /// Share of it that exchanges between passes reach.
    pub between: f64,
    /// Exponent by which the number of rings through a node grows with its accelerators in them.
    pub rings: f64,
    /// How accelerators scatter, as a share of the time of their work: across nodes all wait for the slowest.
    pub scatter: f64,
    /// Message that reaches half of it, bytes.
    pub half_message: f64,
    /// Time of an exchange beyond its message, s.
    pub latency: f64,
    /// Share of an exchange that is hidden where work goes on meanwhile.
    pub overlap: f64,
    /// Accelerators in a node.
    pub node: f64,
    /// What runs faster than dense products of the step's precision.
    pub speeds: Speeds,
}

impl Rates {
    /// What is reached of the peaks. Where only one of link and network is stated, it stands for both; where neither is, exchanges
    /// take no time, which the caller has to say.
    #[must_use]
    pub fn new(peaks: &Peaks, achieved: &Achieved) -> Self {
        let of = |parameter| achieved.get(parameter);
        let stated = |this: Option<f64>, other: Option<f64>| this.or(other).unwrap_or(f64::INFINITY);
        let known = peaks.link.is_some() || peaks.network.is_some();
        let matmul = peaks.matmul * of(Parameter::Matmul);
        let exchange = |parameter| if known { of(parameter) } else { 0.0 };
        Self {
            matmul,
            mixing: matmul * of(Parameter::Mixing),
            multiprocessors: peaks.multiprocessors,
            wave: of(Parameter::Wave),
            unaligned: of(Parameter::Unaligned),
            saturation: of(Parameter::Saturation),
            bandwidth: peaks.bandwidth * of(Parameter::Memory),
            gather_bandwidth: peaks.bandwidth * of(Parameter::Gather),
            launch: of(Parameter::Launch),
            host_floor: of(Parameter::HostFloor),
            host_exchange: of(Parameter::HostExchange),
            step_overhead: of(Parameter::StepOverhead),
            inner_link: stated(peaks.link, peaks.network) * of(Parameter::Link),
            mesh: peaks.mesh,
            network: stated(peaks.network, peaks.link) * of(Parameter::Network),
            between: of(Parameter::Between),
            rings: of(Parameter::Rings),
            scatter: of(Parameter::Scatter),
            half_message: exchange(Parameter::HalfMessage),
            latency: exchange(Parameter::Latency),
            overlap: of(Parameter::Overlap),
            node: peaks.node,
            speeds: peaks.speeds.reaching(of(Parameter::Narrow)),
        }
    }

    /// A device by itself that reaches these rates at any size: nothing is launched, exchanged or waited for.
    #[must_use]
    pub fn alone(matmul: f64, bandwidth: f64) -> Self {
        Self {
            matmul,
            mixing: matmul,
            multiprocessors: None,
            wave: 1.0,
            unaligned: 1.0,
            saturation: 0.0,
            bandwidth,
            gather_bandwidth: bandwidth,
            launch: 0.0,
            host_floor: 0.0,
            host_exchange: 0.0,
            step_overhead: 0.0,
            inner_link: f64::INFINITY,
            mesh: None,
            network: f64::INFINITY,
            between: 1.0,
            rings: 1.0,
            scatter: 0.0,
            half_message: 0.0,
            latency: 0.0,
            overlap: 1.0,
            node: f64::INFINITY,
            speeds: Speeds::default(),
        }
    }
}

/// What runs faster than dense products of the step's precision, and how much.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Speeds {
    /// A pattern of zeros that is skipped.
    pub pattern: Option<(Pattern, f64)>,
    /// Whether zeros are skipped wherever they stand.
    pub unstructured: bool,
    /// Products of 8-bit integers.
    pub int8: Option<f64>,
    /// Products of 8-bit floating point.
    pub fp8: Option<f64>,
}

impl Speeds {
    /// The same with products of 8 bits that reach a share of what they could.
    fn reaching(self, share: f64) -> Self {
        Self { int8: self.int8.map(|speed| speed * share), fp8: self.fp8.map(|speed| speed * share), ..self }
    }

    /// How many times as fast as a dense product one for `unit` runs, if the device has it.
    #[must_use]
    pub fn find(&self, unit: Unit) -> Option<f64> {
        match unit {
            Unit::Dense => Some(1.0),
            Unit::Pattern(pattern) => self.pattern.filter(|(known, _)| *known == pattern).map(|(_, speed)| speed),
            Unit::Unstructured(density) => self.unstructured.then_some(1.0 / density),
            Unit::Int8 => self.int8,
            Unit::Fp8 => self.fp8,
        }
    }

    pub(super) fn of(&self, unit: Unit) -> f64 {
        self.find(unit).unwrap_or(1.0)
    }
}
