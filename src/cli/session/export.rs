//! `lowcarb session export`: measurements in the forms of other tools.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Args, builder::TypedValueParser};

use super::{measurements, report};
use crate::cli::{Clean, Failure, grams_per_kwh, tell};
use crate::store::{self, Store};

/// Write sessions in the form of another tool.
///
/// csv: every reading. codecarbon: a row a run, as in emissions.csv. prometheus: text for node_exporter's textfile collector. svg, png:
/// power over time. runs,
/// kernels: what the measured program stated with what was measured. What is not known is empty.
#[derive(Args)]
pub(crate) struct Export {
    /// Folders of sessions, of one session a node, or of merged ones.
    #[arg(required = true, value_name = "DIR")]
    sessions: Vec<PathBuf>,
    /// The form.
    #[arg(long, value_parser = form())]
    format: report::Format,
    /// Write a file, whole or not at all; without it, to stdout.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Say kilograms of CO2e of this grid too (codecarbon): a zone such as DE.
    #[arg(long, value_name = "ZONE")]
    grid: Option<String>,
}

fn form() -> impl TypedValueParser<Value = report::Format> {
    let known = |name: String| report::FORMATS.into_iter().find(|format| format.name == name).ok_or("no such form");
    PossibleValuesParser::new(report::FORMATS.map(|format| format.name)).try_map(known)
}

impl Export {
    pub(super) fn execute(self) -> Result<ExitCode, Failure> {
        if self.grid.is_some() && !self.format.has_emissions {
            return Err(Failure::Input(format!("--grid: found form {}, which says no CO2e; allowed: codecarbon", self.format.name)));
        }
        let grams_per_kwh = self.grid.as_ref().map(|zone| grams_per_kwh(&Store::standard(), zone)).transpose()?;
        let measurements = measurements(&self.sessions)?;
        let export = report::Export { measurements: &measurements, grams_per_kwh };
        let mut problems = Vec::new();
        let mut write = |out: &mut dyn Write| -> io::Result<()> {
            problems = (self.format.write)(&export, out)?;
            Ok(())
        };
        match &self.out {
            Some(path) if path.is_dir() => {
                return Err(Failure::Input(format!("--out: {}: found a folder; allowed: a file", path.display())));
            }
            Some(path) => store::write_whole_by(path, write).map_err(|error| Failure::Work(format!("{}: {error}", path.display())))?,
            None if !self.format.is_text => {
                let mut out = io::stdout().lock();
                if out.is_terminal() {
                    return Err(Failure::Input(format!("--format {}: found a terminal; allowed: --out FILE, or a pipe", self.format.name)));
                }
                write(&mut out).and_then(|()| out.flush()).map_err(|error| Failure::Work(format!("stdout: {error}")))?;
            }
            None => {
                let mut out = BufWriter::new(Clean::new(io::stdout().lock()));
                let written = write(&mut out).and_then(|()| out.flush());
                // A reader that closed the pipe has seen enough.
                written
                    .or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
                    .map_err(|error| Failure::Work(format!("stdout: {error}")))?;
            }
        }
        problems.iter().for_each(|problem| tell(problem));
        Ok(ExitCode::SUCCESS)
    }
}
