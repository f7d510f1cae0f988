//! `lowcarb calibrate`: measured runs and kernels to what a device and a software stack achieve.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use super::{Failure, class_defaults, print, run_table, tell, tell_of_rows};
use crate::calibrate::{Calibration, HeldOut, Workshop, calibrate};
use crate::document::{Kind, Origin, Resolver};
use crate::hardware::Accelerator;
use crate::report::calibrations;
use crate::store::{self, Store};
use crate::units::calendar;

/// Fit what devices and software stacks achieve to tables of measured runs and kernels, with errors on rows that were held out.
#[derive(Args)]
pub(crate) struct Calibrate {
    /// CSV files with the columns of measurements/runs/*.csv or of `lowcarb workload --list` with what was measured, or folders of
    /// sessions whose program stated its runs or kernels.
    #[arg(required = true)]
    input: Vec<PathBuf>,
    /// Use rows of this accelerator alone; where a table of kernels names no device, they are of this one.
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Write a file for each stack and vendor into this folder; without it they are printed.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Calibrate {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        let store = Store::standard();
        let class = class_defaults(&store)?;
        if let Some(folder) = self.out.as_ref().filter(|folder| folder.exists() && !folder.is_dir()) {
            return Err(Failure::Input(format!("{}: found a file, allowed: a folder", folder.display())));
        }
        let mut tables = Vec::new();
        for path in &self.input {
            tables.push(run_table(path, &[])?);
        }
        let device = match &self.device {
            Some(name) => {
                let mut resolver = Resolver::new(&store);
                let node = resolver.named(Kind::Accelerator, name, &Origin::whole("--device"))?;
                Some(Accelerator::read(&node)?.name)
            }
            None => None,
        };
        let mut workshop = Workshop::new(Resolver::new(&store), &class);
        let program = concat!("lowcarb ", env!("CARGO_PKG_VERSION"));
        let rows: usize = tables.iter().map(|table| table.runs.rows.len()).sum();
        tell(&format!("fitting {rows} rows, and again without each regime"));
        let made = calibrate(&mut workshop, &class, &tables, device.as_deref(), (&today(), program), HeldOut::Regimes)?;
        tell_of_rows("left out", made.left_out.iter());
        if made.calibrations.is_empty() {
            let why = "nothing was measured, no row is of that device, or a device has no profile (lowcarb profiles list accelerators)";
            return Err(Failure::Input(format!("no row can be fitted: {why}")));
        }
        match &self.out {
            Some(folder) => {
                std::fs::create_dir_all(folder).map_err(|error| Failure::Input(format!("{}: {error}", folder.display())))?;
                for calibration in &made.calibrations {
                    let path = folder.join(format!("{}.toml", calibration.name));
                    store::write_whole(&path, &calibration.text())
                        .map_err(|error| Failure::Work(format!("{}: {error}", path.display())))?;
                    tell(&format!("written: {}", path.display()));
                }
                print(&calibrations::table(&made.calibrations))?;
            }
            None => {
                tell(&calibrations::table(&made.calibrations));
                print(&made.calibrations.iter().map(Calibration::text).collect::<Vec<_>>().join("\n"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The day, UTC.
fn today() -> String {
    calendar::day(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()))
}
