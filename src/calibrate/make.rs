//! Calibrations from tables of measured runs, with their errors on rows that were held out, whole regimes at a time.

use super::calibration::{Calibration, Errors, FittedDevice, FittedTable, QUANTILE, Units, Value};
use super::fit::{self, OWN, Row};
use super::predict::{choose, class_default};
use super::prepare::Workshop;
use super::run::{Run, RunTable};
use crate::document::Diagnostic;
use crate::hardware::{Accelerator, Parameter, Performance};
use crate::numeric::Fit;

/// A table with the file that it is from and the hash of what that held.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its file.
    pub file: String,
    /// SHA-256, in hexadecimal.
    pub sha256: String,
    /// Its rows.
    pub runs: RunTable,
}

/// What was made of tables.
#[derive(Debug, Clone, Default)]
pub struct Made {
    /// A calibration for each stack, vendor and kind of units.
    pub calibrations: Vec<Calibration>,
    /// Rows that no fit could use, and why.
    pub left_out: Vec<Diagnostic>,
}

/// The rows of one calibration.
struct Group {
    stack: String,
    units: Units,
    /// A device of it, for what the class knows of its kind.
    device: Accelerator,
    devices: Vec<String>,
    rows: Vec<Row>,
    runs: Vec<Run>,
    /// Of each row, its table and the generation of its device.
    of: Vec<(usize, String)>,
}

/// Share of rows that an interval is to hold.
const LEVEL: f64 = 0.9;
/// Parts that the rows are cut into, to hold one after the other out.
const PARTS: u64 = 5;

/// Calibrates every stack and vendor that the tables have rows of; of one device alone, where it is named.
///
/// # Errors
/// A fit does not come to rest, or no row can be used.
pub fn calibrate(
    workshop: &mut Workshop<'_>,
    class: &Performance,
    tables: &[Table],
    device: Option<&str>,
    (date, program): (&str, &str),
) -> Result<Made, Diagnostic> {
    let mut made = Made::default();
    let mut groups: Vec<Group> = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        for (_, run) in &table.runs.rows {
            let added = run.clone().and_then(|run| add(workshop, class, &mut groups, run, index, device));
            made.left_out.extend(added.err());
        }
    }
    for group in groups {
        made.calibrations.push(group.calibration(class, tables, date, program)?);
    }
    Ok(made)
}

fn add(
    workshop: &mut Workshop<'_>,
    class: &Performance,
    groups: &mut Vec<Group>,
    run: Run,
    table: usize,
    only: Option<&str>,
) -> Result<(), Diagnostic> {
    let Some(measured) = run.measured else {
        return Err(Diagnostic::new(&run.origin, "measured_s", "nothing", "the seconds that a step took"));
    };
    let accelerator = workshop.device(&run)?.0.clone();
    if only.is_some_and(|only| only != accelerator.name) {
        return Ok(());
    }
    let units = Units::of(run.precision);
    let default = class_default(class, &accelerator, run.precision);
    let prepared = choose(workshop, class, &run, &default, None)?;
    let place =
        groups.iter().position(|group| group.stack == run.framework && group.units == units && group.device.vendor == accelerator.vendor);
    let place = place.unwrap_or_else(|| {
        groups.push(Group {
            stack: run.framework.clone(),
            units,
            device: accelerator.clone(),
            devices: Vec::new(),
            rows: Vec::new(),
            runs: Vec::new(),
            of: Vec::new(),
        });
        groups.len() - 1
    });
    let group = &mut groups[place];
    let device = group.devices.iter().position(|name| *name == accelerator.name).unwrap_or_else(|| {
        group.devices.push(accelerator.name.clone());
        group.devices.len() - 1
    });
    group.rows.push(Row { prepared, device, measured });
    group.of.push((table, accelerator.architecture));
    group.runs.push(run);
    Ok(())
}

