//! Which calibration speaks of a device, and how it comes to.

use super::calibration::{Calibration, FittedDevice, Units};
use super::fit::{self, OWN};
use super::hold_out::Widening;
use super::kernel_run::STACK;
use super::predict::class_default;
use crate::hardware::{Accelerator, Parameter, Performance, Precision};

/// What a prediction or an estimate rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Basis {
    /// A calibration on this device and stack.
    Calibration(String),
    /// Kernels that were measured on this device by themselves; the host as the class knows it.
    Kernels(String),
    /// The same with the host and the exchanges of a calibration of the stack on other devices.
    KernelsAnd(String, String),
    /// A calibration of the stack on other devices, by peaks.
    Siblings(String),
    /// The same, with how the device differs from them in another stack's calibration.
    SiblingsAnd(String, String),
    /// What devices of its class mostly achieve.
    ClassDefaults,
}

impl std::fmt::Display for Basis {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Calibration(name) => write!(out, "calibration {name}"),
            Self::Kernels(name) => write!(out, "kernels of this device in calibration {name}"),
            Self::KernelsAnd(name, other) => write!(out, "kernels of this device in calibration {name} and the host of {other}"),
            Self::Siblings(name) => write!(out, "siblings of calibration {name}"),
            Self::SiblingsAnd(name, other) => write!(out, "siblings of calibration {name} and this device in {other}"),
            Self::ClassDefaults => out.write_str("class defaults"),
        }
    }
}

impl Basis {
    /// Whether it rests on the calibration of this name.
    #[must_use]
    pub fn names(&self, calibration: &str) -> bool {
        match self {
            Self::Calibration(name) | Self::Kernels(name) | Self::Siblings(name) => name == calibration,
            Self::KernelsAnd(name, other) | Self::SiblingsAnd(name, other) => name == calibration || other == calibration,
            Self::ClassDefaults => false,
        }
    }
}

/// The calibration that speaks of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Grounds {
    /// The calibration.
    pub calibration: Calibration,
    /// The place of the device in it.
    pub device: Option<usize>,
    /// How it comes to speak of the device.
    pub basis: Basis,
}

impl Grounds {
    /// What speaks of a software stack and a number format on a device, of the calibrations of its vendor and kind of units: the
    /// first of the stack that knows the device; else the first of kernels that does; else the first of the stack, if there is one.
    #[must_use]
    pub fn of(class: &Performance, calibrations: &[Calibration], stack: &str, device: &Accelerator, precision: Precision) -> Self {
        let units = Units::of(precision);
        let fits = |calibration: &&Calibration| calibration.vendor == device.vendor && calibration.units == units;
        let knows = |stack: &str| {
            let of_stack = calibrations.iter().filter(fits).filter(|calibration| calibration.stack == stack);
            of_stack.filter_map(|calibration| Some((calibration, calibration.device(&device.name)?))).next()
        };
        if let Some((own, place)) = knows(stack) {
            return Self { calibration: own.clone(), device: Some(place), basis: Basis::Calibration(own.name.clone()) };
        }
        let own = calibrations.iter().filter(fits).find(|calibration| calibration.stack == stack);
        if let Some((kernels, place)) = knows(STACK) {
            let (calibration, basis) = match own {
                Some(own) => (hosted(kernels, own), Basis::KernelsAnd(kernels.name.clone(), own.name.clone())),
                None => (unhosted(kernels), Basis::Kernels(kernels.name.clone())),
            };
            return Self { calibration, device: Some(place), basis };
        }
        let Some(own) = own else {
            return Self { calibration: class_default(class, device, precision), device: None, basis: Basis::ClassDefaults };
        };
        let others = calibrations.iter().filter(fits).filter_map(|other| Some((other, likened(own, other, &device.name)?)));
        match others.max_by_key(|(other, _)| other.devices.len()) {
            Some((other, likened)) => {
                let place = likened.device(&device.name);
                Self { calibration: likened, device: place, basis: Basis::SiblingsAnd(own.name.clone(), other.name.clone()) }
            }
            None => Self { calibration: own.clone(), device: None, basis: Basis::Siblings(own.name.clone()) },
        }
    }

