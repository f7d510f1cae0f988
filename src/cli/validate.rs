//! `lowcarb validate`: how far the model is from what was recorded.

use std::process::ExitCode;

use clap::Args;

use super::{CalibrationOptions, Failure, calibrations, print};
use crate::document::Resolver;
use crate::report::calibrations::errors;
use crate::report::validation;
use crate::store::Store;
use crate::validate;

/// Compare the model with every shipped table of recorded or published figures.
#[derive(Args)]
pub(crate) struct Validate {
    /// What is printed.
    #[arg(long, value_enum, default_value = "table")]
    format: ValidateFormat,
    /// Print every case instead of one line a table and quantity.
    #[arg(long)]
    rows: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ValidateFormat {
    /// Aligned tables for people.
    Table,
    /// Versioned JSON for programs.
    Json,
}

impl Validate {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        let store = Store::standard();
        let mut validations = validate::modules(&store, &store.data_files("measurements/pytorch"))?;
        validations.push(validate::attention(&store)?);
        validations.push(validate::arena(&store)?);
        validations.push(validate::linformer(&store)?);
        let calibrations = calibrations(&mut Resolver::new(&store), &store, &CalibrationOptions::default())?;
        print(&match (self.format, self.rows) {
            (ValidateFormat::Json, _) => validation::json(&validations, &calibrations),
            (ValidateFormat::Table, true) => validation::rows(&validations),
            (ValidateFormat::Table, false) => validation::table(&validations) + "\n" + &errors(&calibrations),
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
