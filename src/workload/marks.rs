//! The marks of a measured command: which phase begins and ends when, and facts about it.
//!
//! `lowcarb measure` names a file in the environment variable `LOWCARB_MARKS`, and whatever it runs appends one line an event. Each
//! line is written at once and to the end of the file, so that lines of several processes do not mix. Times are of the monotonic
//! clock, which no correction of the wall clock moves.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use nix::time::{ClockId, clock_gettime};
use serde_json::Value;

/// The environment variable that names the file.
pub const VARIABLE: &str = "LOWCARB_MARKS";

/// Writes marks; without a file it writes nothing.
#[derive(Debug, Default)]
pub struct Marks {
    file: Option<(String, File)>,
}

impl Marks {
    /// Into the file that the environment names, or nowhere where it names none.
    ///
    /// # Errors
    /// The file cannot be opened; the message names it.
    pub fn from_environment() -> Result<Self, String> {
        match std::env::var_os(VARIABLE) {
            Some(path) if path != OsStr::new("") => Self::into_file(Path::new(&path)),
            _ => Ok(Self::default()),
        }
    }

    /// To the end of a file.
    ///
    /// # Errors
    /// The file cannot be opened; the message names it.
    pub fn into_file(path: &Path) -> Result<Self, String> {
        let name = path.display().to_string();
        match OpenOptions::new().append(true).create(true).open(path) {
            Ok(file) => Ok(Self { file: Some((name, file)) }),
            Err(error) => Err(format!("{name} ({VARIABLE}): {error}")),
        }
    }

    /// Whether anybody reads them.
    #[must_use]
    pub fn are_read(&self) -> bool {
        self.file.is_some()
    }

    /// A phase begins now. What runs on a device must be complete before it is said to begin or to end.
    ///
    /// # Errors
    /// The name is none of a phase, or the file cannot be written.
    pub fn begin(&mut self, phase: &str) -> Result<(), String> {
        self.event("begin", phase)
    }

    /// A phase ends now.
    ///
    /// # Errors
    /// The name is none of a phase, or the file cannot be written.
    pub fn end(&mut self, phase: &str) -> Result<(), String> {
        self.event("end", phase)
    }

    /// Facts about the innermost phase that is open, as columns of `table`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn fact(&mut self, table: &str, columns: &Value) -> Result<(), String> {
        self.write(&format!("fact {table} {columns}\n"))
    }

    fn event(&mut self, word: &str, phase: &str) -> Result<(), String> {
        if !is_phase_name(phase) {
            return Err(format!("phase {phase:?}: allowed: 1 to 64 letters, digits or any of ._:/-"));
        }
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_err(|error| format!("the monotonic clock: {error}"))?;
        self.write(&format!("{word} {phase} monotonic={}.{:09}\n", now.tv_sec(), now.tv_nsec()))
    }

    fn write(&mut self, line: &str) -> Result<(), String> {
        let Some((name, file)) = &mut self.file else { return Ok(()) };
        file.write_all(line.as_bytes()).map_err(|error| format!("{name} ({VARIABLE}): {error}"))
    }
}

/// Whether a phase may be called so.
#[must_use]
pub fn is_phase_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || "._:/-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_appended_as_the_protocol_has_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("marks");
        std::fs::write(&path, "begin run\n").unwrap();
        let mut marks = Marks::into_file(&path).unwrap();
        marks.begin("gemm/bf16/64:8x8x8").unwrap();
        marks.fact("kernels", &serde_json::json!({ "kernel": "gemm", "note": "two\nlines" })).unwrap();
        marks.end("gemm/bf16/64:8x8x8").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "begin run");
        assert_eq!(lines[2], r#"fact kernels {"kernel":"gemm","note":"two\nlines"}"#);
        let time = |line: &str, start: &str| line.strip_prefix(start).unwrap().parse::<f64>().unwrap();
        let began = time(lines[1], "begin gemm/bf16/64:8x8x8 monotonic=");
        let ended = time(lines[3], "end gemm/bf16/64:8x8x8 monotonic=");
        assert!(began > 0.0 && ended >= began && ended < began + 60.0, "{text}");
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn names_that_would_break_a_line_are_refused() {
        for name in ["", "a b", "a\nend a", "gemm,bf16", &"a".repeat(65)] {
            assert!(Marks::default().begin(name).is_err(), "{name:?}");
        }
        assert!(Marks::default().begin(&"a".repeat(64)).is_ok());
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let message = Marks::into_file(Path::new("/nowhere/marks")).unwrap_err();
        assert!(message.starts_with("/nowhere/marks (LOWCARB_MARKS): "), "{message}");
    }
}
