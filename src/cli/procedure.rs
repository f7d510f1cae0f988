//! The options of `inspect` that say how a step is done; their names are the keys of `[training]`.

use clap::Args;

use crate::hardware::Precision;
use crate::training::{Checkpointing, Offload, Optimizer, Parallel, Procedure};

/// How the training step is done.
#[derive(Args)]
#[command(next_help_heading = "Training step, as in [training] of a scenario")]
pub(super) struct ProcedureOptions {
    /// Number format of the step: fp32, tf32, fp16, bf16 or fp8 (linear layers alone, the rest in bf16).
    #[arg(long, default_value = "fp32", value_parser = precision)]
    precision: Precision,
    /// adam, adamw, adam_8bit, lamb, lion, sgd, sgd_momentum or adafactor.
    #[arg(long, default_value = "adam", value_parser = optimizer)]
    optimizer: Optimizer,
    /// Number format of gradients, where it is not that of the step; never fp8.
    #[arg(long, value_parser = gradient_precision)]
    gradient_precision: Option<Precision>,
    /// Whether an fp32 copy of the weights is held: true or false; in 16 bits it is where not said.
    #[arg(long)]
    master_weights: Option<bool>,
    /// none, full, selective or every_n.
    #[arg(long, default_value = "none", value_parser = checkpointing)]
    checkpointing: Checkpointing,
    /// Layers that run again at once, with every_n.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    checkpoint_every: u64,
    /// Groups of devices with sequences of their own.
    #[arg(long)]
    data_parallel: Option<u64>,
    /// Devices that share heads and columns.
    #[arg(long, default_value_t = 1)]
    tensor_parallel: u64,
    /// Those share the positions of norms and dropout too.
    #[arg(long)]
    sequence_parallel: bool,
    /// Stages that share the layers.
    #[arg(long, default_value_t = 1)]
    pipeline_parallel: u64,
    /// Parts of a stage that stand apart in the model.
    #[arg(long, default_value_t = 1)]
    interleaving: u64,
    /// Devices that share the positions of a sequence.
    #[arg(long, default_value_t = 1)]
    context_parallel: u64,
    /// Devices, of the data-parallel ones, that share the experts.
    #[arg(long, default_value_t = 1)]
    expert_parallel: u64,
    /// Stage of ZeRO, 0 to 3; it divides among data-parallel devices, so it asks for --data-parallel.
    #[arg(long, default_value_t = 0)]
    zero: u64,
    /// What the host holds: none, optimizer or parameters.
    #[arg(long, default_value = "none", value_parser = offload)]
    offload: Offload,
    /// Micro-batches in a step, each of --batch sequences.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(super) micro_batches: u64,
}

impl ProcedureOptions {
    pub(super) fn procedure(&self) -> Procedure {
        let every = Some(self.checkpoint_every);
        Procedure {
            precision: self.precision,
            optimizer: self.optimizer,
            gradient_precision: self.gradient_precision,
            master_weights: self.master_weights,
            rerun: self.checkpointing.rerun(every),
            parallel: Parallel {
                data: self.data_parallel,
                tensor: self.tensor_parallel,
                sequence: self.sequence_parallel,
                pipeline: self.pipeline_parallel,
                interleaving: self.interleaving,
                context: self.context_parallel,
                expert: self.expert_parallel,
                zero: self.zero,
                offload: self.offload,
            },
        }
    }
}

pub(super) fn one_of<T: Copy>(text: &str, known: &[T], word: impl Fn(T) -> &'static str) -> Result<T, String> {
    let found = known.iter().copied().find(|choice| word(*choice) == text);
    found.ok_or_else(|| format!("allowed: {}", known.iter().copied().map(word).collect::<Vec<_>>().join(", ")))
}

pub(super) fn precision(text: &str) -> Result<Precision, String> {
    one_of(text, &Precision::ALL, Precision::word)
}

fn gradient_precision(text: &str) -> Result<Precision, String> {
    let known: Vec<Precision> = Precision::ALL.into_iter().filter(|precision| precision.dense() == *precision).collect();
    one_of(text, &known, Precision::word)
}

fn optimizer(text: &str) -> Result<Optimizer, String> {
    one_of(text, &Optimizer::ALL, Optimizer::word)
}

fn checkpointing(text: &str) -> Result<Checkpointing, String> {
    one_of(text, &Checkpointing::ALL, Checkpointing::word)
}

fn offload(text: &str) -> Result<Offload, String> {
    one_of(text, &Offload::ALL, Offload::word)
}
