//! What a session says: energy and power by device and phase, steps, what is missing, and how sure each figure is.

use std::collections::BTreeMap;

use serde::Serialize;

use super::energy::{Basis, Series};
use super::phase::{Marks, Phase};
use super::{Event, Manifest, MeterKind, Session, State, Window};

/// The figures of a session; keys carry their unit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Version of this form.
    pub schema: u32,
    /// The session.
    pub id: String,
    /// What was run.
    pub command: Vec<String>,
    /// The machine.
    pub host_name: String,
    /// When it started, seconds since 1970, UTC.
    pub started_unix_s: f64,
    /// Whether it reached its end.
    pub state: State,
    /// The exit code of the measured program; nothing where it was not seen to end.
    pub exit_code: Option<i32>,
    /// How long the measured program ran, s.
    pub duration_s: f64,
    /// Energy of accelerators and host while it ran, J; nothing where nothing could be read.
    pub energy_j: Option<f64>,
    /// What `energy_j` lacks.
    pub missing: Vec<String>,
    /// Accelerators.
    pub gpus: Vec<Gpu>,
    /// Processors and memory.
    pub host: Host,
    /// Steps, by phase.
    pub steps: Vec<Steps>,
    /// What went wrong or changed.
    pub faults: Vec<Fault>,
}

/// One accelerator.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gpu {
    /// Its identity.
    pub uuid: String,
    /// What it is.
    pub name: String,
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
    pub instances: Vec<super::manifest::Instance>,
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

/// Processors and memory of the machine.
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
    /// Processor time of the program and of what it waited for, s.
    pub cpu_s: Option<f64>,
    /// The largest resident set of one process, bytes.
    pub peak_memory_bytes: Option<f64>,
}

/// One domain of the host.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Domain {
    /// Its name.
    pub name: String,
    /// Energy while the program ran, J.
    pub energy_j: Option<f64>,
    /// Whether it is part of the host's energy; parts of a package and all of the platform are not.
    pub added: bool,
}

/// Steps of a phase, all its times together; energies are of all accelerators.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Steps {
    /// The phase.
    pub phase: String,
    /// How many.
    pub count: u64,
    /// Their time over their number, s.
    pub mean_s: f64,
    /// Half of them took less, s.
    pub median_s: f64,
    /// Samples a second.
    pub samples_per_s: Option<f64>,
    /// Tokens a second.
    pub tokens_per_s: Option<f64>,
    /// Energy of a step, J.
    pub energy_j: Option<f64>,
    /// Energy of a sample, J.
    pub energy_j_per_sample: Option<f64>,
    /// Energy of a token, J.
    pub energy_j_per_token: Option<f64>,
}

/// Something to know when figures are read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fault {
    /// A word that stays the same between versions.
    pub code: String,
    /// The device it concerns.
    pub uuid: Option<String>,
    /// When it was seen first, s of the session.
    pub first_s: f64,
    /// How often.
    pub count: usize,
    /// What it was, for people; the first of them.
    pub text: String,
}

/// Accuracy of a device's own power sensor: readings of 5 % more or less than an external meter's were found on many cards (Yang,
/// Adamek and Armour, "Part-time power measurements", 2023, arXiv:2312.02741). Taken as the bounds of a 90 % interval.
pub const SENSOR: f64 = 0.05;

