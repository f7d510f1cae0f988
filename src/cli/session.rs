//! `lowcarb session`: what measurement sessions say, and whether they are whole.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use super::{Failure, print, tell};
use crate::document::Origin;
use crate::hardware::HostModel;
use crate::report::session as report;
pub(super) use crate::session::table::Table as Rows;
use crate::session::{Session, Summary};
use crate::store::{Store, session as store};

/// Show or check sessions that `measure` has written.
#[derive(Args)]
pub(crate) struct Commands {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Energy, power and time by device and phase, steps, and what to know of them.
    Show {
        /// Folders of sessions, or of one session a node.
        #[arg(required = true)]
        sessions: Vec<PathBuf>,
        /// What is printed.
        #[arg(long, value_enum, default_value = "table")]
        format: SessionFormat,
    },
    /// Whether the files of sessions are whole and as they were sealed; exit 1 where one is not.
    Check {
        /// Folders of sessions, or of one session a node.
        #[arg(required = true)]
        sessions: Vec<PathBuf>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SessionFormat {
    /// Aligned tables for people.
    Table,
    /// Versioned JSON for programs.
    Json,
}

/// Every session of these paths, with its folder.
fn read(paths: &[PathBuf]) -> Result<Vec<(PathBuf, Session)>, Failure> {
    let mut out = Vec::new();
    for path in paths {
        for folder in store::folders(path)? {
            let session = store::read(&folder)?;
            out.push((folder, session));
        }
    }
    Ok(out)
}

/// What a session says, with a model of what of the host was not measured.
fn summary(session: &Session) -> Result<Summary, Failure> {
    let description = session.manifest.host_description();
    let model = HostModel::new(&Store::standard(), &description, &Origin::whole("processors"))?;
    Ok(Summary::of(session).with_host_model(&session.manifest.unmeasured(model)))
}

/// Says what a new session says, on stderr.
pub(super) fn say(folder: &Path) {
    match store::read(folder).map_err(Failure::from).and_then(|session| summary(&session)) {
        Ok(summary) => tell(&format!("\n{}\nsession: {}", report::show(&summary), folder.display())),
        Err(Failure::Input(error) | Failure::Work(error)) => tell(&error),
    }
}

impl Commands {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        match self.action {
            Action::Show { sessions, format } => {
                let summaries = read(&sessions)?.iter().map(|(_, session)| summary(session)).collect::<Result<Vec<_>, _>>()?;
                print(&match format {
                    SessionFormat::Json => report::json(&summaries),
                    SessionFormat::Table => summaries.iter().map(report::show).collect::<Vec<_>>().join("\n"),
                })?;
                Ok(ExitCode::SUCCESS)
            }
            Action::Check { sessions } => {
                let sessions = read(&sessions)?;
                let (text, whole) = report::check(&sessions);
                print(&text)?;
                Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
        }
    }
}
