//! NVIDIA's devices by NVML: what each can tell is found out once, and named.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;

use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::enums::device::{DeviceArchitecture, SampleValue};
use nvml_wrapper::enums::gpm::GpmMetricId;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::gpm::{GpmSample, gpm_metrics_get};
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id::{NVML_FI_DEV_POWER_AVERAGE, NVML_FI_DEV_POWER_INSTANT, NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION};
use nvml_wrapper::{Device, Nvml};

use super::meter::{News, Source, Trouble};
use crate::session::manifest::{Instance, PowerSource};
use crate::session::{Meter, MeterKind, sample::Slow};

/// The names under which drivers install the library; the second comes with development files only.
const LIBRARIES: [&str; 2] = ["libnvidia-ml.so.1", "libnvidia-ml.so"];

/// Loads the driver's library.
///
/// # Errors
/// Why it cannot be used, for people.
pub fn open(path: Option<&OsStr>) -> Result<Nvml, String> {
    let init = |path: &OsStr| Nvml::builder().lib_path(path).init();
    let result = match path {
        Some(path) => init(path),
        None => init(LIBRARIES[0].as_ref()).or_else(|first| init(LIBRARIES[1].as_ref()).map_err(|_| first)),
    };
    let name = path.map_or(LIBRARIES[0].into(), |path| path.to_string_lossy().into_owned());
    result.map_err(|error| match error {
        NvmlError::LibloadingError(_) => format!("{name} cannot be loaded: {}", said(&error)),
        NvmlError::FailedToLoadSymbol(_) => format!("{name} is not NVIDIA's management library: {}", said(&error)),
        NvmlError::DriverNotLoaded => format!("{name}: the NVIDIA driver is not loaded"),
        error => format!("{name}: {}", said(&error)),
    })
}

/// What an error says, without the words of the wrapper around it.
fn said(error: &NvmlError) -> String {
    let text = error.to_string();
    match text.split_once(": ") {
        Some((_, rest)) if matches!(error, NvmlError::LibloadingError(_) | NvmlError::FailedToLoadSymbol(_)) => rest.to_string(),
        _ => text,
    }
}

/// What the driver says of itself.
pub fn versions(nvml: &Nvml) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let mut put = |key: &str, value: Result<String, NvmlError>| {
        if let Ok(value) = value {
            out.insert(key.to_string(), value);
        }
    };
    put("nvidia_driver", nvml.sys_driver_version());
    put("nvml", nvml.sys_nvml_version());
    put("cuda_driver", nvml.sys_cuda_driver_version().map(|version| format!("{}.{}", version / 1000, version % 1000 / 10)));
    out
}

/// The devices that are wanted: by index or identity, or those that CUDA shows, or all.
///
/// # Errors
/// A name that no device has.
pub fn devices<'n>(nvml: &'n Nvml, wanted: Option<&[String]>, missing: &mut Vec<String>) -> Result<Vec<Gpu<'n>>, String> {
    let count = nvml.device_count().map_err(|error| format!("the driver does not say how many devices there are: {}", said(&error)))?;
    let mut all = Vec::new();
    for index in 0..count {
        match nvml.device_by_index(index) {
            Ok(device) => all.push(Gpu::probe(nvml, device, index)),
            Err(error) => missing.push(format!("GPU {index}: {}", said(&error))),
        }
    }
    let Some(wanted) = wanted else { return Ok(all) };
    let known: Vec<String> = all.iter().map(|gpu| format!("{} ({})", gpu.index, gpu.meter.uuid)).collect();
    let mut out: Vec<Gpu<'n>> = Vec::new();
    for name in wanted {
        let is_wanted = |gpu: &Gpu<'_>| {
            let instance = |instance: &Instance| !name.is_empty() && instance.uuid.starts_with(name.as_str());
            name.parse() == Ok(gpu.index)
                || gpu.meter.uuid == *name
                || gpu.meter.instances.iter().any(instance)
                || is_prefix(name, &gpu.meter.uuid)
        };
        if out.iter().any(is_wanted) {
            continue;
        }
        match all.iter().position(is_wanted) {
            Some(place) => out.push(all.swap_remove(place)),
            None => return Err(format!("\"{name}\" is no GPU of this machine; known: {}", known.join(", "))),
        }
    }
    out.sort_by_key(|gpu| gpu.index);
    Ok(out)
}

