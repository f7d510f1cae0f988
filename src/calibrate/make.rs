//! Calibrations from tables of measured runs, with their errors on rows that were held out, whole regimes at a time.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::calibration::{Calibration, FittedDevice, FittedTable, Units, Value};
use super::fit::{self, OWN, Row};
use super::hold_out::{CUTS, Cut, Errors, Figure, LEVEL, Point, Widening};
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
    /// Every measured figure of their rows as they compute it, and as fits do that had not seen it.
    pub points: Vec<Point>,
    /// Rows that no fit could use, and why.
    pub left_out: Vec<Diagnostic>,
}

/// What is held out, one part after the other, to see errors on rows that a fit had not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldOut {
    /// Fifths of the rows.
    Fifths,
    /// Those and whole regimes.
    Regimes,
}

impl HeldOut {
    fn cuts(self) -> &'static [Cut] {
        match self {
            Self::Fifths => &CUTS[..1],
            Self::Regimes => &CUTS,
        }
    }
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
    held_out: HeldOut,
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
        let (calibration, points) = group.calibration(class, tables, date, program, held_out.cuts())?;
        made.calibrations.push(calibration);
        made.points.extend(points);
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
    if run.seconds.is_none() && run.watts.is_none() {
        return Err(Diagnostic::new(&run.origin, "measured_s", "nothing", "the seconds that a step took, or measured_w"));
    }
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
    group.rows.push(Row { prepared, device, seconds: run.seconds, watts: run.watts });
    group.of.push((table, accelerator.architecture));
    group.runs.push(run);
    Ok(())
}

impl Group {
    /// The calibration of all rows, and every row as it and fits without regimes compute it.
    fn calibration(
        &self,
        class: &Performance,
        tables: &[Table],
        date: &str,
        program: &str,
        cuts: &[Cut],
    ) -> Result<(Calibration, Vec<Point>), Diagnostic> {
        let name =
            format!("{}-{}{}", self.stack, self.device.vendor.to_lowercase(), if self.units == Units::Vector { "-fp32" } else { "" });
        let parameters = fit::parameters(class, &self.device, self.runs[0].precision, self.devices.len());
        let all: Vec<usize> = (0..self.rows.len()).collect();
        let found = fit::fit(&self.rows.iter().collect::<Vec<_>>(), &parameters).map_err(|error| fit::failed(&name, &error))?;
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
        let mut points = self.points(&calibration, tables, &all, &vec![true; self.devices.len()], None);
        let jobs: Vec<(String, String, Vec<usize>)> = cuts.iter().flat_map(|cut| self.regimes(cut)).collect();
        // Fits do not depend on each other: each core takes the next.
        let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some((cut, value, out)) = jobs.get(index) else { break };
                        let rows: Vec<&Row> = (0..self.rows.len()).filter(|row| !out.contains(row)).map(|row| &self.rows[row]).collect();
                        // What is left may not determine a fit; then nothing is said of that regime.
                        let Ok(fit) = fit::fit(&rows, &parameters) else { continue };
                        let without = self.assemble(&name, &fit, date, program);
                        let known: Vec<bool> = (0..self.devices.len()).map(|device| rows.iter().any(|row| row.device == device)).collect();
                        let points = self.points(&without, tables, out, &known, Some((cut.clone(), value.clone())));
                        if let Ok(mut found) = found.lock() {
                            found.push((index, points));
                        }
                    }
                });
            }
        });
        let mut held_out = found.into_inner().unwrap_or_default();
        held_out.sort_by_key(|(index, _)| *index);
        points.extend(held_out.into_iter().flat_map(|(_, points)| points));
        calibration.widening = Widening::of(points.iter());
        let points = with_intervals(&calibration, points);
        calibration.errors = Errors::all(&points);
        Ok((calibration, points))
    }

    /// The regimes of a cut, if there are several, with the rows of each.
    fn regimes(&self, cut: &Cut) -> Vec<(String, String, Vec<usize>)> {
        let mut regimes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, (run, (_, architecture))) in self.runs.iter().zip(&self.of).enumerate() {
            regimes.entry((cut.of)(run, architecture)).or_default().push(index);
        }
        if regimes.len() < 2 {
            return Vec::new();
        }
        regimes.into_iter().map(|(value, rows)| (cut.name.to_string(), value, rows)).collect()
    }

    /// Rows as a calibration computes them that knows the devices which `known` says.
    fn points(
        &self,
        calibration: &Calibration,
        tables: &[Table],
        rows: &[usize],
        known: &[bool],
        held_out: Option<(String, String)>,
    ) -> Vec<Point> {
        let values = calibration.values();
        let mut points = Vec::new();
        for index in rows {
            let row = &self.rows[*index];
            let known_device = known[row.device];
            let step = |values: &[f64]| fit::step(&row.prepared, values, known_device.then_some(row.device));
            let here = step(&values);
            let [of_seconds, of_watts] = calibration.deviations(known_device, step);
            let mut add = |figure: Figure, computed: Option<f64>, measured: Option<f64>, deviation: f64| {
                let (Some(computed), Some(measured)) = (computed, measured) else { return };
                points.push(Point {
                    calibration: calibration.name.clone(),
                    table: tables[self.of[*index].0].file.clone(),
                    id: self.runs[*index].id.clone(),
                    device: self.devices[row.device].clone(),
                    held_out: held_out.clone(),
                    known_device,
                    several_nodes: self.runs[*index].is_of_several_nodes(),
                    figure,
                    computed,
                    low: computed,
                    high: computed,
                    measured,
                    deviation,
                });
            };
            add(Figure::Seconds, Some(here.seconds), row.seconds, of_seconds);
            add(Figure::Watts, here.watts(), row.watts, of_watts);
        }
        points
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
            scale: fit::scatter(fit),
            widening: Vec::new(),
            parameters: Parameter::ALL.map(value).into_iter().collect(),
            devices: devices.collect(),
            covariance: fit.covariance.clone(),
            errors: Vec::new(),
            file: String::new(),
        }
    }
}

/// Points with the intervals that a calibration states; those of rows that were held out as one would have that never saw them.
fn with_intervals(calibration: &Calibration, points: Vec<Point>) -> Vec<Point> {
    let mut regimes: BTreeMap<Option<(String, String)>, Vec<usize>> = BTreeMap::new();
    for (index, point) in points.iter().enumerate() {
        regimes.entry(point.held_out.clone()).or_default().push(index);
    }
    let mut out = points.clone();
    for (regime, members) in regimes {
        let mut stated = calibration.clone();
        if regime.is_some() {
            let rows: HashSet<(&str, &str)> = members.iter().map(|index| points[*index].row()).collect();
            stated.widening = Widening::of(points.iter().filter(|point| !rows.contains(&point.row())));
        }
        for index in members {
            out[index] = points[index].clone().widened(&stated);
        }
    }
    out
}
