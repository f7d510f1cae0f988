//! Cases on a device, each a phase of its own: warm-up outside of it, then calls until its time is over.

use std::fmt;
use std::time::{Duration, Instant};

use serde_json::json;

use super::cases::{Case, Kernel};
use super::marks::Marks;

/// Seconds of calls before a phase begins, or as many as it takes: what runs for the first time loads code and raises clocks.
const WARM_UP: f64 = 0.3;
/// Seconds of calls between two looks at the clock: long beside the wait for the device, short beside a phase.
const BATCH: f64 = 0.05;
/// Calls between two looks at the clock at most.
const LARGEST_BATCH: f64 = 100_000.0;
/// The idle phase is so many times as long as another one: its watts count for every other.
const IDLE_TIMES: f64 = 5.0;
/// Seconds to allocate and fill what a case needs, as assumed for the forecast.
const PREPARATION: f64 = 0.1;

/// Why a case did not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It cannot run on this device; others can.
    Unable(String),
    /// The device or the marks fail; nothing more can run.
    Failed(String),
}

/// A case that is ready to run.
pub trait Ready {
    /// Runs so many calls one after the other and waits until they are complete.
    ///
    /// # Errors
    /// The device cannot run it, or fails.
    fn run(&mut self, calls: u64) -> Result<(), Trouble>;
}

/// What runs cases.
pub trait Device {
    /// Allocates and fills what a case needs, until the value is dropped.
    ///
    /// # Errors
    /// The device cannot run it, or fails.
    fn prepare(&self, case: &Case) -> Result<Box<dyn Ready + '_>, Trouble>;
}

/// What came of a case.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It ran.
    Ran {
        /// Complete calls.
        calls: u64,
        /// Seconds they took, on the host's clock.
        seconds: f64,
    },
    /// It did not run, and why.
    Skipped(String),
}

/// A case and what came of it; as text, one line.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// The case.
    pub case: Case,
    /// What came of it.
    pub outcome: Outcome,
}

impl fmt::Display for Done {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.case.name();
        match &self.outcome {
            Outcome::Skipped(why) => write!(formatter, "{name}: not run: {why}"),
            Outcome::Ran { calls: 0, seconds } => write!(formatter, "{name}: {seconds:.2} s"),
            Outcome::Ran { calls, seconds } => {
                let cost = self.case.cost();
                let each = seconds / *calls as f64;
                write!(formatter, "{name}: {calls} calls in {seconds:.2} s, {:.2} us each", 1e6 * each)?;
                match (cost.matmul_flops, cost.bytes()) {
                    (0.0, 0.0) => Ok(()),
                    (0.0, bytes) => write!(formatter, ", {:.0} GB/s", 1e-9 * bytes / each),
                    (flop, _) => write!(formatter, ", {:.1} TFLOP/s", 1e-12 * flop / each),
                }
            }
        }
    }
}

fn window(case: &Case, seconds: f64) -> f64 {
    if case.kernel == Kernel::Idle { IDLE_TIMES * seconds } else { seconds }
}

/// Seconds that the cases take in all, about.
#[must_use]
pub fn forecast(cases: &[Case], seconds: f64) -> f64 {
    let around = |case: &Case| if case.kernel == Kernel::Idle { 0.0 } else { PREPARATION + WARM_UP.min(seconds) };
    cases.iter().map(|case| window(case, seconds) + around(case)).sum()
}

/// Runs the cases, `seconds` each, and tells what came of every one as soon as it is known.
///
/// # Errors
/// The device fails, or the marks cannot be written; the message says in which case.
pub fn run(device: &dyn Device, cases: &[Case], seconds: f64, marks: &mut Marks, tell: &mut dyn FnMut(&Done)) -> Result<(), String> {
    for case in cases {
        let outcome = match run_case(device, case, seconds, marks) {
            Ok((calls, seconds)) => Outcome::Ran { calls, seconds },
            Err(Trouble::Unable(why)) => Outcome::Skipped(why),
            Err(Trouble::Failed(why)) => return Err(format!("{}: {why}", case.name())),
        };
        tell(&Done { case: *case, outcome });
    }
    Ok(())
}

