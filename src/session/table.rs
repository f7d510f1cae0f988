//! What a measured program said of itself, as rows of a table with what was measured beside it.

use serde_json::Value;

use super::energy::Basis;
use super::measurement::{Device, Measurement};
use super::phase::Phase;
use super::{MeterKind, State};

/// A table of text: columns, and rows of as many cells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// Their names.
    pub columns: Vec<String>,
    /// The cells.
    pub rows: Vec<Vec<String>>,
}

/// Columns that a measurement adds to the facts of a run.
const RUNS: [&str; 6] = ["source", "measured_s", "measured_w", "idle_w", "steps", "energy_j_per_step"];
/// Columns that it adds to the facts of a kernel; of one call.
const KERNELS: [&str; 6] = ["source", "device", "seconds", "measured_w", "idle_w", "energy_j"];

impl Table {
    /// Adds the rows of another, whose columns may be others.
    pub fn add(&mut self, other: Self) {
        for column in &other.columns {
            if !self.columns.contains(column) {
                self.columns.push(column.clone());
                self.rows.iter_mut().for_each(|row| row.push(String::new()));
            }
        }
        let places: Vec<Option<usize>> = self.columns.iter().map(|column| other.columns.iter().position(|known| known == column)).collect();
        let row = |row: &Vec<String>| places.iter().map(|place| place.map_or(String::new(), |place| row[place].clone())).collect();
        self.rows.extend(other.rows.iter().map(row));
    }

    /// Runs: a row for every phase that stated facts and marked steps. A step's time is the median, its power the mean of an
    /// accelerator. What has no time is named.
    #[must_use]
    pub fn runs(measurement: &Measurement, problems: &mut Vec<String>) -> Self {
        Self::of(measurement, "runs", &RUNS, problems, |measured, phase, facts| {
            let times = phase.step_times().ok_or("no step is marked in it")?;
            let last = phase.steps.last().map_or(phase.end, |step| step.end);
            let (watts, joules) = measured.power(phase.begin, last);
            let steps = phase.counted();
            // Joules of all accelerators: those of the facts, where nodes that are not here have some.
            let devices = facts.get("gpus").and_then(Value::as_f64).unwrap_or(measured.gpus.len() as f64);
            let share = devices / measured.gpus.len().max(1) as f64 / steps as f64;
            Ok(vec![
                measured.source.clone(),
                times.median.to_string(),
                cell(watts),
                cell(measured.idle),
                steps.to_string(),
                cell(joules.map(|joules| joules * share)),
            ])
        })
    }

    /// Kernels: a row for every phase that stated facts with the number of its calls. Without any call, as for an idle device, time and
    /// energy are of the phase.
    #[must_use]
    pub fn kernels(measurement: &Measurement, problems: &mut Vec<String>) -> Self {
        Self::of(measurement, "kernels", &KERNELS, problems, |measured, phase, facts| {
            let calls = facts.get("calls").and_then(Value::as_f64).filter(|calls| *calls >= 0.0).ok_or("it does not state its calls")?;
            let times = if calls > 0.0 { calls } else { 1.0 };
            let (watts, joules) = measured.power(phase.begin, phase.end);
            Ok(vec![
                measured.source.clone(),
                measured.device.clone(),
                ((phase.end - phase.begin) / times).to_string(),
                cell(watts),
                cell(measured.idle),
                cell(joules.map(|joules| joules / times)),
            ])
        })
    }

    fn of(
        measurement: &Measurement,
        name: &str,
        added: &[&str],
        problems: &mut Vec<String>,
        measure: impl Fn(&Measured<'_>, &Phase, &serde_json::Map<String, Value>) -> Result<Vec<String>, &'static str>,
    ) -> Self {
        let measured = Measured::of(measurement);
        let stated =
            || measurement.marks.phases.iter().flat_map(|phase| phase.facts.iter().map(move |(table, facts)| (phase, table, facts)));
        let mut columns: Vec<String> = Vec::new();
        let mut found = Vec::new();
        for (phase, _, facts) in stated().filter(|(_, table, _)| *table == name) {
            match measure(&measured, phase, facts) {
                Ok(cells) => {
                    for column in facts.keys().filter(|column| !added.contains(&column.as_str())) {
                        if !columns.contains(column) {
                            columns.push(column.clone());
                        }
                    }
                    found.push((facts, cells));
                }
                Err(why) => problems.push(format!("phase {}: {why}", phase.name)),
            }
        }
        let row = |(facts, cells): (&serde_json::Map<String, Value>, Vec<String>)| {
            columns.iter().map(|column| facts.get(column).map_or(String::new(), text)).chain(cells).collect()
        };
        let rows = found.into_iter().map(row).collect();
        columns.extend(added.iter().map(|column| (*column).to_string()));
        Self { columns, rows }
    }
}

/// What a measurement knows beside the marks.
struct Measured<'a> {
    source: String,
    device: String,
    gpus: Vec<Device<'a>>,
    idle: Option<f64>,
}

impl<'a> Measured<'a> {
    fn of(measurement: &'a Measurement) -> Self {
        let gpus: Vec<Device<'a>> = measurement.devices(MeterKind::Gpu).collect();
        let is_cut_short = measurement.parts.iter().any(|part| part.session.state == State::Recovered);
        let state = if is_cut_short { ", recovered" } else { "" };
        let idle = gpus.iter().map(Device::idle_power).sum::<Option<f64>>().filter(|_| !gpus.is_empty());
        Self {
            source: format!("session {}{state}", measurement.id()),
            device: gpus.first().map(|device| device.first().meter().name.clone()).unwrap_or_default(),
            idle: idle.map(|watts| watts / gpus.len() as f64),
            gpus,
        }
    }

    /// Mean power of an accelerator over a stretch, W, and energy of all, J; nothing where one was not measured: a limit is no
    /// measurement.
    fn power(&self, begin: f64, end: f64) -> (Option<f64>, Option<f64>) {
        let is_measured =
            |device: &&Device<'_>| device.first().series().basis != Basis::Tdp && device.covered(begin, end) > 0.98 * (end - begin);
        let joules = self.gpus.iter().map(|device| Some(device).filter(is_measured)?.energy(begin, end)).sum::<Option<f64>>();
        let joules = joules.filter(|_| end > begin && !self.gpus.is_empty());
        (joules.map(|joules| joules / (end - begin) / self.gpus.len() as f64), joules)
    }
}

fn cell(value: Option<f64>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
