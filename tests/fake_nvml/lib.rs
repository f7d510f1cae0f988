//! A driver's library that is really loaded, and does what a script says. Built by the tests with `rustc --crate-type cdylib`.
//!
//! The environment variable FAKE_NVML names the script: `origin SECONDS` (since 1970) first, then one line a device of words
//! `key=value`: `trace=` (see trace.rs), `name=`, `step=` (seconds between movements of the counter; 0: always), `counter=no`, `instant=no`,
//! `usage=no`, `limit=` W, `stuck=` `lost=` `reset=` `failing=` `back=` (seconds from which), `jump=` (at which the counter leaps by
//! 50 kJ), `spike=` (at which readings are absurd for 0.3 s), `newlimit=` (at which the limit becomes 200 W), `hang=` (from which no call returns), `mig=` (instances), `gpm=yes` (GPU performance
//! monitoring: every metric has its own number as value).

use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_longlong, c_uint, c_ulonglong, c_void};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

mod trace;
use trace::Trace;

const SUCCESS: c_int = 0;
const INVALID: c_int = 2;
const NOT_SUPPORTED: c_int = 3;
const LOST: c_int = 15;
const UNKNOWN: c_int = 999;

struct Script {
    origin: f64,
    devices: Vec<Device>,
}

/// Read once: a call must cost no more than a driver's does.
struct Device {
    trace: Trace,
    counter: bool,
    instant: bool,
    usage: bool,
    step: Option<f64>,
    limit: f64,
    stuck: Option<f64>,
    lost: Option<f64>,
    reset: Option<f64>,
    failing: Option<f64>,
    back: Option<f64>,
    jump: Option<f64>,
    spike: Option<f64>,
    new_limit: Option<f64>,
    instances: Option<u32>,
    hang: Option<f64>,
    gpm: bool,
    name: String,
}

impl Device {
    fn read(line: &str) -> Self {
        let words: HashMap<&str, &str> = line.split_whitespace().filter_map(|word| word.split_once('=')).collect();
        let number = |key: &str| words.get(key).map(|value| value.parse::<f64>().unwrap());
        let has = |key: &str| words.get(key) != Some(&"no");
        Self {
            trace: words.get("trace").map_or(Trace::Flat(100.0), |text| Trace::parse(text).unwrap()),
            counter: has("counter"),
            instant: has("instant"),
            usage: has("usage"),
            step: number("step").filter(|step| *step > 0.0),
            limit: number("limit").unwrap_or(700.0),
            stuck: number("stuck"),
            lost: number("lost"),
            reset: number("reset"),
            failing: number("failing"),
            back: number("back"),
            jump: number("jump"),
            spike: number("spike"),
            new_limit: number("newlimit"),
            instances: number("mig").map(|count| count as u32),
            hang: number("hang"),
            name: words.get("name").map_or("Fake H100".into(), |name| name.replace('_', " ")),
            gpm: words.get("gpm") == Some(&"yes"),
        }
    }
}

fn has_come(at: Option<f64>, time: f64) -> bool {
    at.is_some_and(|at| time >= at)
}

static SCRIPT: OnceLock<Script> = OnceLock::new();

fn script() -> &'static Script {
    SCRIPT.get_or_init(|| {
        let text = std::env::var("FAKE_NVML").ok().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        let mut script = Script { origin: 0.0, devices: Vec::new() };
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("origin", seconds)) => script.origin = seconds.parse().unwrap(),
                _ => script.devices.push(Device::read(line)),
            }
        }
        script
    })
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() - script().origin
}

/// A handle is the device's number from 1 on; of instance `i` of device `d`: 1000 * d + i.
fn device(handle: *mut c_void) -> Result<&'static Device, c_int> {
    let index = handle as usize;
    let index = if index >= 1000 { index / 1000 } else { index };
    let device = index.checked_sub(1).and_then(|index| script().devices.get(index)).ok_or(INVALID)?;
    if device.lost.is_some() || device.failing.is_some() || device.hang.is_some() {
        let time = now();
        while has_come(device.hang, now()) {
            std::thread::sleep(std::time::Duration::from_secs(1));
        }
        if has_come(device.lost, time) {
            return Err(LOST);
        }
        if has_come(device.failing, time) && !has_come(device.back, time) {
            return Err(UNKNOWN);
        }
    }
    Ok(device)
}

fn milliwatts(device: &Device) -> u32 {
    let time = now();
    if device.spike.is_some_and(|at| (at..at + 0.3).contains(&time)) {
        return 3_690_000_000;
    }
    (device.trace.watts(time) * 1000.0) as u32
}

