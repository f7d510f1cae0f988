//! The parameters of the time and power model of a device: class defaults, or a calibration in their place.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::accelerator::{Accelerator, MemoryKind, Precision};
use super::class_of;
use crate::document::{Diagnostic, Node};
use crate::numeric::{Distribution, Estimate};
use crate::source::{Class, Source};
use crate::units::{Bytes, Ratio, Seconds};

/// A parameter of the time and power model. Shares are of a peak; times are in s, messages in bytes, energies in pJ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Parameter {
    /// Share of the peak that large products with trained matrices reach.
    Matmul,
    /// Share of that rate that products of two activations reach.
    Mixing,
    /// Share of either that products reach whose sizes do not fit the units.
    Unaligned,
    /// How much of the multiprocessors that its waves of tiles leave idle a product feels, as a share: 1 for whole waves of equal tiles.
    Wave,
    /// Share of their peak over the dense one's that products of 8 bits reach.
    Narrow,
    /// Time that a product takes beyond its FLOPs at the full rate.
    Saturation,
    /// Share of the memory bandwidth that element-wise kernels reach.
    Memory,
    /// The same of kernels that gather rows or sort them.
    Gather,
    /// Time of a launch.
    Launch,
    /// Least time of a pass through a layer in an eager framework.
    HostFloor,
    /// What an exchange inside a pass adds to that.
    HostExchange,
    /// Time of a step that no kernel explains.
    StepOverhead,
    /// Share of the links inside a node that rings reach at large messages.
    Link,
    /// Share of a node's network that rings reach.
    Network,
    /// Share of that which exchanges between passes reach: gradients, weights, activations of a pipeline.
    Between,
    /// How the number of rings through a node grows with its accelerators in them, as an exponent: 0 for one ring, 1 for one each.
    Rings,
    /// Standard deviation of the time of nodes that do the same, as a share of it.
    Scatter,
    /// Message that reaches half of the bandwidth inside a node.
    HalfMessage,
    /// Time of an exchange beyond its message.
    Latency,
    /// Share of an exchange that hides behind other work.
    Overlap,
    /// Energy of a FLOP, at the feature size that class defaults state it at.
    FlopEnergy,
    /// Energy of a byte from or to device memory.
    ByteEnergy,
    /// Energy of a byte sent to another accelerator.
    LinkEnergy,
    /// How sharply mean power bends at the limit.
    Sharpness,
    /// The least voltage over that of the full clock.
    VoltageFloor,
    /// Share of the limit that devices settle at.
    LimitShare,
}

impl Parameter {
    /// Every parameter.
    pub const ALL: [Self; 26] = [
        Self::Matmul,
        Self::Mixing,
        Self::Unaligned,
        Self::Wave,
        Self::Narrow,
        Self::Saturation,
        Self::Memory,
        Self::Gather,
        Self::Launch,
        Self::HostFloor,
        Self::HostExchange,
        Self::StepOverhead,
        Self::Link,
        Self::Network,
        Self::Between,
        Self::Rings,
        Self::Scatter,
        Self::HalfMessage,
        Self::Latency,
        Self::Overlap,
        Self::FlopEnergy,
        Self::ByteEnergy,
        Self::LinkEnergy,
        Self::Sharpness,
        Self::VoltageFloor,
        Self::LimitShare,
    ];

    /// Its key in a file of parameters.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Matmul => "matmul.efficiency",
            Self::Mixing => "matmul.mixing",
            Self::Unaligned => "matmul.unaligned",
            Self::Wave => "matmul.wave",
            Self::Narrow => "matmul.narrow",
            Self::Saturation => "matmul.saturation_time",
            Self::Memory => "memory.efficiency",
            Self::Gather => "memory.gather_efficiency",
            Self::Launch => "launch.overhead",
            Self::HostFloor => "host.floor_per_pass",
            Self::HostExchange => "host.exchange",
            Self::StepOverhead => "host.overhead_per_step",
            Self::Link => "collective.efficiency",
            Self::Network => "collective.network_efficiency",
            Self::Between => "collective.between_passes",
            Self::Rings => "collective.rings",
            Self::Scatter => "nodes.scatter",
            Self::HalfMessage => "collective.half_message",
            Self::Latency => "collective.latency",
            Self::Overlap => "collective.overlap",
            Self::FlopEnergy => "power.pj_per_flop",
            Self::ByteEnergy => "power.memory_pj_per_byte",
            Self::LinkEnergy => "power.link_pj_per_byte",
            Self::Sharpness => "power.sharpness",
            Self::VoltageFloor => "power.voltage_floor",
            Self::LimitShare => "power.share_of_limit",
        }
    }

    /// Whether it is of the power model alone.
    #[must_use]
    pub fn is_of_power(self) -> bool {
        matches!(self, Self::FlopEnergy | Self::ByteEnergy | Self::LinkEnergy | Self::Sharpness | Self::VoltageFloor | Self::LimitShare)
    }

    /// The unit of its value as a plain number.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::Saturation | Self::Launch | Self::HostFloor | Self::HostExchange | Self::StepOverhead | Self::Latency => "s",
            Self::HalfMessage => "B",
            Self::FlopEnergy | Self::ByteEnergy | Self::LinkEnergy => "pJ",
            _ => "",
        }
    }
}

