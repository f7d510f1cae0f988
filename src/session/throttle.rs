//! Why clocks are held down: the bits of `nvmlClocksThrottleReasons` (nvml.h).

use std::collections::BTreeMap;

/// Each bit with its name, and whether it holds clocks down: an idle device and clocks that an application set hold nothing down.
const REASONS: [(u64, &str, bool); 9] = [
    (0x1, "gpu_idle", false),
    (0x2, "applications_clocks_setting", false),
    (0x4, "software_power_cap", true),
    (0x8, "hardware_slowdown", true),
    (0x10, "sync_boost", true),
    (0x20, "software_thermal", true),
    (0x40, "hardware_thermal", true),
    (0x80, "hardware_power_brake", true),
    (0x100, "display_clock", true),
];

/// Share of readings in which clocks were held down, by reason, %.
#[must_use]
pub fn shares(readings: &[f64]) -> BTreeMap<String, f64> {
    let share = |bit: u64| readings.iter().filter(|bits| **bits as u64 & bit != 0).count() as f64 / readings.len().max(1) as f64;
    let held = REASONS.iter().filter(|(_, _, holds)| *holds);
    held.map(|(bit, name, _)| ((*name).to_string(), 100.0 * share(*bit))).filter(|(_, share)| *share > 0.0).collect()
}

/// The names of a reading's reasons; a bit without a name by its number.
#[must_use]
pub fn names(reading: f64) -> Vec<String> {
    let bits = reading as u64;
    let name = |bit: u64| REASONS.iter().find(|(known, ..)| *known == bit).map_or(format!("0x{bit:x}"), |(_, name, _)| (*name).to_string());
    (0..u64::BITS).map(|place| 1 << place).filter(|bit| bits & bit != 0).map(name).collect()
}
