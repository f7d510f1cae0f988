//! Sessions of nodes that nobody has, written as the format says: known power, known clocks, sealed or cut short.

use std::collections::BTreeMap;
use std::path::Path;

use lowcarb::session::manifest::PowerSource;
use lowcarb::session::read::{Seal, hash};
use lowcarb::session::sample::{HEADER, Slow};
use lowcarb::session::{EVENTS, Event, MANIFEST, Manifest, Meter, MeterKind, SAMPLES, SCHEMA, SEAL, Sample, Window};

/// When the tests' runs start, seconds since 1970.
pub const START: f64 = 1_800_000_000.0;
/// Seconds of the baselines.
pub const IDLE: f64 = 1.0;
/// Power before and after the run, W.
pub const IDLE_WATTS: f64 = 50.0;

/// A session; times in seconds after [`START`].
#[derive(Clone)]
pub struct Node {
    pub id: &'static str,
    pub host: &'static str,
    /// What tells its machine, where the session says it.
    pub boot: Option<&'static str>,
    /// When its measured program ran.
    pub run: (f64, f64),
    /// The monotonic clock at [`START`].
    pub monotonic: f64,
    /// Accelerators, and what they draw while it runs, W.
    pub gpus: Vec<(&'static str, f64)>,
    /// What a package and its memory draw, W.
    pub processors: Option<f64>,
    /// When its program wrote what.
    pub marks: Vec<(f64, String)>,
    pub exit: Option<i32>,
    pub sealed: bool,
}

/// A node that runs ten seconds with one accelerator of 300 W.
pub fn node(id: &'static str, host: &'static str, gpu: &'static str) -> Node {
    let gpus = vec![(gpu, 300.0)];
    Node {
        id,
        host,
        boot: None,
        run: (0.0, 10.0),
        monotonic: 1000.0,
        gpus,
        processors: None,
        marks: Vec::new(),
        exit: Some(0),
        sealed: true,
    }
}

fn meter(kind: MeterKind, name: &str, uuid: &str) -> Meter {
    let (facts, capabilities) = (BTreeMap::new(), BTreeMap::new());
    let power = (kind == MeterKind::Gpu).then_some(PowerSource::Instant);
    let limit_w = (kind == MeterKind::Gpu).then_some(700.0);
    let (name, uuid) = (name.to_string(), uuid.to_string());
    let instances = Vec::new();
    Meter { kind, name, uuid, counter_unit_j: Some(1e-3), counter_range: None, power, limit_w, facts, capabilities, instances }
}

impl Node {
    /// The same session with marks.
    pub fn marks(mut self, marks: &[(f64, &str)]) -> Self {
        self.marks = marks.iter().map(|(time, line)| (*time, (*line).to_string())).collect();
        self
    }

    /// When the session starts, s after [`START`].
    fn begin(&self) -> f64 {
        self.run.0 - IDLE
    }

    fn meters(&self) -> Vec<(Meter, f64)> {
        let gpus = self.gpus.iter().map(|(uuid, watts)| (meter(MeterKind::Gpu, "NVIDIA H100 80GB HBM3", uuid), *watts));
        let of = |watts| [("package-0", 0.8 * watts), ("package-0/dram", 0.2 * watts)];
        let host = self
            .processors
            .into_iter()
            .flat_map(of)
            .map(|(name, watts)| (meter(MeterKind::Host, name, &format!("{}/{name}", self.host)), watts));
        gpus.chain(host).collect()
    }

    fn missing(&self) -> Vec<String> {
        let without = [(self.gpus.is_empty(), "GPUs: no driver"), (self.processors.is_none(), "energy counters of the host: none")];
        without.iter().filter(|(is_missing, _)| *is_missing).map(|(_, text)| (*text).to_string()).collect()
    }