/// Parameters of the time and power model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Performance {
    /// Version of the file format, 1.
    pub schema: u32,
    /// What these parameters are of.
    pub name: String,
    /// How they came to be.
    #[serde(default)]
    pub notes: Option<String>,
    /// The software stack whose calibration they are from; none of class defaults.
    #[serde(default)]
    pub stack: Option<String>,
    /// Matrix products.
    pub matmul: Matmul,
    /// Device memory.
    pub memory: MemoryEfficiency,
    /// Kernel launches.
    pub launch: Launch,
    /// The host that launches them.
    pub host: Host,
    /// Collectives.
    pub collective: Collective,
    /// Nodes beside each other.
    pub nodes: Nodes,
    /// Power while kernels run.
    pub power: KernelPower,
    /// Memory that the model does not ask for.
    pub memory_overhead: MemoryOverhead,
    /// Sources by key.
    pub sources: BTreeMap<String, Source>,
}

/// Matrix products: rate = peak x efficiency x F / (F + peak x efficiency x saturation_time), F the FLOPs of one.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matmul {
    /// Share of the dense peak that large products reach on tensor units.
    pub efficiency: Estimate<Ratio>,
    /// The same on vector units.
    pub efficiency_fp32: Estimate<Ratio>,
    /// Share of the rate of linear layers that products of two activations reach.
    pub mixing: Estimate<Ratio>,
    /// Share of either that products on tensor units reach with a size that is no multiple of 4 bytes.
    pub unaligned: Estimate<Ratio>,
    /// Share that a product feels of the multiprocessors which its waves of tiles leave idle.
    pub wave: Estimate<Ratio>,
    /// Share of their peak over the dense one that products of 8 bits reach, linear layers' efficiency apart.
    pub narrow: Estimate<Ratio>,
    /// Time that a product takes beyond its FLOPs at the full rate.
    pub saturation_time: Estimate<Seconds>,
}

/// Device memory.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryEfficiency {
    /// Share of the bandwidth that element-wise kernels reach.
    pub efficiency: Estimate<Ratio>,
    /// The same of kernels that gather rows or sort them.
    pub gather_efficiency: Estimate<Ratio>,
}

/// Kernel launches.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// Time of one.
    pub overhead: Estimate<Seconds>,
}

/// The host.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Least time of a pass of one micro-batch through a layer in an eager framework.
    pub floor_per_pass: Estimate<Seconds>,
    /// What an exchange inside a pass adds to that.
    pub exchange: Estimate<Seconds>,
    /// Time of a step that no kernel explains: input, dispatch, the framework's own work. None where not known.
    #[serde(default)]
    pub overhead_per_step: Option<Estimate<Seconds>>,
}

/// Nodes that work on one step.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nodes {
    /// Standard deviation of the time that they take for the same, as a share of it.
    pub scatter: Estimate<Ratio>,
}

/// Collectives: a message of S bytes takes as long as S + half_message at link x efficiency inside a node. Through nodes it loses the same
/// time, and its bytes pass at network x network_efficiency, x (accelerators of a node in the ring) ^ rings / accelerators of a node
/// where not all are in it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collective {
    /// Share of the link that large messages reach.
    pub efficiency: Estimate<Ratio>,
    /// Share of a node's network that large messages reach.
    pub network_efficiency: Estimate<Ratio>,
    /// Share of that which exchanges between passes reach.
    pub between_passes: Estimate<Ratio>,
    /// Exponent of the number of a node's accelerators in a ring.
    pub rings: Estimate<Ratio>,
    /// Message that reaches half of the bandwidth inside a node.
    pub half_message: Estimate<Bytes>,
    /// Time of an exchange beyond its message.
    pub latency: Estimate<Seconds>,
    /// Share of the gradient exchange that hides behind the backward pass.
    pub overlap: Estimate<Ratio>,
}

