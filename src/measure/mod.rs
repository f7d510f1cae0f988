//! Measures a program, a process or a machine: starts what is measured, collects readings beside it, and leaves a session on disk.

mod child;
mod collector;
mod host;
mod live;
mod marks;
mod meter;
mod nvml;
pub mod process;
pub mod processor;
mod ranks;
pub mod rapl;
mod recorder;
mod schedule;
mod setup;
mod steady;

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::time::Instant;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use child::{Ended, Message, Running, seconds};
use collector::{Order, Said};
pub use live::Rates;
use ranks::Place;

use crate::session::{EVENTS, MARKS};

/// What is to be measured, and how.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What to run; nothing to watch a process or the machine.
    pub command: Vec<OsString>,
    /// The process to watch.
    pub process: Option<u32>,
    /// The folder of the session; made up where none is named.
    pub folder: Option<PathBuf>,
    /// Seconds between rows.
    pub interval: f64,
    /// Seconds of the idle baselines.
    pub idle: f64,
    /// Seconds after which the run is ended.
    pub duration: Option<f64>,
    /// Whether the run is ended once power is level.
    pub until_steady: bool,
    /// Devices by index or identity; those that CUDA shows where none is named.
    pub gpus: Option<Vec<String>>,
    /// The driver's library.
    pub library: Option<PathBuf>,
    /// Where the system lists its energy counters.
    pub powercap: PathBuf,
    /// Seconds between lines that say how it goes.
    pub live: Option<f64>,
    /// What an energy costs, for those lines.
    pub rates: Rates,
}

/// How a measurement ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The code to exit with: that of what was run.
    pub code: i32,
    /// The session; nothing where another process of the node collects, or where it was ended before it began.
    pub folder: Option<PathBuf>,
    /// What could not be written, for people.
    pub problem: Option<String>,
}

/// Why there is no measurement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Wrong usage or input.
    Input(String),
    /// The work failed.
    Work(String),
}

/// The variable that names the file of marks to what is measured.
pub const MARKS_VARIABLE: &str = "LOWCARB_MARKS";
/// How long the others of a node wait for its collector to start, beside the idle baseline, s.
const START: f64 = 60.0;
/// How long the driver has to say what its devices can tell, s.
const PROBE: f64 = 60.0;
/// How long it has to answer at the start and the end of the run, s.
const ANSWER: f64 = 5.0;
/// How long a collector waits for the others of its node to end, s.
const END: f64 = 10.0;
/// The file that those others hold locked while they run.
const OTHERS: &str = "ranks.lock";

/// Says something to whoever watches.
pub(crate) fn tell(text: &str) {
    writeln!(std::io::stderr(), "{text}").ok();
}

/// Measures.
///
/// # Errors
/// Wrong input, or a folder that cannot be written to; nothing was run then.
pub fn measure(options: Options) -> Result<Outcome, Refusal> {
    let begun = child::began();
    if let Some(program) = options.command.first()
        && child::find(program, std::env::var_os("PATH")).is_none()
    {
        return Err(Refusal::Input(format!("{}: no such command, or not one that can be run", program.to_string_lossy())));
    }
    if let Some(process) = options.process.filter(|process| setup::start_time(*process).is_none()) {
        return Err(Refusal::Input(format!("--pid: {process} is no process that runs")));
    }
    // What runs already is no idle machine.
    let idle = if options.command.is_empty() { 0.0 } else { options.idle };
    let options = Options { idle, ..options };
    let place = ranks::place(|name| std::env::var(name).ok()).filter(|_| !options.command.is_empty());
    let folder = setup::folder(&options, place);
    match place {
        Some(place) if place.local > 0 => beside(&options, &folder, place),
        place => collect(options, &folder, place, begun),
    }
}