/// The kinds of devices of this machine, also of those that are not measured.
pub fn kinds(nvml: &Nvml) -> BTreeSet<String> {
    (0..nvml.device_count().unwrap_or(0)).filter_map(|index| nvml.device_by_index(index).ok()?.name().ok()).collect()
}

/// CUDA takes the beginning of an identity for the whole, where it is long enough to tell.
fn is_prefix(name: &str, uuid: &str) -> bool {
    name.len() > 4 && name.starts_with("GPU-") && uuid.starts_with(name)
}

/// How the counter is read.
#[derive(Debug, Clone, Copy, PartialEq)]
enum CounterBy {
    Function,
    Field,
}

/// One device.
pub struct Gpu<'n> {
    nvml: &'n Nvml,
    device: Device<'n>,
    index: u32,
    meter: Meter,
    counter: Option<CounterBy>,
    average: bool,
    /// Slow readings that the device has not.
    absent: BTreeMap<&'static str, ()>,
    monitoring: Option<GpmSample<'n>>,
    others: Vec<u32>,
}

fn field(device: &Device<'_>, id: u32) -> Result<f64, NvmlError> {
    let mut values = device.field_values_for(&[FieldId(id)])?;
    let value = values.pop().ok_or(NvmlError::Unknown)??.value?;
    Ok(match value {
        SampleValue::F64(value) => value,
        SampleValue::U32(value) => f64::from(value),
        SampleValue::U64(value) => value as f64,
        SampleValue::I64(value) => value as f64,
    })
}

fn trouble(error: &NvmlError) -> Trouble {
    match error {
        NvmlError::NotSupported | NvmlError::FailedToLoadSymbol(_) | NvmlError::FunctionNotFound => Trouble::Absent,
        // Gone for this process: a device that comes back is another handle and another counter.
        NvmlError::GpuLost | NvmlError::ResetRequired | NvmlError::Uninitialized | NvmlError::DriverNotLoaded => {
            Trouble::Lost(error.to_string())
        }
        error => Trouble::Passing(error.to_string()),
    }
}

impl<'n> Gpu<'n> {
    fn probe(nvml: &'n Nvml, device: Device<'n>, index: u32) -> Self {
        let mut capabilities = BTreeMap::new();
        let mut note = |name: &str, result: Result<String, &NvmlError>| {
            let text = result.unwrap_or_else(|error| match error {
                NvmlError::FailedToLoadSymbol(_) => "no: the driver has no such function".to_string(),
                error => format!("no: {error}"),
            });
            capabilities.insert(name.to_string(), text);
        };
        let counter = match (device.total_energy_consumption(), field(&device, NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION)) {
            (Ok(_), _) => {
                note("energy_counter", Ok("yes".into()));
                Some(CounterBy::Function)
            }
            (Err(_), Ok(value)) if value >= 1.0 => {
                note("energy_counter", Ok("yes, by field 83".into()));
                Some(CounterBy::Field)
            }
            (Err(error), _) => {
                note("energy_counter", Err(&error));
                None
            }
        };
        let usage = device.power_usage();
        let instant = field(&device, NVML_FI_DEV_POWER_INSTANT);
        let power = match (&instant, &usage) {
            // Some drivers answer with nothing in it.
            (Ok(milliwatts), Ok(usage)) if *milliwatts < 1.0 && *usage > 0 => Some(usage_kind(&device)),
            (Ok(_), _) => Some(PowerSource::Instant),
            (Err(_), Ok(_)) => Some(usage_kind(&device)),
            (Err(_), Err(error)) => {
                note("power", Err(error));
                None
            }
        };
        if let Some(power) = power {
            let text = match power {
                PowerSource::Instant => "yes, of the moment (field 186)",
                PowerSource::Usage => "yes, of the moment (nvmlDeviceGetPowerUsage)",
                PowerSource::UsageOfLastSecond => "yes, mean of the last second (nvmlDeviceGetPowerUsage)",
            };
            note("power", Ok(text.into()));
        }
        let average = field(&device, NVML_FI_DEV_POWER_AVERAGE);
        note("average_power", average.as_ref().map(|_| "yes".into()));
        let limit = device.enforced_power_limit().or_else(|_| device.power_management_limit());
        note("power_limit", limit.as_ref().map(|_| "yes".into()));
        let monitoring =
            device.gpm_support().and_then(|supported| if supported { device.gpm_sample() } else { Err(NvmlError::NotSupported) });
        note("performance_monitoring", monitoring.as_ref().map(|_| "yes".into()));
        let instances = instances(&device);
        let meter = Meter {
            kind: MeterKind::Gpu,
            name: device.name().unwrap_or_else(|_| format!("GPU {index}")),
            uuid: device.uuid().unwrap_or_else(|_| format!("index {index}")),
            counter_unit_j: counter.map(|_| 1e-3),
            counter_range: None,
            power,
            limit_w: limit.ok().map(|milliwatts| f64::from(milliwatts) / 1e3).filter(|watts| *watts > 0.0),
            facts: facts(&device, index),
            capabilities,
            instances,
        };
        let (average, monitoring) = (average.is_ok(), monitoring.ok());
        Self { nvml, device, index, meter, counter, average, absent: BTreeMap::new(), monitoring, others: Vec::new() }
    }