impl Summary {
    /// The figures of a session.
    #[must_use]
    pub fn of(session: &Session) -> Self {
        let manifest = &session.manifest;
        let run = session.window(Window::Run).unwrap_or((0.0, session.last_time()));
        let series: Vec<Series> = manifest.meters.iter().zip(&session.samples).map(|(meter, rows)| Series::new(meter, rows)).collect();
        let marks = Marks::of(session);
        let gpus: Vec<usize> = of_kind(manifest, MeterKind::Gpu);
        let exit = session.events.iter().find_map(|event| match event {
            Event::Exit { code, cpu_s, peak_memory_bytes, .. } => Some((*code, *cpu_s, *peak_memory_bytes)),
            _ => None,
        });
        let host = host(session, &series, run, exit.map(|(_, cpu, memory)| (cpu, memory)));
        let per_gpu: Vec<Gpu> = gpus.iter().map(|index| gpu(session, *index, &series[*index], run, &marks)).collect();
        let mut missing = manifest.missing.clone();
        missing.extend(per_gpu.iter().filter(|gpu| gpu.energy_j.is_none()).map(|gpu| format!("energy of {} {}", gpu.name, gpu.uuid)));
        let parts = per_gpu.iter().map(|gpu| gpu.energy_j).chain([host.energy_j]);
        let energy_j = parts.flatten().fold(None, |sum: Option<f64>, part| Some(sum.unwrap_or(0.0) + part));
        Self {
            schema: super::SCHEMA,
            id: manifest.id.clone(),
            command: manifest.command.clone(),
            host_name: manifest.host.get("name").cloned().unwrap_or_default(),
            started_unix_s: manifest.started_unix_s,
            state: session.state,
            exit_code: exit.map(|(code, ..)| code),
            duration_s: run.1 - run.0,
            energy_j,
            missing,
            steps: steps(&marks, &gpus.iter().map(|index| &series[*index]).collect::<Vec<_>>()),
            faults: faults(session, &series, &marks, run),
            gpus: per_gpu,
            host,
        }
    }
}

fn of_kind(manifest: &Manifest, kind: MeterKind) -> Vec<usize> {
    (0..manifest.meters.len()).filter(|index| manifest.meters[*index].kind == kind).collect()
}

/// Mean power over a stretch that readings cover, W.
fn mean_power(series: &Series, window: Option<(f64, f64)>) -> Option<f64> {
    let (from, to) = window?;
    let covered = if series.basis == Basis::Tdp { to - from } else { series.covered(from, to) };
    (covered > 0.0).then(|| series.energy(from, to).map(|joules| joules / covered)).flatten()
}

fn gpu(session: &Session, index: usize, series: &Series, run: (f64, f64), marks: &Marks) -> Gpu {
    let meter = &session.manifest.meters[index];
    let rows = || session.samples[index].iter().filter(|row| row.time >= run.0 && row.time <= run.1);
    let mean = |figure: fn(&super::Sample) -> Option<f64>| {
        let (sum, count) = rows().filter_map(figure).fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
        (count > 0).then(|| sum / f64::from(count))
    };
    let most = |figure: fn(&super::Sample) -> Option<f64>| {
        rows().filter_map(figure).fold(None, |most: Option<f64>, value| Some(most.map_or(value, |most| most.max(value))))
    };
    let energy = series.energy(run.0, run.1);
    // A limit says what was drawn at most, and nothing of an idle device.
    let power_is_known = series.basis != Basis::Tdp;
    let before = mean_power(series, session.window(Window::IdleBefore)).filter(|_| power_is_known);
    let after = mean_power(series, session.window(Window::IdleAfter)).filter(|_| power_is_known);
    let idle = before.or(after);
    let (low, high) = match (series.basis, energy) {
        (Basis::Tdp, _) => (before.map(|watts| watts * (run.1 - run.0)).or(energy.map(|_| 0.0)), energy),
        (_, Some(energy)) => {
            let spread = (SENSOR * energy).hypot(series.resolution(run.0, run.1));
            (Some((energy - spread).max(0.0)), Some(energy + spread))
        }
        (_, None) => (None, None),
    };
    Gpu {
        uuid: meter.uuid.clone(),
        name: meter.name.clone(),
        energy_j: energy,
        energy_basis: series.basis,
        energy_low_j: low,
        energy_high_j: high,
        idle_w: idle,
        idle_after_w: after,
        mean_w: mean_power(series, Some(run)),
        active_energy_j: energy.zip(idle).map(|(joules, idle)| joules - idle * series.covered(run.0, run.1)),
        sampled_energy_j: series.sampled_energy(run.0, run.1),
        sampled_gap_percent: series.gap(run.0, run.1).map(|gap| 100.0 * gap),
        counter_period_s: series.counter_period,
        covered_s: series.covered(run.0, run.1),
        peak_memory_bytes: most(|row| row.slow.memory),
        mean_utilization_percent: mean(|row| row.slow.utilization),
        mean_sm_mhz: mean(|row| row.slow.sm_clock),
        peak_temperature_c: most(|row| row.slow.temperature),
        limit_w: meter.limit_w,
        throttled_percent: throttled(&rows().filter_map(|row| row.slow.throttle).collect::<Vec<_>>()),
        phases: phases(marks, series),
        instances: meter.instances.clone(),
    }
}

