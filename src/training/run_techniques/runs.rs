//! What stands around a run of so many steps: an end before the last of them, and runs that failed or led to it.

use serde::Deserialize;

use crate::document::Problem;
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