    /// A slow reading; one that the device has not is not asked for again.
    fn optional<T>(&mut self, name: &'static str, read: impl Fn(&Device<'n>) -> Result<T, NvmlError>) -> Option<T> {
        if self.absent.contains_key(name) {
            return None;
        }
        match read(&self.device) {
            Ok(value) => Some(value),
            Err(error) => {
                if trouble(&error) == Trouble::Absent {
                    self.absent.insert(name, ());
                }
                None
            }
        }
    }

    fn monitor(&mut self, slow: &mut Slow) {
        use GpmMetricId::{AnyTensorUtil, DramBwUtil, NvlinkTotalRxPerSec, NvlinkTotalTxPerSec, PcieRxPerSec, PcieTxPerSec, SmUtil};
        let Some(before) = self.monitoring.take() else { return };
        let Ok(now) = self.device.gpm_sample() else { return };
        let wanted = [SmUtil, AnyTensorUtil, DramBwUtil, PcieTxPerSec, PcieRxPerSec, NvlinkTotalTxPerSec, NvlinkTotalRxPerSec];
        if let Ok(metrics) = gpm_metrics_get(self.nvml, &before, &now, &wanted) {
            // Answers come in the order of the questions.
            let value = |index: usize| {
                metrics.get(index).and_then(|metric| metric.as_ref().ok()).map(|metric| metric.value).filter(|value| value.is_finite())
            };
            (slow.sm_active, slow.tensor_active, slow.dram_active) = (value(0), value(1), value(2));
            // Traffic is in MiB/s (nvml.h, nvmlGpmMetricId_t).
            let traffic = |index: usize| value(index).map(|value| value * f64::from(1 << 20));
            (slow.pcie_sent, slow.pcie_received) = (traffic(3), traffic(4));
            (slow.nvlink_sent, slow.nvlink_received) = (traffic(5), traffic(6));
        }
        self.monitoring = Some(now);
    }
}

/// Whether `nvmlDeviceGetPowerUsage` is of the moment or a mean: nvml.h says of the last second for Ampere, but GA100, and newer.
fn usage_kind(device: &Device<'_>) -> PowerSource {
    let is_ga100 = device.cuda_compute_capability().is_ok_and(|version| (version.major, version.minor) == (8, 0));
    let is_old = device.architecture().is_ok_and(|architecture| {
        use DeviceArchitecture::{Kepler, Maxwell, Pascal, Turing, Volta};
        matches!(architecture, Kepler | Maxwell | Pascal | Volta | Turing)
    });
    if is_ga100 || is_old || device.architecture().is_err() { PowerSource::Usage } else { PowerSource::UsageOfLastSecond }
}

fn facts(device: &Device<'_>, index: u32) -> BTreeMap<String, String> {
    let mut out = BTreeMap::from([("index".to_string(), index.to_string())]);
    let mut put = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            out.insert(key.to_string(), value);
        }
    };
    put("serial", device.serial().ok());
    put("pci_bus", device.pci_info().ok().map(|info| info.bus_id));
    put("vbios", device.vbios_version().ok());
    put("architecture", device.architecture().ok().map(|architecture| architecture.to_string()));
    put("compute_capability", device.cuda_compute_capability().ok().map(|version| format!("{}.{}", version.major, version.minor)));
    put("memory_bytes", device.memory_info().ok().map(|memory| memory.total.to_string()));
    put("max_sm_mhz", device.max_clock_info(Clock::SM).ok().map(|clock| clock.to_string()));
    put("max_memory_mhz", device.max_clock_info(Clock::Memory).ok().map(|clock| clock.to_string()));
    put("persistence_mode", device.is_in_persistent_mode().ok().map(|on| on.to_string()));
    put("ecc", device.is_ecc_enabled().ok().map(|state| state.currently_enabled.to_string()));
    put("default_limit_w", device.power_management_limit_default().ok().map(|milliwatts| (f64::from(milliwatts) / 1e3).to_string()));
    out
}

