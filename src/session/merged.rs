//! `merged.json`: which sessions lie beside it, as copies to the byte, and how they are one measurement.
//!
//! Sessions stay what they are, with their seals: a joined session would be a new one that nobody measured. What is computed from
//! them is computed from the copies each time, so this file holds nothing that could come to disagree with them but their identities.

use serde::{Deserialize, Serialize};

use super::measurement::Measurement;
use super::{SCHEMA, State};
use crate::document::{Diagnostic, Origin};

/// The file of a folder of merged sessions.
pub const MERGED: &str = "merged.json";
/// What is taken for granted of the clocks.
const CLOCKS: &str = "the wall clocks of the nodes are taken to agree; an error of one moves the edges of phases that another node marked, \
                      and no total";

/// What `merged.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Merged {
    /// Version of the form.
    pub schema: u32,
    /// The program that merged, with its version.
    pub program: String,
    /// Tells these sessions together from every other measurement.
    pub id: String,
    /// The sessions, in the order in which they started.
    pub parts: Vec<MergedPart>,
    /// What is assumed of the clocks.
    pub clocks: String,
    /// What was found when they were joined: what counts once though it was measured twice, whose marks are left out.
    pub findings: Vec<String>,
    /// Sessions that were given and are not here.
    pub left_out: Vec<LeftOut>,
}

/// One session of several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MergedPart {
    /// Its folder beside this file.
    pub folder: String,
    /// The session.
    pub id: String,
    /// Its node.
    pub host_name: String,
    /// How long after the first session it started, s, by the wall clocks of both nodes.
    pub offset_s: f64,
    /// Whether it was sealed.
    pub sealed: bool,
}

/// A session that was given and is not kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// The session.
    pub id: String,
    /// Where it was.
    pub folder: String,
    /// Why.
    pub why: String,
}

impl Merged {
    /// The description of a measurement whose parts lie in these folders.
    #[must_use]
    pub fn of(measurement: &Measurement, folders: &[String], left_out: Vec<LeftOut>, program: &str) -> Self {
        let parts = measurement.parts.iter().zip(folders).map(|(part, folder)| MergedPart {
            folder: folder.clone(),
            id: part.manifest().id.clone(),
            host_name: part.host_name().to_string(),
            offset_s: part.offset,
            sealed: part.session.state == State::Complete,
        });
        let finding = |joint: &super::measurement::Joint| {
            let device = joint.uuid.as_ref().map(|uuid| format!("{uuid}: ")).unwrap_or_default();
            format!("{}: {device}{}", joint.finding.code, joint.finding.text)
        };
        Self {
            schema: SCHEMA,
            program: program.to_string(),
            id: measurement.id(),
            parts: parts.collect(),
            clocks: CLOCKS.to_string(),
            findings: measurement.joints.iter().map(finding).collect(),
            left_out,
        }
    }

    /// The text of the file.
    #[must_use]
    pub fn text(&self) -> String {
        // No map in it has keys that are no text, so this is always JSON.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Reads the file.
    ///
    /// # Errors
    /// It is none of this version, has no part, or names a folder that is not beside it.
    pub fn read(file: &str, text: &str) -> Result<Self, Diagnostic> {
        let wrong = |line: usize, key: &str, found: String, allowed: &str| Diagnostic::new(&Origin::line(file, line), key, found, allowed);
        let written = "what `lowcarb session merge` writes";
        let value: serde_json::Value = serde_json::from_str(text).map_err(|error| wrong(error.line(), "", error.to_string(), written))?;
        match value.get("schema").and_then(serde_json::Value::as_u64) {
            Some(schema) if schema == u64::from(SCHEMA) => {}
            other => return Err(wrong(1, "schema", other.map_or("nothing".into(), |schema| schema.to_string()), "1")),
        }
        let merged: Self = serde_json::from_str(text).map_err(|error| wrong(error.line(), "", error.to_string(), written))?;
        if merged.parts.is_empty() {
            return Err(wrong(1, "parts", "none".into(), "one or more"));
        }
        // A path would reach beyond the folder that was checked.
        match merged.parts.iter().find(|part| !is_name(&part.folder)) {
            Some(part) => Err(wrong(1, "parts.folder", format!("\"{}\"", part.folder), "the name of a folder beside this file")),
            None => Ok(merged),
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('.') && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// Names of folders for sessions of these hosts, each once.
#[must_use]
pub fn folder_names(hosts: &[&str]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for host in hosts {
        let clean: String = host.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect();
        // Files have names of 255 bytes at most on Linux; room is left for a number.
        let clean: String = clean.trim_start_matches('.').chars().take(200).collect();
        let name = if clean.is_empty() { "node".to_string() } else { clean };
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !out.contains(name));
        out.push(free.unwrap_or(name));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_has_a_folder_of_its_own_and_none_leads_elsewhere() {
        let names = folder_names(&["a", "a", "a-2", "", "..", "x/../y", "A b", &"n".repeat(300)]);
        assert_eq!(names[..7], ["a", "a-2", "a-2-2", "node", "node-2", "x_.._y", "A_b"]);
        assert!(names.iter().all(|name| is_name(name) && name.len() < 255));
    }

    #[test]
    fn a_file_that_reaches_elsewhere_is_refused() {
        let part = |folder: &str| {
            format!(
                "{{\"schema\":1,\"program\":\"p\",\"id\":\"i\",\"clocks\":\"\",\"findings\":[],\"left_out\":[],\"parts\":[{{\"folder\":\"{folder}\",\
                 \"id\":\"i\",\"host_name\":\"h\",\"offset_s\":0,\"sealed\":true}}]}}"
            )
        };
        assert!(Merged::read("f", &part("node")).is_ok());
        for folder in ["../x", "/etc", "", ".", "a/b"] {
            let error = Merged::read("f", &part(folder)).unwrap_err().to_string();
            assert!(error.contains("parts.folder"), "{error}");
        }
        for (text, said) in [("{", "EOF"), ("{}", "schema"), ("{\"schema\":2}", "2"), ("{\"schema\":1}", "missing field")] {
            let error = Merged::read("f", text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