/// What a device draws while kernels run: energies in pJ, at the feature size beside each; with a device's own in proportion.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelPower {
    /// pJ a FLOP on vector units, at [`VECTOR_FEATURE_SIZE`].
    pub vector_pj_per_flop: Estimate<Ratio>,
    /// pJ a FLOP on tensor units, at [`TENSOR_FEATURE_SIZE`].
    pub tensor_pj_per_flop: Estimate<Ratio>,
    /// pJ a byte from or to device memory, of HBM.
    pub memory_pj_per_byte: Estimate<Ratio>,
    /// pJ a byte sent to another accelerator.
    pub link_pj_per_byte: Estimate<Ratio>,
    /// How sharply mean power bends at the limit.
    pub sharpness: Estimate<Ratio>,
    /// The least voltage over that of the full clock, where that is [`FLOOR_CLOCK`].
    pub voltage_floor: Estimate<Ratio>,
    /// Share of the limit that devices settle at.
    pub share_of_limit: Estimate<Ratio>,
    /// Idle power over the limit, for boards whose idle power is not known.
    pub idle_share_of_limit: Estimate<Ratio>,
}

/// nm, of the devices that the energy of vector units is from: P100 (16), V100 and RTX 6000 (12).
pub const VECTOR_FEATURE_SIZE: f64 = 14.0;
/// nm, of the device that the energy of tensor units is from: H100, 4N.
pub const TENSOR_FEATURE_SIZE: f64 = 5.0;
/// nm, assumed of a device whose profile states none.
const USUAL_FEATURE_SIZE: f64 = 7.0;
/// MHz, the full clock that the voltage floor is a share of: about that of P100 and V100.
pub const FLOOR_CLOCK: f64 = 1400.0;
/// nm, the processes of the devices that the voltage floor was seen on.
const FLOOR_FEATURE_SIZES: std::ops::RangeInclusive<f64> = 12.0..=16.0;
/// Energy of a byte in GDDR over that in HBM. Zeus's traces of a Quadro RTX 6000 beside P100 and V100 fit 2.4 +- 0.3.
const GDDR: f64 = 2.0;

/// How the power parameters of a device differ from those of the devices that they were seen on, as factors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PowerScales {
    /// Of the energy of a FLOP: its feature size over that of those devices.
    pub flop: f64,
    /// Of the energy of a byte: that of the kind of memory over that of HBM.
    pub byte: f64,
    /// Of the share that the voltage floor is of the full clock's, up to 1. Voltage falls with the clock down to the same clock on
    /// all devices of a process, so that a board with a low full clock has less to save; on processes where that was not seen
    /// the share holds as it is.
    pub voltage_floor: f64,
}

impl Accelerator {
    /// The factors of this device at a precision.
    #[must_use]
    pub fn power_scales(&self, precision: Precision) -> PowerScales {
        let size = self.process.as_ref().map_or(USUAL_FEATURE_SIZE, |process| process.feature_size_nm);
        let of = if precision == Precision::Fp32 { VECTOR_FEATURE_SIZE } else { TENSOR_FEATURE_SIZE };
        let memory = self.board.as_ref().and_then(|board| board.memory);
        let seen = self.process.as_ref().is_some_and(|process| FLOOR_FEATURE_SIZES.contains(&process.feature_size_nm));
        let clock = self.board.as_ref().and_then(|board| board.boost_clock_mhz).filter(|_| seen);
        PowerScales {
            flop: size / of,
            byte: if memory == Some(MemoryKind::Gddr) { GDDR } else { 1.0 },
            voltage_floor: clock.map_or(1.0, |clock| FLOOR_CLOCK / clock),
        }
    }
}

impl KernelPower {
    /// pJ a FLOP of a precision, at the feature size that it was seen at.
    #[must_use]
    pub fn pj_per_flop(&self, precision: Precision) -> &Estimate<Ratio> {
        if precision == Precision::Fp32 { &self.vector_pj_per_flop } else { &self.tensor_pj_per_flop }
    }
}

/// Memory that the model does not ask for.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryOverhead {
    /// The driver's context.
    pub context: Estimate<Bytes>,
    /// Allocator blocks not in use, as a share of what the model needs.
    pub fragmentation: Estimate<Ratio>,
}

impl Performance {
    /// Reads parameters.
    ///
    /// # Errors
    /// A key is unknown, missing or of the wrong type, or a share is above 1.
    pub fn read(node: &Node) -> Result<Self, Diagnostic> {
        let parameters: Self = node.read()?;
        match parameters.findings().into_iter().next() {
            Some(finding) => Err(finding.problem.at(node)),
            None => Ok(parameters),
        }
    }

