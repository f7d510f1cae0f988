//! `lowcarb run`: a scenario to its answer.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{CalibrationOptions, Failure, Format, calibrations, print};
use crate::document::Resolver;
use crate::estimate;
use crate::report::{self, Report};
use crate::scenario::Scenario;
use crate::store::Store;

/// Estimate a scenario: time, energy, CO2e, water and cost of a baseline and its variants, with intervals.
#[derive(Args)]
pub(crate) struct Run {
    /// A shipped scenario's name, such as bert_base_lrt, or the path of a file of your own.
    scenario: String,
    /// Write result.json, report.md and the plots into this folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What is printed.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Overlay a value, such as model.linear.rank=192 or training.precision=bf16; may be given again.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    calibrations: CalibrationOptions,
}

impl Run {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        let store = Store::standard();
        let mut resolver = Resolver::new(&store);
        let scenario = Scenario::read(&mut resolver, &self.scenario, &self.set)?;
        // A path that cannot be a folder fails before the work, not after it.
        if let Some(folder) = self.out.as_ref().filter(|folder| folder.exists() && !folder.is_dir()) {
            return Err(Failure::Input(format!("{}: found a file, allowed: a folder", folder.display())));
        }
        let scenario = if scenario.names_a_stack() {
            scenario.with_calibrations(calibrations(&mut resolver, &store, &self.calibrations)?)
        } else {
            scenario
        };
        let results = estimate::run(&scenario, &mut resolver)?;
        if let Some(folder) = &self.out {
            std::fs::create_dir_all(folder).map_err(|error| Failure::Input(format!("{}: {error}", folder.display())))?;
        }
        let report = Report::new(&results, resolver.into_used(), report::equivalents(&store)?);
        print(&match self.format {
            Format::Table => report.table(),
            Format::Json => report.json(),
            Format::Csv => report.csv(),
            Format::Markdown => report.markdown(None),
        })?;
        if let Some(folder) = &self.out {
            for (name, content) in report.files().map_err(Failure::Work)? {
                let path = folder.join(name);
                report::write_whole(&path, &content).map_err(|error| Failure::Work(format!("{}: {error}", path.display())))?;
                eprintln!("wrote {}", path.display());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
