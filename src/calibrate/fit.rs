//! Fits of what a software stack achieves, on one device or several that are siblings.
//!
//! All devices of a stack share its parameters; each may differ from its siblings in how much of its peaks it reaches, by a
//! deviation that is drawn towards zero. A device that was not measured is one whose deviation is zero, give or take that of
//! its siblings. Residuals are logarithms of computed over measured seconds, and of computed over measured watts.

use crate::document::Diagnostic;
use crate::hardware::{Accelerator, Parameter, Performance, Precision};
use crate::numeric::{self, Estimate, Fit, FitError, Loss};
use crate::perf::{Achieved, PowerRates, Rates, StepEnergy, StepTime, step_time};
use crate::units::Ratio;

use super::calibration::{QUANTILE, Units};
use super::prepare::{Around, Prepared};

/// In what devices of a stack may differ.
pub const OWN: [Parameter; 2] = [Parameter::Matmul, Parameter::Mixing];
/// Standard deviation of that between siblings, in the logit of the share: about that of the deviations which the fits find.
pub const BETWEEN_SIBLINGS: f64 = 0.5;
/// Standard deviation of ln of a parameter of which the class knows nothing.
const UNKNOWN: f64 = 1.5;
/// Seconds of a step that no kernel explains, where the class knows nothing.
const STEP_OVERHEAD: f64 = 3e-3;
/// Scatter of runs around what is computed, ln, before any was seen: assumed, twice that of our largest calibrations.
pub const SCATTER: f64 = 0.1;
/// The number of rows that this is worth.
const SCATTER_ROWS: f64 = 4.0;
/// Huber's threshold, in standard deviations (Huber 1981: 95 % efficiency for normal residuals).
const THRESHOLD: f64 = 1.345;

/// From which relative change on a fit goes on: far below what rows scatter.
const TOLERANCE: f64 = 1e-5;

/// A run or a kernel that a fit sees.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its work.
    pub prepared: Prepared,
    /// Its device among those of the fit.
    pub device: usize,
    /// Seconds of a step or of a call, where they were measured.
    pub seconds: Option<f64>,
    /// Mean power of an accelerator, W, where it was measured.
    pub watts: Option<f64>,
}

/// What a step is computed to take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Where its time goes, without what the power limit adds.
    pub time: StepTime,
    /// Seconds, the power limit held.
    pub seconds: f64,
    /// Energy of an accelerator, where its profile states a power limit.
    pub energy: Option<StepEnergy>,
}

impl Step {
    /// Mean power of an accelerator, W.
    #[must_use]
    pub fn watts(&self) -> Option<f64> {
        self.energy.map(|energy| energy.total().value() / self.seconds)
    }
}

/// The bounds of a parameter.
#[must_use]
pub fn bounds(parameter: Parameter) -> (f64, f64) {
    match parameter {
        Parameter::Matmul
        | Parameter::Mixing
        | Parameter::Unaligned
        | Parameter::Wave
        | Parameter::Narrow
        | Parameter::Memory
        | Parameter::Gather
        | Parameter::Link
        | Parameter::Network
        | Parameter::Between
        | Parameter::Rings
        | Parameter::Scatter
        | Parameter::Overlap
        | Parameter::VoltageFloor
        | Parameter::LimitShare => (0.0, 1.0),
        Parameter::Sharpness => (1.0, 50.0),
        Parameter::Saturation
        | Parameter::Launch
        | Parameter::HostFloor
        | Parameter::HostExchange
        | Parameter::StepOverhead
        | Parameter::HalfMessage
        | Parameter::Latency
        | Parameter::FlopEnergy
        | Parameter::ByteEnergy
        | Parameter::LinkEnergy => (0.0, f64::INFINITY),
    }
}

/// How a parameter becomes a variable without bounds.
#[must_use]
pub fn shape(parameter: Parameter) -> numeric::Parameter {
    let (low, high) = bounds(parameter);
    numeric::Parameter::between(if high.is_finite() { 0.5 * (low + high) } else { low + 1.0 }, low, high)
}

