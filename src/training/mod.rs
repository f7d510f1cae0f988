//! How a model is trained: from a model to the work and memory of a step, and the steps of a run.

mod memory;
mod optimizer;
pub mod run_techniques;

pub use memory::{Memory, fitting};
pub use optimizer::Optimizer;
pub use run_techniques::{Companions, RunTechniques};

use serde::Deserialize;

use crate::arch::{Batch, Model};
use crate::document::Problem;
use crate::hardware::Precision;
use crate::ledger::Ledger;
use crate::perf::StepWork;
use crate::units::{Bytes, Ratio};

/// How a model is trained.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// fp32, tf32, fp16 or bf16; the 16-bit ones with fp32 master weights.
    pub precision: Precision,
    /// adam, adamw, lamb, sgd, sgd_momentum or adafactor.
    pub optimizer: Optimizer,
    /// Optimizer steps of the whole run.
    pub steps: u64,
    /// Sequences in a step, over all accelerators.
    #[serde(default)]
    pub global_batch: Option<u64>,
    /// Sequences that one accelerator runs at once; the step accumulates as many as it needs.
    #[serde(default)]
    pub micro_batch: Option<u64>,
    /// Positions of a sequence, where it is one length throughout.
    #[serde(default)]
    pub sequence_length: Option<u64>,
    /// Lengths in turn, with the share of the steps of each.
    #[serde(default)]
    pub phases: Vec<Phase>,
    /// none or full.
    #[serde(default)]
    pub checkpointing: Checkpointing,
    /// eager or graph.
    #[serde(default)]
    pub framework: Framework,
}

/// A part of a run at one sequence length.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Positions of a sequence.
    pub sequence_length: u64,
    /// Share of the steps.
    pub share: Ratio,
    /// Sequences that one accelerator runs at once, where this phase differs.
    #[serde(default)]
    pub micro_batch: Option<u64>,
    /// Sequences in a step, where this phase differs.
    #[serde(default)]
    pub global_batch: Option<u64>,
}

/// What is run again in the backward pass to save memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Checkpointing {
    /// Nothing.
    #[default]
    None,
    /// Every layer, from its input.
    Full,
}

/// What launches kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Framework {
    /// The host, one by one, as it goes.
    #[default]
    Eager,
    /// A graph made before.
    Graph,
}

/// Sizes above this are typing errors.
const LARGEST: u64 = 1 << 40;

/// What the steps of a phase are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// To change the model.
    #[default]
    Training,
    /// To see how good it is while it trains.
    Evaluation,
    /// To use it.
    Inference,
}

impl Purpose {
    /// The word in outputs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Evaluation => "evaluation",
            Self::Inference => "inference",
        }
    }
}

/// One phase of a run, ready to be timed.
#[derive(Debug, Clone, PartialEq)]
pub struct PhaseWork {
    /// What its steps are for.
    pub purpose: Purpose,
    /// Positions of a sequence.
    pub sequence_length: u64,
    /// Optimizer steps.
    pub steps: f64,
    /// Sequences that one accelerator runs at once.
    pub micro_batch: u64,
    /// Micro-batches in a step.
    pub accumulation: f64,
    /// Work of one step on one accelerator.
    pub work: StepWork,
    /// Memory of one step on one accelerator.
    pub memory: Memory,
    /// The ledger of one micro-batch.
    pub ledger: Ledger,
}

impl Training {
    /// Checks every value against the others.
    ///
    /// # Errors
    /// Sizes are zero, phases do not add up to the run, or no sequence length is said.
    pub fn check(&self) -> Result<(), Problem> {
        let positive = [
            ("steps", Some(self.steps)),
            ("global_batch", self.global_batch),
            ("micro_batch", self.micro_batch),
            ("sequence_length", self.sequence_length),
        ];
        for (key, value) in positive {
            if let Some(value) = value.filter(|value| *value == 0 || *value > LARGEST) {
                return Err(Problem::new(key, value.to_string(), format!("1 to {LARGEST}")));
            }
        }
        match (self.sequence_length, self.phases.is_empty()) {
            (None, true) => return Err(Problem::new("sequence_length", "nothing", "a sequence length, or phases")),
            (Some(_), false) => {
                return Err(Problem::new("sequence_length", "a length beside phases", "one of sequence_length and phases"));
            }
            _ => {}
        }
        for (index, phase) in self.phases.iter().enumerate() {
            let sizes = [
                ("sequence_length", Some(phase.sequence_length)),
                ("micro_batch", phase.micro_batch),
                ("global_batch", phase.global_batch),
            ];
            for (key, value) in sizes {
                if let Some(value) = value.filter(|value| *value == 0 || *value > LARGEST) {
                    return Err(Problem::new(format!("phases.{index}.{key}"), value.to_string(), format!("1 to {LARGEST}")));
                }
            }
        }
        let sum: f64 = self.phases.iter().map(|phase| phase.share.value()).sum();
        if !self.phases.is_empty() && (sum - 1.0).abs() > 1e-9 {
            return Err(Problem::new("phases", format!("shares that sum to {sum}"), "shares that sum to 1"));
        }
        if self.global_batch.is_none()
            && self.micro_batch.is_none()
            && self.phases.iter().any(|p| p.global_batch.or(p.micro_batch).is_none())
        {
            return Err(Problem::new("global_batch", "nothing", "global_batch or micro_batch"));
        }
        if self.phases.is_empty() && self.global_batch.or(self.micro_batch).is_none() {
            return Err(Problem::new("global_batch", "nothing", "global_batch or micro_batch"));
        }
        Ok(())
    }