/// Runs the command beside the collector of the node, from when its idle baseline is over.
fn beside(options: &Options, folder: &Path, place: Place) -> Result<Outcome, Refusal> {
    let work = |error: std::io::Error| Refusal::Work(error.to_string());
    let (_, messages) = child::messages().map_err(work)?;
    tell(&format!("lowcarb: process {} of this node runs its command; process 0 measures the node", place.local));
    let until = Instant::now() + seconds(options.idle + START);
    let has_started = || std::fs::read_to_string(folder.join(EVENTS)).is_ok_and(|text| text.contains("\"window\":\"run\""));
    while options.folder.is_some() && !has_started() && Instant::now() < until {
        if let Some(signal) = idle(&messages, Instant::now() + seconds(0.01)) {
            return Ok(Outcome { code: 128 + signal, folder: None, problem: None });
        }
    }
    let lock = OpenOptions::new().write(true).create(true).truncate(false).open(folder.join(OTHERS)).ok();
    let held = lock.as_ref().is_some_and(|file| file.lock_shared().is_ok());
    let mut running = start(options, folder)?;
    let (ended, _) = supervise(&mut running, &messages, None);
    drop(lock.filter(|_| held));
    Ok(Outcome { code: ended.code().unwrap_or(1), folder: None, problem: None })
}

fn start(options: &Options, folder: &Path) -> Result<Running, Refusal> {
    let marks = std::path::absolute(folder.join(MARKS)).unwrap_or_else(|_| folder.join(MARKS));
    child::start(&options.command, &[(MARKS_VARIABLE, marks.into_os_string())])
        .map_err(|error| Refusal::Input(format!("{}: {error}", options.command[0].to_string_lossy())))
}

/// Waits until a program ends, forwards signals, and ends it at a moment or when the collector says so. How it ended, and whether we
/// ended it.
fn supervise(running: &mut Running, messages: &std::sync::mpsc::Receiver<Message>, until: Option<Instant>) -> (Ended, bool) {
    let mut until = until;
    let mut by_us = false;
    loop {
        match child::next(messages, until) {
            Some(Message::Signal(signal)) => {
                if let Some(ended) = running.signal(signal) {
                    running.finish();
                    return (ended, by_us);
                }
            }
            Some(Message::Collector(Said::Steady)) | None => {
                by_us = true;
                until = None;
                running.end();
            }
        }
    }
}

/// Collects readings beside the command.
fn collect(options: Options, folder: &Path, place: Option<Place>, begun: Instant) -> Result<Outcome, Refusal> {
    let work = |error: std::io::Error| Refusal::Work(error.to_string());
    let (sender, messages) = child::messages().map_err(work)?;
    let made = setup::make_folder(folder)?;
    let (orders, taken) = channel();
    let (ready, is_ready) = sync_channel(1);
    let stamped = Arc::new(AtomicBool::new(false));
    let pid = Arc::new(AtomicU32::new(options.process.unwrap_or(0)));
    let thread = std::thread::spawn({
        let (options, folder, stamped, pid) = (options.clone(), folder.to_path_buf(), stamped.clone(), pid.clone());
        let said = forwarded(sender);
        move || setup::collector(&options, &folder, begun, (said, stamped, pid), &ready, &taken)
    });
    let refused = match is_ready.recv_timeout(seconds(PROBE)) {
        Ok(Ok(())) => None,
        Ok(Err(refusal)) => Some(refusal),
        Err(_) => Some(Refusal::Work(format!("the driver did not say within {PROBE} s what its devices can tell"))),
    };
    if let Some(refusal) = refused {
        setup::remove(folder, made);
        return Err(refusal);
    }
    marks::watch(&folder.join(MARKS), orders.clone(), stamped);
    if options.idle > 0.0 && options.live.is_some() {
        tell(&format!("lowcarb: idle baseline of {} s", options.idle));
    }
    if let Some(signal) = idle(&messages, begun + seconds(options.idle)) {
        orders.send(Order::Finish).ok();
        thread.join().ok();
        setup::remove(folder, made);
        return Ok(Outcome { code: 128 + signal, folder: None, problem: None });
    }
    ask(&orders, Order::Start);
    let until = options.duration.map(|duration| Instant::now() + seconds(duration));
    let (code, recorded) = if options.command.is_empty() {
        watch(options.process, &messages, until);
        (0, None)
    } else {
        match start(&options, folder) {
            Ok(mut running) => {
                pid.store(running.pid(), Ordering::Relaxed);
                let (ended, by_us) = supervise(&mut running, &messages, until);
                (if by_us { 0 } else { ended.code().unwrap_or(1) }, ended.code())
            }
            Err(refusal) => {
                orders.send(Order::Finish).ok();
                thread.join().ok();
                setup::remove(folder, made);
                return Err(refusal);
            }
        }
    };
    let (cpu_s, peak_memory_bytes) = if options.command.is_empty() { (None, None) } else { child::usage() };
    if !ask(&orders, |done| Order::End { code: recorded, cpu_s, peak_memory_bytes, done }) {
        let problem = format!("{}: the driver does not answer: the session is not sealed", folder.display());
        return Ok(Outcome { code, folder: Some(folder.to_path_buf()), problem: Some(problem) });
    }
    if place.is_some() {
        wait_for_others(folder);
    }
    idle(&messages, Instant::now() + seconds(options.idle));
    orders.send(Order::Finish).ok();
    let problem = match thread.join() {
        Ok(result) => result.err(),
        Err(_) => Some("the collector broke down: the session is not sealed".into()),
    };
    Ok(Outcome { code, folder: Some(folder.to_path_buf()), problem })
}

