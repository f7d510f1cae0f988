//! The files of a session to a session: whole lines count, what is torn or altered is named.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::sample::{HEADER, LONGEST, Sample};
use super::{EVENTS, Event, MANIFEST, Manifest, Meter, SAMPLES, SCHEMA, SEAL, Window};
use crate::document::{Diagnostic, Origin};

/// The texts of a session's files; nothing where a file is missing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Texts<'a> {
    /// Of `manifest.json`.
    pub manifest: &'a str,
    /// Of `samples.csv`.
    pub samples: &'a str,
    /// Of `events.jsonl`.
    pub events: &'a str,
    /// Of `seal.json`.
    pub seal: Option<&'a str>,
}

/// The last file of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// Version of the format.
    pub schema: u32,
    /// The session that it ends.
    pub id: String,
    /// When, by the wall clock.
    pub ended_unix_s: f64,
    /// When, in seconds of the session.
    pub ended_s: f64,
    /// SHA-256 of each file, by name.
    pub sha256: std::collections::BTreeMap<String, String>,
    /// Lines that could not be written.
    pub lost_lines: u64,
}

/// Whether a session reached its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It was sealed.
    Complete,
    /// It was cut short: what stands up to there is read.
    Recovered,
}

/// What is wrong with a file of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defect {
    /// The file.
    pub file: &'static str,
    /// The line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub text: String,
}

/// A session as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// What was measured.
    pub manifest: Manifest,
    /// Readings of each meter, in order of time.
    pub samples: Vec<Vec<Sample>>,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// Whether it reached its end.
    pub state: State,
    /// What is wrong with its files.
    pub defects: Vec<Defect>,
}

impl Session {
    /// Reads a session; `folder` names it in messages.
    ///
    /// # Errors
    /// No manifest, one of another version, or one that is not as written by a collector. All else is read as far as it goes.
    pub fn read(folder: &str, texts: &Texts<'_>) -> Result<Self, Diagnostic> {
        let file = format!("{folder}/{MANIFEST}");
        let manifest = manifest(&file, texts.manifest)?;
        let mut defects = Vec::new();
        let seal = texts.seal.and_then(|text| match serde_json::from_str::<Seal>(text) {
            Ok(seal) => Some(seal),
            Err(error) => {
                defects.push(Defect { file: SEAL, line: error.line(), text: error.to_string() });
                None
            }
        });
        if let Some(seal) = &seal {
            compare(seal, &manifest, texts, &mut defects);
        }
        let samples = samples(texts.samples, manifest.meters.len(), seal.is_some(), &mut defects);
        let events = events(texts.events, seal.is_some(), &mut defects);
        let state = if seal.is_some() { State::Complete } else { State::Recovered };
        Ok(Self { manifest, samples, events, state, defects })
    }

    /// When the last thing of the session was recorded, s.
    #[must_use]
    pub fn last_time(&self) -> f64 {
        let sample = self.samples.iter().filter_map(|rows| rows.last()).map(|row| row.time);
        sample.chain(self.events.last().map(Event::time)).fold(0.0, f64::max)
    }

    /// Where a stretch begins and ends, s; an open one ends with what was recorded last.
    #[must_use]
    pub fn window(&self, wanted: Window) -> Option<(f64, f64)> {
        let begin = self.events.iter().find_map(|event| match event {
            Event::Begin { t_s, window } if *window == wanted => Some(*t_s),
            _ => None,
        })?;
        let end = self.events.iter().find_map(|event| match event {
            Event::End { t_s, window } if *window == wanted => Some(*t_s),
            _ => None,
        });
        Some((begin, end.unwrap_or_else(|| self.last_time()).max(begin)))
    }
}

