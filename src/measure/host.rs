//! The machine around the accelerators: energy counters of its processors, and use of the measured program.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::meter::{News, Source, Trouble};
use super::process::{PROC, Tree};
use super::processor::HostFacts;
use super::rapl::Domain;
use crate::session::sample::Slow;
use crate::session::{Meter, MeterKind};

fn meter(kind: MeterKind, name: &str, uuid: String) -> Meter {
    Meter {
        kind,
        name: name.to_string(),
        uuid,
        counter_unit_j: None,
        counter_range: None,
        power: None,
        limit_w: None,
        facts: BTreeMap::new(),
        capabilities: BTreeMap::new(),
        instances: Vec::new(),
    }
}

/// One energy counter.
pub struct Counter {
    domain: Domain,
    host: String,
}

impl Counter {
    /// The counter of a domain of a machine.
    pub fn new(domain: Domain, host: &str) -> Self {
        Self { domain, host: host.to_string() }
    }
}

impl Source for Counter {
    fn meter(&self) -> Meter {
        let kind = if self.domain.role.is_added() { MeterKind::Host } else { MeterKind::HostPart };
        let meter = meter(kind, &self.domain.name, format!("{}/{}", self.host, self.domain.name));
        let facts = BTreeMap::from([("counter".to_string(), self.domain.counter.display().to_string())]);
        Meter { counter_unit_j: Some(1e-6), counter_range: self.domain.range_uj, facts, ..meter }
    }

    fn counter(&mut self) -> Result<u64, Trouble> {
        self.domain.read().map_err(|error| Trouble::Passing(error.to_string()))
    }

    fn power(&mut self) -> Result<f64, Trouble> {
        Err(Trouble::Absent)
    }

    fn slow(&mut self, _: &mut Vec<News>) -> Slow {
        Slow::default()
    }

    /// These counters move a thousand times a second: a reading a row is enough.
    fn is_polled(&self) -> bool {
        false
    }
}

/// How much of a core looking at all processes of the machine may cost: the next look comes after so many times what one took.
const PATIENCE: u32 = 2500;

/// Processor time and memory of the measured program.
pub struct Processes {
    pid: Arc<AtomicU32>,
    tree: Option<Tree>,
    next: Instant,
}

impl Processes {
    /// Those of the process whose number will stand there; 0 until it does.
    pub fn new(pid: Arc<AtomicU32>) -> Self {
        Self { pid, tree: None, next: Instant::now() }
    }
}

impl Source for Processes {
    fn meter(&self) -> Meter {
        meter(MeterKind::Process, "processes", "processes".into())
    }

    fn counter(&mut self) -> Result<u64, Trouble> {
        Err(Trouble::Absent)
    }

    fn power(&mut self) -> Result<f64, Trouble> {
        Err(Trouble::Absent)
    }

    fn slow(&mut self, _: &mut Vec<News>) -> Slow {
        let (pid, now) = (self.pid.load(Ordering::Relaxed), Instant::now());
        if pid == 0 || now < self.next {
            return Slow::default();
        }
        if self.tree.is_none() {
            self.tree = Tree::new(Path::new(PROC), pid).ok();
        }
        // One that has ended between two looks has said what it used to who waited for it.
        let usage = self.tree.as_mut().and_then(|tree| tree.read().ok()).filter(|usage| usage.processes > 0);
        self.next = now + (now.elapsed() * PATIENCE).max(Duration::from_secs(1));
        usage.map_or_else(Slow::default, |usage| Slow {
            cpu: Some(usage.cpu_s),
            memory: Some(usage.resident_bytes as f64),
            processes: Some(usage.processes as f64),
            ..Slow::default()
        })
    }

    fn is_polled(&self) -> bool {
        false
    }
}

/// The facts of a machine as a manifest keeps them.
pub fn facts(facts: &HostFacts) -> BTreeMap<String, String> {
    let number = |value: Option<u32>| value.map(|value| value.to_string());
    let all = [
        ("name", facts.host_name.clone()),
        ("operating_system", facts.operating_system.clone()),
        ("kernel", facts.kernel_release.clone()),
        ("processor", facts.processor.clone()),
        ("packages", number(facts.packages)),
        ("cores", number(facts.cores)),
        ("threads", number(facts.threads)),
        ("memory_bytes", facts.memory_bytes.map(|bytes| bytes.to_string())),
        ("virtual", facts.is_virtual.map(|is_virtual| is_virtual.to_string())),
    ];
    all.into_iter().filter_map(|(key, value)| Some((key.to_string(), value?))).collect()
}
