//! `lowcarb predict`: a prediction beside each row of a table of runs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{CalibrationOptions, Failure, calibrations, class_defaults, print, run_table, tell};
use crate::calibrate::{Workshop, predict};
use crate::document::Resolver;
use crate::report::predictions;
use crate::store::Store;

/// Predict seconds and watts of a step for every row of a table of runs, with a 90 % interval and a breakdown.
#[derive(Args)]
pub(crate) struct Predict {
    /// A CSV file with the columns of measurements/runs/*.csv, or the folder of a session whose program stated its runs.
    table: PathBuf,
    /// What is printed.
    #[arg(long, value_enum, default_value = "csv")]
    format: PredictFormat,
    #[command(flatten)]
    calibrations: CalibrationOptions,
    /// Overlay a column of every row, such as precision=bf16-mixed; may be given again.
    #[arg(long = "set", value_name = "COLUMN=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum PredictFormat {
    /// The rows with further columns.
    Csv,
    /// Versioned JSON.
    Json,
}

impl Predict {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        let store = Store::standard();
        let class = class_defaults(&store)?;
        let calibrations = calibrations(&mut Resolver::new(&store), &store, &self.calibrations)?;
        let table = run_table(&self.table, &self.set)?.runs;
        let mut workshop = Workshop::new(Resolver::new(&store), &class);
        let predicted: Vec<predictions::Predicted> =
            table.rows.iter().map(|(_, run)| run.clone().and_then(|run| predict(&mut workshop, &class, &calibrations, &run))).collect();
        let failed: Vec<_> = predicted.iter().filter_map(|row| row.as_ref().err()).collect();
        for why in failed.iter().take(10) {
            tell(&format!("not predicted: {why}"));
        }
        if failed.len() > 10 {
            tell(&format!("{} more rows were not predicted; the column basis says why", failed.len() - 10));
        }
        print(&match self.format {
            PredictFormat::Csv => predictions::csv(&table, &predicted),
            PredictFormat::Json => predictions::json(&table, &predicted),
        })?;
        Ok(if !predicted.is_empty() && failed.len() == predicted.len() { ExitCode::from(2) } else { ExitCode::SUCCESS })
    }
}