/// What the collector says, as messages.
fn forwarded(sender: Sender<Message>) -> Sender<Said> {
    let (said, heard) = channel();
    std::thread::spawn(move || heard.iter().take_while(|said: &Said| sender.send(Message::Collector(said.clone())).is_ok()).count());
    said
}

/// Gives an order and waits until it is done; whether it was. A driver that does not answer is not waited for.
fn ask(orders: &Sender<Order>, order: impl FnOnce(std::sync::mpsc::SyncSender<()>) -> Order) -> bool {
    let (done, is_done) = sync_channel(1);
    orders.send(order(done)).is_ok() && is_done.recv_timeout(seconds(ANSWER)).is_ok()
}

/// Lets time pass until a moment; the signal that ended it before.
fn idle(messages: &std::sync::mpsc::Receiver<Message>, until: Instant) -> Option<i32> {
    loop {
        match child::next(messages, Some(until)) {
            Some(Message::Signal(signal @ (SIGINT | SIGTERM | SIGHUP | SIGQUIT))) => return Some(signal),
            Some(_) => {}
            None => return None,
        }
    }
}

/// Waits until a process is gone, a moment comes, the collector says so, or a signal.
fn watch(process: Option<u32>, messages: &std::sync::mpsc::Receiver<Message>, until: Option<Instant>) {
    let started = process.map(setup::start_time);
    loop {
        let step = Instant::now() + seconds(0.02);
        let next = until.map_or(step, |until| until.min(step));
        if let Some(Message::Signal(SIGINT | SIGTERM | SIGHUP | SIGQUIT) | Message::Collector(Said::Steady)) =
            child::next(messages, Some(next))
        {
            return;
        }
        let is_over = until.is_some_and(|until| Instant::now() >= until);
        let is_gone = process.is_some_and(|pid| Some(setup::start_time(pid)) != started || started == Some(None));
        if is_over || is_gone {
            return;
        }
    }
}

/// Waits until the other processes of the node have ended their commands, so that they are not part of the idle baseline.
fn wait_for_others(folder: &Path) {
    let Ok(file) = OpenOptions::new().write(true).open(folder.join(OTHERS)) else { return };
    let until = Instant::now() + seconds(END);
    while file.try_lock().is_err() && Instant::now() < until {
        std::thread::sleep(seconds(0.01));
    }
}
