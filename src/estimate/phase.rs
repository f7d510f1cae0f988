//! Where the steps of a phase go: time and energy, at central values.

use super::beside::Beside;
use crate::ledger::Work;
use crate::perf::{Collective, PowerRates, Rates, StepEnergy, StepTime, step_time};
use crate::scenario::Case;
use crate::training::{PhaseWork, Purpose};
use crate::units::Seconds;

/// Where the time of a phase's step goes, at central values.
#[derive(Debug, Clone, PartialEq)]
pub struct PhaseResult {
    /// What its steps are for.
    pub purpose: Purpose,
    /// Positions of a sequence.
    pub sequence_length: u64,
    /// Optimizer steps.
    pub steps: f64,
    /// Sequences that one accelerator runs at once.
    pub micro_batch: u64,
    /// Time of a step.
    pub step: StepTime,
    /// Time beside it in which accelerators wait for data, where a share is stated.
    pub input_wait: Option<Seconds>,
    /// Time beside both that makes no progress, where a goodput is stated.
    pub lost: Option<Seconds>,
    /// Share of the step in products with trained matrices.
    pub linear_share: f64,
    /// Share of the step in products that mix positions.
    pub mixing_share: f64,
    /// Share of the step in kernels that gather or sort rows.
    pub gather_share: f64,
    /// Share of the step in element-wise kernels.
    pub elementwise_share: f64,
    /// What accelerators exchange in a step, with the time that no work hides.
    pub collectives: Vec<(Collective, Seconds)>,
    /// Executed FLOPs of products in a step of one accelerator.
    pub flops: f64,
    /// Bytes moved in a step of one accelerator.
    pub bytes: f64,
    /// Time by which the power limit makes a step longer, and where the energy of one accelerator in it goes; where its profile states a
    /// limit.
    pub power: Option<(Seconds, StepEnergy)>,
}

impl PhaseResult {
    pub(super) fn of(case: &Case, phase: &PhaseWork, rates: &Rates, power: Option<&PowerRates>) -> Self {
        let step = step_time(&phase.work, rates);
        let (input_wait, lost) = Beside::step(case, step.total());
        let share = |kind: Work| {
            let time = step_time(&phase.work.only(kind), rates);
            (time.compute + time.memory + time.launch) / step.total()
        };
        Self {
            purpose: phase.purpose,
            sequence_length: phase.sequence_length,
            steps: phase.steps,
            micro_batch: phase.micro_batch,
            step,
            input_wait,
            lost,
            linear_share: share(Work::Linear),
            mixing_share: share(Work::Mixing),
            gather_share: share(Work::Gather),
            elementwise_share: share(Work::Elementwise),
            collectives: phase.work.collectives().iter().map(|collective| (*collective, collective.exposed(rates))).collect(),
            flops: phase.work.flops().value(),
            bytes: phase.work.bytes().value(),
            power: power.map(|power| {
                let (time, energy) = power.step(&phase.work, step.total(), rates);
                (Seconds::new(time.value() - step.total().value()), energy)
            }),
        }
    }
}