/// Share of readings in which clocks were held down, by reason, %. The bits are those of `nvmlClocksThrottleReasons` (nvml.h); idle
/// and clocks that an application set hold nothing down.
fn throttled(readings: &[f64]) -> BTreeMap<String, f64> {
    const REASONS: [(u64, &str); 7] = [
        (0x4, "software_power_cap"),
        (0x8, "hardware_slowdown"),
        (0x10, "sync_boost"),
        (0x20, "software_thermal"),
        (0x40, "hardware_thermal"),
        (0x80, "hardware_power_brake"),
        (0x100, "display_clock"),
    ];
    let share = |bit: u64| readings.iter().filter(|bits| **bits as u64 & bit != 0).count() as f64 / readings.len().max(1) as f64;
    REASONS.iter().map(|(bit, name)| ((*name).to_string(), 100.0 * share(*bit))).filter(|(_, share)| *share > 0.0).collect()
}

/// The names of phases in the order in which they began, each with its times.
fn by_name(marks: &Marks) -> Vec<(&str, Vec<&Phase>)> {
    let mut out: Vec<(&str, Vec<&Phase>)> = Vec::new();
    for phase in &marks.phases {
        match out.iter_mut().find(|(name, _)| *name == phase.name) {
            Some((_, times)) => times.push(phase),
            None => out.push((&phase.name, vec![phase])),
        }
    }
    out
}

fn phases(marks: &Marks, series: &Series) -> Vec<PhaseEnergy> {
    let of = |(name, times): (&str, Vec<&Phase>)| {
        let duration = times.iter().map(|phase| phase.end - phase.begin).sum::<f64>();
        let energy = times.iter().map(|phase| series.energy(phase.begin, phase.end)).sum::<Option<f64>>();
        let mean = energy.filter(|_| duration > 0.0).map(|joules| joules / duration);
        PhaseEnergy { name: name.to_string(), count: times.len(), duration_s: duration, energy_j: energy, mean_w: mean }
    };
    by_name(marks).into_iter().map(of).collect()
}

fn steps(marks: &Marks, gpus: &[&Series]) -> Vec<Steps> {
    let mut out = Vec::new();
    for (name, times) in by_name(marks) {
        let marked: Vec<&&Phase> = times.iter().filter(|phase| !phase.steps.is_empty()).collect();
        let count: u64 = marked.iter().map(|phase| phase.counted()).sum();
        let stretches = || marked.iter().filter_map(|phase| phase.steps.last().map(|last| (phase.begin, last.end)));
        let duration: f64 = stretches().map(|(begin, end)| end - begin).sum();
        let Some(longest) = marked.iter().max_by_key(|phase| phase.counted()).and_then(|phase| phase.step_times()) else { continue };
        let total = |figure: fn(&super::phase::Step) -> Option<f64>| marked.iter().map(|phase| phase.total(figure)).sum::<Option<f64>>();
        let (samples, tokens) = (total(|step| step.samples), total(|step| step.tokens));
        let energy = match gpus {
            [] => None,
            gpus => stretches().flat_map(|(begin, end)| gpus.iter().map(move |series| series.energy(begin, end))).sum::<Option<f64>>(),
        };
        let a_second = |total: Option<f64>| total.filter(|_| duration > 0.0).map(|total| total / duration);
        let share = |total: Option<f64>| energy.zip(total).filter(|(_, total)| *total > 0.0).map(|(joules, total)| joules / total);
        out.push(Steps {
            phase: name.to_string(),
            count,
            mean_s: duration / count as f64,
            median_s: longest.median,
            samples_per_s: a_second(samples),
            tokens_per_s: a_second(tokens),
            energy_j: energy.map(|joules| joules / count as f64),
            energy_j_per_sample: share(samples),
            energy_j_per_token: share(tokens),
        });
    }
    out
}

