//! The rows of one calibration, and what is made of them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::calibration::{Calibration, FittedDevice, FittedTable, Units, Value};
use super::fit::{self, OWN, Row};
use super::hold_out::{Cut, Errors, Figure, LEVEL, Point, Widening};
use super::make::Table;
use super::table::Measured;
use crate::document::Diagnostic;
use crate::hardware::{Accelerator, Parameter, Performance, Precision};
use crate::numeric::Fit;

/// A row of a group.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// What was measured.
    pub measured: Measured,
    /// Its table.
    pub table: usize,
    /// The generation of its device.
    pub architecture: String,
    /// What the device draws with nothing to do, W, where it was measured.
    pub idle: Option<f64>,
}

/// The rows of one calibration.
pub(super) struct Group {
    pub stack: String,
    pub units: Units,
    /// A device of it and a number format, for what the class knows of their kind.
    pub device: Accelerator,
    pub precision: Precision,
    pub devices: Vec<String>,
    pub rows: Vec<Row>,
    /// What each of them is.
    pub members: Vec<Member>,
}

impl Group {
    /// The group of a stack, a vendor and the units of a number format.
    pub fn find<'a>(groups: &'a mut Vec<Self>, stack: &str, device: &Accelerator, precision: Precision) -> &'a mut Self {
        let units = Units::of(precision);
        let alike = |group: &Self| group.stack == stack && group.units == units && group.device.vendor == device.vendor;
        let place = groups.iter().position(alike).unwrap_or_else(|| {
            groups.push(Self {
                stack: stack.to_string(),
                units,
                device: device.clone(),
                precision,
                devices: Vec::new(),
                rows: Vec::new(),
                members: Vec::new(),
            });
            groups.len() - 1
        });
        &mut groups[place]
    }

    /// Whether a row has products.
    pub fn has_products(&self) -> bool {
        self.rows.iter().any(|row| row.prepared.work.flops().value() > 0.0)
    }

    /// Adds a row of a device; the place of that in the row is set.
    pub fn add(&mut self, device: &str, row: Row, member: Member) {
        let place = self.devices.iter().position(|name| name == device).unwrap_or_else(|| {
            self.devices.push(device.to_string());
            self.devices.len() - 1
        });
        self.rows.push(Row { device: place, ..row });
        self.members.push(member);
    }

    /// The calibration of all rows, and every row as it and fits without regimes compute it.
    pub fn calibration(
        &self,
        class: &Performance,
        tables: &[Table],
        date: &str,
        program: &str,
        cuts: &[Cut],
    ) -> Result<(Calibration, Vec<Point>), Diagnostic> {
        let name =
            format!("{}-{}{}", self.stack, self.device.vendor.to_lowercase(), if self.units == Units::Vector { "-fp32" } else { "" });
        let parameters = fit::parameters(class, &self.device, self.precision, self.devices.len());
        let all: Vec<usize> = (0..self.rows.len()).collect();
        let found = fit::fit(&self.rows.iter().collect::<Vec<_>>(), &parameters).map_err(|error| fit::failed(&name, &error))?;
        let mut calibration = self.assemble(&name, &found, date, program);
        calibration.tables = tables
            .iter()
            .enumerate()
            .map(|(index, table)| FittedTable {
                file: table.file.clone(),
                sha256: table.sha256.clone(),
                rows: self.members.iter().filter(|member| member.table == index).count(),
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
        for (index, member) in self.members.iter().enumerate() {
            if let Some(regime) = (cut.of)(&member.measured, &member.architecture) {
                regimes.entry(regime).or_default().push(index);
            }
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
            let (row, member) = (&self.rows[*index], &self.members[*index]);
            let known_device = known[row.device];
            let step = |values: &[f64]| fit::step(&row.prepared, values, known_device.then_some(row.device));
            let here = step(&values);
            let [of_seconds, of_watts] = calibration.deviations(known_device, step);
            let mut add = |figure: Figure, computed: Option<f64>, measured: Option<f64>, deviation: f64| {
                let (Some(computed), Some(measured)) = (computed, measured) else { return };
                points.push(Point {
                    calibration: calibration.name.clone(),
                    table: tables[member.table].file.clone(),
                    id: member.measured.id().to_string(),
                    device: self.devices[row.device].clone(),
                    kernel: member.measured.kernel().map(|kernel| kernel.name.clone()).unwrap_or_default(),
                    held_out: held_out.clone(),
                    known_device,
                    several_nodes: member.measured.is_of_several_nodes(),
                    figure,
                    computed,
                    low: computed,
                    high: computed,
                    measured,
                    deviation,
                });
            };
            let [seconds, watts] = Figure::of(&member.measured);
            add(seconds, Some(here.seconds), row.seconds, of_seconds);
            add(watts, here.watts(), row.watts, of_watts);
        }
        points
    }

    /// What a device draws with nothing to do, W: the median of what its rows state.
    fn idle(&self, device: usize) -> Option<f64> {
        let of_device = self.rows.iter().zip(&self.members).filter(|(row, _)| row.device == device);
        let mut stated: Vec<f64> = of_device.filter_map(|(_, member)| member.idle).collect();
        stated.sort_by(f64::total_cmp);
        stated.get(stated.len() / 2).copied()
    }

    fn assemble(&self, name: &str, fit: &Fit, date: &str, program: &str) -> Calibration {
        let shared = Parameter::ALL.len();
        let own = if self.devices.len() > 1 { OWN.len() } else { 0 };
        let devices = self.devices.iter().enumerate().map(|(index, name)| FittedDevice {
            name: name.clone(),
            rows: self.rows.iter().filter(|row| row.device == index).count(),
            deviations: fit.values[shared + index * own..][..own].to_vec(),
            idle_w: self.idle(index),
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