    /// Whether nothing of the device is carried over from others.
    #[must_use]
    pub fn known(&self) -> bool {
        !matches!(self.basis, Basis::Siblings(_) | Basis::SiblingsAnd(..))
    }

    /// Whether a calibration speaks that was fitted to this device and what is asked for.
    #[must_use]
    pub fn is_of_device(&self) -> bool {
        matches!(self.basis, Basis::Calibration(_))
    }

    /// What the device draws with nothing to do, W, where that was measured.
    #[must_use]
    pub fn idle(&self) -> Option<f64> {
        self.calibration.devices.get(self.device?)?.idle_w
    }
}

/// What no kernel by itself says: host, steps, exchanges and nodes.
const AROUND_KERNELS: [Parameter; 12] = [
    Parameter::HostFloor,
    Parameter::HostExchange,
    Parameter::StepOverhead,
    Parameter::Link,
    Parameter::Network,
    Parameter::Between,
    Parameter::Rings,
    Parameter::Scatter,
    Parameter::HalfMessage,
    Parameter::Latency,
    Parameter::Overlap,
    Parameter::LinkEnergy,
];

/// Kernels of a device with what stands around them as a calibration of a stack found it on other devices. That was found beside its own
/// rates of kernels, so that a step made of both is less sure than either: it scatters as is assumed before any run was seen.
fn hosted(kernels: &Calibration, own: &Calibration) -> Calibration {
    let mut out = kernels.clone();
    for one in AROUND_KERNELS {
        if let Some(value) = own.parameters.get(one.key()) {
            out.parameters.insert(one.key().to_string(), *value);
        }
        let index = one as usize;
        for other in 0..out.covariance.len() {
            // What both fits found of each other's parameters is not known.
            let of_both = Parameter::ALL.get(other).filter(|other| AROUND_KERNELS.contains(other)).map(|_| own.covariance[index][other]);
            out.covariance[index][other] = of_both.unwrap_or(0.0);
            out.covariance[other][index] = of_both.unwrap_or(0.0);
        }
    }
    out.scale = kernels.scale.max(own.scale).max(fit::SCATTER);
    let carried = |widening: &Widening| {
        let factor = own.widening(widening.figure, false, widening.several_nodes);
        Widening { known_device: true, factor, ..*widening }
    };
    out.widening = own.widening.iter().filter(|widening| widening.known_device).map(carried).collect();
    out
}

/// Kernels of a device where no run says how runs scatter: as is assumed before any was seen.
fn unhosted(kernels: &Calibration) -> Calibration {
    Calibration { scale: kernels.scale.max(fit::SCATTER), widening: Vec::new(), ..kernels.clone() }
}

/// A calibration with one more device, as far from those that it knows as another calibration finds it from the same.
fn likened(own: &Calibration, other: &Calibration, device: &str) -> Option<Calibration> {
    let there = other.device(device)?;
    if own.devices.len() < 2 || other.devices.len() < 2 {
        return None;
    }
    let logit = |calibration: &Calibration, device: usize, index: usize| {
        let shape = fit::shape(OWN[index]);
        Some(shape.variable(calibration.parameters.get(OWN[index].key())?.value) + calibration.devices[device].deviations.get(index)?)
    };
    let shared: Vec<(usize, usize)> =
        own.devices.iter().enumerate().filter_map(|(here, fitted)| Some((here, other.device(&fitted.name)?))).collect();
    if shared.is_empty() {
        return None;
    }
    let mut likened = own.clone();
    let deviation = |index: usize| {
        let apart = |(here, there): &(usize, usize)| Some(logit(own, *here, index)? - logit(other, *there, index)?);
        let apart = shared.iter().map(apart).sum::<Option<f64>>()? / shared.len() as f64;
        let shape = fit::shape(OWN[index]);
        Some(logit(other, there, index)? + apart - shape.variable(own.parameters.get(OWN[index].key())?.value))
    };
    let deviations = (0..OWN.len()).map(deviation).collect::<Option<Vec<f64>>>()?;
    let size = likened.covariance.len() + deviations.len();
    likened.devices.push(FittedDevice { name: device.to_string(), rows: 0, deviations, idle_w: None });
    likened.covariance.iter_mut().for_each(|row| row.resize(size, 0.0));
    likened.covariance.resize(size, vec![0.0; size]);
    Some(likened)
}