fn host(session: &Session, series: &[Series], run: (f64, f64), exit: Option<(Option<f64>, Option<u64>)>) -> Host {
    let manifest = &session.manifest;
    let domain = |index: usize| Domain {
        name: manifest.meters[index].name.clone(),
        energy_j: series[index].energy(run.0, run.1),
        added: manifest.meters[index].is_added(),
    };
    let added = of_kind(manifest, MeterKind::Host);
    let sum = |figure: &dyn Fn(&Series) -> Option<f64>| match added.as_slice() {
        [] => None,
        added => added.iter().map(|index| figure(&series[*index])).sum::<Option<f64>>(),
    };
    let process = of_kind(manifest, MeterKind::Process).first().map(|index| session.samples[*index].as_slice()).unwrap_or_default();
    let most = |figure: fn(&super::Sample) -> Option<f64>| {
        process.iter().filter_map(figure).fold(None, |most: Option<f64>, value| Some(most.map_or(value, |most| most.max(value))))
    };
    Host {
        energy_j: sum(&|series| series.energy(run.0, run.1)),
        idle_w: sum(&|series| mean_power(series, session.window(Window::IdleBefore))),
        modelled_processors_j: None,
        modelled_memory_j: None,
        modelled_from: None,
        domains: added.iter().copied().chain(of_kind(manifest, MeterKind::HostPart)).map(domain).collect(),
        cpu_s: exit.and_then(|(cpu, _)| cpu).or_else(|| most(|row| row.slow.cpu)),
        peak_memory_bytes: most(|row| row.slow.memory).or_else(|| exit.and_then(|(_, memory)| memory.map(|bytes| bytes as f64))),
    }
}

fn faults(session: &Session, series: &[Series], marks: &Marks, run: (f64, f64)) -> Vec<Fault> {
    let mut out: Vec<Fault> = Vec::new();
    let mut add = |time: f64, meter: Option<usize>, code: &str, text: &str| {
        let uuid = meter.and_then(|index| session.manifest.meters.get(index)).map(|meter| meter.uuid.clone());
        match out.iter_mut().find(|fault| fault.code == code && fault.uuid == uuid) {
            Some(fault) => fault.count += 1,
            None => out.push(Fault { code: code.into(), uuid, first_s: time, count: 1, text: text.into() }),
        }
    };
    for event in &session.events {
        if let Event::Fault { t_s, meter, code, text } = event {
            add(*t_s, *meter, code, text);
        }
    }
    for (index, series) in series.iter().enumerate() {
        let kind = session.manifest.meters[index].kind;
        for finding in &series.findings {
            add(finding.time, Some(index), finding.code, &finding.text);
        }
        if kind != MeterKind::Gpu {
            continue;
        }
        let instances = session.manifest.meters[index].instances.len();
        if instances > 0 {
            let text = format!("the device is divided into {instances} instances: energy is of the whole device");
            add(run.0, Some(index), "divided_device", &text);
        }
        if series.basis == Basis::Tdp {
            add(
                run.0,
                Some(index),
                "energy_not_measured",
                "no energy counter and no power reading: the power limit times the time, an upper bound",
            );
            continue;
        }
        let missing = run.1 - run.0 - series.covered(run.0, run.1);
        if missing > 2.0 * session.manifest.interval_s + 0.01 {
            let text =
                format!("readings cover {:.1} of {:.1} s: energy of the rest is missing", series.covered(run.0, run.1), run.1 - run.0);
            add(run.1 - missing, Some(index), "energy_incomplete", &text);
        }
        if let Some(gap) = series.disagrees(run.0, run.1) {
            let text = format!("power readings sum to {:+.1} % of what the energy counter says", 100.0 * gap);
            add(run.0, Some(index), "counter_and_power_differ", &text);
        }
    }
    for finding in &marks.findings {
        add(finding.time, None, finding.code, &finding.text);
    }
    for defect in &session.defects {
        let place = if defect.line > 0 { format!("{} line {}", defect.file, defect.line) } else { defect.file.to_string() };
        add(0.0, None, "file_defect", &format!("{place}: {}", defect.text));
    }
    if session.state == State::Recovered {
        add(session.last_time(), None, "recovered", "the session has no seal: the collector was cut short or is still at work");
    }
    out
}