/// Instances of a divided device, each with its share of the slices that the device has at most (`nvmlDeviceGetMaxMigDeviceCount`).
fn instances(device: &Device<'_>) -> Vec<Instance> {
    if !device.mig_mode().is_ok_and(|mode| mode.current == 1) {
        return Vec::new();
    }
    let slices = device.mig_device_count().unwrap_or(0);
    let one = |index: u32| {
        let instance = device.mig_device_by_index(index).ok()?;
        let own = instance.attributes().ok().map(|attributes| attributes.gpu_instance_slice_count);
        let share = own.filter(|own| slices > 0 && *own <= slices).map(|own| f64::from(own) / f64::from(slices));
        let basis = match own {
            Some(own) if share.is_some() => format!("{own} of {slices} slices"),
            _ => "the driver does not say how large it is".to_string(),
        };
        Some(Instance { uuid: instance.uuid().unwrap_or_else(|_| format!("instance {index}")), share, basis })
    };
    (0..slices).filter_map(one).collect()
}

impl Source for Gpu<'_> {
    fn meter(&self) -> Meter {
        self.meter.clone()
    }

    fn counter(&mut self) -> Result<u64, Trouble> {
        match self.counter {
            Some(CounterBy::Function) => self.device.total_energy_consumption().map_err(|error| trouble(&error)),
            Some(CounterBy::Field) => {
                field(&self.device, NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION).map(|value| value as u64).map_err(|error| trouble(&error))
            }
            None => Err(Trouble::Absent),
        }
    }

    fn power(&mut self) -> Result<f64, Trouble> {
        let milliwatts = match self.meter.power {
            Some(PowerSource::Instant) => field(&self.device, NVML_FI_DEV_POWER_INSTANT),
            Some(PowerSource::Usage | PowerSource::UsageOfLastSecond) => self.device.power_usage().map(f64::from),
            None => return Err(Trouble::Absent),
        };
        milliwatts.map(|milliwatts| milliwatts / 1e3).map_err(|error| trouble(&error))
    }

    fn slow(&mut self, news: &mut Vec<News>) -> Slow {
        let utilization = self.optional("utilization", |device| device.utilization_rates());
        let mut slow = Slow {
            average_power: if self.average {
                self.optional("average", |device| field(device, NVML_FI_DEV_POWER_AVERAGE)).map(|watts| watts / 1e3)
            } else {
                None
            },
            memory: self.optional("memory", |device| device.memory_info()).map(|memory| memory.used as f64),
            utilization: utilization.as_ref().map(|rates| f64::from(rates.gpu)),
            memory_utilization: utilization.map(|rates| f64::from(rates.memory)),
            sm_clock: self.optional("sm_clock", |device| device.clock_info(Clock::SM)).map(f64::from),
            memory_clock: self.optional("memory_clock", |device| device.clock_info(Clock::Memory)).map(f64::from),
            temperature: self.optional("temperature", |device| device.temperature(TemperatureSensor::Gpu)).map(f64::from),
            throttle: self.optional("throttle", |device| device.current_throttle_reasons()).map(|reasons| reasons.bits() as f64),
            limit: self.optional("limit", |device| device.enforced_power_limit()).map(|milliwatts| f64::from(milliwatts) / 1e3),
            ..Slow::default()
        };
        if let Some(processes) = self.optional("processes", |device| device.running_compute_processes()) {
            slow.processes = Some(processes.len() as f64);
            let mut found: Vec<u32> = processes.iter().map(|process| process.pid).collect();
            found.sort_unstable();
            if found != self.others {
                let list = found.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
                let list = if list.is_empty() { "none" } else { &list };
                news.push(News::note(format!("processes with a context on the device: {list}")));
                self.others = found;
            }
        }
        self.monitor(&mut slow);
        slow
    }
}
