//! Results of a scenario as plain values.

use super::inputs::InputValue;
use super::memory_fit::MemoryFit;
use super::phase::PhaseResult;
use super::time_model::central;
use crate::calibrate::{Basis, speeds};
use crate::ledger::{Ledger, Unit};
use crate::numeric::Interval;
use crate::quality::Quality;
use crate::scenario::{Case, Published, Quantity, Settings};
use crate::source::Class;
use crate::units::{Bytes, Quantity as _, Seconds};

/// What is estimated of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Wall-clock time, s.
    Duration,
    /// Accelerators times hours.
    AcceleratorHours,
    /// Energy at the facility's meter, J.
    Energy,
    /// Location-based emissions of the electricity, g.
    Operational,
    /// Market-based emissions of the electricity, g.
    Market,
    /// Share of the hardware's making, g.
    Embodied,
    /// Location-based operational and embodied, g.
    Total,
    /// Water on site and at the plant, L.
    Water,
    /// Middle of the offers, USD.
    Cost,
    /// Cheapest offer, USD.
    CostLow,
    /// Dearest offer, USD.
    CostHigh,
    /// Mean IT power of a node, W; of a part of one, what it would be of the whole.
    NodePower,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 12] = [
        Self::Duration,
        Self::AcceleratorHours,
        Self::Energy,
        Self::Operational,
        Self::Market,
        Self::Embodied,
        Self::Total,
        Self::Water,
        Self::Cost,
        Self::CostLow,
        Self::CostHigh,
        Self::NodePower,
    ];
}

/// Every metric at one set of inputs; what cannot be said is not there.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Outcome([Option<f64>; Metric::ALL.len()]);

impl Outcome {
    pub(super) fn get(&self, metric: Metric) -> Option<f64> {
        self.0[metric as usize]
    }

    pub(super) fn set(&mut self, metric: Metric, value: f64) {
        self.0[metric as usize] = Some(value);
    }

    pub(super) fn set_option(&mut self, metric: Metric, value: Option<f64>) {
        self.0[metric as usize] = value;
    }
}

/// A metric with its interval.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimated {
    /// What it is.
    pub metric: Metric,
    /// Central value and interval, in base units.
    pub interval: Interval,
    /// How it came to be.
    pub class: Class,
    /// Components that it lacks, by name.
    pub lacks: Vec<&'static str>,
}

/// One case's results.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseResult {
    /// Its name.
    pub name: String,
    /// The sweep's value, in a sweep.
    pub at: Option<f64>,
    /// Metrics that can be said.
    pub metrics: Vec<Estimated>,
    /// Savings against the baseline, percent, from paired draws.
    pub savings_percent: Vec<(Metric, Interval)>,
    /// Share of draws in which a saving is above the scenario's mark.
    pub share_above_mark: Vec<(Metric, f64)>,
    /// What cannot be said, and why.
    pub missing: Vec<String>,
    /// Its phases.
    pub phases: Vec<PhaseResult>,
    /// Its largest phase in memory.
    pub memory: Option<MemoryFit>,
    /// What the model achieves, where that is published.
    pub quality: Option<Quality>,
    /// Parameters, pruned ones not.
    pub parameters: Option<f64>,
    /// Those of them that training changes.
    pub trained_parameters: Option<f64>,
    /// Bits that say where those of pruned matrices stand in a file.
    pub index_bits: f64,
    /// Name of the model.
    pub model: Option<String>,
    /// Name of the accelerator.
    pub accelerator: Option<String>,
    /// How many.
    pub accelerators: u64,
    /// Names of the offers behind the cost.
    pub offers: Vec<String>,
    /// What a reader should know.
    pub notes: Vec<String>,
    /// What the parameters of the time and power model rest on, where there is one.
    pub basis: Option<String>,
}

/// How far one input moves the saving of the first variant.
#[derive(Debug, Clone, PartialEq)]
pub struct Swing {
    /// The input.
    pub input: String,
    /// The variant.
    pub variant: String,
    /// Saving in percent with the input at its 5 % and its 95 % point.
    pub ends: [f64; 2],
}

/// From where a saving passes the mark.
#[derive(Debug, Clone, PartialEq)]
pub struct ThresholdResult {
    /// The metric.
    pub metric: Metric,
    /// The largest value of the key that still saves more than the mark; none if no value does.
    pub value: Option<u64>,
}