fn manifest(file: &str, text: &str) -> Result<Manifest, Diagnostic> {
    let wrong = |line: usize, key: &str, found: String, allowed: String| Diagnostic::new(&Origin::line(file, line), key, found, allowed);
    let value: serde_json::Value = serde_json::from_str(text)
        .map_err(|error| wrong(error.line(), "", error.to_string(), "the manifest of a session, as `lowcarb measure` writes it".into()))?;
    match value.get("schema").and_then(serde_json::Value::as_u64) {
        Some(schema) if schema == u64::from(SCHEMA) => {}
        Some(schema) => return Err(wrong(1, "schema", schema.to_string(), SCHEMA.to_string())),
        None => return Err(wrong(1, "schema", "nothing".into(), SCHEMA.to_string())),
    }
    let manifest: Manifest =
        serde_json::from_str(text).map_err(|error| wrong(error.line(), "", error.to_string(), "the manifest of a session".into()))?;
    let unit = |meter: &Meter| meter.counter_unit_j.is_none_or(|unit| unit > 0.0 && unit <= 1e3);
    let limit = |meter: &Meter| meter.limit_w.is_none_or(|limit| (0.0..=1e6).contains(&limit));
    let found = [
        ("started_unix_s", manifest.started_unix_s, (0.0..=1e11).contains(&manifest.started_unix_s), "seconds since 1970"),
        ("started_monotonic_s", manifest.started_monotonic_s, manifest.started_monotonic_s.abs() <= 1e11, "seconds of a clock"),
        ("interval_s", manifest.interval_s, (0.0..=LONGEST).contains(&manifest.interval_s), "seconds from 0 to 1e9"),
        ("idle_s", manifest.idle_s, (0.0..=LONGEST).contains(&manifest.idle_s), "seconds from 0 to 1e9"),
    ];
    if let Some((key, value, _, allowed)) = found.iter().find(|(_, _, fits, _)| !fits) {
        return Err(wrong(0, key, value.to_string(), (*allowed).to_string()));
    }
    match manifest.meters.iter().find(|meter| !unit(meter) || !limit(meter)) {
        Some(meter) => {
            let found = format!("a unit of {:?} J and a limit of {:?} W", meter.counter_unit_j, meter.limit_w);
            Err(wrong(0, &format!("meters, {}", meter.uuid), found, "what a meter can have".to_string()))
        }
        None => Ok(manifest),
    }
}

/// The whole lines of a file with their numbers. A last line without its break was being written when the end came: it is left out,
/// and is a defect where a seal says that the file was whole.
fn lines<'a>(file: &'static str, text: &'a str, sealed: bool, defects: &mut Vec<Defect>) -> impl Iterator<Item = (usize, &'a str)> {
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    if sealed && whole.len() < text.len() {
        defects.push(Defect { file, line: whole.lines().count() + 1, text: "the last line is torn".into() });
    }
    whole.lines().enumerate().map(|(index, line)| (index + 1, line))
}

fn samples(text: &str, meters: usize, sealed: bool, defects: &mut Vec<Defect>) -> Vec<Vec<Sample>> {
    let mut out: Vec<Vec<Sample>> = vec![Vec::new(); meters];
    let mut wrong = Vec::new();
    for (line, row) in lines(SAMPLES, text, sealed, defects) {
        let mut defect = |text: String| wrong.push(Defect { file: SAMPLES, line, text });
        if line == 1 {
            if row != HEADER {
                defect("the first line is not the header of this version".into());
            }
            continue;
        }
        match Sample::read(row) {
            Err(error) => defect(error),
            Ok(sample) => match out.get_mut(sample.meter) {
                None => defect(format!("meter {}: the manifest has {meters}", sample.meter)),
                Some(rows) => match rows.last() {
                    Some(last) if last.time > sample.time => defect(format!("time {} after {}", sample.time, last.time)),
                    _ => rows.push(sample),
                },
            },
        }
    }
    defects.extend(wrong);
    out
}

fn events(text: &str, sealed: bool, defects: &mut Vec<Defect>) -> Vec<Event> {
    let mut out = Vec::new();
    let mut wrong = Vec::new();
    for (line, row) in lines(EVENTS, text, sealed, defects) {
        match serde_json::from_str::<Event>(row) {
            Ok(event) if !(0.0..=LONGEST).contains(&event.time()) => {
                wrong.push(Defect { file: EVENTS, line, text: format!("{} s is no moment of a session", event.time()) });
            }
            Ok(event) => out.push(event),
            Err(error) => wrong.push(Defect { file: EVENTS, line, text: error.to_string() }),
        }
    }
    defects.extend(wrong);
    out
}

fn compare(seal: &Seal, manifest: &Manifest, texts: &Texts<'_>, defects: &mut Vec<Defect>) {
    if seal.id != manifest.id {
        defects.push(Defect { file: SEAL, line: 0, text: format!("it ends session {}, the manifest is of {}", seal.id, manifest.id) });
    }
    for (file, text) in [(MANIFEST, texts.manifest), (SAMPLES, texts.samples), (EVENTS, texts.events)] {
        match seal.sha256.get(file) {
            None => defects.push(Defect { file, line: 0, text: "the seal has no hash of it".into() }),
            Some(sealed) if *sealed != hash(text.as_bytes()) => {
                defects.push(Defect { file, line: 0, text: "it was changed after the session was sealed: its hash is another".into() });
            }
            Some(_) => {}
        }
    }
    if seal.lost_lines > 0 {
        defects.push(Defect { file: SEAL, line: 0, text: format!("{} lines could not be written while it was measured", seal.lost_lines) });
    }
}

/// SHA-256 as hexadecimal digits.
#[must_use]
pub fn hash(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
