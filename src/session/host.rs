//! What stands in for energy counters of machines that could not be read: a model, and labelled so.

use crate::hardware::{HostDescription, HostModel};
use crate::units::{Bytes, Joules, Seconds};

use super::MeterKind;
use super::measurement::{Measurement, Part};
use super::summary::{Host, Summary};

/// A machine, with the sessions that ran on it.
#[derive(Debug, Clone)]
pub struct Machine<'a> {
    parts: Vec<&'a Part>,
}

impl Measurement {
    /// Its machines, in the order of their sessions.
    #[must_use]
    pub fn machines(&self) -> Vec<Machine<'_>> {
        let mut out: Vec<Machine<'_>> = Vec::new();
        for part in &self.parts {
            match out.iter_mut().find(|machine| machine.parts[0].machine() == part.machine()) {
                Some(machine) => machine.parts.push(part),
                None => out.push(Machine { parts: vec![part] }),
            }
        }
        out
    }
}

impl Machine<'_> {
    /// What the machine said of itself.
    #[must_use]
    pub fn description(&self) -> HostDescription<'_> {
        let host = &self.parts[0].manifest().host;
        let number = |key: &str| host.get(key).and_then(|text| text.parse::<u32>().ok());
        HostDescription {
            processor: host.get("processor").map(String::as_str),
            packages: number("packages"),
            cores: number("cores"),
            is_virtual: host.get("virtual").map(|text| text == "true"),
            memory: host.get("memory_bytes").and_then(|text| text.parse::<f64>().ok()).map(Bytes::new),
        }
    }

    /// The part of a model that no counter of its sessions covers.
    #[must_use]
    pub fn unmeasured(&self, model: HostModel) -> HostModel {
        let meters = || self.parts.iter().flat_map(|part| &part.manifest().meters).filter(|meter| meter.kind == MeterKind::Host);
        let is_read = |is_memory: bool| meters().any(|meter| meter.name.ends_with("dram") == is_memory);
        let model = if is_read(false) { model.without_processors() } else { model };
        if is_read(true) { model.without_memory() } else { model }
    }

    /// How long measured programs ran on it, s.
    fn elapsed(&self) -> Seconds {
        let begin = self.parts.iter().map(|part| part.span().0).fold(f64::INFINITY, f64::min);
        let end = self.parts.iter().map(|part| part.span().1).fold(f64::NEG_INFINITY, f64::max);
        Seconds::new((end - begin).max(0.0))
    }

    fn processor_time(&self) -> Option<Seconds> {
        self.parts.iter().map(|part| part.processor_time()).sum::<Option<f64>>().map(|cpu| Seconds::new(cpu.max(0.0)))
    }
}

impl Summary {
    /// Adds what models say of the parts of machines that were not measured. It is never added to what was.
    #[must_use]
    pub fn with_host_models(mut self, hosts: &[(Machine<'_>, HostModel)]) -> Self {
        let add = |sum: &mut Option<f64>, joules: Joules| *sum = Some(sum.unwrap_or(0.0) + joules.value());
        let (mut all_processors, mut all_memory, mut from) = (None, None, Vec::new());
        for (machine, model) in hosts {
            let elapsed = machine.elapsed();
            let processors = machine.processor_time().and_then(|cpu| model.processor_energy(cpu, elapsed));
            let memory = model.memory_energy(elapsed);
            processors.into_iter().for_each(|joules| add(&mut all_processors, joules));
            memory.into_iter().for_each(|joules| add(&mut all_memory, joules));
            let source = processors.and(model.processor.as_ref()).map(|processor| processor.from.clone());
            from.extend(source.filter(|source| !from.contains(source)));
            let of = if hosts.len() > 1 { format!("{}: ", machine.parts[0].host_name()) } else { String::new() };
            let says = |name: &str, modelled: bool| {
                format!("{of}energy of {name}: not measured{}", if modelled { ", modelled apart" } else { "" })
            };
            if model.processor.is_some() {
                self.missing.push(says("the processors", processors.is_some()));
            }
            if memory.is_some() {
                self.missing.push(says("memory", true));
            }
            self.missing.extend(model.missing.iter().map(|text| format!("{of}{text}")));
        }
        let modelled_from = (!from.is_empty()).then(|| from.join("; "));
        self.host = Host { modelled_processors_j: all_processors, modelled_memory_j: all_memory, modelled_from, ..self.host };
        self
    }
}