    /// What is believed of a parameter, in base units; nothing of one that has no value here.
    #[must_use]
    pub fn of(&self, parameter: Parameter, device: &Accelerator, precision: Precision) -> Option<Estimate<Ratio>> {
        let (matmul, collective) = (&self.matmul, &self.collective);
        Some(match parameter {
            Parameter::Matmul => self.matmul_efficiency(device, precision),
            Parameter::Mixing => matmul.mixing.clone(),
            Parameter::Unaligned if precision == Precision::Fp32 => matmul.unaligned.clone().with(Distribution::Fixed(1.0)),
            Parameter::Unaligned => matmul.unaligned.clone(),
            Parameter::Wave => matmul.wave.clone(),
            Parameter::Narrow => matmul.narrow.clone(),
            Parameter::Saturation => matmul.saturation_time.in_base_units(),
            Parameter::Memory => self.memory.efficiency.clone(),
            Parameter::Gather => self.memory.gather_efficiency.clone(),
            Parameter::Launch => self.launch.overhead.in_base_units(),
            Parameter::HostFloor => self.host.floor_per_pass.in_base_units(),
            Parameter::HostExchange => self.host.exchange.in_base_units(),
            Parameter::StepOverhead => self.host.overhead_per_step.as_ref()?.in_base_units(),
            Parameter::Link => collective.efficiency.clone(),
            Parameter::Network => collective.network_efficiency.clone(),
            Parameter::Between => collective.between_passes.clone(),
            Parameter::Rings => collective.rings.clone(),
            Parameter::Scatter => self.nodes.scatter.clone(),
            Parameter::HalfMessage => collective.half_message.in_base_units(),
            Parameter::Latency => collective.latency.in_base_units(),
            Parameter::Overlap => collective.overlap.clone(),
            Parameter::FlopEnergy => self.power.pj_per_flop(precision).clone(),
            Parameter::ByteEnergy => self.power.memory_pj_per_byte.clone(),
            Parameter::LinkEnergy => self.power.link_pj_per_byte.clone(),
            Parameter::Sharpness => self.power.sharpness.clone(),
            Parameter::VoltageFloor => self.power.voltage_floor.clone(),
            Parameter::LimitShare => self.power.share_of_limit.clone(),
        })
    }

    /// The class of a parameter.
    #[must_use]
    pub fn class_of<Q>(&self, value: &Estimate<Q>) -> Class {
        class_of(value, None, &self.sources)
    }

    /// The share of the peak that large products reach on `device`: that of a calibration; else centred on what was seen there, if
    /// anything was, inside the interval of the class.
    #[must_use]
    pub fn matmul_efficiency(&self, device: &Accelerator, precision: Precision) -> Estimate<Ratio> {
        let class = if precision == Precision::Fp32 { &self.matmul.efficiency_fp32 } else { &self.matmul.efficiency };
        let alone = device.achieved_matmul.as_ref().filter(|_| self.stack.is_none());
        let seen = alone.and_then(|rates| rates.at(precision)).zip(device.peak.at(precision));
        match (seen, class.distribution) {
            (Some((rate, peak)), Distribution::Triangular { low, high, .. }) => {
                let share = rate.centre() / peak.centre();
                let around = Distribution::Triangular { low: low.min(share), mode: share, high: high.max(share) };
                class.clone().with(around)
            }
            _ => class.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accelerator(board: &str, nm: f64) -> Accelerator {
        let text = format!(
            "schema = 1\nname = \"x\"\nvendor = \"x\"\narchitecture = \"x\"\nform = \"x\"\nreleased = \"2020-01-01\"\nmemory = {{ \
             capacity = \"8 GB\", bandwidth = \"200 GB/s\", source = \"s\" }}\npeak = {{ fp32 = \"5 TFLOP/s\", source = \"s\" }}\nprocess = {{ \
             feature_size_nm = {nm}, source = \"s\" }}\nboard = {{ {board}, source = \"s\" }}\nsources = {{ s = {{ citation = \"s\", year = \
             2020, licence = \"none\", class = \"published\" }} }}\n"
        );
        Accelerator::read(&Node::parse("x.toml", &text).unwrap()).unwrap()
    }

    #[test]
    fn a_low_full_clock_leaves_less_voltage_to_save() {
        let scale =
            |clock: f64, nm: f64| accelerator(&format!("boost_clock_mhz = {clock}"), nm).power_scales(Precision::Fp32).voltage_floor;
        assert_eq!([scale(1400.0, 16.0), scale(1120.0, 16.0), scale(1750.0, 12.0)], [1.0, 1.25, 0.8]);
        assert_eq!(scale(1750.0, 5.0), 1.0);
    }

    #[test]
    fn a_byte_of_gddr_costs_twice_that_of_hbm() {
        let scale = |kind: &str| accelerator(&format!("memory = \"{kind}\""), 16.0).power_scales(Precision::Fp32).byte;
        assert_eq!([scale("hbm"), scale("gddr"), scale("lpddr")], [1.0, 2.0, 1.0]);
    }
}
