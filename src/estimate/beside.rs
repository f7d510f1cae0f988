//! What a run takes beside its steps, by the shares that a scenario states.

use crate::scenario::{Case, Known};
use crate::units::Seconds;

/// Time beside the steps of a run, over that of the steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Beside {
    /// Accelerators wait for data.
    pub waiting: f64,
    /// Nothing that lasts is done.
    pub lost: f64,
}

impl Beside {
    /// By the share of a step, the wait with it, that waits for data, and the share of all that makes progress.
    pub(super) fn of(input_wait: f64, goodput: f64) -> Self {
        let waiting = input_wait / (1.0 - input_wait);
        Self { waiting, lost: (1.0 + waiting) * (1.0 / goodput - 1.0) }
    }

    /// Steps and what they wait for.
    pub(super) fn running(self) -> f64 {
        1.0 + self.waiting
    }

    /// The whole run.
    pub(super) fn whole(self) -> f64 {
        self.running() + self.lost
    }

    /// Mean power, W, where steps take `energy` joules in `seconds`: what waits draws `idle`, what is lost as much as what is not.
    pub(super) fn power(self, energy: f64, seconds: f64, idle: f64) -> f64 {
        (energy + idle * self.waiting * seconds) / (seconds * self.running())
    }

    /// What is waited and what is lost with a step at central values, each where the case states its share.
    pub(super) fn step(case: &Case, step: Seconds) -> (Option<Seconds>, Option<Seconds>) {
        let centre = |known: &Option<Known>| known.as_ref().map(|known| known.distribution.centre());
        let (input_wait, goodput) = (centre(&case.input_wait), centre(&case.goodput));
        let beside = Self::of(input_wait.unwrap_or(0.0), goodput.unwrap_or(1.0));
        (input_wait.map(|_| step * beside.waiting), goodput.map(|_| step * beside.lost))
    }
}
