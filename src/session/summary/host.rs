//! Energy of processors and memory, of one node or of all.

use serde::Serialize;

use crate::session::measurement::{Device, Measurement, Part};
use crate::session::{MeterKind, Window};

/// Processors and memory of the machine, or of all nodes together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Host {
    /// Energy of packages and memory while the program ran, J.
    pub energy_j: Option<f64>,
    /// Their power before it started, W.
    pub idle_w: Option<f64>,
    /// Energy of the processors by a model, J: thermal design power of a core times processor time, where no counter was read.
    pub modelled_processors_j: Option<f64>,
    /// Energy of the machine's memory by a model, J: a power of its size times time, where no counter was read.
    pub modelled_memory_j: Option<f64>,
    /// Where the thermal design power is from.
    pub modelled_from: Option<String>,
    /// Every domain.
    pub domains: Vec<Domain>,
    /// Processor time of the program and of what it waited for, s; nothing where one node does not say.
    pub cpu_s: Option<f64>,
    /// The largest resident set of one process, bytes.
    pub peak_memory_bytes: Option<f64>,
}

/// One domain of the host.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Domain {
    /// Its name.
    pub name: String,
    /// The node, where several were measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_name: Option<String>,
    /// Energy while the program ran, J.
    pub energy_j: Option<f64>,
    /// Whether it is part of the host's energy; parts of a package and all of the platform are not.
    pub added: bool,
}

impl Host {
    /// The figures of a measurement.
    pub(super) fn of(measurement: &Measurement) -> Self {
        let several = measurement.is_joined();
        let domain = |device: Device<'_>| Domain {
            name: device.first().meter().name.clone(),
            host_name: several.then(|| device.first().part.host_name().to_string()),
            energy_j: device.run_energy(),
            added: device.first().meter().is_added(),
        };
        let added = || measurement.devices(MeterKind::Host);
        let sum = |figure: fn(&Device<'_>) -> Option<f64>| match added().next() {
            None => None,
            Some(_) => added().map(|device| figure(&device)).sum::<Option<f64>>(),
        };
        Self {
            energy_j: sum(|device| device.run_energy()),
            idle_w: sum(|device| device.first().mean_power(Window::IdleBefore)),
            modelled_processors_j: None,
            modelled_memory_j: None,
            modelled_from: None,
            domains: added().chain(measurement.devices(MeterKind::HostPart)).map(domain).collect(),
            cpu_s: measurement.parts.iter().map(Part::processor_time).sum(),
            peak_memory_bytes: measurement.parts.iter().filter_map(Part::peak_memory).reduce(f64::max),
        }
    }
}
