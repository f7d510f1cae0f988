//! `lowcarb validate`: how far the model is from what was recorded and measured.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{CalibrationOptions, Failure, calibrations, class_defaults, print, tell};
use crate::calibrate::HeldOut;
use crate::document::Resolver;
use crate::report::{self, validation};
use crate::store::Store;
use crate::validate::{self, Everything};

/// Compare the model with every shipped table of recorded, measured or published figures.
#[derive(Args)]
pub(crate) struct Validate {
    /// What is printed.
    #[arg(long, value_enum, default_value = "table")]
    format: ValidateFormat,
    /// Print every case instead of one line a table and figure.
    #[arg(long)]
    rows: bool,
    /// Fit without whole regimes too, instead of showing errors as recorded with the calibrations; a minute.
    #[arg(long)]
    regimes: bool,
    /// Write validation.json, validation.md and the plots into this folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ValidateFormat {
    /// Aligned tables for people.
    Table,
    /// Versioned JSON for programs.
    Json,
    /// Tables for a page.
    Markdown,
}

impl Validate {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        let store = Store::standard();
        // A path that cannot be a folder fails before the work, not after it.
        if let Some(folder) = self.out.as_ref().filter(|folder| folder.exists() && !folder.is_dir()) {
            return Err(Failure::Input(format!("{}: found a file, allowed: a folder", folder.display())));
        }
        let mut ledgers = validate::modules(&store, &store.data_files("measurements/pytorch"))?;
        ledgers.push(validate::attention(&store)?);
        ledgers.push(validate::arena(&store)?);
        ledgers.push(validate::linformer(&store)?);
        tell("fitting measured runs, and again without parts of them");
        let held_out = if self.regimes { HeldOut::Regimes } else { HeldOut::Fifths };
        let class = class_defaults(&store)?;
        let all = Everything {
            ledgers,
            runs: validate::runs(&store, &store.data_files("measurements/runs"), &class, held_out)?,
            node_power: validate::node_power(&mut Resolver::new(&store))?,
            kernels: validate::kernels(&store, &class)?,
            circular: validate::circular(&mut Resolver::new(&store))?,
            recorded: calibrations(&mut Resolver::new(&store), &store, &CalibrationOptions::default())?,
            peers: validate::peers(&store)?,
        };
        print(&match (self.format, self.rows) {
            (ValidateFormat::Json, _) => validation::json(&all),
            (ValidateFormat::Markdown, _) => validation::markdown(&all),
            (ValidateFormat::Table, true) => validation::rows(&all),
            (ValidateFormat::Table, false) => validation::table(&all),
        })?;
        if let Some(folder) = &self.out {
            std::fs::create_dir_all(folder).map_err(|error| Failure::Input(format!("{}: {error}", folder.display())))?;
            for (name, content) in validation::files(&all).map_err(Failure::Work)? {
                let path = folder.join(name);
                report::write_whole(&path, &content).map_err(|error| Failure::Work(format!("{}: {error}", path.display())))?;
                tell(&format!("written: {}", path.display()));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