/// Savings under another assumption.
#[derive(Debug, Clone, PartialEq)]
pub struct AssumptionResult {
    /// What is assumed instead.
    pub name: String,
    /// Savings of time and of energy of each variant, percent, at central values.
    pub savings: Vec<(String, Option<f64>, Option<f64>)>,
}

/// A published figure and ours.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedCheck {
    /// The figure that was printed.
    pub published: Published,
    /// Ours, in its unit.
    pub computed: Option<f64>,
}

impl PublishedCheck {
    /// Digits after the point in the printed figure.
    #[must_use]
    pub fn decimals(&self) -> usize {
        self.published.printed.split_once('.').map_or(0, |(_, digits)| digits.len())
    }

    /// The printed figure as a number.
    #[must_use]
    pub fn printed(&self) -> f64 {
        self.published.printed.replace(',', "").parse().unwrap_or(f64::NAN)
    }

    /// Whether ours rounds to the printed digits.
    #[must_use]
    pub fn same_digits(&self) -> bool {
        let half = 0.5 * 10_f64.powi(-(self.decimals() as i32));
        self.computed.is_some_and(|ours| (ours - self.printed()).abs() <= half * (1.0 + 1e-9))
    }

    /// Ours above the printed one, percent.
    #[must_use]
    pub fn difference_percent(&self) -> Option<f64> {
        self.computed.map(|ours| 100.0 * (ours / self.printed() - 1.0))
    }
}

/// Results of a scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Results {
    /// The question.
    pub title: String,
    /// What a reader should know.
    pub description: Option<String>,
    /// Name of the baseline.
    pub baseline: String,
    /// Number of draws.
    pub draws: usize,
    /// Seed.
    pub seed: u64,
    /// The key that the sweep varies.
    pub sweep_key: Option<String>,
    /// Baseline and variants, point by point.
    pub cases: Vec<CaseResult>,
    /// Inputs of the first point.
    pub inputs: Vec<InputValue>,
    /// What moves the first variant's saving, largest first.
    pub swings: Vec<Swing>,
    /// Savings under other assumptions.
    pub assumptions: Vec<AssumptionResult>,
    /// The mark, its key and where it is passed.
    pub threshold: Option<(String, f64, u64)>,
    /// Where the mark is passed, by metric.
    pub thresholds: Vec<ThresholdResult>,
    /// Published figures beside ours.
    pub published: Vec<PublishedCheck>,
    /// Sources of the published figures, by key.
    pub sources: Vec<(String, String)>,
    /// What a reader should know of the results.
    pub notes: Vec<String>,
    /// The copies of calibrations that they rest on.
    pub calibrations: Vec<String>,
}

