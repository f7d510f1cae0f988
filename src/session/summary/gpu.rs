//! Energy, power and condition of one accelerator, and its phases.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::session::energy::Basis;
use crate::session::manifest::Instance;
use crate::session::measurement::Device;
use crate::session::phase::{Marks, Phase};
use crate::session::{Sample, Window, throttle};

/// Accuracy of a device's own power sensor: readings of 5 % more or less than an external meter's were found on many cards (Yang,
/// Adamek and Armour, "Part-time power measurements", 2023, arXiv:2312.02741). Taken as the bounds of a 90 % interval.
pub const SENSOR: f64 = 0.05;

/// One accelerator.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gpu {
    /// Its identity.
    pub uuid: String,
    /// What it is.
    pub name: String,
    /// The node, where several were measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_name: Option<String>,
    /// Energy while the measured program ran, J.
    pub energy_j: Option<f64>,
    /// Where that comes from.
    pub energy_basis: Basis,
    /// The least that it may have been, J: accuracy of the sensor and of the edges in time.
    pub energy_low_j: Option<f64>,
    /// The most, J.
    pub energy_high_j: Option<f64>,
    /// Power before the program started; after it where there is no such baseline, W.
    pub idle_w: Option<f64>,
    /// Power after the program ended, W.
    pub idle_after_w: Option<f64>,
    /// Mean power while it ran, W.
    pub mean_w: Option<f64>,
    /// Energy above idle power, J.
    pub active_energy_j: Option<f64>,
    /// Energy by the power readings alone, J.
    pub sampled_energy_j: Option<f64>,
    /// How far that is from the counter, %.
    pub sampled_gap_percent: Option<f64>,
    /// Time between two movements of the energy counter, s.
    pub counter_period_s: Option<f64>,
    /// The seconds of the run that readings cover.
    pub covered_s: f64,
    /// Largest memory in use, bytes.
    pub peak_memory_bytes: Option<f64>,
    /// Mean share of time with a kernel running, %.
    pub mean_utilization_percent: Option<f64>,
    /// Mean clock of the multiprocessors, MHz.
    pub mean_sm_mhz: Option<f64>,
    /// Highest temperature, °C.
    pub peak_temperature_c: Option<f64>,
    /// Power limit at the start, W.
    pub limit_w: Option<f64>,
    /// Share of readings with clocks held down, by reason, %.
    pub throttled_percent: BTreeMap<String, f64>,
    /// What was marked.
    pub phases: Vec<PhaseEnergy>,
    /// Instances that the device is divided into; the energy is of the whole device.
    pub instances: Vec<Instance>,
}

/// A phase on one accelerator, all its times together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PhaseEnergy {
    /// Its name.
    pub name: String,
    /// How often it ran.
    pub count: usize,
    /// How long in all, s.
    pub duration_s: f64,
    /// Energy in all, J; of what runs inside it too.
    pub energy_j: Option<f64>,
    /// Mean power, W.
    pub mean_w: Option<f64>,
}

impl Gpu {
    /// The figures of a device; `host_name` where several nodes were measured.
    pub(super) fn of(device: &Device<'_>, marks: &Marks, host_name: Option<String>) -> Self {
        let first = device.first();
        let (meter, series) = (first.meter(), first.series());
        let mean = |figure: fn(&Sample) -> Option<f64>| {
            let (sum, count) = device.run_rows().filter_map(figure).fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
            (count > 0).then(|| sum / f64::from(count))
        };
        let most = |figure: fn(&Sample) -> Option<f64>| device.run_rows().filter_map(figure).reduce(f64::max);
        let (energy, covered, length) = (device.run_energy(), device.run_covered(), device.run_length());
        let before = first.mean_power(Window::IdleBefore);
        let idle = device.idle_power();
        let (low, high) = match (series.basis, energy) {
            (Basis::Tdp, _) => (before.map(|watts| watts * length).or(energy.map(|_| 0.0)), energy),
            (_, Some(energy)) => {
                let spread = (SENSOR * energy).hypot(device.run_resolution());
                (Some((energy - spread).max(0.0)), Some(energy + spread))
            }
            (_, None) => (None, None),
        };
        let sampled = device.run_sampled_energy();
        let counted = energy.filter(|joules| series.basis == Basis::Counter && *joules > 0.0);
        let read = if series.basis == Basis::Tdp { length } else { covered };
        Self {
            uuid: meter.uuid.clone(),
            name: meter.name.clone(),
            host_name,
            energy_j: energy,
            energy_basis: series.basis,
            energy_low_j: low,
            energy_high_j: high,
            idle_w: idle,
            idle_after_w: first.mean_power(Window::IdleAfter),
            mean_w: energy.filter(|_| read > 0.0).map(|joules| joules / read),
            active_energy_j: energy.zip(idle).map(|(joules, idle)| joules - idle * covered),
            sampled_energy_j: sampled,
            sampled_gap_percent: sampled.zip(counted).map(|(sampled, counted)| 100.0 * (sampled / counted - 1.0)),
            counter_period_s: series.counter_period,
            covered_s: covered,
            peak_memory_bytes: most(|row| row.slow.memory),
            mean_utilization_percent: mean(|row| row.slow.utilization),
            mean_sm_mhz: mean(|row| row.slow.sm_clock),
            peak_temperature_c: most(|row| row.slow.temperature),
            limit_w: meter.limit_w,
            throttled_percent: throttle::shares(&device.run_rows().filter_map(|row| row.slow.throttle).collect::<Vec<_>>()),
            phases: marks.by_name().into_iter().map(|(name, times)| phase(name, &times, device)).collect(),
            instances: meter.instances.clone(),
        }
    }
}

fn phase(name: &str, times: &[&Phase], device: &Device<'_>) -> PhaseEnergy {
    let duration = times.iter().map(|phase| phase.end - phase.begin).sum::<f64>();
    let energy = times.iter().map(|phase| device.energy(phase.begin, phase.end)).sum::<Option<f64>>();
    let mean = energy.filter(|_| duration > 0.0).map(|joules| joules / duration);
    PhaseEnergy { name: name.to_string(), count: times.len(), duration_s: duration, energy_j: energy, mean_w: mean }
}
