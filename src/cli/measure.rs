//! `lowcarb measure`: a session of readings around a command, a process or the machine.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Failure, session, tell};
use crate::measure::{Options, Rates, Refusal, measure};
use crate::store::Store;

/// Measure a command: power over time, energy by phase, idle and active apart, in a session on disk.
///
/// Its output, its signals and its exit code are those of the command. Phases and steps are marked by appending lines to the file that
/// the environment variable LOWCARB_MARKS names: `begin NAME`, `end NAME`, `step`.
#[derive(Args)]
pub(crate) struct Measure {
    /// The folder of the session; made up from the time where none is named.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Milliseconds between rows; power is read more often, as far as 0.3 % of a core allows.
    #[arg(long, value_name = "MS", default_value = "100", value_parser = milliseconds)]
    interval: f64,
    /// Seconds of the idle baseline before and after a command.
    #[arg(long, value_name = "S", default_value = "3", value_parser = duration)]
    idle: f64,
    /// Watch a process that runs already, until it ends.
    #[arg(long, value_name = "PID", conflicts_with = "command")]
    pid: Option<u32>,
    /// End the run after so many seconds; a command gets SIGTERM. Without a command or process, watch the machine.
    #[arg(long, value_name = "S", value_parser = duration)]
    duration: Option<f64>,
    /// End the run once power is level: three means of 5 s within 2 %.
    #[arg(long)]
    until_steady: bool,
    /// Devices by index or UUID; those that CUDA_VISIBLE_DEVICES shows where none is named, else all.
    #[arg(long, value_name = "GPU", value_delimiter = ',')]
    gpu: Option<Vec<String>>,
    /// NVIDIA's management library.
    #[arg(long, value_name = "FILE")]
    nvml_lib: Option<PathBuf>,
    /// Where Linux lists the energy counters of processors (RAPL).
    #[arg(long, value_name = "DIR", default_value = "/sys/class/powercap")]
    powercap: PathBuf,
    /// Say how it goes every so many seconds, 0 for never; every 10 on a terminal.
    #[arg(long, value_name = "S", value_parser = duration)]
    live: Option<f64>,
    /// Say grams of CO2e of this grid too: a zone such as DE.
    #[arg(long, value_name = "ZONE")]
    grid: Option<String>,
    /// Say money too: US dollars of a kilowatt-hour.
    #[arg(long, value_name = "USD", value_parser = price)]
    tariff: Option<f64>,
    /// What to run, after `--`.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

fn number(text: &str, least: f64, most: f64) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        _ => Err(format!("a number from {least} to {most}")),
    }
}

fn milliseconds(text: &str) -> Result<f64, String> {
    number(text, 1.0, 60_000.0).map(|value| value / 1e3)
}

fn duration(text: &str) -> Result<f64, String> {
    number(text, 0.0, 1e8)
}

fn price(text: &str) -> Result<f64, String> {
    number(text, 0.0, 1e3)
}

impl Measure {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        if self.command.is_empty() && self.pid.is_none() && self.duration.is_none() && !self.until_steady {
            return Err(Failure::Input("nothing to measure: a command after `--`, or --pid, --duration or --until-steady".into()));
        }
        let grams_per_kwh = self.grid.as_ref().map(|zone| super::grams_per_kwh(&Store::standard(), zone)).transpose()?;
        let live = self.live.or_else(|| std::io::IsTerminal::is_terminal(&std::io::stderr()).then_some(10.0)).filter(|every| *every > 0.0);
        let options = Options {
            command: self.command,
            process: self.pid,
            folder: self.out,
            interval: self.interval,
            idle: self.idle,
            duration: self.duration,
            until_steady: self.until_steady,
            gpus: self.gpu,
            library: self.nvml_lib,
            powercap: self.powercap,
            live,
            rates: Rates { grams_per_kwh, usd_per_kwh: self.tariff },
        };
        let outcome = measure(options).map_err(|refusal| match refusal {
            Refusal::Input(text) => Failure::Input(text),
            Refusal::Work(text) => Failure::Work(text),
        })?;
        if let Some(folder) = &outcome.folder {
            session::say(folder);
        }
        if let Some(problem) = &outcome.problem {
            tell(&format!("error: {problem}"));
        }
        let code = if outcome.code == 0 && outcome.problem.is_some() { 1 } else { outcome.code };
        Ok(ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1)))
    }
}