impl Results {
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            title: settings.title.clone(),
            description: settings.description.clone(),
            baseline: settings.baseline.clone(),
            draws: settings.draws,
            seed: settings.seed,
            sweep_key: settings.sweep.as_ref().map(|sweep| sweep.key.clone()),
            cases: Vec::new(),
            inputs: Vec::new(),
            swings: Vec::new(),
            assumptions: Vec::new(),
            threshold: settings.threshold.as_ref().map(|t| (t.key.clone(), t.saving_percent, t.low)),
            thresholds: Vec::new(),
            published: Vec::new(),
            sources: settings.sources.iter().map(|(key, source)| (key.clone(), format!("{} ({})", source.citation, source.year))).collect(),
            notes: Vec::new(),
            calibrations: Vec::new(),
        }
    }

    /// Remembers which copies of calibrations a case rests on.
    pub(super) fn rest_on(&mut self, case: &Case) {
        let new = case.calibrations.iter().filter(|file| !self.calibrations.contains(file)).cloned();
        self.calibrations.extend(new.collect::<Vec<_>>());
    }

    /// Says what the parameters of cases that name a software stack rest on.
    pub(super) fn note_stacks(&mut self, cases: &[Case]) {
        let mut said: Vec<(String, Vec<&str>)> = Vec::new();
        for case in cases.iter().filter(|case| !case.phases.is_empty()) {
            let Some(stack) = &case.stack else { continue };
            let basis = match &case.basis {
                Basis::ClassDefaults => {
                    format!("class defaults, as no calibration is of {stack}, the device's vendor and its kind of units")
                }
                basis => basis.to_string(),
            };
            match said.iter_mut().find(|(other, _)| *other == basis) {
                Some((_, names)) => names.push(&case.name),
                None => said.push((basis, vec![&case.name])),
            }
        }
        for (basis, names) in said {
            let of = if names.len() == cases.len() { String::new() } else { format!("{}: ", names.join(", ")) };
            self.notes.push(format!("{of}what the software stack achieves is from {basis}."));
        }
    }

    /// Says how much of an anchored baseline the model explains.
    pub(super) fn note_anchor(&mut self, cases: &[Case], modelled: Option<f64>) {
        let anchored = cases.first().and_then(|case| case.anchor.as_ref()).filter(|_| cases.len() > 1);
        if let (Some(anchor), Some(modelled)) = (anchored, modelled) {
            let stated = anchor.duration.distribution.centre();
            self.notes.push(format!(
                "The anchor states {}; the time model alone would say {} for the same run ({:.0} %). Variants scale the anchor by the ratio of \
                 modelled runs, so they take the unexplained part to shrink alike.",
                Seconds::new(stated),
                Seconds::new(modelled),
                100.0 * modelled / stated
            ));
        }
    }

    pub(super) fn check_published(&mut self, settings: &Settings) {
        for published in &settings.published {
            let of = |name: &str| self.cases.iter().find(|case| case.name == name && (published.at.is_none() || case.at == published.at));
            let case = of(&published.case);
            let in_unit = |metric: Metric| {
                let value = case.and_then(|case| case.central(metric));
                value.zip(metric.unit_size(&published.unit)).map(|(value, size)| value / size)
            };
            let computed = match published.quantity {
                Quantity::Energy => in_unit(Metric::Energy),
                Quantity::Co2e => in_unit(Metric::Operational),
                Quantity::Co2eMarket => in_unit(Metric::Market),
                Quantity::CostLow => in_unit(Metric::CostLow),
                Quantity::CostHigh => in_unit(Metric::CostHigh),
                Quantity::Duration => in_unit(Metric::Duration),
                Quantity::NodePower => in_unit(Metric::NodePower),
                Quantity::SpeedUp => {
                    let step = |case: &CaseResult| case.phases.first().map(|phase| phase.step.total());
                    let baseline = of(&settings.baseline).and_then(step).filter(|_| published.unit == "x");
                    baseline.zip(case.and_then(step)).map(|(baseline, own)| baseline / own)
                }
                Quantity::Memory => {
                    let needed = case.and_then(|case| case.memory.as_ref()).map(|memory| memory.needed.value());
                    needed.zip(Bytes::unit(&published.unit)).map(|(needed, size)| needed / size)
                }
            };
            self.published.push(PublishedCheck { published: published.clone(), computed });
        }
    }
}

impl Metric {
    /// The size of a unit in this metric's base unit.
    #[must_use]
    pub fn unit_size(self, unit: &str) -> Option<f64> {
        use crate::units::{Dollars, GramsCo2e, Joules, Litres, Watts};
        match self {
            Self::Duration => Seconds::unit(unit),
            Self::AcceleratorHours => (unit == "h").then_some(1.0),
            Self::Energy => Joules::unit(unit),
            Self::Operational | Self::Market | Self::Embodied | Self::Total => GramsCo2e::unit(unit),
            Self::Water => Litres::unit(unit),
            Self::Cost | Self::CostLow | Self::CostHigh => Dollars::unit(unit),
            Self::NodePower => Watts::unit(unit),
        }
    }
}

