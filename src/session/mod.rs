//! The format of a measurement session: what a collector writes, what a reader makes of it, and how sure each figure is.
//!
//! A session is a folder. `manifest.json` says what was measured where and by which means; `samples.csv` holds the readings of every
//! meter and `events.jsonl` what happened, both only ever appended to; `marks.txt` is where the measured program writes what the
//! collector copies into the events; `seal.json` ends the session with the hash of each. A session without a seal was cut short: it is read up to its last whole line.
//! Nothing here touches a file: the texts come from `measure` and `store`.

pub mod energy;
pub mod event;
mod host;
pub mod manifest;
pub mod mark;
pub mod measurement;
pub mod merged;
pub mod phase;
pub mod sample;
pub mod summary;
pub mod table;
pub mod throttle;

pub mod read;

pub use event::{Event, Window};
pub use manifest::{Manifest, Meter, MeterKind};
pub use measurement::Measurement;
pub use read::{Defect, Seal, Session, State, Texts};
pub use sample::Sample;
pub use summary::Summary;

/// The version of the format.
pub const SCHEMA: u32 = 1;

/// The files of a session, as they are named in its folder.
pub const MANIFEST: &str = "manifest.json";
/// Readings of the meters.
pub const SAMPLES: &str = "samples.csv";
/// What happened.
pub const EVENTS: &str = "events.jsonl";
/// Where the measured program writes marks.
pub const MARKS: &str = "marks.txt";
/// The end, with the hashes of the others.
pub const SEAL: &str = "seal.json";
