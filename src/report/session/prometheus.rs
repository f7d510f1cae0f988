//! Prometheus' text format 0.0.4, for the textfile collector of node_exporter.
//!
//! Rules: prometheus.io/docs/instrumenting/exposition_formats (all lines of a metric in one group, HELP and TYPE first, `\`, `"` and line
//! feeds of a label escaped) and prometheus.io/docs/practices/naming (base units, `_total` for what only adds up). No sample has a time:
//! the textfile collector refuses files with times (prometheus/node_exporter, pull request 769). What is not known has no sample.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::export::Export;
use crate::session::energy::Basis;
use crate::session::summary::Gpu;
use crate::session::{Measurement, State, Summary};

/// A metric: name, type, help.
struct Metric(&'static str, &'static str, &'static str);

const RUN_INFO: Metric = Metric("lowcarb_run_info", "gauge", "A measured run, always 1; state is complete or recovered.");
const RUN_START: Metric =
    Metric("lowcarb_run_start_time_seconds", "gauge", "When the first session of the run started, seconds since 1970, UTC.");
const RUN_DURATION: Metric = Metric("lowcarb_run_duration_seconds", "gauge", "How long the measured program ran.");
const RUN_EXIT: Metric = Metric("lowcarb_run_exit_code", "gauge", "Exit code of the measured program.");
const RUN_FAULTS: Metric = Metric("lowcarb_run_faults", "gauge", "How often something went wrong or changed, by code.");
const GPU_ENERGY: Metric = Metric(
    "lowcarb_gpu_energy_joules_total",
    "counter",
    "Energy of an accelerator while the measured program ran; basis counter or samples is measured, limit is an upper bound.",
);
const GPU_ACTIVE: Metric = Metric("lowcarb_gpu_active_energy_joules", "gauge", "The part of that energy above idle power.");
const GPU_MEAN: Metric = Metric("lowcarb_gpu_mean_power_watts", "gauge", "Mean power while the measured program ran.");
const GPU_IDLE: Metric = Metric("lowcarb_gpu_idle_power_watts", "gauge", "Power before the measured program started, or after it ended.");
const GPU_LIMIT: Metric = Metric("lowcarb_gpu_power_limit_watts", "gauge", "Power limit when the session started.");
const GPU_MEMORY: Metric = Metric("lowcarb_gpu_peak_memory_bytes", "gauge", "Largest memory in use.");
const GPU_USE: Metric = Metric("lowcarb_gpu_utilization_ratio", "gauge", "Mean share of time with a kernel running, 0 to 1.");
const GPU_TEMPERATURE: Metric = Metric("lowcarb_gpu_peak_temperature_celsius", "gauge", "Highest temperature of the chip.");
const HOST_ENERGY: Metric = Metric(
    "lowcarb_host_energy_joules_total",
    "counter",
    "Energy of processors and memory while the measured program ran; added is no where it is inside another or all of the platform.",
);
const PHASE_ENERGY: Metric =
    Metric("lowcarb_phase_gpu_energy_joules_total", "counter", "Energy of an accelerator in a phase, with the phases inside it.");
const PHASE_DURATION: Metric = Metric("lowcarb_phase_duration_seconds_total", "counter", "Time in a phase.");
const PHASE_COUNT: Metric = Metric("lowcarb_phase_runs_total", "counter", "How often a phase ran.");
const STEPS: Metric = Metric("lowcarb_steps_total", "counter", "Steps that were marked in a phase.");
const STEP_TIME: Metric = Metric("lowcarb_step_median_seconds", "gauge", "Half of the steps of a phase took less.");
const STEP_ENERGY: Metric = Metric("lowcarb_step_gpu_energy_joules", "gauge", "Mean energy of a step of a phase, over all accelerators.");

/// In the order in which they are written.
const METRICS: [Metric; 20] = [
    RUN_INFO,
    RUN_START,
    RUN_DURATION,
    RUN_EXIT,
    RUN_FAULTS,
    GPU_ENERGY,
    GPU_ACTIVE,
    GPU_MEAN,
    GPU_IDLE,
    GPU_LIMIT,
    GPU_MEMORY,
    GPU_USE,
    GPU_TEMPERATURE,
    HOST_ENERGY,
    PHASE_ENERGY,
    PHASE_DURATION,
    PHASE_COUNT,
    STEPS,
    STEP_TIME,
    STEP_ENERGY,
];

type Labels<'a> = Vec<(&'static str, &'a str)>;

/// Samples by metric, each line once: what has the same labels is the same series.
#[derive(Default)]
struct Samples {
    by_metric: BTreeMap<&'static str, BTreeMap<String, f64>>,
}

impl Samples {
    fn add(&mut self, metric: &Metric, labels: &Labels<'_>, value: Option<f64>) {
        let Some(value) = value.filter(|value| value.is_finite()) else { return };
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        self.by_metric.entry(metric.0).or_default().insert(labels.join(","), value);
    }
}

/// Writes every metric of which something is known.
pub(super) fn write(export: &Export<'_>, out: &mut dyn Write) -> io::Result<Vec<String>> {
    let mut samples = Samples::default();
    let mut problems = Vec::new();
    for measurement in export.measurements {
        let summary = Summary::of(measurement);
        run(&mut samples, &summary);
        summary.gpus.iter().for_each(|gpu| device(&mut samples, &summary, gpu));
        host(&mut samples, &summary);
        phases(&mut samples, measurement, &summary);
        problems.extend(summary.missing.iter().map(|missing| format!("{}: without {missing}", summary.id)));
    }
    for Metric(name, kind, help) in METRICS {
        let Some(found) = samples.by_metric.get(name) else { continue };
        writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")?;
        for (labels, value) in found {
            writeln!(out, "{name}{{{labels}}} {value}")?;
        }
    }
    Ok(problems)
}

fn run(samples: &mut Samples, summary: &Summary) {
    let labels: Labels<'_> = vec![("session", &summary.id), ("host", &summary.host_name)];
    let mut info = labels.clone();
    let command = summary.command.join(" ");
    info.push(("state", if summary.state == State::Complete { "complete" } else { "recovered" }));
    info.push(("command", &command));
    samples.add(&RUN_INFO, &info, Some(1.0));
    samples.add(&RUN_START, &labels, Some(summary.started_unix_s));
    samples.add(&RUN_DURATION, &labels, Some(summary.duration_s));
    samples.add(&RUN_EXIT, &labels, summary.exit_code.map(f64::from));
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for fault in &summary.faults {
        *counts.entry(&fault.code).or_default() += fault.count;
    }
    for (code, count) in counts {
        let mut labels = labels.clone();
        labels.push(("code", code));
        samples.add(&RUN_FAULTS, &labels, Some(count as f64));
    }
}

fn device(samples: &mut Samples, summary: &Summary, gpu: &Gpu) {
    let host = gpu.host_name.as_ref().unwrap_or(&summary.host_name);
    let labels: Labels<'_> = vec![("uuid", &gpu.uuid), ("name", &gpu.name), ("host", host), ("session", &summary.id)];
    let basis = match gpu.energy_basis {
        Basis::Counter => "counter",
        Basis::Samples => "samples",
        Basis::Tdp => "limit",
    };
    let mut energy = labels.clone();
    energy.push(("basis", basis));
    samples.add(&GPU_ENERGY, &energy, gpu.energy_j);
    samples.add(&GPU_ACTIVE, &labels, gpu.active_energy_j);
    samples.add(&GPU_MEAN, &labels, gpu.mean_w.filter(|_| gpu.energy_basis != Basis::Tdp));
    samples.add(&GPU_IDLE, &labels, gpu.idle_w);
    samples.add(&GPU_LIMIT, &labels, gpu.limit_w);
    samples.add(&GPU_MEMORY, &labels, gpu.peak_memory_bytes);
    samples.add(&GPU_USE, &labels, gpu.mean_utilization_percent.map(|percent| percent / 100.0));
    samples.add(&GPU_TEMPERATURE, &labels, gpu.peak_temperature_c);
    for phase in &gpu.phases {
        let mut labels = energy.clone();
        labels.push(("phase", &phase.name));
        samples.add(&PHASE_ENERGY, &labels, phase.energy_j);
    }
}

fn host(samples: &mut Samples, summary: &Summary) {
    for domain in &summary.host.domains {
        let host = domain.host_name.as_ref().unwrap_or(&summary.host_name);
        let added = if domain.added { "yes" } else { "no" };
        let labels = vec![("domain", domain.name.as_str()), ("added", added), ("host", host), ("session", &summary.id)];
        samples.add(&HOST_ENERGY, &labels, domain.energy_j);
    }
}

fn phases(samples: &mut Samples, measurement: &Measurement, summary: &Summary) {
    let mut add = |metric: &Metric, phase: &str, value: Option<f64>| {
        samples.add(metric, &vec![("phase", phase), ("host", &summary.host_name), ("session", &summary.id)], value);
    };
    for (name, times) in measurement.marks.by_name() {
        add(&PHASE_DURATION, name, Some(times.iter().map(|phase| phase.end - phase.begin).sum()));
        add(&PHASE_COUNT, name, Some(times.len() as f64));
    }
    for steps in &summary.steps {
        add(&STEPS, &steps.phase, Some(steps.count as f64));
        add(&STEP_TIME, &steps.phase, Some(steps.median_s));
        add(&STEP_ENERGY, &steps.phase, steps.energy_j);
    }
}

/// A label's value as the format writes it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
