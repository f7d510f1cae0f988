//! `lowcarb session`: what measurement sessions say, whether they are whole, one from several, and the forms of other tools.

mod export;
mod merge;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use super::{Failure, print, tell};
use crate::document::Origin;
use crate::hardware::HostModel;
use crate::report::session as report;
use crate::session::measurement::contained;
pub(super) use crate::session::table::Table as Rows;
use crate::session::{Measurement, Summary};
use crate::store::Store;
use crate::store::session::{self as store, Found, Stored};

/// Show, check, merge or export sessions that `measure` has written.
#[derive(Args)]
pub(crate) struct Commands {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Energy, power and time by device and phase, steps, and what to know of them.
    ///
    /// The sessions that `measure` wrote for the nodes of one run below one folder, and merged ones, are shown as one; other folders one
    /// after the other.
    Show {
        /// Folders of sessions, of one session a node, or of merged ones.
        #[arg(required = true, value_name = "DIR")]
        sessions: Vec<PathBuf>,
        /// What is printed.
        #[arg(long, value_enum, default_value = "table")]
        format: SessionFormat,
    },
    /// Whether the files of sessions are whole and as they were sealed; exit 1 where one is not.
    Check {
        /// Folders of sessions, of one session a node, or of merged ones.
        #[arg(required = true, value_name = "DIR")]
        sessions: Vec<PathBuf>,
        /// What is printed.
        #[arg(long, value_enum, default_value = "table")]
        format: SessionFormat,
    },
    Merge(merge::Merge),
    Export(export::Export),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SessionFormat {
    /// Aligned tables for people.
    Table,
    /// Versioned JSON for programs.
    Json,
}

impl SessionFormat {
    fn print(self, summaries: &[Summary]) -> Result<(), Failure> {
        print(&match self {
            Self::Json => report::json(summaries),
            Self::Table => summaries.iter().map(report::show).collect::<Vec<_>>().join("\n"),
        })
    }
}

/// What was measured by the sessions of these paths; none counts twice.
pub(super) fn measurements(paths: &[PathBuf]) -> Result<Vec<Measurement>, Failure> {
    let mut out: Vec<(&Path, Measurement)> = Vec::new();
    for path in paths {
        match store::open(path)? {
            Found::One(sessions) => out.push((path, joined(path, sessions)?)),
            Found::Several(sessions) => out.extend(sessions.into_iter().map(|(_, session)| (path.as_path(), Measurement::from(session)))),
        }
    }
    let again = contained(&out.iter().map(|(_, measurement)| measurement).collect::<Vec<_>>());
    for (place, other) in &again {
        tell(&format!(
            "{}: session {} is also in {}: it counts once",
            out[*place].0.display(),
            out[*place].1.id(),
            out[*other].0.display()
        ));
    }
    let kept = out.into_iter().enumerate().filter(|(place, _)| again.iter().all(|(contained, _)| contained != place));
    Ok(kept.map(|(_, (_, measurement))| measurement).collect())
}

/// Sessions as one measurement.
fn joined(path: &Path, sessions: Vec<Stored>) -> Result<Measurement, Failure> {
    let (sessions, left_out) = store::distinct(sessions);
    left_out.iter().for_each(|session| tell(&format!("{}: {}", session.folder, session.why)));
    Measurement::join(sessions.into_iter().map(|(_, session)| session).collect())
        .map_err(|error| Failure::Input(format!("{}: {error}", path.display())))
}

/// What a measurement says, with models of what of its machines was not measured.
fn summary(measurement: &Measurement) -> Result<Summary, Failure> {
    let (library, mut hosts) = (Store::standard(), Vec::new());
    for machine in measurement.machines() {
        let model = HostModel::new(&library, &machine.description(), &Origin::whole("processors"))?;
        let model = machine.unmeasured(model);
        hosts.push((machine, model));
    }
    Ok(Summary::of(measurement).with_host_models(&hosts))
}

/// Says what a new session says, on stderr.
pub(super) fn say(folder: &Path) {
    match store::read(folder).map_err(Failure::from).and_then(|session| summary(&session.into())) {
        Ok(summary) => tell(&format!("\n{}\nsession: {}", report::show(&summary), folder.display())),
        Err(Failure::Input(error) | Failure::Work(error)) => tell(&error),
    }
}

impl Commands {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        match self.action {
            Action::Show { sessions, format } => {
                format.print(&measurements(&sessions)?.iter().map(summary).collect::<Result<Vec<_>, _>>()?)?;
                Ok(ExitCode::SUCCESS)
            }
            Action::Check { sessions, format } => {
                let mut all = Vec::new();
                for path in &sessions {
                    all.extend(store::open(path)?.sessions());
                }
                let (text, whole) = report::check(&all);
                print(&match format {
                    SessionFormat::Table => text,
                    SessionFormat::Json => report::check_json(&all),
                })?;
                Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
            Action::Merge(merge) => merge.execute(),
            Action::Export(export) => export.execute(),
        }
    }
}
