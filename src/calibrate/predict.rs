//! Predictions of runs and kernels: seconds and watts of a step or a call, with an interval and what they rest on.

use super::basis::{Basis, Grounds};
use super::calibration::{Calibration, FittedDevice, Units, Value};
use super::fit;
use super::hold_out::Figure;
use super::kernel_run::{KernelKind, STACK};
use super::prepare::{Prepared, Schedule, Workshop};
use super::run::Run;
use super::table::Measured;
use crate::document::Diagnostic;
use crate::hardware::{Accelerator, Parameter, Performance, Precision};
use crate::perf::{StepEnergy, StepTime};
use crate::units::Watts;

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

    /// A number format whose products run on them, of those that a device has.
    #[must_use]
    pub fn precision(self, device: &Accelerator) -> Option<Precision> {
        let formats: &[Precision] = match self {
            Self::Tensor => &[Precision::Bf16, Precision::Fp16, Precision::Tf32],
            Self::Vector => &[Precision::Fp32],
        };
        formats.iter().copied().find(|format| device.peak.at(*format).is_some())
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
        devices: vec![FittedDevice { name: device.name.clone(), rows: 0, deviations: Vec::new(), idle_w: None }],
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

/// Predicts what a row measured.
///
/// # Errors
/// A name is not known, or sizes and degrees do not fit each other.
pub fn predict(
    workshop: &mut Workshop<'_>,
    class: &Performance,
    calibrations: &[Calibration],
    measured: &Measured,
) -> Result<Prediction, Diagnostic> {
    match measured {
        Measured::Run(run) => {
            workshop.stack(run)?;
            let accelerator = workshop.device(run)?.0.clone();
            let grounds = Grounds::of(class, calibrations, &run.framework, &accelerator, run.precision);
            let prepared = choose(workshop, class, run, &grounds.calibration, grounds.device)?;
            Ok(grounds.predict(prepared, measured))
        }
        Measured::Kernel(kernel) => {
            let name = kernel.device.as_deref().ok_or_else(|| kernel.lacks_device("--set device=NAME"))?;
            let accelerator = workshop.accelerator(name, &kernel.origin)?.clone();
            let products = kernel.precision.filter(|_| kernel.kind == KernelKind::Gemm);
            let either = [kernel.precision.map(Units::of), Some(Units::Tensor), Some(Units::Vector)];
            let precisions: Vec<Precision> = match products {
                Some(precision) => vec![precision],
                None => either.into_iter().flatten().filter_map(|units| units.precision(&accelerator)).collect(),
            };
            // Without products, what is known of either units holds.
            let mut grounds =
                precisions.iter().map(|precision| (Grounds::of(class, calibrations, STACK, &accelerator, *precision), *precision));
            let first = grounds.next();
            let best = grounds
                .find(|(grounds, _)| grounds.is_of_device())
                .filter(|_| first.as_ref().is_some_and(|(first, _)| !first.is_of_device()));
            let lacks = || Diagnostic::new(&kernel.origin, "kernel", "one that runs nothing", "a kernel that takes time");
            let (grounds, precision) = best.or(first).ok_or_else(lacks)?;
            let prepared = workshop.prepare_kernel(kernel, &accelerator, Units::of(precision))?.ok_or_else(lacks)?;
            Ok(grounds.predict(prepared, measured))
        }
    }
}

impl Grounds {
    /// What it says of a row's work.
    fn predict(self, mut prepared: Prepared, measured: &Measured) -> Prediction {
        let known = self.known();
        if let (Some(envelope), Some(idle)) = (&mut prepared.envelope, self.idle()) {
            envelope.idle = Watts::new(idle);
        }
        let Self { calibration, device, basis } = self;
        let values = calibration.values();
        let several = measured.is_of_several_nodes();
        let step = fit::step(&prepared, &values, device);
        let [of_seconds, of_watts] = calibration.deviations(known, |values| fit::step(&prepared, values, device));
        let around = |figure: Figure, value: f64, deviation: f64| {
            let spread = calibration.spread(figure, known, several, deviation);
            Ranged { value, low: value / spread, high: value * spread }
        };
        let [of_time, of_power] = Figure::of(measured);
        let seconds = around(of_time, step.seconds, of_seconds);
        let watts = step.watts().map(|watts| around(of_power, watts, of_watts));
        Prediction { seconds, watts, energy: step.energy, basis, step: step.time, schedule: prepared.schedule }
    }
}
