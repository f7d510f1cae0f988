//! Sessions of measurement on disk.

use std::fs;
use std::path::{Path, PathBuf};

use crate::document::{Diagnostic, Origin};
use crate::session::{EVENTS, MANIFEST, SAMPLES, SEAL, Session, Texts};

/// The folders of sessions that a path names: itself, or those in it (one a node).
///
/// # Errors
/// There is no session.
pub fn folders(path: &Path) -> Result<Vec<PathBuf>, Diagnostic> {
    if path.join(MANIFEST).is_file() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut out: Vec<PathBuf> = fs::read_dir(path)
        .map(|entries| entries.flatten().map(|entry| entry.path()).filter(|folder| folder.join(MANIFEST).is_file()).collect())
        .unwrap_or_default();
    out.sort();
    if out.is_empty() {
        let name = path.display().to_string();
        let found = if path.is_dir() { format!("a folder without {MANIFEST}") } else { "no such folder".to_string() };
        return Err(Diagnostic::new(&Origin::whole(&name), "", found, "the folder of a session, as `lowcarb measure` writes it"));
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