fn millijoules(device: &Device) -> u64 {
    let mut time = now();
    if let Some(at) = device.stuck {
        time = time.min(at);
    }
    if let Some(step) = device.step {
        time = (time / step).floor() * step;
    }
    // A counter that has run since the driver was loaded.
    let at = |time: f64| (device.trace.joules(time) * 1000.0) as u64;
    let mut count = at(time) + 7_000_000;
    if let Some(reset) = device.reset.filter(|reset| time >= *reset) {
        count = at(time) - at(reset);
    }
    if has_come(device.jump, time) {
        count += 50_000_000;
    }
    count
}

fn limit(device: &Device) -> u32 {
    let watts = if has_come(device.new_limit, now()) { 200.0 } else { device.limit };
    (watts * 1000.0) as u32
}

fn text(out: *mut c_char, length: c_uint, value: &str) -> c_int {
    let bytes = value.as_bytes();
    if bytes.len() + 1 > length as usize {
        return 7;
    }
    // SAFETY: the caller gives `length` bytes.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), out, bytes.len());
        *out.add(bytes.len()) = 0;
    }
    SUCCESS
}

fn put<T>(handle: *mut c_void, out: *mut T, value: impl FnOnce(&Device) -> Result<T, c_int>) -> c_int {
    match device(handle).and_then(value) {
        // SAFETY: the caller gives room for one value.
        Ok(value) => unsafe {
            *out = value;
            SUCCESS
        },
        Err(code) => code,
    }
}

#[no_mangle]
pub extern "C" fn nvmlInit_v2() -> c_int {
    if script().origin == 0.0 { 9 } else { SUCCESS }
}

#[no_mangle]
pub extern "C" fn nvmlShutdown() -> c_int {
    SUCCESS
}

#[no_mangle]
pub extern "C" fn nvmlSystemGetDriverVersion(out: *mut c_char, length: c_uint) -> c_int {
    text(out, length, "580.65.06")
}

#[no_mangle]
pub extern "C" fn nvmlDeviceGetCount_v2(out: *mut c_uint) -> c_int {
    // SAFETY: the caller gives room for one value.
    unsafe { *out = script().devices.len() as c_uint };
    SUCCESS
}

#[no_mangle]
pub extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, out: *mut *mut c_void) -> c_int {
    if index as usize >= script().devices.len() {
        return INVALID;
    }
    // SAFETY: the caller gives room for one value.
    unsafe { *out = (index as usize + 1) as *mut c_void };
    SUCCESS
}

#[no_mangle]
pub extern "C" fn nvmlDeviceGetName(handle: *mut c_void, out: *mut c_char, length: c_uint) -> c_int {
    device(handle).map_or_else(|code| code, |device| text(out, length, &device.name))
}

#[no_mangle]
pub extern "C" fn nvmlDeviceGetUUID(handle: *mut c_void, out: *mut c_char, length: c_uint) -> c_int {
    let name = match handle as usize {
        instance @ 1000.. => format!("MIG-{:08}-0000-0000-0000-000000000000", instance),
        index => format!("GPU-{:08}-0000-0000-0000-000000000000", index - 1),
    };
    text(out, length, &name)
}

#[no_mangle]
pub extern "C" fn nvmlDeviceGetPowerUsage(handle: *mut c_void, out: *mut c_uint) -> c_int {
    put(handle, out, |device| if device.usage { Ok(milliwatts(device)) } else { Err(NOT_SUPPORTED) })
}

#[no_mangle]
pub extern "C" fn nvmlDeviceGetTotalEnergyConsumption(handle: *mut c_void, out: *mut c_ulonglong) -> c_int {
    put(handle, out, |device| if device.counter { Ok(millijoules(device)) } else { Err(NOT_SUPPORTED) })
}

#[no_mangle]
pub extern "C" fn nvmlDeviceGetEnforcedPowerLimit(handle: *mut c_void, out: *mut c_uint) -> c_int {
    put(handle, out, |device| Ok(limit(device)))
}

#[repr(C)]
pub struct FieldValue {
    id: c_uint,
    scope: c_uint,
    timestamp: c_longlong,
    latency: c_longlong,
    kind: c_uint,
    code: c_int,
    value: u64,
}

#[no_mangle]
pub extern "C" fn nvmlDeviceGetFieldValues(handle: *mut c_void, count: c_int, values: *mut FieldValue) -> c_int {
    let device = match device(handle) {
        Ok(device) => device,
        Err(code) => return code,
    };
    for place in 0..count as usize {
        // SAFETY: the caller gives `count` values.
        let field = unsafe { &mut *values.add(place) };
        if field.id == 186 && device.instant {
            (field.kind, field.code, field.value) = (1, SUCCESS, u64::from(milliwatts(device)));
        } else {
            field.code = NOT_SUPPORTED;
        }
    }
    SUCCESS
}

