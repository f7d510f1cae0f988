//! The command line: one file a subcommand; each parses, calls and prints, and computes nothing.

mod calibrate;
mod clean;
mod inspect;
mod measure;
mod predict;
mod procedure;
mod profiles;
mod run;
mod session;
mod validate;
mod workload;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

pub(crate) use clean::Clean;

use crate::calibrate::{Calibration, RunTable, Table};
use crate::document::{Diagnostic, Kind, Origin, Resolver, Text};
use crate::hardware::Performance;
use crate::site::find_intensity;
use crate::store::{self, Store};

/// What training a transformer will cost in time, energy, money, CO2e and water, before anyone spends it.
#[derive(Parser)]
#[command(name = "lowcarb", version, arg_required_else_help = true, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Run),
    Inspect(inspect::Inspect),
    Predict(predict::Predict),
    Measure(measure::Measure),
    Session(session::Commands),
    Calibrate(calibrate::Calibrate),
    Profiles(profiles::Profiles),
    Validate(validate::Validate),
    // Help shows what works.
    #[cfg_attr(not(feature = "cuda"), command(hide = true))]
    Workload(workload::Workload),
}

/// Why a command did not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Wrong usage or input; exit 2.
    Input(String),
    /// The work failed; exit 1.
    Work(String),
}

impl From<Diagnostic> for Failure {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Input(diagnostic.to_string())
    }
}

/// Runs the program on the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let wrong = error.use_stderr();
            // A closed pipe is the reader's choice, not an error.
            error.print().ok();
            return if wrong { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let result = match arguments.command {
        Command::Run(command) => command.execute(),
        Command::Inspect(command) => command.execute(),
        Command::Predict(command) => command.execute(),
        Command::Measure(command) => command.execute(),
        Command::Session(command) => command.execute(),
        Command::Calibrate(command) => command.execute(),
        Command::Profiles(command) => command.execute(),
        Command::Validate(command) => command.execute(),
        Command::Workload(command) => command.execute(),
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            let (text, code) = match &failure {
                Failure::Input(text) => (text, 2),
                Failure::Work(text) => (text, 1),
            };
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            let error = if colour { "\u{1b}[1;31merror\u{1b}[0m" } else { "error" };
            writeln!(std::io::stderr(), "{error}: {text}").ok();
            ExitCode::from(code)
        }
    }
}

/// Says something to whoever watches; data go to stdout.
pub(crate) fn tell(text: &str) {
    let clean: String = text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect();
    writeln!(std::io::stderr(), "{clean}").ok();
}

/// The class defaults of the time and power model.
pub(crate) fn class_defaults(store: &Store) -> Result<Performance, Diagnostic> {
    Performance::read(&Resolver::new(store).data("hardware_profiles/class_defaults.toml", &Origin::whole("class defaults"))?)
}

/// Grams of CO2e of a kilowatt-hour of a grid.
pub(crate) fn grams_per_kwh(store: &Store, zone: &str) -> Result<f64, Diagnostic> {
    Ok(find_intensity(store, zone, None, &Origin::whole("--grid"))?.value)
}

/// A table of runs and kernels: a CSV file, or a session of measurements with those that the measured program stated.
pub(crate) fn run_table(path: &Path, set: &[String]) -> Result<Table, Failure> {
    let text = if path.is_dir() {
        let (mut table, mut problems) = (session::Rows::default(), Vec::new());
        for measurement in session::measurements(&[path.to_path_buf()])? {
            table.add(session::Rows::runs(&measurement, &mut problems));
            table.add(session::Rows::kernels(&measurement, &mut problems));
        }
        problems.iter().for_each(|problem| tell(&format!("{}: {problem}", path.display())));
        if table.rows.is_empty() {
            let found = "neither a run nor a kernel in this session";
            let allowed = "phases in which the program states `fact runs {...}` and marks steps, or `fact kernels {...}` with its calls";
            return Err(Diagnostic::new(&Origin::whole(&path.display().to_string()), "", found, allowed).into());
        }
        Text { file: path.display().to_string(), text: crate::report::session::csv(&table) }
    } else {
        store::read_file(path, store::LARGEST_TABLE)?
    };
    let runs = RunTable::read(&text.file, &text.text, set)?;
    Ok(Table { sha256: store::hash(&text.text), file: text.file, runs })
}

/// Says why rows are not used, what they share once.
pub(crate) fn tell_of_rows<'a>(what: &str, reasons: impl Iterator<Item = &'a Diagnostic>) {
    let mut told: Vec<(&Diagnostic, usize)> = Vec::new();
    for why in reasons {
        let alike = |other: &Diagnostic| (&other.key, &other.found, &other.allowed) == (&why.key, &why.found, &why.allowed);
        match told.iter_mut().find(|(other, _)| alike(other)) {
            Some((_, rows)) => *rows += 1,
            None => told.push((why, 1)),
        }
    }
    for (why, rows) in told.iter().take(10) {
        let more = if *rows > 1 { format!(" ({rows} rows)") } else { String::new() };
        tell(&format!("{what}: {why}{more}"));
    }
    let rest: usize = told.iter().skip(10).map(|(_, rows)| rows).sum();
    if rest > 0 {
        tell(&format!("{what}: {rest} more rows, for other reasons"));
    }
}

/// Where calibrations come from.
#[derive(Args, Default)]
pub(crate) struct CalibrationOptions {
    /// A calibration to use before the shipped ones; may be given again.
    #[arg(long, value_name = "FILE")]
    calibration: Vec<PathBuf>,
    /// Take the shipped calibrations for nothing: class defaults, or those given.
    #[arg(long)]
    without_shipped: bool,
}

/// The calibrations of the files that are given, then the shipped ones where they are wanted.
pub(crate) fn calibrations(
    resolver: &mut Resolver<'_>,
    store: &Store,
    options: &CalibrationOptions,
) -> Result<Vec<Calibration>, Diagnostic> {
    let mut read = |name: &str| Calibration::read(&resolver.named(Kind::Calibration, name, &Origin::whole(name))?);
    let mut out = Vec::new();
    for file in &options.calibration {
        // A path, also where it looks like a name.
        let path = if file.components().count() == 1 { Path::new(".").join(file) } else { file.clone() };
        out.push(read(&path.display().to_string())?);
    }
    for entry in store.list(Kind::Calibration).iter().filter(|_| !options.without_shipped) {
        out.push(read(&entry.name)?);
    }
    Ok(out)
}

/// Writes data to stdout; a reader that closed the pipe has seen enough. No control character of a file reaches a
/// terminal.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    match Clean::new(std::io::stdout().lock()).write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::Work(format!("stdout: {error}"))),
        _ => Ok(()),
    }
}

/// The text forms of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Aligned tables for people.
    Table,
    /// Versioned JSON for programs.
    Json,
    /// One row a case.
    Csv,
    /// A report for a page.
    Markdown,
}
