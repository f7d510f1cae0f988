//! From a scenario to results: every case evaluated at the central value of its inputs and at many draws of them.
//!
//! Uncertainty is not a stage of its own: a draw is a set of inputs, and each runs through the same functions. A case
//! and its baseline see the same draws, so that a saving's interval is that of the difference, not of two estimates.

mod beside;
mod compile;
mod crossings;
mod inputs;
mod memory_fit;
mod phase;
mod results;
mod sensitivity;
mod threshold;
mod time_model;

pub use inputs::InputValue;
pub use memory_fit::MemoryFit;
pub use phase::PhaseResult;
pub use results::{AssumptionResult, CaseResult, Estimated, Metric, PublishedCheck, Results, Swing, ThresholdResult};

use compile::Compiled;
use inputs::Inputs;
use results::Outcome;
use time_model::Modelled;

use crate::document::{Diagnostic, Resolver};
use crate::numeric::Interval;
use crate::scenario::{Case, Named, Scenario};

/// Estimates every case of a scenario.
///
/// # Errors
/// A profile is missing or wrong, or values contradict each other.
pub fn run(scenario: &Scenario, resolver: &mut Resolver<'_>) -> Result<Results, Diagnostic> {
    let mut results = Results::of(&scenario.settings);
    for (at, extra) in scenario.points()? {
        let cases = scenario.names().into_iter().map(|name| scenario.case(resolver, name, &extra)).collect::<Result<Vec<_>, _>>()?;
        let mut point = Point::new(&cases);
        let mut estimated =
            point.simulate(scenario.settings.seed, scenario.settings.draws, scenario.settings.threshold.as_ref().map(|t| t.saving_percent));
        if !scenario.settings.compare {
            estimated.iter_mut().for_each(|result| result.savings_percent.clear());
        }
        for (result, case) in estimated.iter_mut().zip(&cases) {
            result.at = at;
            result.describe(case);
            results.rest_on(case);
        }
        if results.cases.is_empty() {
            if at.is_none() && scenario.settings.compare {
                results.swings = point.swings();
            }
            results.inputs = point.inputs.values();
            results.note_stacks(&cases);
            results.note_anchor(&cases, point.modelled_duration());
        }
        results.cases.append(&mut estimated);
    }
    if let Some(sections) = &scenario.stale_anchor {
        results.notes.push(format!(
            "--set changed {sections} of every case, the baseline too, but the anchor's hours and power are of the run that the scenario \
             states: change a variant instead, or state an anchor that fits."
        ));
    }
    results.check_published(&scenario.settings);
    for assumption in scenario.assumptions() {
        let found = assume(scenario, resolver, assumption, &mut results)?;
        results.assumptions.push(found);
    }
    if let Some(wanted) = &scenario.settings.threshold {
        results.thresholds = threshold::find(scenario, resolver, wanted)?;
    }
    Ok(results)
}

/// The savings of every variant with an assumption laid over it and over the baseline.
fn assume(
    scenario: &Scenario,
    resolver: &mut Resolver<'_>,
    assumption: &Named,
    results: &mut Results,
) -> Result<AssumptionResult, Diagnostic> {
    let extra = std::slice::from_ref(&assumption.overlay);
    let names = scenario.names();
    let baseline = scenario.case(resolver, names[0], extra)?;
    results.rest_on(&baseline);
    let mut savings = Vec::new();
    for variant in &names[1..] {
        let case = scenario.case(resolver, variant, extra)?;
        results.rest_on(&case);
        let found = central_savings(&baseline, &case);
        let of = |metric| found.iter().find(|(other, _)| *other == metric).map(|(_, saving)| *saving);
        savings.push(((*variant).to_string(), of(Metric::Duration), of(Metric::Energy)));
    }
    Ok(AssumptionResult { name: assumption.name.clone(), savings })
}

/// The savings of a case against the baseline at central values, by metric. For searching along a key.
pub(crate) fn central_savings(baseline: &Case, case: &Case) -> Vec<(Metric, f64)> {
    let mut point = Point::new(&[baseline.clone(), case.clone()]);
    let row = point.inputs.centre();
    let outcomes = point.outcomes(&row);
    Metric::ALL.iter().filter_map(|metric| Some((*metric, saving(outcomes[0].get(*metric)?, outcomes[1].get(*metric)?)))).collect()
}

/// The saving in percent.
fn saving(baseline: f64, variant: f64) -> f64 {
    if baseline == 0.0 { 0.0 } else { 100.0 * (1.0 - variant / baseline) }
}

/// Cases that are drawn together, the first one being the baseline.
struct Point {
    inputs: Inputs,
    cases: Vec<Compiled>,
}

impl Point {
    fn new(cases: &[Case]) -> Self {
        let mut inputs = Inputs::default();
        let cases = cases.iter().map(|case| Compiled::new(case, &mut inputs)).collect();
        Self { inputs, cases }
    }

    /// Every case's outcome at one set of input values.
    fn outcomes(&mut self, row: &[f64]) -> Vec<Outcome> {
        let baseline: Option<Modelled> = self.cases.first().and_then(|case| case.modelled(row));
        self.cases.iter().map(|case| case.outcome(row, baseline.as_ref())).collect()
    }

    /// What the model alone says of the baseline's duration, where an anchor replaces it.
    fn modelled_duration(&self) -> Option<f64> {
        self.cases.first().and_then(|case| case.modelled(&self.inputs.centre())).map(|modelled| modelled.duration)
    }

    fn simulate(&mut self, seed: u64, draws: usize, mark: Option<f64>) -> Vec<CaseResult> {
        let central = self.outcomes(&self.inputs.centre());
        let columns = self.inputs.columns(seed, draws);
        let mut samples: Vec<Vec<Vec<f64>>> = central
            .iter()
            .map(|outcome| Metric::ALL.iter().map(|m| Vec::with_capacity(if outcome.get(*m).is_some() { draws } else { 0 })).collect())
            .collect();
        let mut row = self.inputs.centre();
        for draw in 0..draws {
            columns.fill(draw, &mut row);
            for (sample, outcome) in samples.iter_mut().zip(self.outcomes(&row)) {
                for (metric, values) in Metric::ALL.iter().zip(sample) {
                    values.extend(outcome.get(*metric));
                }
            }
        }
        let baseline = samples[0].clone();
        let mut out = Vec::with_capacity(samples.len());
        for (index, (case, mut sample)) in self.cases.iter().zip(samples).enumerate() {
            let mut result = CaseResult::new(&case.name);
            for (slot, metric) in Metric::ALL.iter().enumerate() {
                let Some(value) = central[index].get(*metric) else { continue };
                let compared = index > 0 && !matches!(metric, Metric::CostLow | Metric::CostHigh);
                if let (true, Some(base)) = (compared, central[0].get(*metric)) {
                    let mut savings: Vec<f64> = baseline[slot].iter().zip(&sample[slot]).map(|(b, v)| saving(*b, *v)).collect();
                    if let (Some(mark), false) = (mark, savings.is_empty()) {
                        let above = savings.iter().filter(|saving| **saving > mark).count();
                        result.share_above_mark.push((*metric, above as f64 / savings.len() as f64));
                    }
                    result.savings_percent.push((*metric, Interval::of(saving(base, value), &mut savings)));
                }
                let interval = Interval::of(value, &mut sample[slot]);
                result.metrics.push(Estimated { metric: *metric, interval, class: case.class(*metric), lacks: case.lacks(*metric) });
            }
            result.join_offers();
            result.missing = case.missing();
            result.notes = case.notes();
            out.push(result);
        }
        out
    }
}
