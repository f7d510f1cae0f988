//! One session of a measurement.

use crate::session::energy::Series;
use crate::session::{Event, Manifest, MeterKind, Sample, Session, Window};

/// One session of a measurement.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// The session.
    pub session: Session,
    /// Seconds of the measurement at time 0 of the session.
    pub offset: f64,
    /// While its measured program ran, s of the session.
    pub run: (f64, f64),
    /// The readings of each meter.
    pub series: Vec<Series>,
}

impl Part {
    pub(super) fn new(session: Session, first: f64) -> Self {
        let run = session.window(Window::Run).unwrap_or((0.0, session.last_time()));
        let series = session.manifest.meters.iter().zip(&session.samples).map(|(meter, rows)| Series::new(meter, rows)).collect();
        Self { offset: session.manifest.started_unix_s - first, run, series, session }
    }

    /// What was measured.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.session.manifest
    }

    /// The name of its node.
    #[must_use]
    pub fn host_name(&self) -> &str {
        self.manifest().host.get("name").map_or("", String::as_str)
    }

    /// While its measured program ran, s of the measurement.
    #[must_use]
    pub fn span(&self) -> (f64, f64) {
        (self.run.0 + self.offset, self.run.1 + self.offset)
    }

    /// How it ended: exit code, processor seconds, largest resident set in bytes.
    #[must_use]
    pub fn exit(&self) -> Option<(i32, Option<f64>, Option<u64>)> {
        self.session.events.iter().find_map(|event| match event {
            Event::Exit { code, cpu_s, peak_memory_bytes, .. } => Some((*code, *cpu_s, *peak_memory_bytes)),
            _ => None,
        })
    }

    /// Processor time of the measured program and of what it waited for, s.
    #[must_use]
    pub fn processor_time(&self) -> Option<f64> {
        self.exit().and_then(|(_, cpu, _)| cpu).or_else(|| self.most(|row| row.slow.cpu))
    }

    /// The largest resident set of one process, bytes.
    #[must_use]
    pub fn peak_memory(&self) -> Option<f64> {
        self.most(|row| row.slow.memory).or_else(|| self.exit().and_then(|(_, _, memory)| memory.map(|bytes| bytes as f64)))
    }

    /// The largest value that the meter of the measured program read.
    fn most(&self, figure: fn(&Sample) -> Option<f64>) -> Option<f64> {
        let place = self.manifest().meters.iter().position(|meter| meter.kind == MeterKind::Process)?;
        self.session.samples[place].iter().filter_map(figure).reduce(f64::max)
    }

    /// What tells its machine from others, also where containers give it several names.
    #[must_use]
    pub fn machine(&self) -> &str {
        self.manifest().host.get("boot_id").map_or(self.host_name(), String::as_str)
    }

    pub(super) fn marks(&self) -> usize {
        self.session.events.iter().filter(|event| matches!(event, Event::Mark { .. })).count()
    }
}
