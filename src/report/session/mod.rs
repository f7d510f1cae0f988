//! What measurements say: tables for people, JSON, and the forms of other tools.

mod codecarbon;
mod export;
mod facts;
mod power;
mod prometheus;
mod readings;
mod show;

pub use export::{Export, FORMATS, Format};
pub use show::show;

use crate::session::table::Table;
use crate::session::{State, Summary};

/// The figures of measurements as JSON: of one as an object, of several as a list in one.
#[must_use]
pub fn json(summaries: &[Summary]) -> String {
    let text = match summaries {
        [one] => serde_json::to_string_pretty(one),
        several => serde_json::to_string_pretty(&serde_json::json!({ "schema": 1, "sessions": several })),
    };
    // Keys are text and numbers are finite or absent, so this is always JSON.
    text.unwrap_or_default() + "\n"
}

/// What is wrong with the files of sessions, one line each; whether nothing is.
#[must_use]
pub fn check(sessions: &[(std::path::PathBuf, crate::session::Session)]) -> (String, bool) {
    let mut out = String::new();
    for (folder, session) in sessions {
        let rows: usize = session.samples.iter().map(Vec::len).sum();
        let state = match (session.state, session.defects.is_empty()) {
            (_, false) => "defects",
            (State::Complete, true) => "complete",
            (State::Recovered, true) => "recovered: no seal; read up to its last whole line",
        };
        out += &format!(
            "{}: {state}; {rows} readings, {} events, until {:.1} s\n",
            folder.display(),
            session.events.len(),
            session.last_time()
        );
        for defect in &session.defects {
            let line = if defect.line > 0 { format!(":{}", defect.line) } else { String::new() };
            out += &format!("{}/{}{line}: {}\n", folder.display(), defect.file, defect.text);
        }
    }
    (out, sessions.iter().all(|(_, session)| session.defects.is_empty()))
}

/// The same as JSON.
#[must_use]
pub fn check_json(sessions: &[(std::path::PathBuf, crate::session::Session)]) -> String {
    let one = |(folder, session): &(std::path::PathBuf, crate::session::Session)| {
        let defect = |defect: &crate::session::Defect| serde_json::json!({ "file": defect.file, "line": defect.line, "text": defect.text });
        serde_json::json!({
            "folder": folder.display().to_string(),
            "id": session.manifest.id,
            "state": session.state,
            "readings": session.samples.iter().map(Vec::len).sum::<usize>(),
            "events": session.events.len(),
            "until_s": session.last_time(),
            "defects": session.defects.iter().map(defect).collect::<Vec<_>>(),
        })
    };
    let whole = sessions.iter().all(|(_, session)| session.defects.is_empty());
    let all: Vec<_> = sessions.iter().map(one).collect();
    format!("{:#}\n", serde_json::json!({ "schema": 1, "whole": whole, "sessions": all }))
}

/// A table as CSV.
#[must_use]
pub fn csv(rows: &Table) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Memory takes every record of the same length; text of cells stays text.
    let written = writer.write_record(&rows.columns).and_then(|()| rows.rows.iter().try_for_each(|row| writer.write_record(row)));
    written.ok().and_then(|()| writer.into_inner().ok()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
