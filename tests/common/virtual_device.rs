//! A device that takes and draws what the time and power model says at parameters that a test knows, and the session that a collector
//! would have written of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use lowcarb::calibrate::{Measured, RunTable, Schedule, Units, Workshop, class_default, fit};
use lowcarb::document::{Origin, Resolver};
use lowcarb::hardware::{Parameter, Performance, Precision};
use lowcarb::session::manifest::Meter;
use lowcarb::session::{EVENTS, Event, MANIFEST, Manifest, MeterKind, SAMPLES, SCHEMA, Sample, Window};
use lowcarb::store::Store;
use serde_json::{Map, Value};

/// A device with its true parameters, of tensor and of vector units.
pub struct Device {
    pub name: &'static str,
    pub idle: f64,
    pub truth: fn(Units) -> Vec<(Parameter, f64)>,
}

/// A phase of a session: its facts and what was measured.
pub struct Piece {
    pub table: &'static str,
    pub facts: Map<String, Value>,
    /// Seconds of a step or a call, and how many there were.
    pub seconds: f64,
    pub times: u64,
    pub watts: f64,
}

/// Noise with a standard deviation, ln, the same in every run of a test.
pub struct Noise {
    state: u64,
    pub deviation: f64,
}

impl Noise {
    pub fn new(seed: u64, deviation: f64) -> Self {
        Self { state: seed, deviation }
    }

    /// A factor around 1: the sum of twelve uniform numbers is nearly normal.
    pub fn factor(&mut self) -> f64 {
        let mut uniform = || {
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let normal = (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
        (self.deviation * normal).exp()
    }
}

impl Device {
    /// Seconds and watts of rows, by column, of a table of runs or of kernels.
    pub fn measure(&self, rows: &[Map<String, Value>]) -> Vec<(f64, f64)> {
        let store = Store::embedded();
        let defaults = Resolver::new(&store).data("hardware_profiles/class_defaults.toml", &Origin::whole("test")).unwrap();
        let class = Performance::read(&defaults).unwrap();
        let mut workshop = Workshop::new(Resolver::new(&store), &class);
        let accelerator = workshop.accelerator(self.name, &Origin::whole("test")).unwrap().clone();
        let values = |units: Units| {
            let precision = if units == Units::Vector { Precision::Fp32 } else { Precision::Bf16 };
            let mut values = class_default(&class, &accelerator, precision).values();
            for (parameter, value) in (self.truth)(units) {
                values[parameter as usize] = value;
            }
            values
        };
        let table = RunTable::read("truth", &text(rows), &[]).unwrap();
        let mut one = |row: &Measured| {
            let mut row = row.clone();
            let prepared = match &mut row {
                Measured::Run(run) => {
                    run.idle = Some(self.idle);
                    workshop.prepare(run, Schedule { micro_batch: run.micro_batch.unwrap(), interleaving: 1 }).unwrap()
                }
                Measured::Kernel(kernel) => {
                    kernel.idle = Some(self.idle);
                    let units = if kernel.precision == Some(Precision::Fp32) { Units::Vector } else { Units::Tensor };
                    match workshop.prepare_kernel(kernel, &accelerator, units).unwrap() {
                        Some(prepared) => prepared,
                        None => return (0.0, self.idle),
                    }
                }
            };
            let step = fit::step(&prepared, &values(prepared.units), None);
            // A cache makes what it holds faster.
            let cached = row.kernel().is_some_and(|kernel| kernel.is_cached());
            (step.seconds * if cached { 0.4 } else { 1.0 }, step.watts().unwrap())
        };
        table.rows.iter().map(|(_, row)| one(row.as_ref().unwrap())).collect()
    }
}

/// Rows as CSV.
fn text(rows: &[Map<String, Value>]) -> String {
    let mut columns: Vec<&String> = Vec::new();
    rows.iter().flat_map(Map::keys).for_each(|key| {
        if !columns.contains(&key) {
            columns.push(key);
        }
    });
    let cell = |value: Option<&Value>| match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let line = |row: &Map<String, Value>| columns.iter().map(|column| cell(row.get(*column))).collect::<Vec<_>>().join(",");
    let head = columns.iter().map(|column| column.as_str()).collect::<Vec<_>>().join(",");
    std::iter::once(head).chain(rows.iter().map(line)).map(|line| line + "\n").collect()
}

/// Writes a session in which the pieces ran one after the other on a device that reports this name, with nothing between them.
pub fn write_session(folder: &Path, reported: &str, idle: f64, pieces: &[Piece]) {
    let meter = Meter {
        kind: MeterKind::Gpu,
        name: reported.into(),
        uuid: "GPU-0".into(),
        counter_unit_j: None,
        counter_range: None,
        power: None,
        limit_w: Some(700.0),
        facts: BTreeMap::new(),
        capabilities: BTreeMap::new(),
        instances: Vec::new(),
    };
    let manifest = Manifest {
        schema: SCHEMA,
        id: "virtual".into(),
        program: "a test".into(),
        started_unix_s: 1.7e9,
        started_monotonic_s: 0.0,
        command: vec!["virtual".into()],
        process: None,
        working_folder: "/".into(),
        interval_s: 0.1,
        idle_s: 1.0,
        host: BTreeMap::new(),
        environment: BTreeMap::new(),
        meters: vec![meter],
        missing: Vec::new(),
    };
    let (mut samples, mut events) = (format!("{}\n", lowcarb::session::sample::HEADER).into_bytes(), Vec::new());
    let (mut time, mut joules) = (0.0, 0.0);
    let mut sample = |time: f64, joules: f64, watts: f64| {
        let row = Sample { time, power: Some(watts), sampled: Some(joules), ..Sample::default() };
        row.write(&mut samples);
    };
    sample(time, joules, idle);
    events.push(Event::Begin { t_s: time, window: Window::IdleBefore });
    (time, joules) = (time + 1.0, joules + idle);
    events.push(Event::End { t_s: time, window: Window::IdleBefore });
    events.push(Event::Begin { t_s: time, window: Window::Run });
    for (index, piece) in pieces.iter().enumerate() {
        let mut mark = |time: f64, line: String| events.push(Event::Mark { t_s: time, line });
        sample(time, joules, piece.watts);
        mark(time, format!("begin p{index} monotonic={time:.9}"));
        let mut facts = piece.facts.clone();
        // A device that runs nothing does so for two seconds.
        let lasts = if piece.times == 0 { 2.0 } else { piece.seconds * piece.times as f64 };
        if piece.table == "kernels" {
            facts.insert("calls".into(), piece.times.into());
        }
        let end = time + lasts;
        if piece.table == "runs" {
            mark(end, format!("step count={} monotonic={end:.9}", piece.times));
        }
        mark(end, format!("fact {} {}", piece.table, Value::Object(facts)));
        mark(end, format!("end p{index} monotonic={end:.9}"));
        (time, joules) = (end, joules + piece.watts * lasts);
        sample(time, joules, piece.watts);
    }
    events.push(Event::Exit { t_s: time, code: 0, cpu_s: None, peak_memory_bytes: None });
    events.push(Event::End { t_s: time, window: Window::Run });
    let lines: String = events.iter().map(|event| serde_json::to_string(event).unwrap() + "\n").collect();
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(MANIFEST), serde_json::to_string(&manifest).unwrap()).unwrap();
    fs::write(folder.join(SAMPLES), samples).unwrap();
    fs::write(folder.join(EVENTS), lines).unwrap();
}
