//! A calibration as a section of parameters: what an estimate draws for a device.

use std::fmt::Write;

use super::basis::Grounds;
use super::calibration::{Calibration, QUANTILE, Units};
use super::fit::{self, BETWEEN_SIBLINGS, OWN};
use super::hold_out::Figure;
use crate::document::{Diagnostic, Node};
use crate::hardware::{Accelerator, Parameter};
use crate::numeric::{Distribution, Estimate};
use crate::source::{Class, Source};
use crate::units::Watts;

impl Grounds {
    /// Fitted to runs of this device, or made from what others say.
    #[must_use]
    pub fn class(&self) -> Class {
        if self.is_of_device() { Class::Calibrated } else { Class::Modelled }
    }

    /// What it is from, in words.
    #[must_use]
    pub fn citation(&self) -> String {
        let Calibration { stack, date, program, tables, .. } = &self.calibration;
        let tables: Vec<String> = tables.iter().map(|table| format!("{} ({} rows)", table.file, table.rows)).collect();
        format!("{}: stack {stack}, fitted by {program} on {date} to {}", self.basis, tables.join(", "))
    }

    /// Puts the idle power that was measured with the rows of a device in the place of what its profile says of it.
    pub fn state_idle(&self, device: &mut Accelerator) {
        let (Some(power), Some(idle)) = (&mut device.power, self.idle()) else { return };
        let Calibration { name, date, .. } = &self.calibration;
        let key = format!("calibration {name}");
        let year = date.get(..4).and_then(|year| year.parse().ok()).unwrap_or_default();
        let citation = format!("{key}: idle power of its rows");
        device.sources.insert(key.clone(), Source { citation, year, licence: None, url: None, class: Class::Measured });
        let mut measured = Estimate::fixed(Watts::new(idle));
        measured.source = Some(key);
        power.idle = Some(measured);
    }

    /// What is believed of a parameter, from the fitted value with the device's own deviation and the covariance's diagonal:
    /// lognormal where it is only above zero, as in the fit; else triangular with the same 90 % interval, cut at the bounds.
    #[must_use]
    pub fn believed(&self, parameter: Parameter) -> Distribution {
        let (values, covariance) = (self.calibration.values(), &self.calibration.covariance);
        let (index, shape) = (parameter as usize, fit::shape(parameter));
        let mut middle = shape.variable(values[index]);
        let mut variance = covariance[index][index];
        if let Some(own) = OWN.iter().position(|own| *own == parameter) {
            let place = self.device.map(|device| Parameter::ALL.len() + device * OWN.len() + own).filter(|place| *place < values.len());
            if let Some(place) = place {
                middle += values[place];
                variance += 2.0 * covariance[index][place] + covariance[place][place];
            }
            if !self.known() {
                variance += BETWEEN_SIBLINGS.powi(2);
            }
        }
        let deviation = variance.max(0.0).sqrt();
        let (low, high) = fit::bounds(parameter);
        if high.is_infinite() {
            return Distribution::Lognormal { median: shape.value(middle), geometric_standard_deviation: deviation.exp() };
        }
        let [from, mode, to] = [-QUANTILE, 0.0, QUANTILE].map(|steps| shape.value(middle + steps * deviation));
        Distribution::triangular_through(from, mode, to, (low, high))
    }

    /// How measured runs of one node or of several scatter around the calibration, as a factor on the time of a step.
    #[must_use]
    pub fn scatter(&self, several_nodes: bool) -> Distribution {
        let deviation = self.calibration.scale * self.calibration.widening(Figure::Seconds, self.known(), several_nodes);
        Distribution::Lognormal { median: 1.0, geometric_standard_deviation: deviation.exp() }
    }

    /// The section of a file of parameters. Those of power are in it only where watts were measured.
    ///
    /// # Errors
    /// The calibration's text cannot be a document.
    pub fn node(&self) -> Result<Node, Diagnostic> {
        let Calibration { name, stack, units, date, errors, .. } = &self.calibration;
        let source = format!("calibration {name}");
        let saw_watts = errors.iter().any(|errors| matches!(errors.figure, Figure::Watts | Figure::KernelWatts));
        let mut text = format!("stack = {stack:?}\n");
        for parameter in Parameter::ALL.into_iter().filter(|parameter| saw_watts || !parameter.is_of_power()) {
            let numbers = match self.believed(parameter) {
                Distribution::Lognormal { median, geometric_standard_deviation: spread } => {
                    format!("median = {median:?}, geometric_standard_deviation = {spread:?}")
                }
                Distribution::Triangular { low, mode, high } => format!("low = {low:?}, mode = {mode:?}, high = {high:?}"),
                other => format!("value = {:?}", other.centre()),
            };
            let _ = writeln!(text, "{} = {{ {numbers}, source = {source:?} }}", key(parameter, *units));
        }
        let (year, class) = (date.get(..4).and_then(|year| year.parse::<i64>().ok()).unwrap_or_default(), self.class().word());
        let _ = writeln!(text, "[sources.{source:?}]\ncitation = {:?}\nyear = {year}\nclass = {class:?}", self.citation());
        Node::parse(&source, &text)
    }
}

/// The key of a parameter in a file of parameters, which states some for either kind of units.
fn key(parameter: Parameter, units: Units) -> &'static str {
    match (parameter, units) {
        (Parameter::Matmul, Units::Vector) => "matmul.efficiency_fp32",
        (Parameter::FlopEnergy, Units::Vector) => "power.vector_pj_per_flop",
        (Parameter::FlopEnergy, Units::Tensor) => "power.tensor_pj_per_flop",
        _ => parameter.key(),
    }
}
