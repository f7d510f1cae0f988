//! What a measurement says, as tables for people.

use super::super::style::{table, wrap};
use crate::session::energy::Basis;
use crate::session::summary::{Fault, Gpu};
use crate::session::{State, Summary};
use crate::units::{grouped, significant};

const WIDTH: usize = 110;

/// The figures of a measurement as tables for people.
#[must_use]
pub fn show(summary: &Summary) -> String {
    let mut out = heading(summary);
    if !summary.gpus.is_empty() {
        out += &gpus(summary);
        out.push('\n');
    }
    if summary.gpus.iter().any(|gpu| !gpu.phases.is_empty()) {
        out += &phases(summary);
        out.push('\n');
    }
    if !summary.steps.is_empty() {
        out += &steps(summary);
        out.push('\n');
    }
    out += &host(summary);
    out += &remarks(summary);
    out
}

fn joules(value: Option<f64>) -> String {
    match value {
        None => "-".into(),
        Some(value) if value.abs() >= 3.6e6 => format!("{} kWh", significant(value / 3.6e6)),
        Some(value) if value.abs() >= 3.6e3 => format!("{} Wh", significant(value / 3.6e3)),
        Some(value) => format!("{} J", significant(value)),
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or("-".into(), significant)
}

fn heading(summary: &Summary) -> String {
    let what = if summary.command.is_empty() { "watched".to_string() } else { summary.command.join(" ") };
    let exit = match (summary.exit_code, summary.state) {
        (Some(code), _) => format!("exit code {code}"),
        (None, State::Complete) if summary.command.is_empty() => "no command".into(),
        (None, _) => "end not seen".into(),
    };
    let state = match summary.state {
        State::Complete => "complete",
        State::Recovered => "recovered: cut short before its seal",
    };
    let sessions = if summary.parts.is_empty() { "session".to_string() } else { format!("{} sessions", summary.parts.len()) };
    let started = crate::units::calendar::timestamp(summary.started_unix_s.max(0.0) as u64);
    let shown: String = what.chars().take(90).collect();
    let energy = summary.energy_j.map_or("nothing could be measured".to_string(), |energy| joules(Some(energy)));
    let mut out = format!(
        "{shown}\n{started} on {}, {} s, {exit}; {sessions} {state}\n\nenergy while it ran: {energy}\n",
        summary.host_name,
        significant(summary.duration_s),
    );
    if !summary.missing.is_empty() {
        out += "not in it:\n";
        out += &summary.missing.iter().map(|missing| wrap(&format!("- {missing}"), WIDTH, "")).collect::<String>();
    }
    out.push('\n');
    out
}

fn gpus(summary: &Summary) -> String {
    let head =
        ["GPU", "energy", "90 % interval", "basis", "idle\nW", "mean\nW", "active\nenergy", "samples\nto counter", "memory\nGB", "use\n%"];
    let rows = summary.gpus.iter().map(|gpu| {
        let interval = match (gpu.energy_low_j, gpu.energy_high_j) {
            (Some(low), Some(high)) => format!("{} to {}", joules(Some(low)), joules(Some(high))),
            _ => "-".into(),
        };
        vec![
            format!("{} {}{}", gpu.name, short(&gpu.uuid), on(gpu.host_name.as_deref())),
            joules(gpu.energy_j),
            interval,
            basis(gpu).into(),
            number(gpu.idle_w),
            number(gpu.mean_w),
            joules(gpu.active_energy_j),
            gpu.sampled_gap_percent.map_or("-".into(), |gap| format!("{gap:+.1} %")),
            number(gpu.peak_memory_bytes.map(|bytes| bytes / 1e9)),
            number(gpu.mean_utilization_percent),
        ]
    });
    table(head.map(String::from).to_vec(), rows.collect(), 1)
}

/// The node of a thing, where there are several.
fn on(host_name: Option<&str>) -> String {
    host_name.map_or(String::new(), |name| format!(" on {name}"))
}

/// Enough of an identity to tell devices of one machine.
fn short(uuid: &str) -> String {
    uuid.chars().take(12).collect()
}

fn basis(gpu: &Gpu) -> &'static str {
    match gpu.energy_basis {
        Basis::Counter => "counter",
        Basis::Samples => "samples",
        Basis::Tdp => "limit",
    }
}

