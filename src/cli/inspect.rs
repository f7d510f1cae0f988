//! `lowcarb inspect`: a model's ledger.

use std::process::ExitCode;

use clap::Args;

use super::procedure::ProcedureOptions;
use super::{Failure, print};
use crate::arch::Model;
use crate::document::{Diagnostic, Kind, Node, Origin, Problem, Resolver, overlay};
use crate::hardware::Performance;
use crate::report::ledger::Inspection;
use crate::store::Store;

/// Show a model's parameters, FLOPs and memory, and the ledger they come from.
#[derive(Args)]
pub(crate) struct Inspect {
    /// A shipped model's name, such as bert-base, or the path of a file of your own.
    #[arg(required_unless_present = "compare")]
    model: Option<String>,
    /// Sequences in a step.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    batch: u64,
    /// Positions of a sequence; 512, or the model's longest if that is less, where not said.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    seq_len: Option<u64>,
    #[command(flatten)]
    options: ProcedureOptions,
    /// What is printed.
    #[arg(long, value_enum, default_value = "table")]
    format: InspectFormat,
    /// Print the ledger row by row instead of folded by component.
    #[arg(long)]
    rows: bool,
    /// Overlay a value, such as linear.rank=192; may be given again.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Put two models side by side: inspect --compare A B, or inspect A --compare B. Overlays are of the first alone.
    #[arg(long, value_name = "MODEL", num_args = 1..=2, conflicts_with = "rows")]
    compare: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum InspectFormat {
    /// Aligned tables for people.
    Table,
    /// Versioned JSON for programs.
    Json,
}

/// What is wrong with an option is wrong on the command line; all else in the model's file.
fn place(problem: Problem, node: &Node) -> Diagnostic {
    let option = problem.key.replace('_', "-");
    let command = Inspect::augment_args(clap::Command::new("inspect"));
    if command.get_arguments().any(|argument| argument.get_long() == Some(option.as_str())) {
        return Diagnostic::new(&Origin::whole("command line"), &format!("--{option}"), problem.found, problem.allowed);
    }
    problem.at(node)
}

impl Inspect {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        let store = Store::standard();
        let mut resolver = Resolver::new(&store);
        let names: Vec<&String> = self.model.iter().chain(&self.compare).collect();
        let (first, second) = match (&names[..], self.compare.len()) {
            ([first], 0) => (*first, None),
            ([first, second], _) => (*first, Some(*second)),
            _ => {
                let found = format!("{} model{}", names.len(), if names.len() == 1 { "" } else { "s" });
                return Err(Diagnostic::new(&Origin::whole("command line"), "--compare", found, "two models").into());
            }
        };
        let mut node = resolver.named(Kind::Model, first, &Origin::whole("command line"))?;
        for text in &self.set {
            node = overlay::overlay(node, overlay::assignment(text)?);
        }
        let model = Model::read(&node)?;
        let length = self.seq_len.unwrap_or_else(|| model.usual_length());
        let procedure = self.options.procedure();
        let defaults = Performance::read(&resolver.data("hardware_profiles/class_defaults.toml", &Origin::whole("inspect"))?)?;
        let inspection =
            Inspection::new(&model, self.batch, length, &procedure, self.options.micro_batches).map_err(|problem| place(problem, &node))?;
        let mut notes = inspection.notes();
        let text = match second {
            None => match self.format {
                InspectFormat::Json => inspection.json(Some(&defaults)),
                InspectFormat::Table if self.rows => inspection.rows(),
                InspectFormat::Table => inspection.table(Some(&defaults)),
            },
            Some(name) => {
                let node = resolver.named(Kind::Model, name, &Origin::whole("--compare"))?;
                let other = Model::read(&node)?;
                let other = Inspection::new(&other, self.batch, length, &procedure, self.options.micro_batches)
                    .map_err(|problem| place(problem, &node))?;
                notes.extend(other.notes());
                match self.format {
                    InspectFormat::Json => inspection.compared_json(&other),
                    InspectFormat::Table => inspection.compared(&other),
                }
            }
        };
        for note in notes {
            eprintln!("note: {note}");
        }
        print(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}
