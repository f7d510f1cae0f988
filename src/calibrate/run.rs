//! A measured run: one row of a table in the columns that `predict` reads.

use std::collections::HashMap;

use super::mechanism::{MECHANISMS, Mechanism};
use crate::document::{Diagnostic, Origin, nearest};
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
pub const OPTIONAL: [&str; 13] = [
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
}

impl Run {
    /// Whether it is of several nodes.
    #[must_use]
    pub fn is_of_several_nodes(&self) -> bool {
        self.accelerators > self.per_node
    }
}

/// A table of runs.
#[derive(Debug, Clone, PartialEq)]
pub struct RunTable {
    /// Its columns.
    pub columns: Vec<String>,
    /// Its rows as they stand, and each as a run or why it is none.
    pub rows: Vec<(Vec<String>, Result<Run, Diagnostic>)>,
}

impl RunTable {
    /// Reads a table.
    ///
    /// # Errors
    /// It is no CSV, lacks a column, or names one twice. A row with a wrong value is an error of its own.
    pub fn read(file: &str, text: &str, set: &[String]) -> Result<Self, Diagnostic> {
        let wrong =
            |line: u64, error: String| Diagnostic::new(&Origin::line(file, line as usize), "", error, "a row of the table's columns");
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(text.as_bytes());
        let mut columns: Vec<String> = match reader.headers() {
            Ok(head) => head.iter().map(|name| name.trim_start_matches('\u{feff}').to_string()).collect(),
            Err(error) => return Err(wrong(1, error.to_string())),
        };
        let stated = columns.len();
        let overlays = set.iter().map(|text| assignment(text, &mut columns)).collect::<Result<Vec<_>, _>>()?;
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (index, name) in columns.iter().enumerate() {
            if places.insert(name, index).is_some() {
                return Err(Diagnostic::new(&Origin::line(file, 1), name, "a second column of this name", "one"));
            }
        }
        if let Some(missing) = COLUMNS.iter().find(|name| !places.contains_key(**name)) {
            let mut error =
                Diagnostic::new(&Origin::line(file, 1), missing, "no such column", format!("the columns {}", COLUMNS.join(", ")));
            error.nearest = nearest(missing, columns.iter().map(String::as_str));
            return Err(error);
        }
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| wrong(error.position().map_or(0, csv::Position::line), error.to_string()))?;
            let line = record.position().map_or(0, csv::Position::line) as usize;
            let mut values: Vec<String> = record.iter().map(str::to_string).collect();
            if values.len() == stated {
                values.resize(columns.len(), String::new());
            }
            for (index, value) in &overlays {
                if let Some(cell) = values.get_mut(*index) {
                    cell.clone_from(value);
                }
            }
            let cells = Cells { origin: Origin::line(file, line), values: &values, places: &places };
            let run = if values.len() == columns.len() {
                cells.run()
            } else {
                let found = format!("{} values", values.len());
                Err(Diagnostic::new(&cells.origin, "", found, format!("{stated}, one for each column")))
            };
            rows.push((values, run));
        }
        Ok(Self { columns, rows })
    }
}

/// The place of a column and the value that an overlay, `column=value`, gives it; a column that a table may have is added to one that
/// has it not.
fn assignment(text: &str, columns: &mut Vec<String>) -> Result<(usize, String), Diagnostic> {
    let origin = Origin::whole("--set");
    let Some((column, value)) = text.split_once('=') else {
        return Err(Diagnostic::new(&origin, "", format!("\"{text}\""), "COLUMN=VALUE"));
    };
    let (column, value) = (column.trim(), value.trim().trim_matches('"').to_string());
    if OPTIONAL.contains(&column) && !columns.iter().any(|known| known == column) {
        columns.push(column.to_string());
    }
    match columns.iter().position(|known| known == column) {
        Some(index) => Ok((index, value)),
        None => {
            let known: Vec<&str> = columns.iter().map(String::as_str).chain(OPTIONAL).collect();
            Err(Diagnostic::unknown(&origin, "", "column", column, &known))
        }
    }
}

/// The values of a row by column.
struct Cells<'a> {
    origin: Origin,
    values: &'a [String],
    places: &'a HashMap<&'a str, usize>,
}

impl Cells<'_> {
    fn text(&self, column: &str) -> &str {
        self.places.get(column).map_or("", |index| &self.values[*index])
    }

    fn wrong<T>(&self, column: &str, allowed: impl Into<String>) -> Result<T, Diagnostic> {
        let found = match self.text(column) {
            "" => "nothing".to_string(),
            text => format!("\"{text}\""),
        };
        Err(Diagnostic::new(&self.origin, column, found, allowed))
    }

    fn count(&self, column: &str) -> Result<u64, Diagnostic> {
        match self.text(column).parse::<u64>() {
            Ok(count) if (1..=1 << 32).contains(&count) => Ok(count),
            _ => self.wrong(column, "a whole number from 1 on"),
        }
    }

    fn optional<T>(&self, column: &str, read: impl Fn(&Self) -> Result<T, Diagnostic>) -> Result<Option<T>, Diagnostic> {
        if self.text(column).is_empty() { Ok(None) } else { read(self).map(Some) }
    }

    fn number(&self, column: &str, low: f64, high: f64) -> Result<f64, Diagnostic> {
        match self.text(column).parse::<f64>() {
            Ok(number) if number >= low && number <= high => Ok(number),
            _ => self.wrong(column, format!("a number from {low} to {high}")),
        }
    }

    fn one_of<T: Copy>(&self, column: &str, known: &[(&str, T)]) -> Result<T, Diagnostic> {
        if let Some((_, value)) = known.iter().find(|(word, _)| *word == self.text(column)) {
            return Ok(*value);
        }
        let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
        let likely = nearest(self.text(column), words.iter().copied());
        self.wrong(column, words.join(", ")).map_err(|error| Diagnostic { nearest: likely, ..error })
    }

    fn mechanism(&self) -> Result<Mechanism, Diagnostic> {
        if self.text("mechanism").is_empty() {
            return Ok(Mechanism::Softmax);
        }
        let known = MECHANISMS.map(|named| (named.0, named));
        let (_, column, make) = self.one_of("mechanism", &known)?;
        Ok(make(column.map_or(Ok(0), |column| self.count(column))?))
    }

    fn run(&self) -> Result<Run, Diagnostic> {
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
            power_limit: self.optional("power_limit_w", |cells| cells.number("power_limit_w", 1.0, 3000.0))?,
            seconds: self.optional("measured_s", |cells| cells.number("measured_s", 1e-9, 1e9))?,
            watts: self.optional("measured_w", |cells| cells.number("measured_w", 1.0, 3000.0))?,
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
