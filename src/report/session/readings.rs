//! Every reading, decoded, for a spreadsheet.

use std::io::{self, Write};

use super::export::{Export, cell};
use crate::session::energy::Basis;
use crate::session::measurement::{Measurement, Part, Reading};
use crate::session::{MeterKind, Sample, Window, throttle};
use crate::units::calendar;

const COLUMNS: [&str; 32] = [
    "session",
    "host",
    "time_utc",
    "time_unix_s",
    "session_s",
    "window",
    "phase",
    "device_kind",
    "device_uuid",
    "device_name",
    "counted",
    "energy_basis",
    "energy_j",
    "power_w",
    "average_power_w",
    "power_limit_w",
    "memory_bytes",
    "utilization_percent",
    "memory_utilization_percent",
    "sm_clock_mhz",
    "memory_clock_mhz",
    "temperature_c",
    "throttle_reasons",
    "processes",
    "processor_time_s",
    "pcie_sent_bytes_per_s",
    "pcie_received_bytes_per_s",
    "nvlink_sent_bytes_per_s",
    "nvlink_received_bytes_per_s",
    "sm_active_percent",
    "tensor_active_percent",
    "dram_active_percent",
];

/// Writes a row a reading: meter after meter, each in order of time.
pub(super) fn write(export: &Export<'_>, out: &mut dyn Write) -> io::Result<Vec<String>> {
    let mut table = csv::Writer::from_writer(out);
    table.write_record(COLUMNS)?;
    let mut rows = 0;
    for measurement in export.measurements {
        for reading in measurement.readings() {
            let moments = Moments::of(measurement, reading.part);
            for sample in &reading.part.session.samples[reading.index] {
                table.write_record(row(&reading, sample, &moments))?;
                rows += 1;
            }
        }
    }
    table.flush()?;
    Ok(if rows == 0 { vec!["no reading: nothing that could be read is on this machine".to_string()] } else { Vec::new() })
}

fn row(reading: &Reading<'_>, sample: &Sample, moments: &Moments<'_>) -> Vec<String> {
    let (manifest, meter, slow) = (reading.part.manifest(), reading.meter(), &sample.slow);
    let unix = manifest.started_unix_s + sample.time;
    // A limit is no reading.
    let series = Some(reading.series()).filter(|series| series.basis != Basis::Tdp);
    let reasons = |bits: f64| if bits == 0.0 { "none".to_string() } else { throttle::names(bits).join("+") };
    let is_counted = meter.is_added() && reading.counts(sample.time);
    vec![
        manifest.id.clone(),
        reading.part.host_name().to_string(),
        utc(unix),
        format!("{unix:.6}"),
        format!("{:.6}", sample.time),
        moments.window(sample.time).to_string(),
        moments.phase(sample.time),
        kind(meter.kind).to_string(),
        meter.uuid.clone(),
        meter.name.clone(),
        if is_counted { "yes" } else { "no" }.to_string(),
        series.map_or("", |series| if series.basis == Basis::Counter { "counter" } else { "samples" }).to_string(),
        series.and_then(|series| series.energy(f64::NEG_INFINITY, sample.time)).map_or(String::new(), |joules| format!("{joules:.3}")),
        cell(sample.power),
        cell(slow.average_power),
        cell(slow.limit),
        cell(slow.memory),
        cell(slow.utilization),
        cell(slow.memory_utilization),
        cell(slow.sm_clock),
        cell(slow.memory_clock),
        cell(slow.temperature),
        slow.throttle.map_or(String::new(), reasons),
        cell(slow.processes),
        cell(slow.cpu),
        cell(slow.pcie_sent),
        cell(slow.pcie_received),
        cell(slow.nvlink_sent),
        cell(slow.nvlink_received),
        cell(slow.sm_active),
        cell(slow.tensor_active),
        cell(slow.dram_active),
    ]
}

/// The moment as ISO 8601 writes it, to the millisecond.
fn utc(unix: f64) -> String {
    let milliseconds = (unix.max(0.0) * 1000.0).round() as u64;
    let whole = calendar::timestamp(milliseconds / 1000);
    format!("{}.{:03}Z", whole.trim_end_matches('Z'), milliseconds % 1000)
}

fn kind(kind: MeterKind) -> &'static str {
    match kind {
        MeterKind::Gpu => "gpu",
        MeterKind::Host => "host",
        MeterKind::HostPart => "host_part",
        MeterKind::Process => "process",
    }
}

/// What stands at each moment of a session.
struct Moments<'a> {
    windows: Vec<(&'static str, (f64, f64))>,
    /// Which phases are open from a moment on.
    phases: Vec<(f64, Vec<&'a str>)>,
}

impl<'a> Moments<'a> {
    fn of(measurement: &'a Measurement, part: &Part) -> Self {
        let windows = [(Window::Run, "run"), (Window::IdleBefore, "idle_before"), (Window::IdleAfter, "idle_after")];
        let windows = windows.into_iter().filter_map(|(window, name)| Some((name, part.session.window(window)?))).collect();
        // An end before a beginning of the same moment.
        let all = measurement.marks.phases.iter().enumerate().filter(|(_, phase)| phase.end > phase.begin);
        let mut edges: Vec<(f64, bool, usize)> =
            all.flat_map(|(place, phase)| [(phase.begin, true, place), (phase.end, false, place)]).collect();
        edges.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)).then(one.2.cmp(&other.2)));
        let mut open: Vec<usize> = Vec::new();
        let mut phases = Vec::new();
        for (time, begins, place) in edges {
            if begins {
                open.push(place)
            } else {
                open.retain(|known| *known != place)
            }
            let names = open.iter().map(|place| measurement.marks.phases[*place].name.as_str()).collect();
            phases.push((time - part.offset, names));
        }
        Self { windows, phases }
    }

    fn window(&self, time: f64) -> &'static str {
        let found = self.windows.iter().find(|(_, (begin, end))| (*begin..=*end).contains(&time));
        found.map_or("", |(name, _)| name)
    }

    /// The phases that are open, the outermost first.
    fn phase(&self, time: f64) -> String {
        let after = self.phases.partition_point(|(begin, _)| *begin <= time);
        after.checked_sub(1).map_or(String::new(), |place| self.phases[place].1.join(" > "))
    }
}
