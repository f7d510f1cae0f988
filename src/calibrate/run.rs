//! A measured run: one row of a table in the columns that `predict` reads.

use super::mechanism::{MECHANISMS, Mechanism};
use super::table::Cells;
use crate::document::{Diagnostic, Origin};
use crate::hardware::Precision;
use crate::training::Checkpointing;

/// The columns that a table must have.
pub const COLUMNS: [&str; 22] = [
    "id",
    "framework",
    "phase",
    "kind",
    "layers",
    "hidden",
    "heads",
    "feed_forward",
    "vocabulary",
    "seq_len",
    "device",
    "gpus",
    "gpus_per_node",
    "tensor_parallel",
    "pipeline_parallel",
    "data_parallel",
    "sharding",
    "global_batch",
    "micro_batch",
    "precision",
    "recompute",
    "attention",
];

/// The columns that it may have beside them; others are passed on as they are.
pub const OPTIONAL: [&str; 14] = [
    "source",
    "model",
    "mechanism",
    "rank",
    "length_projection",
    "features",
    "window",
    "dropout",
    "interleaving",
    "node",
    "power_limit_w",
    "measured_s",
    "measured_w",
    "idle_w",
];

/// What a run does in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunPhase {
    /// A forward pass of a trained model.
    Forward,
    /// Forward and backward, without an optimizer.
    ForwardBackward,
    /// A whole step.
    TrainStep,
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Where it stands.
    pub origin: Origin,
    /// Its name.
    pub id: String,
    /// Where it was measured.
    pub source: String,
    /// The software stack.
    pub framework: String,
    /// What the table calls the model; nothing where it does not say.
    pub model: String,
    /// What a step does.
    pub phase: RunPhase,
    /// Whether positions see earlier ones alone.
    pub decoder: bool,
    /// Layers.
    pub layers: u64,
    /// Width of the residual stream.
    pub hidden: u64,
    /// Query heads.
    pub heads: u64,
    /// Inner width of the feed-forward network.
    pub feed_forward: u64,
    /// Tokens.
    pub vocabulary: u64,
    /// Positions of a sequence.
    pub sequence_length: u64,
    /// The accelerator, as the table calls it.
    pub device: String,
    /// How many.
    pub accelerators: u64,
    /// How many a node has.
    pub per_node: u64,
    /// The node, where the table names one.
    pub node: Option<String>,
    /// Accelerators that share heads and columns.
    pub tensor: u64,
    /// Stages.
    pub pipeline: u64,
    /// Groups with sequences of their own.
    pub data: u64,
    /// Stage of ZeRO.
    pub zero: u64,
    /// Sequences of a step.
    pub global_batch: u64,
    /// Sequences that an accelerator runs at once, where the table says.
    pub micro_batch: Option<u64>,
    /// Parts of a stage, where the table says.
    pub interleaving: Option<u64>,
    /// Number format.
    pub precision: Precision,
    /// What runs again.
    pub checkpointing: Checkpointing,
    /// Whether tensor-parallel accelerators share positions too.
    pub sequence_parallel: bool,
    /// Whether attention is one kernel.
    pub fused_attention: bool,
    /// How positions see each other.
    pub mechanism: Mechanism,
    /// Rank of every linear layer of the stack, where they are of low rank.
    pub rank: Option<u64>,
    /// Dropout rate, where the table says.
    pub dropout: Option<f64>,
    /// Power limit of an accelerator, W, where the table says.
    pub power_limit: Option<f64>,
    /// Seconds of a step of the whole batch, where it was measured.
    pub seconds: Option<f64>,
    /// Mean power of an accelerator, W, where it was measured.
    pub watts: Option<f64>,
    /// What an accelerator draws with nothing to do, W, where it was measured.
    pub idle: Option<f64>,
}

impl Run {
    /// Whether it is of several nodes.
    #[must_use]
    pub fn is_of_several_nodes(&self) -> bool {
        self.accelerators > self.per_node
    }
}

