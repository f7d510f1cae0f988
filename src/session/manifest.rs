//! What was measured where, and by which means: written once, before the measured program starts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The first file of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the format.
    pub schema: u32,
    /// Tells this session from every other.
    pub id: String,
    /// The program that measured, with its version.
    pub program: String,
    /// When the collector started, by the wall clock: seconds since 1970, UTC.
    pub started_unix_s: f64,
    /// The same moment by the monotonic clock of the machine, s; time 0 of the session.
    pub started_monotonic_s: f64,
    /// What was run; empty where a process or the whole node was watched.
    pub command: Vec<String>,
    /// The process that was watched, where one was.
    pub process: Option<u32>,
    /// Where it ran.
    pub working_folder: String,
    /// Seconds between two rows of a meter.
    pub interval_s: f64,
    /// Seconds of the idle baseline, before and after.
    pub idle_s: f64,
    /// The machine.
    pub host: BTreeMap<String, String>,
    /// Variables of the environment that tell ranks and devices.
    pub environment: BTreeMap<String, String>,
    /// The meters, in the order that samples name them by.
    pub meters: Vec<Meter>,
    /// What could not be measured, and why.
    pub missing: Vec<String>,
}

/// What kind of thing a meter reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeterKind {
    /// An accelerator.
    Gpu,
    /// Processor packages and their memory: added to what a node draws.
    Host,
    /// A part of a package, or all of the platform: recorded, never added.
    HostPart,
    /// Processor time and memory of the measured program.
    Process,
}

/// One meter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meter {
    /// What it reads.
    pub kind: MeterKind,
    /// The device's or domain's name.
    pub name: String,
    /// What tells it from every other of its kind.
    pub uuid: String,
    /// Joules of one unit of its energy counter, where it has one.
    pub counter_unit_j: Option<f64>,
    /// After how many units the counter starts again at zero, where that is known.
    pub counter_range: Option<u64>,
    /// Where its power readings come from.
    pub power: Option<PowerSource>,
    /// The power limit when the session started, W.
    pub limit_w: Option<f64>,
    /// What else is known of the device.
    pub facts: BTreeMap<String, String>,
    /// What the device and its driver can tell: `yes`, or why not.
    pub capabilities: BTreeMap<String, String>,
    /// Instances that the device is divided into.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<Instance>,
}

/// What a power reading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerSource {
    /// `NVML_FI_DEV_POWER_INSTANT`: the power of the moment.
    Instant,
    /// `nvmlDeviceGetPowerUsage` of a device whose reading is of the moment: GA100 and older.
    Usage,
    /// `nvmlDeviceGetPowerUsage` of a device whose reading is the mean of the last second: Ampere but GA100, and newer (nvml.h).
    UsageOfLastSecond,
}

/// A part of a divided device (Multi-Instance GPU).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// Its identity.
    pub uuid: String,
    /// Its share of the multiprocessors, where the driver says.
    pub share: Option<f64>,
    /// What the share was made from.
    pub basis: String,
}

impl Meter {
    /// Whether what it measures is part of what the node draws.
    #[must_use]
    pub fn is_added(&self) -> bool {
        matches!(self.kind, MeterKind::Gpu | MeterKind::Host)
    }
}
