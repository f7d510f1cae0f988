//! How a model is trained: from a model to the work and memory of a step, and the steps of a run.

mod memory;
mod optimizer;
mod parallel;
mod procedure;
pub mod run_techniques;
mod step;

pub use memory::{Memory, fitting};
pub use optimizer::Optimizer;
pub use parallel::{Offload, Parallel};
pub use procedure::{Checkpointing, Procedure, in_precision};
pub use run_techniques::{Companions, RunTechniques};
pub use step::Step;

use serde::Deserialize;

use crate::arch::{Batch, Model};
use crate::document::Problem;
use crate::hardware::Precision;
use crate::ledger::Ledger;
use crate::perf::StepWork;
use crate::units::Ratio;

/// How a model is trained.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// fp32, tf32, fp16, bf16 or fp8 (linear layers alone, the rest in bf16); all but the first two with fp32 master weights.
    pub precision: Precision,
    /// adam, adamw, adam_8bit, lamb, lion, sgd, sgd_momentum or adafactor.
    pub optimizer: Optimizer,
    /// Number format of gradients, where it is not that of the step; never fp8.
    #[serde(default)]
    pub gradient_precision: Option<Precision>,
    /// Whether an fp32 copy of the weights is held; where it is not said, it is in 16 bits.
    #[serde(default)]
    pub master_weights: Option<bool>,
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
    /// none, full, selective or every_n.
    #[serde(default)]
    pub checkpointing: Checkpointing,
    /// Layers that run again at once, with every_n.
    #[serde(default)]
    pub checkpoint_every: Option<u64>,
    /// Groups of accelerators with sequences of their own; what the other degrees leave, where it is not said.
    #[serde(default)]
    pub data_parallel: Option<u64>,
    /// Accelerators that share heads and columns.
    #[serde(default = "one")]
    pub tensor_parallel: u64,
    /// Whether those share the positions of norms and dropout.
    #[serde(default)]
    pub sequence_parallel: bool,
    /// Stages that share the layers.
    #[serde(default = "one")]
    pub pipeline_parallel: u64,
    /// Parts of a stage that stand apart in the model.
    #[serde(default = "one")]
    pub interleaving: u64,
    /// Accelerators that share the positions of a sequence.
    #[serde(default = "one")]
    pub context_parallel: u64,
    /// Accelerators, of the data-parallel ones, that share the experts.
    #[serde(default = "one")]
    pub expert_parallel: u64,
    /// Stage of ZeRO, 0 to 3.
    #[serde(default)]
    pub zero: u64,
    /// none, optimizer or parameters.
    #[serde(default)]
    pub offload: Offload,
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

impl Framework {
    /// The word in files and outputs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Eager => "eager",
            Self::Graph => "graph",
        }
    }
}

fn one() -> u64 {
    1
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
    /// The part of it that is of models which run beside the one that is trained.
    pub companions: Memory,
    /// The ledger of one micro-batch.
    pub ledger: Ledger,
    /// The share of the accelerator with most work.
    pub device: Ledger,
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
        if self.gradient_precision == Some(Precision::Fp8) {
            return Err(Problem::new(
                "gradient_precision",
                "fp8",
                "fp32, tf32, fp16 or bf16: products return gradients of weights in those",
            ));
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
        match (self.checkpointing, self.checkpoint_every) {
            (Checkpointing::EveryN, Some(every)) if (1..=LARGEST).contains(&every) => {}
            (Checkpointing::EveryN, every) => {
                let found = every.map_or("nothing".to_string(), |every| every.to_string());
                return Err(Problem::new("checkpoint_every", found, format!("1 to {LARGEST}, with checkpointing = \"every_n\"")));
            }
            (_, Some(every)) => {
                return Err(Problem::new("checkpoint_every", every.to_string(), "nothing, or checkpointing = \"every_n\""));
            }
            (_, None) => {}
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
        let parallel = self.procedure().parallel;
        parallel.check(model, Some(accelerators)).map_err(|problem| problem.under("training"))?;
        let model = &*in_precision(model, self.precision).map_err(|problem| problem.under("model"))?;
        self.phases().iter().enumerate().map(|(index, phase)| self.phase(model, accelerators, phase, index)).collect()
    }

    fn phase(&self, model: &Model, accelerators: u64, phase: &Phase, index: usize) -> Result<PhaseWork, Problem> {
        let global = phase.global_batch.or(if phase.micro_batch.is_some() { None } else { self.global_batch });
        let micro = phase.micro_batch.or(self.micro_batch);
        let procedure = self.procedure();
        let parallel = procedure.parallel;
        let groups = parallel.groups(accelerators);
        let (micro_batch, accumulation) = match (global, micro) {
            (Some(global), _) if global % groups != 0 => {
                let allowed = if groups == accelerators {
                    format!("a multiple of the {accelerators} accelerators")
                } else {
                    format!("a multiple of the {groups} data-parallel groups of accelerators")
                };
                return Err(Problem::new("training.global_batch", global.to_string(), allowed));
            }
            (Some(global), Some(micro)) => {
                let each = global / groups;
                if !each.is_multiple_of(micro) {
                    return Err(Problem::new(
                        "training.micro_batch",
                        micro.to_string(),
                        format!("a divisor of the {each} sequences of an accelerator"),
                    ));
                }
                (micro, (each / micro) as f64)
            }
            (Some(global), None) => (global / groups, 1.0),
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
        let memory = procedure.fullest(&ledger, accelerators, accumulation);
        let devices = procedure.stages().map(|stage| ledger.on_device(&parallel.division(stage)));
        let most = |a: &Ledger, b: &Ledger| a.forward().matmul_flops.total_cmp(&b.forward().matmul_flops);
        let device = devices.max_by(most).unwrap_or_default();
        let work = procedure.work(model, &ledger, batch, accelerators, accumulation);
        Ok(PhaseWork {
            purpose: Purpose::Training,
            companions: Memory::default(),
            sequence_length: phase.sequence_length,
            steps: self.steps as f64 * phase.share.value(),
            micro_batch,
            accumulation,
            work,
            memory,
            ledger,
            device,
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
