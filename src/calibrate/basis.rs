//! Which calibration speaks of a device, and how it comes to.

use super::calibration::{Calibration, FittedDevice, Units};
use super::fit::{self, OWN};
use super::predict::class_default;
use crate::hardware::{Accelerator, Performance, Precision};

/// What a prediction or an estimate rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Basis {
    /// A calibration on this device and stack.
    Calibration(String),
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
            Self::Calibration(name) | Self::Siblings(name) => name == calibration,
            Self::SiblingsAnd(name, other) => name == calibration || other == calibration,
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
    /// What speaks of a software stack and a number format on a device: the first calibration of the stack, its vendor and kind of
    /// units, if there is one.
    #[must_use]
    pub fn of(class: &Performance, calibrations: &[Calibration], stack: &str, device: &Accelerator, precision: Precision) -> Self {
        let units = Units::of(precision);
        let fits = |calibration: &&Calibration| calibration.vendor == device.vendor && calibration.units == units;
        let Some(own) = calibrations.iter().filter(fits).find(|calibration| calibration.stack == stack) else {
            return Self { calibration: class_default(class, device, precision), device: None, basis: Basis::ClassDefaults };
        };
        if let Some(place) = own.device(&device.name) {
            return Self { calibration: own.clone(), device: Some(place), basis: Basis::Calibration(own.name.clone()) };
        }
        let others = calibrations.iter().filter(fits).filter_map(|other| Some((other, likened(own, other, &device.name)?)));
        match others.max_by_key(|(other, _)| other.devices.len()) {
            Some((other, likened)) => {
                let place = likened.device(&device.name);
                Self { calibration: likened, device: place, basis: Basis::SiblingsAnd(own.name.clone(), other.name.clone()) }
            }
            None => Self { calibration: own.clone(), device: None, basis: Basis::Siblings(own.name.clone()) },
        }
    }

    /// Whether nothing is carried over from other devices.
    #[must_use]
    pub fn known(&self) -> bool {
        !matches!(self.basis, Basis::Siblings(_) | Basis::SiblingsAnd(..))
    }
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
    likened.devices.push(FittedDevice { name: device.to_string(), rows: 0, deviations });
    likened.covariance.iter_mut().for_each(|row| row.resize(size, 0.0));
    likened.covariance.resize(size, vec![0.0; size]);
    Some(likened)
}
