//! `lowcarb predict`: a prediction beside each row of a table of runs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{CalibrationOptions, Failure, calibrations, class_defaults, print, run_table, tell_of_rows};
use crate::calibrate::{Workshop, predict};
use crate::document::Resolver;
use crate::report::predictions;
use crate::store::Store;

/// Predict seconds and watts of a step for every row of a table of runs, with a 90 % interval and a breakdown.
#[derive(Args)]
pub(crate) struct Predict {
    /// A CSV file with the columns of measurements/runs/*.csv, one of kernels, or the folder of a session whose program
    /// stated either.
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
            table.rows.iter().map(|(_, row)| row.clone().and_then(|row| predict(&mut workshop, &class, &calibrations, &row))).collect();
        let failed: Vec<_> = predicted.iter().filter_map(|row| row.as_ref().err()).collect();
        tell_of_rows("not predicted", failed.iter().copied());
        print(&match self.format {
            PredictFormat::Csv => predictions::csv(&table, &predicted),
            PredictFormat::Json => predictions::json(&table, &predicted),
        })?;
        Ok(if !predicted.is_empty() && failed.len() == predicted.len() { ExitCode::from(2) } else { ExitCode::SUCCESS })
    }
}