    /// The phases, a run of one length being one phase.
    #[must_use]
    pub fn phases(&self) -> Vec<Phase> {
        match self.sequence_length {
            Some(sequence_length) => {
                vec![Phase { sequence_length, share: Ratio::new(1.0), micro_batch: None, global_batch: None }]
            }
            None => self.phases.clone(),
        }
    }

    /// The work of every phase on `accelerators` that share the batch.
    ///
    /// # Errors
    /// The batch does not divide, or a sequence is too long for the model.
    pub fn plan(&self, model: &Model, accelerators: u64) -> Result<Vec<PhaseWork>, Problem> {
        self.phases().iter().enumerate().map(|(index, phase)| self.phase(model, accelerators, phase, index)).collect()
    }

    fn phase(&self, model: &Model, accelerators: u64, phase: &Phase, index: usize) -> Result<PhaseWork, Problem> {
        let global = phase.global_batch.or(if phase.micro_batch.is_some() { None } else { self.global_batch });
        let micro = phase.micro_batch.or(self.micro_batch);
        let (micro_batch, accumulation) = match (global, micro) {
            (Some(global), _) if global % accelerators != 0 => {
                let allowed = format!("a multiple of the {accelerators} accelerators");
                return Err(Problem::new("training.global_batch", global.to_string(), allowed));
            }
            (Some(global), Some(micro)) => {
                let each = global / accelerators;
                if !each.is_multiple_of(micro) {
                    return Err(Problem::new(
                        "training.micro_batch",
                        micro.to_string(),
                        format!("a divisor of the {each} sequences of an accelerator"),
                    ));
                }
                (micro, (each / micro) as f64)
            }
            (Some(global), None) => (global / accelerators, 1.0),
            (None, Some(micro)) => (micro, 1.0),
            (None, None) => return Err(Problem::new("training.global_batch", "nothing", "global_batch or micro_batch")),
        };
        let batch =
            Batch { sequences: micro_batch as f64, length: phase.sequence_length as f64, element_bytes: self.precision.element_bytes() };
        let ledger = model.ledger(batch).map_err(|problem| {
            let key = if self.phases.is_empty() {
                "training.sequence_length".to_string()
            } else {
                format!("training.phases.{index}.sequence_length")
            };
            Problem { key, ..problem }
        })?;
        let memory = Memory::of(&ledger, self.precision, self.optimizer, self.checkpointing);
        let mut work = StepWork::new(ledger.kernels(self.checkpointing == Checkpointing::Full), accumulation);
        // The optimizer reads gradients and its state and writes its state and the weights.
        work.optimizer = memory.gradients + memory.optimizer * 2.0 + Bytes::new(ledger.trained_bytes());
        work.gradients = if accelerators > 1 { memory.gradients } else { Bytes::new(0.0) };
        work.layer_runs = accumulation * model.layers() as f64;
        Ok(PhaseWork {
            purpose: Purpose::Training,
            sequence_length: phase.sequence_length,
            steps: self.steps as f64 * phase.share.value(),
            micro_batch,
            accumulation,
            work,
            memory,
            ledger,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Node;

    fn read(text: &str) -> Result<Training, Problem> {
        let training: Training = Node::parse("t", text).unwrap().read().unwrap();
        training.check().map(|()| training)
    }

    #[test]
    fn phases_must_make_a_whole_run() {
        let head = "precision = \"fp16\"\noptimizer = \"adam\"\nsteps = 10\nglobal_batch = 8\n";
        assert!(read(&format!("{head}sequence_length = 128")).is_ok());
        let text = format!("{head}phases = [{{ sequence_length = 128, share = 0.9 }}, {{ sequence_length = 512, share = 0.2 }}]");
        assert!(read(&text).unwrap_err().to_string().contains("sum to 1"));
        assert!(read(head).unwrap_err().to_string().contains("sequence length"));
        assert!(read("precision = \"fp32\"\noptimizer = \"sgd\"\nsteps = 0\nmicro_batch = 1\nsequence_length = 4").is_err());
    }
}
