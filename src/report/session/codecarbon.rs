//! A row a measurement with the columns of `emissions.csv`, as codecarbon 3.2.9 writes it.
//!
//! Names and order: class `EmissionsData` in `codecarbon/output_methods/emissions_data.py` of mlco2/codecarbon, tag v3.2.9 (2026, MIT).
//! Units: `docs/reference/output.md` of the same: s, kg, kg/s, W, kWh, L, GB. What is not known is empty, where codecarbon writes 0.

use std::io::{self, Write};

use super::export::{Export, cell};
use crate::session::energy::Basis;
use crate::session::summary::{Domain, Gpu};
use crate::session::{Measurement, Summary};
use crate::units::{Joules, calendar};

const COLUMNS: [&str; 38] = [
    "timestamp",
    "project_name",
    "run_id",
    "experiment_id",
    "duration",
    "emissions",
    "emissions_rate",
    "cpu_power",
    "gpu_power",
    "ram_power",
    "cpu_energy",
    "gpu_energy",
    "ram_energy",
    "energy_consumed",
    "water_consumed",
    "country_name",
    "country_iso_code",
    "region",
    "cloud_provider",
    "cloud_region",
    "os",
    "python_version",
    "codecarbon_version",
    "cpu_count",
    "cpu_model",
    "gpu_count",
    "gpu_model",
    "longitude",
    "latitude",
    "ram_total_size",
    "tracking_mode",
    "cpu_utilization_percent",
    "gpu_utilization_percent",
    "ram_utilization_percent",
    "ram_used_gb",
    "on_cloud",
    "pue",
    "wue",
];

/// Writes the rows.
pub(super) fn write(export: &Export<'_>, out: &mut dyn Write) -> io::Result<Vec<String>> {
    let mut table = csv::Writer::from_writer(out);
    table.write_record(COLUMNS)?;
    let mut problems = Vec::new();
    for measurement in export.measurements {
        let summary = Summary::of(measurement);
        let values = values(measurement, &summary, export.grams_per_kwh);
        let value = |column: &&str| values.iter().find(|(name, _)| name == column).map_or("", |(_, value)| value.as_str());
        table.write_record(COLUMNS.iter().map(value))?;
        if !summary.missing.is_empty() {
            problems.push(format!("{}: energy_consumed and emissions are without: {}", summary.id, summary.missing.join("; ")));
        }
        for gpu in summary.gpus.iter().filter(|gpu| gpu.energy_basis == Basis::Tdp) {
            problems.push(format!("{}: energy of {} is its power limit times the time, an upper bound", summary.id, gpu.uuid));
        }
    }
    table.flush()?;
    Ok(problems)
}

/// What is known, by column.
fn values(measurement: &Measurement, summary: &Summary, grams_per_kwh: Option<f64>) -> Vec<(&'static str, String)> {
    let seconds = summary.duration_s;
    let kilowatt_hours = |joules: Option<f64>| joules.map(|joules| Joules::new(joules).kilowatt_hours());
    let watts = |joules: Option<f64>| joules.filter(|_| seconds > 0.0).map(|joules| joules / seconds);
    let energy = kilowatt_hours(summary.energy_j);
    let kilograms = energy.zip(grams_per_kwh).map(|(energy, grams)| energy * grams / 1000.0);
    let gpu = sum(summary.gpus.iter().map(|gpu| gpu.energy_j));
    let is_memory = |domain: &Domain| domain.name.ends_with("dram");
    let added = || summary.host.domains.iter().filter(|domain| domain.added);
    let memory = sum(added().filter(|domain| is_memory(domain)).map(|domain| domain.energy_j));
    let processors = sum(added().filter(|domain| !is_memory(domain)).map(|domain| domain.energy_j));
    let count = (!summary.gpus.is_empty()).then_some(summary.gpus.len() as f64);
    let utilization = sum(summary.gpus.iter().map(|gpu| gpu.mean_utilization_percent)).zip(count).map(|(sum, count)| sum / count);
    vec![
        // codecarbon writes the moment of the last line, by the local clock; here it is the end of the run, UTC.
        ("timestamp", calendar::timestamp((measurement.started_unix_s() + measurement.span().1).max(0.0) as u64).replace('Z', "")),
        ("project_name", "lowcarb".into()),
        ("run_id", summary.id.clone()),
        ("duration", seconds.to_string()),
        ("emissions", cell(kilograms)),
        ("emissions_rate", cell(kilograms.filter(|_| seconds > 0.0).map(|kilograms| kilograms / seconds))),
        ("cpu_power", cell(watts(processors))),
        ("gpu_power", cell(watts(gpu))),
        ("ram_power", cell(watts(memory))),
        ("cpu_energy", cell(kilowatt_hours(processors))),
        ("gpu_energy", cell(kilowatt_hours(gpu))),
        ("ram_energy", cell(kilowatt_hours(memory))),
        ("energy_consumed", cell(energy)),
        ("gpu_count", cell(count)),
        ("gpu_model", models(&summary.gpus)),
        // Devices and packages are measured as a whole, whoever uses them.
        ("tracking_mode", "machine".into()),
        ("gpu_utilization_percent", cell(utilization)),
    ]
}

/// The sum of parts that are all known; nothing where there is none.
fn sum(parts: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    parts.collect::<Option<Vec<f64>>>().filter(|parts| !parts.is_empty()).map(|parts| parts.iter().sum())
}

/// `2 x A; 1 x B`.
fn models(gpus: &[Gpu]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for gpu in gpus {
        match counts.iter_mut().find(|(name, _)| *name == gpu.name) {
            Some((_, count)) => *count += 1,
            None => counts.push((&gpu.name, 1)),
        }
    }
    counts.iter().map(|(name, count)| format!("{count} x {name}")).collect::<Vec<_>>().join("; ")
}