/// Calls and the seconds they took.
fn run_case(device: &dyn Device, case: &Case, seconds: f64, marks: &mut Marks) -> Result<(u64, f64), Trouble> {
    let seconds = window(case, seconds);
    if case.kernel == Kernel::Idle {
        return phase(case, marks, || {
            std::thread::sleep(Duration::from_secs_f64(seconds));
            (0, Ok(()))
        });
    }
    let mut ready = device.prepare(case)?;
    let batch = warm_up(ready.as_mut(), seconds)?;
    phase(case, marks, || {
        let (start, mut calls) = (Instant::now(), 0);
        while start.elapsed().as_secs_f64() < seconds {
            if let Err(trouble) = ready.run(batch) {
                return (calls, Err(trouble));
            }
            calls += batch;
        }
        (calls, Ok(()))
    })
}

/// One phase around `work`, which says how many calls are complete; a phase that failed states no facts.
fn phase(case: &Case, marks: &mut Marks, work: impl FnOnce() -> (u64, Result<(), Trouble>)) -> Result<(u64, f64), Trouble> {
    let name = case.name();
    let mut columns = case.columns();
    marks.begin(&name).map_err(Trouble::Failed)?;
    let start = Instant::now();
    let (calls, result) = work();
    let seconds = start.elapsed().as_secs_f64();
    // Facts belong to a phase that is open: they come before its end, and delay it by microseconds.
    if result.is_ok() {
        columns["calls"] = json!(calls);
        marks.fact("kernels", &columns).map_err(Trouble::Failed)?;
    }
    marks.end(&name).map_err(Trouble::Failed)?;
    result.map(|()| (calls, seconds))
}

/// Runs calls until the device is warm; returns how many to run between two looks at the clock.
fn warm_up(ready: &mut dyn Ready, seconds: f64) -> Result<u64, Trouble> {
    // The first call loads code, which says nothing of the next.
    ready.run(1)?;
    let start = Instant::now();
    let mut calls = 1;
    loop {
        let before = Instant::now();
        ready.run(calls)?;
        let each = before.elapsed().as_secs_f64() / calls as f64;
        let fitting = (BATCH / each.max(1e-9)).clamp(1.0, LARGEST_BATCH) as u64;
        // A wait for the device weighs most on few calls: grow towards the time of one, do not leap.
        calls = fitting.min(8 * calls);
        if start.elapsed().as_secs_f64() >= WARM_UP.min(seconds) {
            return Ok(calls);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::standard::standard;
    use super::*;

    #[test]
    fn all_cases_take_under_five_minutes_unless_told_otherwise() {
        let seconds = forecast(&standard(), super::super::SECONDS_PER_KERNEL);
        assert!(seconds < 300.0, "{seconds} s");
    }

    #[test]
    fn a_line_says_what_a_case_achieved() {
        let done = |case, calls| Done { case, outcome: Outcome::Ran { calls, seconds: 2.0 } };
        let cases = standard();
        let of = |name: &str| *cases.iter().find(|case| case.name() == name).unwrap();
        // 4000 products of 2 x 4096^3 FLOP in 2 s.
        let text = done(of("gemm/bf16/4096x4096x4096"), 4000).to_string();
        assert_eq!(text, "gemm/bf16/4096x4096x4096: 4000 calls in 2.00 s, 500.00 us each, 274.9 TFLOP/s");
        let text = done(of("copy/fp32/67108864"), 2000).to_string();
        assert_eq!(text, "copy/fp32/67108864: 2000 calls in 2.00 s, 1000.00 us each, 537 GB/s");
        assert_eq!(done(of("launch"), 1_000_000).to_string(), "launch: 1000000 calls in 2.00 s, 2.00 us each");
        assert_eq!(done(of("idle"), 0).to_string(), "idle: 2.00 s");
    }
}