    /// Writes it.
    pub fn write(&self, folder: &Path) {
        std::fs::create_dir_all(folder).unwrap();
        let host = [("name", Some(self.host)), ("boot_id", self.boot), ("memory_bytes", Some("68719476736"))];
        let manifest = Manifest {
            schema: SCHEMA,
            id: self.id.into(),
            program: "lowcarb test".into(),
            started_unix_s: START + self.begin(),
            started_monotonic_s: self.monotonic + self.begin(),
            command: vec!["python".into(), "train.py".into()],
            process: None,
            working_folder: "/work".into(),
            interval_s: 0.1,
            idle_s: IDLE,
            host: host.iter().filter_map(|(key, value)| Some(((*key).to_string(), (*value)?.to_string()))).collect(),
            environment: BTreeMap::new(),
            meters: self.meters().into_iter().map(|(meter, _)| meter).collect(),
            missing: self.missing(),
        };
        let texts = [
            (MANIFEST, serde_json::to_string_pretty(&manifest).unwrap() + "\n"),
            (SAMPLES, self.samples()),
            (EVENTS, self.events().iter().map(|event| serde_json::to_string(event).unwrap() + "\n").collect()),
        ];
        let mut sha256 = BTreeMap::new();
        for (name, text) in &texts {
            std::fs::write(folder.join(name), text).unwrap();
            sha256.insert((*name).to_string(), hash(text.as_bytes()));
        }
        if self.sealed {
            let ended_s = self.run.1 + IDLE - self.begin();
            let ended_unix_s = START + self.run.1 + IDLE;
            let seal = Seal { schema: SCHEMA, id: self.id.into(), ended_unix_s, ended_s, sha256, lost_lines: 0 };
            std::fs::write(folder.join(SEAL), serde_json::to_string_pretty(&seal).unwrap() + "\n").unwrap();
        }
    }

    fn samples(&self) -> String {
        let mut out = format!("{HEADER}\n").into_bytes();
        let length = self.run.1 - self.run.0;
        let rows = ((length + 2.0 * IDLE) / 0.1).round() as usize;
        for row in 0..=rows {
            let time = row as f64 / 10.0;
            for (index, (meter, watts)) in self.meters().into_iter().enumerate() {
                let active = (time - IDLE).clamp(0.0, length);
                let joules = IDLE_WATTS * (time - active) + watts * active;
                let power = if time > IDLE && time <= IDLE + length { watts } else { IDLE_WATTS };
                let is_gpu = meter.kind == MeterKind::Gpu;
                let slow = Slow {
                    memory: Some(8e9),
                    utilization: Some(90.0),
                    sm_clock: Some(1755.0),
                    temperature: Some(55.0),
                    throttle: Some(if power > IDLE_WATTS { 6.0 } else { 0.0 }),
                    ..Slow::default()
                };
                let sample = Sample {
                    time,
                    meter: index,
                    counter: Some((joules * 1000.0).round() as u64),
                    counter_time: (row > 0).then_some(time),
                    sampled: is_gpu.then_some(joules),
                    sampled_at_counter: (is_gpu && row > 0).then_some(joules),
                    power: is_gpu.then_some(power),
                    slow: if is_gpu && row % 10 == 0 { slow } else { Slow::default() },
                };
                sample.write(&mut out);
            }
        }
        String::from_utf8(out).unwrap()
    }

    fn events(&self) -> Vec<Event> {
        let at = |time: f64| time - self.begin();
        let (begin, end) = (at(self.run.0), at(self.run.1));
        let mut out = vec![
            Event::Begin { t_s: 0.0, window: Window::IdleBefore },
            Event::End { t_s: begin, window: Window::IdleBefore },
            Event::Begin { t_s: begin, window: Window::Run },
        ];
        out.extend(self.marks.iter().map(|(time, line)| Event::Mark { t_s: at(*time), line: line.clone() }));
        if let Some(code) = self.exit {
            out.push(Event::End { t_s: end, window: Window::Run });
            out.push(Event::Exit { t_s: end, code, cpu_s: Some(2.0), peak_memory_bytes: Some(1_000_000) });
            out.push(Event::Begin { t_s: end, window: Window::IdleAfter });
            out.push(Event::End { t_s: end + IDLE, window: Window::IdleAfter });
        }
        out
    }
}
