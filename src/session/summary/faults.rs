//! What went wrong or changed, from everything that a measurement holds.

use serde::Serialize;

use crate::session::energy::{Basis, Series};
use crate::session::measurement::{Measurement, Part};
use crate::session::{Event, MeterKind, State};

/// Something to know when figures are read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fault {
    /// A word that stays the same between versions.
    pub code: String,
    /// The device it concerns.
    pub uuid: Option<String>,
    /// The node, where several were measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_name: Option<String>,
    /// When it was seen first, s of the session, or of the first that started.
    pub first_s: f64,
    /// How often.
    pub count: usize,
    /// What it was, for people; the first of them.
    pub text: String,
}

/// Collects faults: equal ones once, with how often they were seen.
struct Faults {
    found: Vec<Fault>,
    several: bool,
}

impl Faults {
    fn add(&mut self, time: f64, at: Option<&Part>, uuid: Option<&str>, code: &str, text: &str) {
        let host_name = at.filter(|_| self.several).map(|part| part.host_name().to_string());
        let is_same = |fault: &&mut Fault| fault.code == code && fault.uuid.as_deref() == uuid && fault.host_name == host_name;
        match self.found.iter_mut().find(is_same) {
            Some(fault) => fault.count += 1,
            None => {
                let (code, text, uuid) = (code.into(), text.into(), uuid.map(str::to_string));
                self.found.push(Fault { code, uuid, host_name, first_s: time, count: 1, text });
            }
        }
    }
}

/// The faults of a measurement.
pub(super) fn faults(measurement: &Measurement) -> Vec<Fault> {
    let mut out = Faults { found: Vec::new(), several: measurement.is_joined() };
    for (place, part) in measurement.parts.iter().enumerate() {
        for event in &part.session.events {
            if let Event::Fault { t_s, meter, code, text } = event {
                let meter = meter.and_then(|index| part.manifest().meters.get(index));
                out.add(t_s + part.offset, Some(part), meter.map(|meter| meter.uuid.as_str()), code, text);
            }
        }
        for (index, series) in part.series.iter().enumerate() {
            meter(&mut out, part, index, series);
        }
        for finding in measurement.marks.findings.iter().filter(|_| place == measurement.marker) {
            out.add(finding.time, Some(part), None, finding.code, &finding.text);
        }
        for defect in &part.session.defects {
            let place = if defect.line > 0 { format!("{} line {}", defect.file, defect.line) } else { defect.file.to_string() };
            out.add(part.offset, Some(part), None, "file_defect", &format!("{place}: {}", defect.text));
        }
        if part.session.state == State::Recovered {
            let text = "the session has no seal: the collector was cut short or is still at work";
            out.add(part.session.last_time() + part.offset, Some(part), None, "recovered", text);
        }
    }
    if measurement.is_joined() {
        phases(&mut out, measurement);
    }
    for joint in &measurement.joints {
        out.add(joint.finding.time, None, joint.uuid.as_deref(), joint.finding.code, &joint.finding.text);
    }
    out.found
}

fn meter(out: &mut Faults, part: &Part, index: usize, series: &Series) {
    let meter = &part.manifest().meters[index];
    let run = part.run;
    let mut add = |time: f64, code: &str, text: &str| out.add(time + part.offset, Some(part), Some(&meter.uuid), code, text);
    for finding in &series.findings {
        add(finding.time, finding.code, &finding.text);
    }
    if meter.kind != MeterKind::Gpu {
        return;
    }
    let instances = meter.instances.len();
    if instances > 0 {
        let text = format!("the device is divided into {instances} instances: energy is of the whole device");
        add(run.0, "divided_device", &text);
    }
    if series.basis == Basis::Tdp {
        let text = "no energy counter and no power reading: the power limit times the time, an upper bound";
        add(run.0, "energy_not_measured", text);
        return;
    }
    let missing = run.1 - run.0 - series.covered(run.0, run.1);
    if missing > slack(part) {
        let text = format!("readings cover {:.1} of {:.1} s: energy of the rest is missing", series.covered(run.0, run.1), run.1 - run.0);
        add(run.1 - missing, "energy_incomplete", &text);
    }
    if let Some(gap) = series.disagrees(run.0, run.1) {
        let text = format!("power readings sum to {:+.1} % of what the energy counter says", 100.0 * gap);
        add(run.0, "counter_and_power_differ", &text);
    }
}

/// What readings may lack at the edges of a stretch, s.
fn slack(part: &Part) -> f64 {
    2.0 * part.manifest().interval_s + 0.01
}

/// Phases of one node that the readings of another do not cover: it started later or ended before.
fn phases(out: &mut Faults, measurement: &Measurement) {
    for device in measurement.devices(MeterKind::Gpu).filter(|device| device.first().series().basis != Basis::Tdp) {
        let (part, uuid) = (device.first().part, &device.first().meter().uuid);
        for (name, times) in measurement.marks.by_name() {
            let whole: f64 = times.iter().map(|phase| phase.end - phase.begin).sum();
            let covered: f64 = times.iter().map(|phase| device.covered(phase.begin, phase.end)).sum();
            if whole - covered > slack(part) {
                let text = format!("readings cover {covered:.1} of {whole:.1} s of phase {name}: energy of the rest is missing");
                out.add(times[0].begin, Some(part), Some(uuid), "phase_incomplete", &text);
            }
        }
    }
}
