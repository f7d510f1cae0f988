//! What a step took, in time and energy.

use serde::Serialize;

use crate::session::measurement::Device;
use crate::session::phase::{Marks, Phase, Step};

/// Steps of a phase, all its times together; energies are of all accelerators.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Steps {
    /// The phase.
    pub phase: String,
    /// How many.
    pub count: u64,
    /// Their time over their number, s.
    pub mean_s: f64,
    /// Half of them took less, s.
    pub median_s: f64,
    /// Samples a second.
    pub samples_per_s: Option<f64>,
    /// Tokens a second.
    pub tokens_per_s: Option<f64>,
    /// Energy of a step, J.
    pub energy_j: Option<f64>,
    /// Energy of a sample, J.
    pub energy_j_per_sample: Option<f64>,
    /// Energy of a token, J.
    pub energy_j_per_token: Option<f64>,
}

/// The steps of every phase that has some.
pub(super) fn steps(marks: &Marks, gpus: &[Device<'_>]) -> Vec<Steps> {
    let mut out = Vec::new();
    for (name, times) in marks.by_name() {
        let marked: Vec<&&Phase> = times.iter().filter(|phase| !phase.steps.is_empty()).collect();
        let count: u64 = marked.iter().map(|phase| phase.counted()).sum();
        let stretches = || marked.iter().filter_map(|phase| phase.steps.last().map(|last| (phase.begin, last.end)));
        let duration: f64 = stretches().map(|(begin, end)| end - begin).sum();
        let Some(longest) = marked.iter().max_by_key(|phase| phase.counted()).and_then(|phase| phase.step_times()) else { continue };
        let total = |figure: fn(&Step) -> Option<f64>| marked.iter().map(|phase| phase.total(figure)).sum::<Option<f64>>();
        let (samples, tokens) = (total(|step| step.samples), total(|step| step.tokens));
        let energy = match gpus {
            [] => None,
            gpus => stretches().flat_map(|(begin, end)| gpus.iter().map(move |device| device.energy(begin, end))).sum::<Option<f64>>(),
        };
        let a_second = |total: Option<f64>| total.filter(|_| duration > 0.0).map(|total| total / duration);
        let share = |total: Option<f64>| energy.zip(total).filter(|(_, total)| *total > 0.0).map(|(joules, total)| joules / total);
        out.push(Steps {
            phase: name.to_string(),
            count,
            mean_s: duration / count as f64,
            median_s: longest.median,
            samples_per_s: a_second(samples),
            tokens_per_s: a_second(tokens),
            energy_j: energy.map(|joules| joules / count as f64),
            energy_j_per_sample: share(samples),
            energy_j_per_token: share(tokens),
        });
    }
    out
}