fn phases(summary: &Summary) -> String {
    let head = ["phase", "times", "time\ns", "GPU energy", "mean\nW", "share\n%"].map(String::from).to_vec();
    let Some(first) = summary.gpus.first() else { return String::new() };
    let total: Option<f64> = summary.gpus.iter().map(|gpu| gpu.energy_j).sum();
    let rows = first.phases.iter().enumerate().map(|(index, phase)| {
        let energy: Option<f64> = summary.gpus.iter().map(|gpu| gpu.phases.get(index).and_then(|phase| phase.energy_j)).sum();
        vec![
            phase.name.clone(),
            phase.count.to_string(),
            significant(phase.duration_s),
            joules(energy),
            number(energy.filter(|_| phase.duration_s > 0.0).map(|joules| joules / phase.duration_s)),
            number(energy.zip(total).filter(|(_, total)| *total > 0.0).map(|(part, total)| 100.0 * part / total)),
        ]
    });
    table(head, rows.collect(), 1)
}

fn steps(summary: &Summary) -> String {
    let head =
        ["steps of", "steps", "median\ns", "mean\ns", "samples/s", "tokens/s", "J/step", "J/sample", "J/token"].map(String::from).to_vec();
    let rows = summary.steps.iter().map(|steps| {
        vec![
            steps.phase.clone(),
            grouped(steps.count as f64),
            significant(steps.median_s),
            significant(steps.mean_s),
            number(steps.samples_per_s),
            number(steps.tokens_per_s),
            number(steps.energy_j),
            number(steps.energy_j_per_sample),
            number(steps.energy_j_per_token),
        ]
    });
    table(head, rows.collect(), 1)
}

fn host(summary: &Summary) -> String {
    let host = &summary.host;
    let mut out = String::new();
    for domain in &host.domains {
        let note = if domain.added { "" } else { " (part of another or all of the platform: not added)" };
        out += &format!("{}{}: {}{note}\n", domain.name, on(domain.host_name.as_deref()), joules(domain.energy_j));
    }
    for (what, joules_of) in [("processors", host.modelled_processors_j), ("memory", host.modelled_memory_j)] {
        if joules_of.is_some() {
            out += &format!("{what}, modelled, not in the energy above: {}\n", joules(joules_of));
        }
    }
    if host.cpu_s.is_some() || host.peak_memory_bytes.is_some() {
        out += &format!(
            "processor time {} s, largest memory {} GB\n",
            number(host.cpu_s),
            number(host.peak_memory_bytes.map(|bytes| bytes / 1e9))
        );
    }
    out
}

fn remarks(summary: &Summary) -> String {
    let mut out = String::new();
    for gpu in summary.gpus.iter().filter(|gpu| !gpu.instances.is_empty()) {
        for instance in &gpu.instances {
            let share = instance.share.map_or("an unknown share".into(), |share| format!("{:.0} %", 100.0 * share));
            let text = format!(
                "{}: instance {}, {share} of it ({}); energy is of the whole device",
                short(&gpu.uuid),
                instance.uuid,
                instance.basis
            );
            out += &wrap(&format!("- {text}"), WIDTH, "");
        }
    }
    // What befell several devices alike is one line.
    let mut said: Vec<(&Fault, Vec<String>)> = Vec::new();
    for fault in &summary.faults {
        let device = match (fault.uuid.as_deref().map(short), &fault.host_name) {
            (Some(device), host) => Some(device + &on(host.as_deref())),
            (None, host) => host.clone(),
        };
        match said.iter_mut().find(|(first, _)| (&first.code, &first.text) == (&fault.code, &fault.text)) {
            Some((_, devices)) => devices.extend(device),
            None => said.push((fault, device.into_iter().collect())),
        }
    }
    for (fault, devices) in said {
        let devices = if devices.is_empty() { String::new() } else { format!("{}: ", devices.join(", ")) };
        let times = if fault.count > 1 { format!(" ({} times)", fault.count) } else { String::new() };
        out += &wrap(&format!("- {} at {:.1} s: {devices}{}{times}", fault.code, fault.first_s, fault.text), WIDTH, "");
    }
    if out.is_empty() { out } else { format!("\n{out}") }
}
