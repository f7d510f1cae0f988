//! The folder of a session on disk: files that only grow, whole lines at a time, and a seal at the end.
//!
//! Lines wait in memory until the end of an interval and are then written by one call, so that a collector that is killed loses one
//! interval at most. A full disk loses nothing at first: what was written in part is cut away, and the lines wait for room.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::session::read::{Seal, hexadecimal};
use crate::session::sample::HEADER;
use crate::session::{EVENTS, Event, MANIFEST, MARKS, Manifest, SAMPLES, SCHEMA, SEAL, Sample};
use crate::store;

/// Lines wait for room up to this many bytes; later ones are then lost, and counted.
const PATIENCE: usize = 16 << 20;

/// A file that grows by whole lines.
struct Growing {
    file: File,
    written: u64,
    waiting: Vec<u8>,
    hash: Sha256,
    lost: u64,
}

impl Growing {
    fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create_new(true).open(path)?;
        Ok(Self { file, written: 0, waiting: Vec::with_capacity(1 << 14), hash: Sha256::new(), lost: 0 })
    }

    fn line(&mut self, add: impl FnOnce(&mut Vec<u8>)) {
        if self.waiting.len() > PATIENCE {
            self.lost += 1;
        } else {
            add(&mut self.waiting);
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        match self.file.write_all(&self.waiting) {
            Ok(()) => {
                self.hash.update(&self.waiting);
                self.written += self.waiting.len() as u64;
                self.waiting.clear();
                Ok(())
            }
            Err(error) => {
                self.file.set_len(self.written)?;
                Err(error)
            }
        }
    }

    fn unwritten(&self) -> u64 {
        self.lost + self.waiting.iter().filter(|byte| **byte == b'\n').count() as u64
    }
}

/// Writes a session.
pub struct Recorder {
    folder: PathBuf,
    id: String,
    manifest_hash: String,
    samples: Growing,
    events: Growing,
    marks: File,
    torn_mark: Vec<u8>,
    /// Why the last write failed, where it did.
    failed: Option<io::Error>,
}

impl Recorder {
    /// Starts a session in a folder that is there and holds none.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn create(folder: &Path, manifest: &Manifest) -> io::Result<Self> {
        let text = serde_json::to_string_pretty(manifest).map_err(io::Error::other)? + "\n";
        let mut samples = Growing::create(&folder.join(SAMPLES))?;
        let events = Growing::create(&folder.join(EVENTS))?;
        // Children of other users and ranks append to it.
        OpenOptions::new().append(true).create_new(true).open(folder.join(MARKS))?;
        let marks = File::open(folder.join(MARKS))?;
        samples.line(|out| out.extend_from_slice(format!("{HEADER}\n").as_bytes()));
        samples.flush()?;
        // Last, so that a folder with a manifest is a session.
        store::write_whole(&folder.join(MANIFEST), &text)?;
        let manifest_hash = crate::session::read::hash(text.as_bytes());
        let (folder, id) = (folder.to_path_buf(), manifest.id.clone());
        Ok(Self { folder, id, manifest_hash, samples, events, marks, torn_mark: Vec::new(), failed: None })
    }

    /// Adds a row.
    pub fn sample(&mut self, sample: &Sample) {
        self.samples.line(|out| sample.write(out));
    }

    /// Adds an event.
    pub fn event(&mut self, event: &Event) {
        // An event is always JSON: no map in it has keys that are no text.
        if let Ok(text) = serde_json::to_string(event) {
            self.events.line(|out| out.extend_from_slice(format!("{text}\n").as_bytes()));
        }
    }

    /// The whole lines that the measured program has written since the last call.
    pub fn new_marks(&mut self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let mut lines = Vec::new();
        while let Ok(count) = self.marks.read(&mut buffer) {
            if count == 0 {
                break;
            }
            self.torn_mark.extend_from_slice(&buffer[..count]);
        }
        while let Some(end) = self.torn_mark.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.torn_mark.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line).trim().to_string();
            if !line.is_empty() {
                lines.push(line);
            }
        }
        lines
    }

    /// What the measured program wrote last, without the end of its line.
    pub fn torn_mark(&mut self) -> Option<String> {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.torn_mark)).trim().to_string();
        Some(line).filter(|line| !line.is_empty())
    }

    /// Writes what waits. Whether this is the first call that fails after one that did not.
    pub fn flush(&mut self) -> Option<&io::Error> {
        let result = self.samples.flush().and(self.events.flush());
        let was_well = self.failed.is_none();
        self.failed = result.err();
        self.failed.as_ref().filter(|_| was_well)
    }

    /// Ends the session; what could not be written, for people.
    ///
    /// # Errors
    /// Lines are missing on disk, or the seal is.
    pub fn seal(mut self, ended_s: f64, ended_unix_s: f64) -> Result<(), String> {
        self.flush();
        let waiting = self.samples.unwritten() + self.events.unwritten();
        if let Some(error) = &self.failed {
            return Err(format!(
                "{}: {error}: {waiting} lines are not on disk; what was written before can be read",
                self.folder.display()
            ));
        }
        let of = |hash: Sha256| hexadecimal(&hash.finalize());
        let sha256 = BTreeMap::from([
            (MANIFEST.to_string(), self.manifest_hash.clone()),
            (SAMPLES.to_string(), of(self.samples.hash)),
            (EVENTS.to_string(), of(self.events.hash)),
        ]);
        let seal = Seal { schema: SCHEMA, id: self.id, ended_unix_s, ended_s, sha256, lost_lines: waiting };
        let path = self.folder.join(SEAL);
        let text = serde_json::to_string_pretty(&seal).map_err(|error| error.to_string())? + "\n";
        store::write_whole(&path, &text).map_err(|error| format!("{}: {error}: the session is not sealed", path.display()))?;
        match waiting {
            0 => Ok(()),
            lost => Err(format!("{}: the disk was full for a while: {lost} lines are missing", self.folder.display())),
        }
    }
}
