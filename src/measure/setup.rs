//! From options to a collector that reads: the folder, the meters, the manifest.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::mpsc::{Receiver, Sender, SyncSender};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use nix::unistd::gethostname;
use nvml_wrapper::Nvml;

use super::collector::{Clock, Collector, Order, Said};
use super::live::Live;
use super::meter::Channel;
use super::ranks::{self, Place};
use super::recorder::Recorder;
use super::steady::Steady;
use super::{OTHERS, Options, Refusal, host, nvml, processor, rapl};
use crate::session::phase::Reader;
use crate::session::{EVENTS, Event, MANIFEST, MARKS, Manifest, SAMPLES, SCHEMA, SEAL};
use crate::units::calendar;

/// The folder of the session. On one of several nodes it is below the named one, and has the node's name.
pub fn folder(options: &Options, place: Option<Place>) -> PathBuf {
    let folder = options.folder.clone().unwrap_or_else(unused_folder);
    if place.is_some_and(Place::has_other_nodes) { folder.join(host_name()) } else { folder }
}

/// A name in the working folder that nothing has yet.
fn unused_folder() -> PathBuf {
    let (year, month, day, hour, minute, second) = calendar::moment(unix_time() as u64);
    let name = format!("lowcarb-session-{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}");
    let numbered = (2..).map(|number| PathBuf::from(format!("{name}-{number}")));
    std::iter::once(PathBuf::from(&name)).chain(numbered).find(|folder| !folder.exists()).unwrap_or_else(|| name.into())
}

/// Makes the folder; whether it was not there before.
pub fn make_folder(folder: &Path) -> Result<bool, Refusal> {
    let there = folder.exists();
    let input = |text: String| Refusal::Input(format!("{}: {text}", folder.display()));
    if let Some(file) = [MANIFEST, SAMPLES, EVENTS, MARKS, SEAL].iter().find(|file| folder.join(file).exists()) {
        return Err(input(format!("found {file}, a session; allowed: a folder without one")));
    }
    std::fs::create_dir_all(folder).map_err(|error| input(error.to_string()))?;
    Ok(!there)
}

/// Takes away a session that was ended before it began.
pub fn remove(folder: &Path, made: bool) {
    for file in [MANIFEST, SAMPLES, EVENTS, MARKS, SEAL, OTHERS] {
        std::fs::remove_file(folder.join(file)).ok();
    }
    if made {
        std::fs::remove_dir(folder).ok();
    }
}