impl Cells<'_> {
    fn mechanism(&self) -> Result<Mechanism, Diagnostic> {
        if self.text("mechanism").is_empty() {
            return Ok(Mechanism::Softmax);
        }
        let known = MECHANISMS.map(|named| (named.0, named));
        let (_, column, make) = self.one_of("mechanism", &known)?;
        Ok(make(column.map_or(Ok(0), |column| self.count(column))?))
    }

    /// The row as a run.
    pub fn run(&self) -> Result<Run, Diagnostic> {
        let precisions = [
            ("fp32", Precision::Fp32),
            ("tf32", Precision::Tf32),
            ("fp16-mixed", Precision::Fp16),
            ("bf16-mixed", Precision::Bf16),
            ("fp8-mixed", Precision::Fp8),
        ];
        let recompute = [
            ("none", (Checkpointing::None, false)),
            ("none+SP", (Checkpointing::None, true)),
            ("selective", (Checkpointing::Selective, false)),
            ("selective+SP", (Checkpointing::Selective, true)),
            ("full", (Checkpointing::Full, false)),
            ("full+SP", (Checkpointing::Full, true)),
        ];
        let phases = [("forward", RunPhase::Forward), ("forward_backward", RunPhase::ForwardBackward), ("train_step", RunPhase::TrainStep)];
        let (checkpointing, sequence_parallel) = self.one_of("recompute", &recompute)?;
        let text = |column: &str| self.text(column).to_string();
        // A version may stand after the stack's name.
        let framework = self.text("framework").split_whitespace().next().unwrap_or_default().to_string();
        let run = Run {
            id: text("id"),
            source: text("source"),
            framework,
            model: text("model"),
            phase: self.one_of("phase", &phases)?,
            decoder: self.one_of("kind", &[("decoder", true), ("encoder", false)])?,
            layers: self.count("layers")?,
            hidden: self.count("hidden")?,
            heads: self.count("heads")?,
            feed_forward: self.count("feed_forward")?,
            vocabulary: self.count("vocabulary")?,
            sequence_length: self.count("seq_len")?,
            device: text("device"),
            accelerators: self.count("gpus")?,
            per_node: self.count("gpus_per_node")?,
            node: Some(text("node")).filter(|node| !node.is_empty()),
            tensor: self.count("tensor_parallel")?,
            pipeline: self.count("pipeline_parallel")?,
            data: self.count("data_parallel")?,
            zero: self.one_of("sharding", &[("none", 0), ("zero1", 1), ("zero2", 2), ("zero3", 3)])?,
            global_batch: self.count("global_batch")?,
            micro_batch: self.optional("micro_batch", |cells| cells.count("micro_batch"))?,
            interleaving: self.optional("interleaving", |cells| cells.count("interleaving"))?,
            precision: self.one_of("precision", &precisions)?,
            checkpointing,
            sequence_parallel,
            fused_attention: self.one_of("attention", &[("eager", false), ("flash", true)])?,
            mechanism: self.mechanism()?,
            // 0 stands for dense layers.
            rank: if self.text("rank") == "0" { None } else { self.optional("rank", |cells| cells.count("rank"))? },
            dropout: self.optional("dropout", |cells| cells.number("dropout", 0.0, 0.99))?,
            power_limit: self.watts("power_limit_w")?,
            seconds: self.optional("measured_s", |cells| cells.number("measured_s", 1e-9, 1e9))?,
            watts: self.watts("measured_w")?,
            idle: self.watts("idle_w")?,
            origin: self.origin.clone(),
        };
        if run.tensor.saturating_mul(run.pipeline).saturating_mul(run.data) != run.accelerators {
            let found = format!("{} with degrees {} x {} x {}", run.accelerators, run.tensor, run.pipeline, run.data);
            return Err(Diagnostic::new(&self.origin, "gpus", found, "tensor_parallel x pipeline_parallel x data_parallel"));
        }
        if run.device.is_empty() || run.framework.is_empty() {
            let column = if run.device.is_empty() { "device" } else { "framework" };
            return self.wrong(column, "a name");
        }
        Ok(run)
    }
}