#[repr(C)]
pub struct Memory {
    version: c_uint,
    total: c_ulonglong,
    reserved: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

#[no_mangle]
pub extern "C" fn nvmlDeviceGetMemoryInfo_v2(handle: *mut c_void, out: *mut Memory) -> c_int {
    put(handle, out, |_| Ok(Memory { version: 2, total: 80 << 30, reserved: 1 << 30, free: 70 << 30, used: 9 << 30 }))
}

#[no_mangle]
pub extern "C" fn nvmlDeviceGetUtilizationRates(handle: *mut c_void, out: *mut [c_uint; 2]) -> c_int {
    put(handle, out, |_| Ok([90, 40]))
}

#[no_mangle]
pub extern "C" fn nvmlDeviceGetTemperature(handle: *mut c_void, _sensor: c_uint, out: *mut c_uint) -> c_int {
    put(handle, out, |_| Ok(55))
}

#[no_mangle]
pub extern "C" fn nvmlDeviceGetClockInfo(handle: *mut c_void, _clock: c_uint, out: *mut c_uint) -> c_int {
    put(handle, out, |_| Ok(1755))
}

#[no_mangle]
pub extern "C" fn nvmlDeviceGetCurrentClocksThrottleReasons(handle: *mut c_void, out: *mut c_ulonglong) -> c_int {
    put(handle, out, |_| Ok(4))
}

#[no_mangle]
pub extern "C" fn nvmlDeviceGetMigMode(handle: *mut c_void, current: *mut c_uint, pending: *mut c_uint) -> c_int {
    put(handle, current, |device| Ok(c_uint::from(device.instances.is_some()))).max(put(handle, pending, |_| Ok(0)))
}

#[no_mangle]
pub extern "C" fn nvmlDeviceGetMaxMigDeviceCount(handle: *mut c_void, out: *mut c_uint) -> c_int {
    put(handle, out, |_| Ok(7))
}

#[no_mangle]
pub extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(handle: *mut c_void, instance: c_uint, out: *mut *mut c_void) -> c_int {
    put(handle, out, |device| {
        let is_there = instance < device.instances.unwrap_or(0);
        if is_there { Ok((1000 * handle as usize + instance as usize) as *mut c_void) } else { Err(6) }
    })
}

#[repr(C)]
pub struct Attributes {
    counts: [c_uint; 8],
    memory: c_ulonglong,
}

#[no_mangle]
pub extern "C" fn nvmlDeviceGetAttributes_v2(handle: *mut c_void, out: *mut Attributes) -> c_int {
    put(handle, out, |_| Ok(Attributes { counts: [42, 1, 0, 0, 0, 0, 3, 3], memory: 40_000 }))
}

#[no_mangle]
pub extern "C" fn nvmlGpmQueryDeviceSupport(handle: *mut c_void, out: *mut [c_uint; 2]) -> c_int {
    put(handle, out, |device| Ok([1, c_uint::from(device.gpm)]))
}

#[no_mangle]
pub extern "C" fn nvmlGpmSampleAlloc(out: *mut *mut c_void) -> c_int {
    // SAFETY: the caller gives room for one value.
    unsafe { *out = Box::into_raw(Box::new(0_u64)).cast() };
    SUCCESS
}

#[no_mangle]
pub extern "C" fn nvmlGpmSampleGet(handle: *mut c_void, _sample: *mut c_void) -> c_int {
    device(handle).map_or_else(|code| code, |_| SUCCESS)
}

#[no_mangle]
pub extern "C" fn nvmlGpmSampleFree(sample: *mut c_void) -> c_int {
    // SAFETY: it was made by nvmlGpmSampleAlloc and is freed once.
    drop(unsafe { Box::from_raw(sample.cast::<u64>()) });
    SUCCESS
}

#[repr(C)]
pub struct Metric {
    id: c_uint,
    code: c_int,
    value: f64,
    names: [*const c_char; 3],
}

#[repr(C)]
pub struct Metrics {
    version: c_uint,
    count: c_uint,
    samples: [*mut c_void; 2],
    metrics: [Metric; 210],
}

#[no_mangle]
pub extern "C" fn nvmlGpmMetricsGet(request: *mut Metrics) -> c_int {
    // SAFETY: the caller gives a request of this version.
    let request = unsafe { &mut *request };
    for metric in request.metrics.iter_mut().take(request.count as usize) {
        (metric.code, metric.value) = (SUCCESS, f64::from(metric.id));
    }
    SUCCESS
}
