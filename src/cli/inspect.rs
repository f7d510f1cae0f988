//! `lowcarb inspect`: a model's ledger.

use std::process::ExitCode;

use clap::Args;

use super::{Failure, print};
use crate::arch::Model;
use crate::document::{Kind, Origin, Resolver, overlay};
use crate::hardware::Precision;
use crate::report::ledger::Inspection;
use crate::store::Store;

/// Show a model's parameters, FLOPs and memory, and the ledger they come from.
#[derive(Args)]
pub(crate) struct Inspect {
    /// A shipped model's name, such as bert-base, or the path of a file of your own.
    model: String,
    /// Sequences in a step.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    batch: u64,
    /// Positions of a sequence; 512, or the model's longest if that is less, where not said.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    seq_len: Option<u64>,
    /// Number format of the step: fp32, tf32, fp16 or bf16.
    #[arg(long, default_value = "fp32", value_parser = precision)]
    precision: Precision,
    /// What is printed.
    #[arg(long, value_enum, default_value = "table")]
    format: InspectFormat,
    /// Print the ledger row by row instead of folded by component.
    #[arg(long)]
    rows: bool,
    /// Overlay a value, such as linear.rank=192; may be given again.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum InspectFormat {
    /// Aligned tables for people.
    Table,
    /// Versioned JSON for programs.
    Json,
}

fn precision(text: &str) -> Result<Precision, String> {
    let known: Vec<&str> = Precision::ALL.iter().map(|precision| precision.word()).collect();
    let found = Precision::ALL.into_iter().find(|precision| precision.word() == text);
    found.ok_or_else(|| format!("allowed: {}", known.join(", ")))
}

impl Inspect {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        let store = Store::standard();
        let mut resolver = Resolver::new(&store);
        let mut node = resolver.named(Kind::Model, &self.model, &Origin::whole("command line"))?;
        for text in &self.set {
            node = overlay::overlay(node, overlay::assignment(text)?);
        }
        let model = Model::read(&node)?;
        let length = self.seq_len.or(model.embedding.positions.length.map(|length| length.min(512))).unwrap_or(512);
        let inspection = Inspection::new(&model, self.batch, length, self.precision).map_err(|problem| problem.at(&node))?;
        for note in inspection.notes() {
            eprintln!("note: {note}");
        }
        print(&match self.format {
            InspectFormat::Json => inspection.json(),
            InspectFormat::Table if self.rows => inspection.rows(),
            InspectFormat::Table => inspection.table(),
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
