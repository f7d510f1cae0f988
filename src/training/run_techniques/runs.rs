//! What stands around a run of so many steps: an end before the last of them, runs that failed or led to it, and the part of the
//! wall-clock time in which no step runs.

use serde::Deserialize;

use crate::document::Problem;
use crate::numeric::Estimate;
use crate::units::Ratio;

/// An end before the last step (Prechelt 1998, Early Stopping: But When?).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// Share of the steps that are run.
    pub share: Ratio,
    /// Key of the source of the share.
    #[serde(default)]
    pub source: Option<String>,
}

impl EarlyStopping {
    pub(super) fn check(&self) -> Result<(), Problem> {
        let share = self.share.value();
        if share > 0.0 && share <= 1.0 { Ok(()) } else { Err(Problem::new("share", share.to_string(), "above 0, at most 1")) }
    }

    pub(super) fn note(&self, cited: &str) -> String {
        let percent = 100.0 * self.share.value();
        format!(
            "stopped after {percent} % of the steps, a share that is stated, not predicted: {cited}; not priced: the passes that tell when"
        )
    }
}

/// Runs beside the final one.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherRuns {
    /// Work of all runs, the final one among them, over that of the final one.
    pub factor: f64,
    /// Key of the source of the factor.
    #[serde(default)]
    pub source: Option<String>,
}

impl OtherRuns {
    pub(super) fn check(&self) -> Result<(), Problem> {
        if self.factor >= 1.0 && self.factor <= 1e6 {
            return Ok(());
        }
        Err(Problem::new("factor", self.factor.to_string(), "1 (the final run alone) to 1000000"))
    }

    pub(super) fn note(&self, cited: &str) -> String {
        format!("failed and development runs make it {} times the final run, each step of them like one of its steps: {cited}", self.factor)
    }
}

/// The least share of a time that steps may be left with.
const LEAST: f64 = 1e-6;

/// Checks a share of the wall-clock time that makes progress; the rest goes to restarts, to steps that they lose and to stragglers.
pub(super) fn check_goodput(share: &Estimate<Ratio>) -> Result<(), Problem> {
    check_share(share, LEAST, 1.0)
}

/// Checks a share of a step's time, the wait with it, in which accelerators wait for data.
pub(super) fn check_input_wait(share: &Estimate<Ratio>) -> Result<(), Problem> {
    check_share(share, 0.0, 1.0 - LEAST)
}

fn check_share(share: &Estimate<Ratio>, least: f64, most: f64) -> Result<(), Problem> {
    let [low, high] = [1e-9, 1.0 - 1e-9].map(|p| share.distribution.quantile(p));
    if low >= least && high <= most { Ok(()) } else { Err(Problem::new("", share.to_string(), format!("{least} to {most}"))) }
}

pub(super) fn note_goodput(share: &Estimate<Ratio>, cited: &str) -> String {
    format!(
        "a goodput of {:.1} % of the wall-clock time, which is stated, not predicted: {cited}; the rest (restarts, lost steps, stragglers) \
         draws as the run does",
        100.0 * share.centre().value()
    )
}

pub(super) fn note_input_wait(share: &Estimate<Ratio>, cited: &str) -> String {
    format!(
        "{:.1} % of a step's time wait for data, a share that is stated, not predicted: {cited}; accelerators draw idle power meanwhile",
        100.0 * share.centre().value()
    )
}
