//! What happened in a session: one JSON object a line.

use serde::{Deserialize, Serialize};

/// A stretch of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// The baseline before the measured program.
    IdleBefore,
    /// The measured program.
    Run,
    /// The baseline after it.
    IdleAfter,
}

/// One line of `events.jsonl`; times in seconds of the session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A stretch begins.
    Begin {
        /// When.
        t_s: f64,
        /// Which.
        window: Window,
    },
    /// A stretch ends.
    End {
        /// When.
        t_s: f64,
        /// Which.
        window: Window,
    },
    /// A line that the measured program wrote.
    Mark {
        /// When the collector saw it.
        t_s: f64,
        /// The line.
        line: String,
    },
    /// Something to know, and no fault.
    Note {
        /// When.
        t_s: f64,
        /// The meter that it concerns, where it concerns one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        meter: Option<usize>,
        /// For people.
        text: String,
    },
    /// Something went wrong or changed, and figures are to be read with it in mind.
    Fault {
        /// When.
        t_s: f64,
        /// The meter that it concerns, where it concerns one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        meter: Option<usize>,
        /// A word that stays the same between versions.
        code: String,
        /// What happened, for people.
        text: String,
    },
    /// The measured program ended.
    Exit {
        /// When.
        t_s: f64,
        /// Its exit code; 128 and the signal's number where a signal ended it.
        code: i32,
        /// Processor time of it and of what it waited for, s.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cpu_s: Option<f64>,
        /// The largest resident set of one process, bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        peak_memory_bytes: Option<u64>,
    },
}

impl Event {
    /// When it happened, in seconds of the session.
    #[must_use]
    pub fn time(&self) -> f64 {
        match self {
            Self::Begin { t_s, .. }
            | Self::End { t_s, .. }
            | Self::Mark { t_s, .. }
            | Self::Note { t_s, .. }
            | Self::Fault { t_s, .. }
            | Self::Exit { t_s, .. } => *t_s,
        }
    }
}
