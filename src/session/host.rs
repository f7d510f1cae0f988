//! What stands in for energy counters of a machine that could not be read: a model, and labelled so.

use crate::hardware::{HostDescription, HostModel};
use crate::units::{Bytes, Seconds};

use super::summary::{Host, Summary};
use super::{Manifest, MeterKind};

impl Manifest {
    /// What the machine said of itself.
    #[must_use]
    pub fn host_description(&self) -> HostDescription<'_> {
        let number = |key: &str| self.host.get(key).and_then(|text| text.parse::<u32>().ok());
        HostDescription {
            processor: self.host.get("processor").map(String::as_str),
            packages: number("packages"),
            cores: number("cores"),
            is_virtual: self.host.get("virtual").map(|text| text == "true"),
            memory: self.host.get("memory_bytes").and_then(|text| text.parse::<f64>().ok()).map(Bytes::new),
        }
    }

    /// The part of a model that no counter of this session covers.
    #[must_use]
    pub fn unmeasured(&self, model: HostModel) -> HostModel {
        let is_read =
            |is_memory: bool| self.meters.iter().any(|meter| meter.kind == MeterKind::Host && meter.name.ends_with("dram") == is_memory);
        let model = if is_read(false) { model.without_processors() } else { model };
        if is_read(true) { model.without_memory() } else { model }
    }
}

impl Summary {
    /// Adds what a model says of the parts of the host that were not measured. It is never added to what was.
    #[must_use]
    pub fn with_host_model(mut self, model: &HostModel) -> Self {
        let elapsed = Seconds::new(self.duration_s.max(0.0));
        let processors = self.host.cpu_s.and_then(|cpu| model.processor_energy(Seconds::new(cpu.max(0.0)), elapsed));
        let memory = model.memory_energy(elapsed);
        self.host = Host {
            modelled_processors_j: processors.map(|joules| joules.value()),
            modelled_memory_j: memory.map(|joules| joules.value()),
            modelled_from: processors.and(model.processor.as_ref()).map(|processor| processor.from.clone()),
            ..self.host
        };
        let says = |name: &str, modelled: bool| format!("energy of {name}: not measured{}", if modelled { ", modelled apart" } else { "" });
        if model.processor.is_some() {
            self.missing.push(says("the processors", processors.is_some()));
        }
        if memory.is_some() {
            self.missing.push(says("memory", true));
        }
        self.missing.extend(model.missing.iter().cloned());
        self
    }
}
