//! What a measurement says: energy and power by device and phase, steps, what is missing, and how sure each figure is.

mod faults;
mod gpu;
mod host;
mod steps;

use serde::Serialize;

pub use faults::Fault;
pub use gpu::{Gpu, PhaseEnergy, SENSOR};
pub use host::{Domain, Host};
pub use steps::Steps;

use super::measurement::{Device, Measurement, Part};
use super::{MeterKind, State};

/// The figures of a measurement; keys carry their unit. What is said of a session is said of all of its nodes together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Version of this form.
    pub schema: u32,
    /// The session.
    pub id: String,
    /// What was run.
    pub command: Vec<String>,
    /// The machine, or all of them.
    pub host_name: String,
    /// When it started, seconds since 1970, UTC.
    pub started_unix_s: f64,
    /// Whether it reached its end; of several sessions, whether all did.
    pub state: State,
    /// The exit code of the measured program; nothing where it was not seen to end. Of several sessions, that of the first to end with
    /// one that is not 0.
    pub exit_code: Option<i32>,
    /// How long the measured program ran, s; from its first start to its last end by the wall clocks of its nodes.
    pub duration_s: f64,
    /// Energy of accelerators and host while it ran, J; nothing where nothing could be read.
    pub energy_j: Option<f64>,
    /// What `energy_j` lacks.
    pub missing: Vec<String>,
    /// Accelerators.
    pub gpus: Vec<Gpu>,
    /// Processors and memory.
    pub host: Host,
    /// Steps, by phase.
    pub steps: Vec<Steps>,
    /// What went wrong or changed.
    pub faults: Vec<Fault>,
    /// The sessions, where several were joined.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartSummary>,
}

/// One session of several.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartSummary {
    /// The session.
    pub id: String,
    /// Its node.
    pub host_name: String,
    /// When it started, seconds since 1970, UTC, by the node's wall clock.
    pub started_unix_s: f64,
    /// Whether it reached its end.
    pub state: State,
    /// The exit code of its program.
    pub exit_code: Option<i32>,
    /// How long its program ran, s.
    pub duration_s: f64,
}

impl Summary {
    /// The figures of a measurement.
    #[must_use]
    pub fn of(measurement: &Measurement) -> Self {
        let several = measurement.is_joined();
        let devices: Vec<Device<'_>> = measurement.devices(MeterKind::Gpu).collect();
        let named = |device: &Device<'_>| several.then(|| device.first().part.host_name().to_string());
        let gpus: Vec<Gpu> = devices.iter().map(|device| Gpu::of(device, &measurement.marks, named(device))).collect();
        let host = Host::of(measurement);
        let parts = gpus.iter().map(|gpu| gpu.energy_j).chain([host.energy_j]);
        let energy_j = parts.flatten().fold(None, |sum: Option<f64>, part| Some(sum.unwrap_or(0.0) + part));
        let (begin, end) = measurement.span();
        let mut hosts: Vec<&str> = Vec::new();
        for part in &measurement.parts {
            if !hosts.contains(&part.host_name()) {
                hosts.push(part.host_name());
            }
        }
        Self {
            schema: super::SCHEMA,
            id: measurement.id(),
            command: measurement.parts[measurement.marker].manifest().command.clone(),
            host_name: hosts.join(", "),
            started_unix_s: measurement.started_unix_s(),
            state: state(measurement),
            exit_code: exit_code(measurement),
            duration_s: end - begin,
            energy_j,
            missing: missing(measurement, &gpus),
            steps: steps::steps(&measurement.marks, &devices),
            faults: faults::faults(measurement),
            parts: if several { measurement.parts.iter().map(part).collect() } else { Vec::new() },
            gpus,
            host,
        }
    }
}

fn part(part: &Part) -> PartSummary {
    PartSummary {
        id: part.manifest().id.clone(),
        host_name: part.host_name().to_string(),
        started_unix_s: part.manifest().started_unix_s,
        state: part.session.state,
        exit_code: part.exit().map(|(code, ..)| code),
        duration_s: part.run.1 - part.run.0,
    }
}

fn state(measurement: &Measurement) -> State {
    let is_cut_short = measurement.parts.iter().any(|part| part.session.state == State::Recovered);
    if is_cut_short { State::Recovered } else { State::Complete }
}

/// That of the first program to end with one that is not 0; nothing where one was not seen to end.
fn exit_code(measurement: &Measurement) -> Option<i32> {
    let mut by_end: Vec<(f64, Option<i32>)> =
        measurement.parts.iter().map(|part| (part.span().1, part.exit().map(|(code, ..)| code))).collect();
    by_end.sort_by(|one, other| one.0.total_cmp(&other.0));
    let codes = || by_end.iter().map(|(_, code)| *code);
    codes().flatten().find(|code| *code != 0).or_else(|| codes().collect::<Option<Vec<_>>>()?.first().copied())
}

/// What the sum of energies lacks.
fn missing(measurement: &Measurement, gpus: &[Gpu]) -> Vec<String> {
    let several = measurement.is_joined();
    let said = |part: &Part, text: &str| if several { format!("{}: {text}", part.host_name()) } else { text.to_string() };
    let mut out: Vec<String> = Vec::new();
    for part in &measurement.parts {
        out.extend(part.manifest().missing.iter().map(|text| said(part, text)));
    }
    out.extend(gpus.iter().filter(|gpu| gpu.energy_j.is_none()).map(|gpu| format!("energy of {} {}", gpu.name, gpu.uuid)));
    out.dedup();
    out
}
