//! Calibrations from tables of measured runs and kernels, with their errors on rows that were held out, whole regimes at a time.

use std::collections::BTreeMap;

use super::calibration::{Calibration, Units};
use super::fit::Row;
use super::group::{Group, Member};
use super::hold_out::{CUTS, Cut, Point};
use super::kernel_run::{KernelKind, KernelRun, STACK};
use super::predict::{choose, class_default};
use super::prepare::Workshop;
use super::run::Run;
use super::table::{Measured, RunTable};
use crate::document::Diagnostic;
use crate::hardware::{Accelerator, Performance};

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

/// A measured row and its device.
struct Found {
    device: Accelerator,
    member: Member,
}

/// Calibrates every stack and vendor that the tables have rows of; of one device alone, where it is named, which is then also that of
/// kernels whose table names none. Kernels are a calibration of their own, and rows of that of every stack with runs of their device.
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
    let mut found: Vec<Found> = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        for (_, row) in &table.runs.rows {
            match row.clone().and_then(|row| find(workshop, row, index, device)) {
                Ok(row) => found.extend(row),
                Err(why) => made.left_out.push(why),
            }
        }
    }
    state_idle(&mut found);
    let mut groups: Vec<Group> = Vec::new();
    for row in &found {
        let added = match &row.member.measured {
            Measured::Run(run) => add_run(workshop, class, &mut groups, run, row),
            Measured::Kernel(kernel) => add_kernel(workshop, &mut groups, kernel, row),
        };
        made.left_out.extend(added.err());
    }
    let groups = join(groups);
    for group in groups {
        let (calibration, points) = group.calibration(class, tables, date, program, held_out.cuts())?;
        made.calibrations.push(calibration);
        made.points.extend(points);
    }
    Ok(made)
}

/// A row with its device, if a fit can use it; nothing of another device than the one that is asked for.
fn find(workshop: &mut Workshop<'_>, measured: Measured, table: usize, only: Option<&str>) -> Result<Option<Found>, Diagnostic> {
    let device = match &measured {
        Measured::Run(run) if run.seconds.is_none() && run.watts.is_none() => {
            return Err(Diagnostic::new(&run.origin, "measured_s", "nothing", "the seconds that a step took, or measured_w"));
        }
        Measured::Run(run) => workshop.device(run)?.0.clone(),
        Measured::Kernel(kernel) => {
            let name = kernel.device.as_deref().or(only).ok_or_else(|| kernel.lacks_device("--device NAME"))?;
            workshop.accelerator(name, &kernel.origin)?.clone()
        }
    };
    if only.is_some_and(|only| only != device.name) {
        return Ok(None);
    }
    if let Some(why) = measured.kernel().and_then(KernelRun::unfit) {
        return Err(why);
    }
    let idle = match &measured {
        Measured::Run(run) => run.idle,
        Measured::Kernel(kernel) => kernel.idle,
    };
    let architecture = device.architecture.clone();
    Ok(Some(Found { device, member: Member { measured, table, architecture, idle } }))
}

/// Takes idle rows out: what a device draws while it is ready to run is the idle power of all of its rows.
fn state_idle(found: &mut Vec<Found>) {
    let mut drawn: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    found.retain(|row| {
        let idle = row.member.measured.kernel().filter(|kernel| kernel.kind == KernelKind::Idle);
        if let Some(watts) = idle.and_then(|kernel| kernel.watts) {
            drawn.entry(row.device.name.clone()).or_default().push(watts);
        }
        idle.is_none()
    });
    for row in found {
        if let Some(watts) = drawn.get(&row.device.name) {
            let mean = watts.iter().sum::<f64>() / watts.len() as f64;
            row.member.idle = Some(mean);
            match &mut row.member.measured {
                Measured::Run(run) => run.idle = Some(mean),
                Measured::Kernel(kernel) => kernel.idle = Some(mean),
            }
        }
    }
}

fn add_run(
    workshop: &mut Workshop<'_>,
    class: &Performance,
    groups: &mut Vec<Group>,
    run: &Run,
    Found { device, member }: &Found,
) -> Result<(), Diagnostic> {
    let default = class_default(class, device, run.precision);
    let prepared = choose(workshop, class, run, &default, None)?;
    let row = Row { prepared, device: 0, seconds: run.seconds, watts: run.watts };
    Group::find(groups, &run.framework, device, run.precision).add(&device.name, row, member.clone());
    Ok(())
}

/// Adds a kernel to the group of the units that its products run on; one without products to both.
fn add_kernel(workshop: &mut Workshop<'_>, groups: &mut Vec<Group>, kernel: &KernelRun, row: &Found) -> Result<(), Diagnostic> {
    let Found { device, member } = row;
    for units in [Units::Tensor, Units::Vector] {
        let products = kernel.precision.filter(|_| kernel.kind == KernelKind::Gemm);
        let Some(precision) = products.or(units.precision(device)).filter(|precision| Units::of(*precision) == units) else { continue };
        if let Some(prepared) = workshop.prepare_kernel(kernel, device, units)? {
            // What launching draws is no part of the model.
            let watts = kernel.watts.filter(|_| kernel.kind != KernelKind::Launch);
            let row = Row { prepared, device: 0, seconds: kernel.seconds, watts };
            Group::find(groups, STACK, device, precision).add(&device.name, row, member.clone());
        }
    }
    Ok(())
}

/// Adds kernels to the groups of stacks that ran on their device. Of kernels alone, those without products say nothing of units
/// that no product ran on, where others of the vendor do.
fn join(groups: Vec<Group>) -> Vec<Group> {
    let (kernels, mut stacks): (Vec<Group>, Vec<Group>) = groups.into_iter().partition(|group| group.stack == STACK);
    for group in &mut stacks {
        for kernels in &kernels {
            if kernels.units != group.units || kernels.device.vendor != group.device.vendor {
                continue;
            }
            for (row, member) in kernels.rows.iter().zip(&kernels.members) {
                let device = &kernels.devices[row.device];
                if group.devices.contains(device) {
                    group.add(device, row.clone(), member.clone());
                }
            }
        }
    }
    let with_products: Vec<String> = kernels.iter().filter(|group| group.has_products()).map(|group| group.device.vendor.clone()).collect();
    stacks.extend(kernels.into_iter().filter(|group| group.has_products() || !with_products.contains(&group.device.vendor)));
    stacks
}