/// A way to cut rows into regimes: its name, and the regime of a row.
type Cut = (&'static str, fn(&Run, &str) -> String);

const CUTS: [Cut; 6] = [
    ("a fifth of the rows", |run, _| {
        (run.id.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % PARTS).to_string()
    }),
    ("tensor_parallel", |run, _| run.tensor.to_string()),
    ("hidden", |run, _| run.hidden.to_string()),
    ("seq_len", |run, _| run.sequence_length.to_string()),
    ("nodes", |run, _| if run.accelerators > run.per_node { "several" } else { "one" }.to_string()),
    ("architecture", |_, architecture| architecture.split(' ').next().unwrap_or_default().to_string()),
];

impl Group {
    fn calibration(&self, class: &Performance, tables: &[Table], date: &str, program: &str) -> Result<Calibration, Diagnostic> {
        let name =
            format!("{}-{}{}", self.stack, self.device.vendor.to_lowercase(), if self.units == Units::Vector { "-fp32" } else { "" });
        let precision = self.runs[0].precision;
        let parameters = fit::parameters(class, &self.device, precision, self.devices.len());
        let failed = |error| fit::failed(&name, &error);
        let all: Vec<usize> = (0..self.rows.len()).collect();
        let found = fit::fit(&all.iter().map(|row| &self.rows[*row]).collect::<Vec<_>>(), &parameters).map_err(failed)?;
        let mut calibration = self.assemble(&name, &found, date, program);
        calibration.tables = tables
            .iter()
            .enumerate()
            .map(|(index, table)| FittedTable {
                file: table.file.clone(),
                sha256: table.sha256.clone(),
                rows: self.of.iter().filter(|(of, _)| *of == index).count(),
            })
            .filter(|table| table.rows > 0)
            .collect();
        // Fits without a regime, each asked for that regime.
        let mut held_out = Vec::new();
        for (cut, of) in CUTS {
            let regime: Vec<String> = self.runs.iter().zip(&self.of).map(|(run, (_, architecture))| of(run, architecture)).collect();
            let mut values: Vec<&String> = regime.iter().collect();
            values.sort();
            values.dedup();
            if values.len() < 2 {
                continue;
            }
            for value in values {
                let (out, seen): (Vec<usize>, Vec<usize>) = all.iter().partition(|row| regime[**row] == *value);
                let rows: Vec<&Row> = seen.iter().map(|row| &self.rows[*row]).collect();
                // What is left may not determine a fit; then nothing is said of that regime.
                let Ok(fit) = fit::fit(&rows, &parameters) else { continue };
                let without = self.assemble(&name, &fit, date, program);
                let known: Vec<bool> = (0..self.devices.len()).map(|device| rows.iter().any(|row| row.device == device)).collect();
                held_out.push((cut, value.clone(), self.judged(&without, &out, &known)));
            }
        }
        let fifths: Vec<f64> =
            held_out.iter().filter(|(cut, ..)| *cut == CUTS[0].0).flat_map(|(.., rows)| rows.iter().map(|row| row.1)).collect();
        calibration.widening = widening(fifths);
        let reach = QUANTILE * calibration.widening;
        let inside = |rows: &[(f64, f64)]| rows.iter().map(|(error, deviations)| (*error, deviations.abs() <= reach)).collect::<Vec<_>>();
        let known = vec![true; self.devices.len()];
        let seen = self.judged(&calibration, &all, &known);
        calibration.errors.push(Errors::of("all rows", false, &inside(&seen)));
        for (index, table) in tables.iter().enumerate() {
            let rows: Vec<(f64, f64)> = all.iter().filter(|row| self.of[**row].0 == index).map(|row| seen[*row]).collect();
            if !rows.is_empty() && rows.len() < all.len() {
                calibration.errors.push(Errors::of(&format!("table {}", table.file), false, &inside(&rows)));
            }
        }
        for (cut, _) in CUTS {
            let of_cut = || held_out.iter().filter(|(of, ..)| *of == cut);
            let rows: Vec<(f64, f64)> = of_cut().flat_map(|(.., rows)| rows.iter().copied()).collect();
            if !rows.is_empty() {
                let name = if cut == CUTS[0].0 { format!("{cut}, each in turn") } else { format!("every {cut} in turn") };
                calibration.errors.push(Errors::of(&name, true, &inside(&rows)));
            }
            if cut != CUTS[0].0 {
                of_cut().for_each(|(_, value, rows)| calibration.errors.push(Errors::of(&format!("{cut} = {value}"), true, &inside(rows))));
            }
        }
        Ok(calibration)
    }

    /// Of each row its error, and ln(computed / measured) in standard deviations.
    fn judged(&self, calibration: &Calibration, rows: &[usize], known: &[bool]) -> Vec<(f64, f64)> {
        let values = calibration.values();
        let of = |row: &usize| {
            let row = &self.rows[*row];
            let known = known[row.device];
            let seconds = |values: &[f64]| fit::seconds(&row.prepared, values, known.then_some(row.device));
            let computed = seconds(&values);
            ((computed / row.measured) - 1.0, (computed / row.measured).ln() / calibration.deviation(known, seconds))
        };
        rows.iter().map(of).collect()
    }

    fn assemble(&self, name: &str, fit: &Fit, date: &str, program: &str) -> Calibration {
        let shared = Parameter::ALL.len();
        let own = if self.devices.len() > 1 { OWN.len() } else { 0 };
        let devices = self.devices.iter().enumerate().map(|(index, name)| FittedDevice {
            name: name.clone(),
            rows: self.rows.iter().filter(|row| row.device == index).count(),
            deviations: fit.values[shared + index * own..][..own].to_vec(),
        });
        let value = |parameter: Parameter| {
            let (low, high) = fit.interval(parameter as usize, LEVEL);
            (parameter.key().to_string(), Value { value: fit.values[parameter as usize], low, high })
        };
        Calibration {
            schema: 1,
            name: name.to_string(),
            stack: self.stack.clone(),
            vendor: self.device.vendor.clone(),
            units: self.units,
            date: date.to_string(),
            program: program.to_string(),
            tables: Vec::new(),
            degrees_of_freedom: fit.degrees_of_freedom,
            scale: fit.scale,
            widening: 1.0,
            parameters: Parameter::ALL.map(value).into_iter().collect(),
            devices: devices.collect(),
            covariance: fit.covariance.clone(),
            errors: Vec::new(),
        }
    }
}

/// How many times as wide as stated intervals have to be to hold nine of ten of these deviations (split conformal prediction,
/// Vovk et al. 2005): their quantile over that of a normal distribution.
fn widening(deviations: Vec<f64>) -> f64 {
    let mut sizes: Vec<f64> = deviations.into_iter().map(f64::abs).collect();
    sizes.sort_by(f64::total_cmp);
    let place = ((sizes.len() as f64 + 1.0) * LEVEL).ceil() as usize;
    sizes.get(place.saturating_sub(1)).or(sizes.last()).map_or(1.0, |size| size / QUANTILE)
}