impl CaseResult {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_string(),
            at: None,
            metrics: Vec::new(),
            savings_percent: Vec::new(),
            share_above_mark: Vec::new(),
            missing: Vec::new(),
            phases: Vec::new(),
            memory: None,
            quality: None,
            parameters: None,
            trained_parameters: None,
            index_bits: 0.0,
            model: None,
            accelerator: None,
            accelerators: 0,
            offers: Vec::new(),
            notes: Vec::new(),
            basis: None,
        }
    }

    /// A metric, if it can be said.
    #[must_use]
    pub fn metric(&self, metric: Metric) -> Option<&Estimated> {
        self.metrics.iter().find(|estimated| estimated.metric == metric)
    }

    /// A metric's central value.
    #[must_use]
    pub fn central(&self, metric: Metric) -> Option<f64> {
        self.metric(metric).map(|estimated| estimated.interval.value)
    }

    /// The saving of a metric.
    #[must_use]
    pub fn saving(&self, metric: Metric) -> Option<Interval> {
        self.savings_percent.iter().find(|(other, _)| *other == metric).map(|(_, interval)| *interval)
    }

    /// Offers are choices, not chances: the cost's interval reaches from the cheapest to the dearest.
    pub(super) fn join_offers(&mut self) {
        let end = |case: &Self, metric| case.metric(metric).map(|estimated| estimated.interval);
        let (low, high) = (end(self, Metric::CostLow), end(self, Metric::CostHigh));
        if let (Some(low), Some(high), Some(cost)) = (low, high, self.metrics.iter_mut().find(|e| e.metric == Metric::Cost)) {
            cost.interval.low = low.low;
            cost.interval.high = high.high;
        }
    }

    /// Adds what does not depend on draws.
    pub(super) fn describe(&mut self, case: &Case) {
        self.model = case.model.as_ref().map(|model| model.name.clone());
        self.accelerator = case.accelerator.as_ref().map(|device| device.name.clone());
        self.accelerators = case.accelerators;
        let ledger = case.phases.first().map(|phase| &phase.ledger);
        self.parameters = ledger.map(Ledger::parameters);
        self.trained_parameters = ledger.filter(|_| case.training.is_some()).map(Ledger::changed_parameters);
        self.index_bits = ledger.map_or(0.0, Ledger::index_bits);
        self.offers = case.offers.iter().map(|offer| offer.name.clone()).chain(case.own.as_ref().map(|_| "own".to_string())).collect();
        if let Some((rates, power)) = central(case) {
            self.phases = case.phases.iter().map(|phase| PhaseResult::of(case, phase, &rates, power.as_ref())).collect();
            self.basis = Some(case.basis.to_string());
        }
        self.memory = MemoryFit::of(case);
        self.quality.clone_from(&case.quality);
        self.notes.extend(case.technique_notes.iter().cloned());
        if let Some((stack, why)) = case.stack.as_ref().zip(case.stack_refused.as_ref()) {
            self.notes.push(format!("kernels are those of the model, which cannot have those of the software stack {stack} ({why})"));
        }
        self.note_units(case);
        if let (Some(model), Some(longest)) = (&case.model, case.phases.iter().map(|phase| phase.sequence_length).max()) {
            self.notes.extend(model.notes_at(longest));
        }
        if let Some(phase) = self.phases.iter().find(|phase| phase.step.bubble.value() > 0.0) {
            let share = 100.0 * (phase.step.bubble / phase.step.total());
            self.notes.push(format!("stages of the pipeline wait {share:.0} % of a step for each other; more micro-batches shorten that"));
        }
        if let (Some((precision, _)), Some(memory)) = (case.numbers(), &self.memory)
            && !memory.fits()
        {
            let instead = if memory.instead.is_empty() { "a device with more memory".to_string() } else { memory.instead.join("; ") };
            self.notes.push(format!(
                "does not fit: needs {} of {} at {}; what would: {instead}",
                memory.needed,
                memory.capacity,
                precision.word()
            ));
        }
    }
}

impl CaseResult {
    /// Says which products run on what, where they are more than dense.
    fn note_units(&mut self, case: &Case) {
        let (Some(device), Some((precision, _))) = (&case.accelerator, case.numbers()) else { return };
        let speeds = speeds(device, precision);
        let dense = precision.dense().word();
        for unit in case.phases.iter().flat_map(|phase| phase.work.units()) {
            let word = match unit {
                Unit::Dense => continue,
                Unit::Pattern(pattern) => format!("{}:{} pruned products", pattern.keep, pattern.of),
                Unit::Unstructured(_) => "products with unstructured zeros".to_string(),
                Unit::Int8 => "int8 products".to_string(),
                Unit::Fp8 => "fp8 products".to_string(),
            };
            let note = match speeds.find(unit) {
                Some(speed) => format!("{word} run at {speed:.3} times the dense {dense} rate of the {}", device.name),
                None => format!("{word} save nothing: the profile of the {} states no rate for them at {dense}", device.name),
            };
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }
}
