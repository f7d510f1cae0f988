//! Predictions of runs: seconds and watts of a step, with an interval and what they rest on.

use super::basis::{Basis, Grounds};
use super::calibration::{Calibration, FittedDevice, Units, Value};
use super::fit;
use super::hold_out::Figure;
use super::prepare::{Prepared, Schedule, Workshop};
use super::run::Run;
use crate::document::Diagnostic;
use crate::hardware::{Accelerator, Parameter, Performance, Precision};
use crate::perf::{StepEnergy, StepTime};

/// A value with its 90 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranged {
    /// The value.
    pub value: f64,
    /// Low end.
    pub low: f64,
    /// High end.
    pub high: f64,
}

/// A prediction.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Seconds of a step.
    pub seconds: Ranged,
    /// Mean power of an accelerator, W, where the profile states its limit.
    pub watts: Option<Ranged>,
    /// Where the energy of an accelerator in a step goes.
    pub energy: Option<StepEnergy>,
    /// What it rests on.
    pub basis: Basis,
    /// Where the time goes.
    pub step: StepTime,
    /// How it is cut up.
    pub schedule: Schedule,
}

impl Prediction {
    /// What most of the time goes to; `power cap` where the power limit makes the step longer.
    #[must_use]
    pub fn bound_by(&self) -> &'static str {
        if self.throttled() > 0.0 {
            return "power cap";
        }
        let step = &self.step;
        let parts = [
            ("compute", step.compute),
            ("memory", step.memory + step.optimizer),
            ("launch", step.launch + step.host),
            ("network", step.exchange),
            ("pipeline", step.bubble),
        ];
        parts.into_iter().max_by(|a, b| a.1.value().total_cmp(&b.1.value())).map_or("compute", |(name, _)| name)
    }

    /// Seconds by which the power limit makes a step longer.
    #[must_use]
    pub fn throttled(&self) -> f64 {
        (self.seconds.value - self.step.total().value()).max(0.0)
    }
}

impl Units {
    /// What products of a precision run on.
    #[must_use]
    pub fn of(precision: Precision) -> Self {
        if precision == Precision::Fp32 { Self::Vector } else { Self::Tensor }
    }
}

/// The class defaults in the form of a calibration.
#[must_use]
pub fn class_default(class: &Performance, device: &Accelerator, precision: Precision) -> Calibration {
    let parameters = fit::parameters(class, device, precision, 1);
    let covariance = |row: usize| {
        let variance = parameters[row].prior.map_or(0.0, |(_, deviation)| deviation * deviation);
        (0..parameters.len()).map(|column| if row == column { variance } else { 0.0 }).collect()
    };
    let value = |parameter: Parameter| {
        let value = parameters[parameter as usize].start;
        (parameter.key().to_string(), Value { value, low: value, high: value })
    };
    Calibration {
        schema: 1,
        name: "class-defaults".into(),
        stack: String::new(),
        vendor: String::new(),
        units: Units::of(precision),
        date: String::new(),
        program: String::new(),
        tables: Vec::new(),
        degrees_of_freedom: 1.0,
        scale: fit::SCATTER,
        widening: Vec::new(),
        parameters: Parameter::ALL.map(value).into_iter().collect(),
        devices: vec![FittedDevice { name: device.name.clone(), rows: 0, deviations: Vec::new() }],
        covariance: (0..parameters.len()).map(covariance).collect(),
        errors: Vec::new(),
        file: String::new(),
    }
}

/// The work of a run; where it does not say how it is cut up, in the way that takes least time and fits the memory, or the first if
/// none fits.
///
/// # Errors
/// A name is not known, or sizes and degrees do not fit each other.
pub fn choose(
    workshop: &mut Workshop<'_>,
    class: &Performance,
    run: &Run,
    calibration: &Calibration,
    device: Option<usize>,
) -> Result<Prepared, Diagnostic> {
    let schedules = workshop.schedules(run)?;
    if let [only] = schedules[..] {
        return workshop.prepare(run, only);
    }
    let capacity = workshop.device(run)?.0.memory.capacity.centre();
    let overhead = &class.memory_overhead;
    let (context, fragmentation) = (overhead.context.centre(), overhead.fragmentation.centre().value());
    let values = calibration.values();
    let mut best: Option<(f64, Prepared)> = None;
    // Larger micro-batches need more memory than one that does not fit.
    let mut too_large = u64::MAX;
    for schedule in schedules {
        if schedule.micro_batch > too_large {
            break;
        }
        let prepared = workshop.prepare(run, schedule)?;
        if best.is_some() && prepared.memory.with_overhead(context, fragmentation) > capacity {
            too_large = schedule.micro_batch;
            continue;
        }
        let seconds = fit::step(&prepared, &values, device).seconds;
        if best.as_ref().is_none_or(|(least, _)| seconds < *least) {
            best = Some((seconds, prepared));
        }
    }
    best.map(|(_, prepared)| prepared).ok_or_else(|| Diagnostic::new(&run.origin, "micro_batch", "nothing", "a micro-batch"))
}

/// Predicts a run.
///
/// # Errors
/// A name is not known, or sizes and degrees do not fit each other.
pub fn predict(
    workshop: &mut Workshop<'_>,
    class: &Performance,
    calibrations: &[Calibration],
    run: &Run,
) -> Result<Prediction, Diagnostic> {
    workshop.stack(run)?;
    let accelerator = workshop.device(run)?.0.clone();
    let grounds = Grounds::of(class, calibrations, &run.framework, &accelerator, run.precision);
    let known = grounds.known();
    let Grounds { calibration, device, basis } = grounds;
    let prepared = choose(workshop, class, run, &calibration, device)?;
    let values = calibration.values();
    let several = run.is_of_several_nodes();
    let step = fit::step(&prepared, &values, device);
    let [of_seconds, of_watts] = calibration.deviations(known, |values| fit::step(&prepared, values, device));
    let around = |figure: Figure, value: f64, deviation: f64| {
        let spread = calibration.spread(figure, known, several, deviation);
        Ranged { value, low: value / spread, high: value * spread }
    };
    let seconds = around(Figure::Seconds, step.seconds, of_seconds);
    let watts = step.watts().map(|watts| around(Figure::Watts, watts, of_watts));
    Ok(Prediction { seconds, watts, energy: step.energy, basis, step: step.time, schedule: prepared.schedule })
}
