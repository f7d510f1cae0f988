//! Sessions of measurement on disk: one, those of the nodes of a run, or several that were merged.

use std::fs;
use std::path::{Path, PathBuf};

use crate::document::{Diagnostic, Origin};
use crate::session::measurement::copies;
use crate::session::merged::{LeftOut, MERGED, Merged, folder_names};
use crate::session::{Defect, EVENTS, MANIFEST, MARKS, Measurement, SAMPLES, SEAL, Session, State, Texts};

/// A session with its folder.
pub type Stored = (PathBuf, Session);

/// What a path names.
pub enum Found {
    /// Sessions that are one measurement: one, those that were merged, or those that `measure` wrote for the nodes of a run.
    One(Vec<Stored>),
    /// A folder of sessions that have nothing to do with each other.
    Several(Vec<Stored>),
}

impl Found {
    /// Every session.
    #[must_use]
    pub fn sessions(self) -> Vec<Stored> {
        match self {
            Self::One(sessions) | Self::Several(sessions) => sessions,
        }
    }
}

/// The sessions that a path names: it is the folder of one, of merged ones, or of several beside each other.
///
/// # Errors
/// There is none, one has no manifest that can be read, or merged ones are not those that were merged.
pub fn open(path: &Path) -> Result<Found, Diagnostic> {
    if path.join(MANIFEST).is_file() {
        return Ok(Found::One(vec![(path.to_path_buf(), read(path)?)]));
    }
    if path.join(MERGED).is_file() {
        return merged(path).map(Found::One);
    }
    let mut folders: Vec<PathBuf> = fs::read_dir(path)
        .map(|entries| entries.flatten().map(|entry| entry.path()).filter(|folder| folder.join(MANIFEST).is_file()).collect())
        .unwrap_or_default();
    folders.sort();
    if folders.is_empty() {
        let name = path.display().to_string();
        let found = if path.is_dir() { format!("a folder without {MANIFEST}") } else { "no such folder".to_string() };
        return Err(Diagnostic::new(&Origin::whole(&name), "", found, "the folder of a session, as `lowcarb measure` writes it"));
    }
    let sessions = folders.into_iter().map(|folder| Ok((folder.clone(), read(&folder)?))).collect::<Result<Vec<Stored>, Diagnostic>>()?;
    // On several nodes, each writes below the named folder under its own name.
    let is_of_node = |(folder, session): &Stored| session.manifest.host.get("name").is_some_and(|name| folder.ends_with(name));
    Ok(if sessions.iter().all(is_of_node) { Found::One(sessions) } else { Found::Several(sessions) })
}

/// The sessions that were merged into a folder, as they are now.
fn merged(path: &Path) -> Result<Vec<Stored>, Diagnostic> {
    let file = path.join(MERGED);
    let text = super::read_file(&file, super::LARGEST_FILE)?;
    let merged = Merged::read(&text.file, &text.text)?;
    let wrong = |found: String, allowed: String| Diagnostic::new(&Origin::whole(&text.file), "parts", found, allowed);
    let mut out = Vec::new();
    for part in &merged.parts {
        let folder = path.join(&part.folder);
        if !folder.join(MANIFEST).is_file() {
            return Err(wrong(format!("no session in {}", folder.display()), format!("session {} of {}", part.id, part.host_name)));
        }
        let mut session = read(&folder)?;
        if session.manifest.id != part.id {
            return Err(wrong(format!("session {} in {}", session.manifest.id, folder.display()), format!("session {}", part.id)));
        }
        if part.sealed && session.state == State::Recovered {
            session.defects.push(Defect { file: SEAL, line: 0, text: "it was sealed when it was merged; the seal is gone".into() });
        }
        out.push((folder, session));
    }
    Ok(out)
}

/// Reads the session of a folder.
///
/// # Errors
/// It has no manifest that can be read.
pub fn read(folder: &Path) -> Result<Session, Diagnostic> {
    // A byte that is no text is a defect of its line, not of the file.
    let text = |name: &str| fs::read(folder.join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let (manifest, samples, events) = (text(MANIFEST), text(SAMPLES), text(EVENTS));
    let seal = text(SEAL).ok();
    let name = folder.display().to_string();
    let manifest = manifest.map_err(|error| {
        Diagnostic::new(&Origin::whole(&format!("{name}/{MANIFEST}")), "", error.to_string(), "a file that can be read")
    })?;
    let texts = Texts {
        manifest: &manifest,
        samples: samples.as_deref().unwrap_or_default(),
        events: events.as_deref().unwrap_or_default(),
        seal: seal.as_deref(),
    };
    Session::read(&name, &texts)
}

/// Sessions that are to be joined, without further copies of one.
#[must_use]
pub fn distinct(sessions: Vec<Stored>) -> (Vec<Stored>, Vec<LeftOut>) {
    let copies = copies(&sessions.iter().map(|(_, session)| session).collect::<Vec<_>>());
    let left_out = copies.iter().map(|(place, best)| LeftOut {
        id: sessions[*place].1.manifest.id.clone(),
        folder: sessions[*place].0.display().to_string(),
        why: format!("a copy of {}: a session counts once", sessions[*best].0.display()),
    });
    let left_out = left_out.collect();
    let kept = sessions.into_iter().enumerate().filter(|(place, _)| copies.iter().all(|(copy, _)| copy != place));
    (kept.map(|(_, stored)| stored).collect(), left_out)
}

/// Writes sessions into a new folder, each as it is, with what joins them; there whole or not at all.
///
/// # Errors
/// The folder is there and not empty, or a file cannot be copied.
pub fn merge(
    measurement: &Measurement,
    sources: &[(PathBuf, String)],
    left_out: Vec<LeftOut>,
    program: &str,
    to: &Path,
) -> std::io::Result<()> {
    let hosts: Vec<&str> = measurement.parts.iter().map(crate::session::measurement::Part::host_name).collect();
    let folders = folder_names(&hosts);
    let beside = to.with_file_name(format!("{}.part-{}", to.file_name().unwrap_or_default().to_string_lossy(), std::process::id()));
    let copy = || {
        fs::create_dir_all(&beside)?;
        for (part, folder) in measurement.parts.iter().zip(&folders) {
            let Some((source, _)) = sources.iter().find(|(_, id)| *id == part.manifest().id) else { continue };
            fs::create_dir(beside.join(folder))?;
            for file in [MANIFEST, SAMPLES, EVENTS, MARKS, SEAL].iter().filter(|file| source.join(file).is_file()) {
                fs::copy(source.join(file), beside.join(folder).join(file))
                    .map_err(|error| std::io::Error::other(format!("{}: {error}", source.join(file).display())))?;
            }
        }
        fs::write(beside.join(MERGED), Merged::of(measurement, &folders, left_out, program).text())?;
        fs::rename(&beside, to)
    };
    copy().inspect_err(|_| {
        fs::remove_dir_all(&beside).ok();
    })
}