/// A parameter as the class knows it: its centre, and as deviation what the class's 90 % interval says.
fn prior(parameter: Parameter, known: Option<&Estimate<Ratio>>) -> numeric::Parameter {
    let (low, high) = bounds(parameter);
    let Some(known) = known else {
        return numeric::Parameter { start: STEP_OVERHEAD, low, high, prior: Some((STEP_OVERHEAD, UNKNOWN)) };
    };
    let inside = |value: f64| value.clamp(low + 1e-3 * known.centre().value().max(1e-9), if high.is_finite() { high - 1e-2 } else { high });
    let centre = inside(known.centre().value());
    let shape = numeric::Parameter { start: centre, low, high, prior: None };
    let [from, to] = [0.05, 0.95].map(|level| shape.variable(inside(known.distribution.quantile(level))));
    shape.with_prior(centre, ((to - from) / (2.0 * QUANTILE)).max(0.05))
}

/// The parameters of a fit: those of the stack, then what each device has of its own.
pub fn parameters(class: &Performance, device: &Accelerator, precision: Precision, devices: usize) -> Vec<numeric::Parameter> {
    let shared = Parameter::ALL.map(|parameter| prior(parameter, class.of(parameter, device, precision).as_ref()));
    let own = numeric::Parameter::free(0.0).with_prior(0.0, BETWEEN_SIBLINGS);
    let differ = if devices > 1 { devices * OWN.len() } else { 0 };
    shared.into_iter().chain(std::iter::repeat_n(own, differ)).collect()
}

/// What a device achieves by the values of a fit; a device that the fit does not know is like the stack's.
#[must_use]
pub fn achieved(values: &[f64], device: Option<usize>, prepared: &Prepared) -> Achieved {
    let shared = Parameter::ALL.len();
    let mut out = Achieved::new(|parameter| values[parameter as usize]);
    if let Some(device) = device {
        for (index, parameter) in OWN.into_iter().enumerate() {
            let Some(deviation) = values.get(shared + device * OWN.len() + index) else { break };
            let shape = shape(parameter);
            out.set(parameter, shape.value(shape.variable(out.get(parameter)) + deviation));
        }
    }
    if prepared.around != Around::EagerStep {
        out.set(Parameter::HostFloor, 0.0);
        out.set(Parameter::HostExchange, 0.0);
    }
    if prepared.around == Around::Nothing {
        out.set(Parameter::StepOverhead, 0.0);
    }
    if prepared.units == Units::Vector {
        out.set(Parameter::Unaligned, 1.0);
    }
    out
}

/// A step by the values of a fit, the power limit held.
#[must_use]
pub fn step(prepared: &Prepared, values: &[f64], device: Option<usize>) -> Step {
    let achieved = achieved(values, device, prepared);
    let rates = Rates::new(&prepared.peaks, &achieved);
    let time = step_time(&prepared.work, &rates);
    let Some(envelope) = &prepared.envelope else { return Step { time, seconds: time.total().value(), energy: None } };
    let (total, energy) = PowerRates::new(envelope, &achieved).step(&prepared.work, time.total(), &rates);
    Step { time, seconds: total.value(), energy: Some(energy) }
}

impl Row {
    /// ln of computed over measured, of each figure that was measured.
    fn residuals(&self, step: &Step) -> impl Iterator<Item = f64> + use<> {
        let of = |computed: Option<f64>, measured: Option<f64>| Some((computed? / measured?).ln());
        of(Some(step.seconds), self.seconds).into_iter().chain(of(step.watts(), self.watts))
    }
}

/// Fits the parameters to rows.
///
/// # Errors
/// The fit does not come to rest.
pub fn fit(rows: &[&Row], parameters: &[numeric::Parameter]) -> Result<Fit, FitError> {
    numeric::fit(parameters, Loss::Huber(THRESHOLD), TOLERANCE, |values| {
        rows.iter().flat_map(|row| row.residuals(&step(&row.prepared, values, Some(row.device)))).collect()
    })
}

/// The scatter of rows about a fit: what is assumed of it and what was seen, each by its weight (Gelman et al. 2013, section 2.6).
#[must_use]
pub fn scatter(fit: &Fit) -> f64 {
    let seen = fit.degrees_of_freedom;
    ((SCATTER_ROWS * SCATTER.powi(2) + seen * fit.scale.powi(2)) / (SCATTER_ROWS + seen)).sqrt()
}

/// A message about a fit that failed.
pub fn failed(stack: &str, error: &FitError) -> Diagnostic {
    Diagnostic::new(&crate::document::Origin::whole(stack), "", error.to_string(), "rows that determine the parameters")
}
