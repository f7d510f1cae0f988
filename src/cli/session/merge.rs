//! `lowcarb session merge`: the sessions of the nodes of one run in one folder.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{SessionFormat, store, summary};
use crate::cli::{Failure, tell};
use crate::session::Measurement;

/// Join the sessions of the nodes of one run to one folder, and show it.
///
/// The folder holds each session as it was, with its seal, and `merged.json`. The wall clocks of the nodes are taken to agree. Sessions
/// that do not overlap in time are not of one run.
#[derive(Args)]
pub(crate) struct Merge {
    /// Folders of sessions, of one session a node, or of merged ones.
    #[arg(required = true, value_name = "DIR")]
    sessions: Vec<PathBuf>,
    /// The folder to write; it must not be there yet.
    #[arg(long, value_name = "NEW")]
    out: PathBuf,
    /// What is printed.
    #[arg(long, value_enum, default_value = "table")]
    format: SessionFormat,
}

impl Merge {
    pub(super) fn execute(self) -> Result<ExitCode, Failure> {
        let input = |text: String| Failure::Input(format!("--out: {}: {text}", self.out.display()));
        if self.out.file_name().is_none() || self.out.exists() {
            return Err(input("found something there; allowed: a folder that is not there yet".into()));
        }
        let mut all = Vec::new();
        for path in &self.sessions {
            all.extend(store::open(path)?.sessions());
        }
        let (sessions, left_out) = store::distinct(all);
        left_out.iter().for_each(|session| tell(&format!("{}: {}", session.folder, session.why)));
        let sources: Vec<(PathBuf, String)> =
            sessions.iter().map(|(folder, session)| (folder.clone(), session.manifest.id.clone())).collect();
        let sessions = sessions.into_iter().map(|(_, session)| session).collect();
        let measurement = Measurement::join(sessions).map_err(Failure::Input)?;
        let summary = summary(&measurement)?;
        let program = concat!("lowcarb ", env!("CARGO_PKG_VERSION"));
        store::merge(&measurement, &sources, left_out, program, &self.out)
            .map_err(|error| Failure::Work(format!("{}: {error}", self.out.display())))?;
        tell(&format!("written: {}, {} sessions", self.out.display(), measurement.parts.len()));
        self.format.print(&[summary])?;
        Ok(ExitCode::SUCCESS)
    }
}