/// Probes every meter, writes the manifest and collects. It says when it is ready, or why it never will be.
pub fn collector(
    options: &Options,
    folder: &Path,
    begun: Instant,
    (said, stamped, pid): (Sender<Said>, Arc<AtomicBool>, Arc<AtomicU32>),
    ready: &SyncSender<Result<(), Refusal>>,
    orders: &Receiver<Order>,
) -> Result<(), String> {
    let mut missing = Vec::new();
    let known = processor::host(Path::new("/"));
    let mut host = host::facts(&known);
    host.insert("name".to_string(), host_name());
    // Containers of one machine have names of their own and this in common (Linux, proc_sys_kernel(5)).
    if let Ok(boot) = std::fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        host.insert("boot_id".to_string(), boot.trim().to_string());
    }
    // The library must outlive the devices that it gives.
    let library = match nvml::open(options.library.as_ref().map(|path| path.as_os_str())) {
        Ok(library) => Some(library),
        Err(text) if options.library.is_some() => {
            ready.send(Err(Refusal::Input(format!("--nvml-lib: {text}")))).ok();
            return Ok(());
        }
        Err(text) => {
            missing.push(format!("GPUs: {text}"));
            None
        }
    };
    let mut channels: Vec<Channel<'_>> = Vec::new();
    if let Some(library) = &library {
        host.extend(nvml::versions(library));
        let visible = visible();
        match nvml::devices(library, options.gpus.as_deref().or(visible.as_deref()), &mut missing) {
            Ok(devices) => {
                if devices.is_empty() {
                    missing.push("GPUs: none is there, or none is shown (CUDA_VISIBLE_DEVICES)".into());
                }
                for device in devices {
                    let index = channels.len();
                    channels.push(Channel::new(Box::new(device), index));
                }
            }
            Err(text) => {
                ready.send(Err(Refusal::Input(format!("--gpu: {text}")))).ok();
                return Ok(());
            }
        }
    } else if options.gpus.is_some() {
        ready.send(Err(Refusal::Input(format!("--gpu: {}", missing.join("; "))))).ok();
        return Ok(());
    }
    let order = library.as_ref().and_then(|library| device_order(options, library));
    let rapl = rapl::probe(&options.powercap);
    missing.extend(rapl.missing.into_iter().map(|why| format!("energy counters of the host: {why}")));
    for domain in rapl.domains {
        let index = channels.len();
        channels.push(Channel::new(Box::new(host::Counter::new(domain, &host_name())), index));
    }
    if !options.command.is_empty() || options.process.is_some() {
        let index = channels.len();
        channels.push(Channel::new(Box::new(host::Processes::new(pid)), index));
    }
    let started = (monotonic_time() - begun.elapsed().as_secs_f64(), unix_time() - begun.elapsed().as_secs_f64());
    let manifest = Manifest {
        schema: SCHEMA,
        id: identity(started.1),
        program: concat!("lowcarb ", env!("CARGO_PKG_VERSION")).into(),
        started_unix_s: started.1,
        started_monotonic_s: started.0,
        command: options.command.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
        process: options.process,
        working_folder: std::env::current_dir().map(|folder| folder.display().to_string()).unwrap_or_default(),
        interval_s: options.interval,
        idle_s: options.idle,
        host,
        environment: ranks::KEPT.iter().filter_map(|name| Some(((*name).to_string(), std::env::var(name).ok()?))).collect(),
        meters: channels.iter().map(|channel| channel.meter.clone()).collect(),
        missing,
    };
    let mut recorder = match Recorder::create(folder, &manifest) {
        Ok(recorder) => recorder,
        Err(error) => {
            ready.send(Err(Refusal::Work(format!("{}: {error}", folder.display())))).ok();
            return Ok(());
        }
    };
    if let Some(text) = order {
        recorder.event(&Event::Fault { t_s: 0.0, meter: None, code: "device_order".into(), text });
    }
    ready.send(Ok(())).ok();
    let live = options.live.map(|every| Live::new(every, options.rates));
    let steady = options.until_steady.then(Steady::default);
    let marks = Reader::new(started.0, started.1, 0.0);
    Collector {
        clock: Clock(begun),
        interval: options.interval,
        baseline: options.idle,
        channels,
        recorder,
        live,
        steady,
        marks,
        said,
        started,
        stamped,
    }
    .run(orders)
}

/// What to know where CUDA may number devices otherwise than the driver does: by speed, unless CUDA_DEVICE_ORDER says by bus (CUDA C++
/// Programming Guide, "CUDA Environment Variables").
fn device_order(options: &Options, library: &Nvml) -> Option<String> {
    let numbers = visible()?.iter().any(|name| name.parse::<u32>().is_ok());
    let by_bus = std::env::var("CUDA_DEVICE_ORDER").is_ok_and(|order| order == "PCI_BUS_ID");
    (options.gpus.is_none() && numbers && !by_bus && nvml::kinds(library).len() > 1).then(|| {
        "CUDA_VISIBLE_DEVICES has numbers, and devices differ: CUDA numbers them by speed, the driver by bus; CUDA_DEVICE_ORDER=PCI_BUS_ID or \
         UUIDs make them agree"
            .to_string()
    })
}

/// The devices that CUDA shows to a program, as the environment says; nothing where it shows all.
fn visible() -> Option<Vec<String>> {
    let text = std::env::var("CUDA_VISIBLE_DEVICES").ok()?;
    // CUDA takes what stands before the first name that is none (CUDA C++ Programming Guide, "CUDA Environment Variables").
    let names = text.split(',').map(|name| name.trim().to_string());
    Some(names.take_while(|name| !name.is_empty() && !name.starts_with('-') && name != "NoDevFiles").collect())
}

/// A name that no other session has: host, time and process.
fn identity(unix: f64) -> String {
    let text = format!("{} {unix:.9} {}", host_name(), std::process::id());
    crate::session::read::hash(text.as_bytes()).chars().take(32).collect()
}

/// The name of the machine.
pub fn host_name() -> String {
    gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_else(|_| "unknown".into())
}

/// When a process started, in the system's own unit; nothing where there is none.
pub fn start_time(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the 20th value after it is the start time (proc_pid_stat(5), field 22).
    let (before, rest) = text.rsplit_once(')')?;
    let state = rest.split_whitespace().next()?;
    (!before.is_empty() && state != "Z" && state != "X").then(|| rest.split_whitespace().nth(19)?.parse().ok())?
}

fn unix_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

fn monotonic_time() -> f64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0.0, |time| time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9)
}
